"""Sequences of components with unique names: the base of global and local models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Any, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gmdask.errors import (
    DuplicateNameError,
    InputError,
    ModelError,
    UnknownNameError,
    check_kind,
    described,
)
from gmdask.models.background import BackgroundIRFModel
from gmdask.models.block_matrix import BlockMatrix
from gmdask.models.checks import class_is_own
from gmdask.models.component import Component
from gmdask.models.covariance import Covariance, HasCovariance, joined
from gmdask.models.io.links import check_links, link_labels
from gmdask.models.io.serialization import check_mapping, locating
from gmdask.models.parameter import Parameter
from gmdask.models.parameter_table import to_parameters_table
from gmdask.models.parameters import Parameters
from gmdask.models.priors import PriorSum
from gmdask.models.registry import get_class

__all__ = ["ModelSequence"]

Array = NDArray[np.float64]


class ModelSequence(HasCovariance, Sequence[Component]):
    """Components with unique names, accessible by index or name.

    Parameters
    ----------
    components : Component or iterable of Component
        Components.

    Raises
    ------
    DuplicateNameError
        If a name occurs twice.
    ModelError
        If an item is not a component, or a dataset has two background models.
    """

    def __init__(self, components: Component | Iterable[Component] = ()) -> None:
        given: Any = [components] if isinstance(components, Component) else components
        if isinstance(given, str) or not isinstance(given, Iterable):
            msg = f"models are {described(given)}, expected components (SkyModel, ...)"
            raise ModelError(msg)
        self._components: list[Component] = []
        self._by_name: dict[str, Component] = {}
        self._backgrounds: dict[str, str] = {}
        self._covariance: Covariance | None = None
        for component in given:
            self._add(component)

    def _add(self, component: Any) -> None:
        if not isinstance(component, Component):
            msg = (
                f"{described(component)} is not a model component (a SkyModel, a background model)"
            )
            raise ModelError(msg)
        if component.name in self._by_name:
            msg = f"a model named {component.name!r} already exists"
            raise DuplicateNameError(msg)
        if isinstance(component, BackgroundIRFModel):
            other = self._backgrounds.setdefault(component.dataset_name, component.name)
            if other != component.name:
                msg = (
                    f"{component.name!r}: dataset {component.dataset_name!r} "
                    f"already has a background model, {other!r}"
                )
                raise ModelError(msg)
        self._by_name[component.name] = component
        self._components.append(component)

    # --- access ---------------------------------------------------------------------

    @property
    def names(self) -> list[str]:
        """Names of the components."""
        return [component.name for component in self._components]

    @property
    def background_models(self) -> dict[str, str]:
        """Name of the background model of each dataset that has one."""
        return {
            component.dataset_name: component.name
            for component in self._components
            if isinstance(component, BackgroundIRFModel)
        }

    def __len__(self) -> int:
        return len(self._components)

    def __iter__(self) -> Iterator[Component]:
        return iter(self._components)

    def __contains__(self, key: object) -> bool:
        if isinstance(key, str):
            return key in self._by_name
        return any(component is key for component in self._components)

    @overload
    def __getitem__(self, key: int | str) -> Any: ...
    @overload
    def __getitem__(self, key: slice) -> list[Component]: ...
    @overload
    def __getitem__(self, key: NDArray[np.bool_]) -> Self: ...
    def __getitem__(self, key: Any) -> Any:
        """Return a component by index or name, several by slice, or models by mask."""
        if isinstance(key, np.ndarray) and key.ndim:
            return self._masked(key)
        if not isinstance(key, str):
            check_kind(key, (int, np.integer, slice), "a name, a number, a slice or a mask")
            return self._components[key]
        if key not in self._by_name:
            shown = ", ".join(self.names[:10]) + (", ..." if len(self) > 10 else "")
            msg = f"no model named {key!r} among: {shown or 'none'}"
            raise UnknownNameError(msg)
        return self._by_name[key]

    def _masked(self, mask: NDArray[Any]) -> Self:
        if mask.dtype != bool or mask.shape != (len(self),):
            msg = f"mask of {mask.dtype} {mask.shape} for {len(self)} models, expected bool"
            raise InputError(msg)
        found = type(self)([c for c, is_in in zip(self._components, mask, strict=True) if is_in])
        if self._covariance is not None and len(found):
            found.keep_covariance(self.covariance.get_subcovariance(found.parameters))
        return found

    def index(self, key: Any, start: int = 0, stop: int | None = None) -> int:
        """Return the position of a component.

        Parameters
        ----------
        key : str, Component or int
            Name, component, or index, which may be negative.
        start, stop : int, optional
            Not used; part of the interface of a sequence.

        Raises
        ------
        UnknownNameError
            If it is not in the sequence.
        """
        del start, stop
        component = key if isinstance(key, Component) else self[key]
        for position, other in enumerate(self._components):
            if other is component:
                return position
        msg = f"model {component.name!r} is not in this sequence"
        raise UnknownNameError(msg)

    def _ipython_key_completions_(self) -> list[str]:
        return self.names

    # --- parameters -------------------------------------------------------------------

    def check_values(self) -> None:
        """Raise an error for values outside their domain, such as a negative width.

        Raises
        ------
        ModelError
            If a value is outside; the message names the parameter, its value and the expectation.
        """
        for component in self._components:
            component.check_values()

    def named_parameters(self) -> list[tuple[str, Parameter]]:
        """Return full names and parameters; shared ones are repeated."""
        return [pair for component in self._components for pair in component.named_parameters()]

    @property
    def full_names(self) -> list[str]:
        """Full name of every parameter ("crab.spectral.index"); shared ones are repeated."""
        return [name for name, _ in self.named_parameters()]

    @property
    def parameters(self) -> Parameters:
        """All parameters, each shared one once, accessible by any of their full names."""
        return Parameters.from_names(self.named_parameters())

    @property
    def scales(self) -> NDArray[np.bool_]:
        """Which of the `parameters` only multiply a component, or a part of it."""
        found = {
            id(parameter)
            for component in self._components
            for model in component.models.values()
            for parameter in model.scales
        }
        return np.array([id(parameter) in found for parameter in self.parameters], dtype=bool)

    @property
    def prior_sum(self) -> PriorSum:
        """Return the sum of the priors of `parameters`, each counted once, as a function of their values."""
        return PriorSum([par.prior for par in self.parameters])

    def prior_stat(self, values: ArrayLike | None = None) -> tuple[float, Array, Array]:
        """Evaluate the sum of the priors (weighted -2 ln pdf), each parameter counted once.

        Parameters
        ----------
        values : array [P], optional
            Values of `parameters`; by default their current values.

        Returns
        -------
        stat : float
            The sum; infinite if a value is outside its distribution.
        gradient, hessian : ndarray [P]
            Derivatives with respect to `parameters`; the Hessian is diagonal.
        """
        parameters = self.parameters
        return PriorSum([par.prior for par in parameters])(
            parameters.value if values is None else values
        )

    @property
    def covariance(self) -> Covariance:
        """Covariance of `parameters`, as set or fitted, or else combined from the components.

        A matrix [P, P] of `parameters` (a `BlockMatrix` if there are many), or a `Covariance` of
        some of them, can be assigned: the errors of the parameters and the covariances of the models
        are updated.
        """
        parameters = self.parameters
        if self._covariance is not None:
            return self._covariance.expanded_to(parameters)
        parts: dict[int, Covariance] = {}
        for component in self._components:
            if component.has_covariance:
                known = component.whole_covariance
                parts[id(known)] = known
        return joined(parameters, parts.values()) if parts else Covariance(parameters)

    @covariance.setter
    def covariance(self, value: Covariance | BlockMatrix | ArrayLike | None) -> None:
        covariance = None
        if value is not None:
            parameters = self.parameters
            if isinstance(value, Covariance):
                if any(par not in parameters for par in value.parameters):
                    msg = "covariance of parameters that do not belong to these models"
                    raise InputError(msg)
                value.set_errors()
                expanded = value.expanded_to(parameters)
                value = expanded.data if expanded.blocks is None else expanded.blocks
            covariance = Covariance(parameters, value)
            covariance.set_errors()
        self.keep_covariance(covariance)

    def _inner(self) -> list[Component]:
        return self._components

    def check(self) -> None:
        """Evaluate each model class that is defined by the user once, to detect invalid ones early.

        Models that are set for datasets are checked separately.

        Raises
        ------
        ModelError
            If a class is invalid; the message names component and class.
        """
        seen: set[type] = set()
        for component in self._components:
            for kind, whole in component.models.items():
                for model in whole.with_nested():
                    if type(model) not in seen and not class_is_own(model):
                        seen.add(type(model))
                        with locating(f"{component.name}.{kind}"):
                            model.check()

    to_parameters_table = to_parameters_table

    # --- copies and plain data ------------------------------------------------------------

    def _copied_from(self, components: Iterable[Component], memo: dict[int, Any]) -> Self:
        new = object.__new__(type(self))
        ModelSequence.__init__(new, [component.copy(memo=memo) for component in components])
        return new

    def copy(self) -> Self:
        """Return an independent copy; parameters that are shared stay shared among the copies."""
        memo: dict[int, Any] = {}
        new = self._copied_from(self._components, memo)
        if self.has_covariance:
            new.keep_covariance(self.covariance.rebound(memo, new.parameters))
        return new

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        new = memo[id(self)] = self.copy()
        return new

    def to_dict(self, full_output: bool = True) -> dict[str, Any]:
        """Return plain data in the form of Gammapy's YAML, from which equal models can be created.

        Parameters
        ----------
        full_output : bool
            Whether values that equal the default of the class are also written.

        Returns
        -------
        dict
            ``{"components": [...]}``; the covariance is not included.
        """
        links = link_labels(self.named_parameters())
        return {"components": [c.to_dict(full_output, links) for c in self._components]}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Return models from plain data.

        Parameters
        ----------
        data : dict
            Data as returned by `to_dict`, or read from Gammapy's YAML.

        Raises
        ------
        ModelError
            If the data are invalid; the message names component and key.
        DuplicateNameError
            If a name occurs twice.
        """
        listed = check_mapping(data, "models").get("components")
        if not isinstance(listed, list):
            msg = f"components is {listed!r}, expected a list"
            raise ModelError(msg)
        links: dict[str, Parameter] = {}
        components = []
        for k, item in enumerate(listed):
            with locating(_component_label(k, item)):
                item = check_mapping(item, "component")
                component_class = get_class("component", item.get("type"))
                try:
                    components.append(component_class.from_dict(item, links))
                except RecursionError as error:
                    msg = "models are nested too deeply, or contain themselves"
                    raise ModelError(msg) from error
        check_links({made.name: item for made, item in zip(components, listed, strict=True)})
        return cls(components)

    # --- display ------------------------------------------------------------------------

    def __str__(self) -> str:
        shown = "\n\n".join(str(component) for component in self._components[:20])
        more = f"\n\n... and {len(self) - 20} more" if len(self) > 20 else ""
        return f"{type(self).__name__} of {len(self)} components\n\n{shown}{more}"

    def __repr__(self) -> str:
        shown = ", ".join(self.names[:8]) + (", ..." if len(self) > 8 else "")
        return f"{type(self).__name__}({len(self)}: {shown})"

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def _component_label(k: int, item: object) -> str:
    """Return a label of a component from what is known before it is read."""
    data = item if isinstance(item, dict) else {}
    names = data.get("datasets_names")
    name = data.get("name") or (f"{names[0]}-bkg" if isinstance(names, list) and names else None)
    return f"component {k}" if name is None else f"component {str(name)!r}"
