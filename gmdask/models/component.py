"""The common base of sky models and background models."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING, Any, ClassVar, Self

from gmdask.errors import ModelError, check_kind
from gmdask.models.base import ModelBase
from gmdask.models.covariance import HasCovariance
from gmdask.models.parameter import Parameter
from gmdask.models.parameters import Parameters

if TYPE_CHECKING:
    from gmdask.models.models import Models

__all__ = ["Component"]

_TYPES = ("spectral", "spatial", "temporal", "exposure", "energy")
_PARTS = (
    "spectral_model",
    "spatial_model",
    "temporal_model",
    "exposure_model",
    "energy_model",
    "apply_irf",
)


class Component(HasCovariance):
    """A named component of the global model, which consists of models and is assigned to datasets.

    Parameters
    ----------
    name : str
        Name.
    datasets_names : str or list of str, optional
        Datasets it applies to (exact names); None for all.

    Raises
    ------
    ModelError
        If the name is not a non-empty string.
    """

    kind: ClassVar[str] = "component"
    tag: ClassVar[tuple[str, ...]] = ()
    # counts changes of datasets_names in all components, so that an index by dataset knows when it is outdated
    assignments: ClassVar[int] = 0

    def __init__(self, name: str, datasets_names: str | Iterable[str] | None) -> None:
        if not isinstance(name, str) or not name:
            msg = f"name of {type(self).__name__} is {name!r}, expected a string"
            raise ModelError(msg)
        self._name = name
        self._datasets_names = self._checked_names(datasets_names)

    def _checked_names(self, names: str | Iterable[str] | None) -> list[str] | None:
        if names is None:
            return None
        check_kind(
            names, Iterable, f"datasets_names of {self._name!r} as a name, or a list of names"
        )
        names = [names] if isinstance(names, str) else list(names)
        if not all(isinstance(name, str) for name in names):
            msg = f"datasets_names of {self._name!r} is {names!r}, expected names"
            raise ModelError(msg)
        return names

    @property
    def name(self) -> str:
        """Name, which cannot be changed (``copy(name=...)`` makes a component of another name)."""
        return self._name

    @property
    def datasets_names(self) -> list[str] | None:
        """Names of the datasets it applies to, as a new list; None for all."""
        return None if self._datasets_names is None else list(self._datasets_names)

    @datasets_names.setter
    def datasets_names(self, names: str | Iterable[str] | None) -> None:
        self._datasets_names = self._checked_names(names)
        Component.assignments += 1

    def applies_to(self, dataset_name: str) -> bool:
        """Whether it applies to a dataset."""
        return self._datasets_names is None or dataset_name in self._datasets_names

    # --- models and parameters ------------------------------------------------------

    @property
    def models(self) -> dict[str, ModelBase]:
        """Models by kind, in the order of the parameters."""
        raise NotImplementedError

    def _label_parameters(self) -> None:
        """Label the parameters, so that error messages name their model."""
        for name, par in reversed(self.named_parameters()):
            par.where = name

    def named_parameters(self) -> list[tuple[str, Parameter]]:
        """Return full names ("crab.spectral.index") and parameters; shared ones are repeated."""
        return [
            (f"{self._name}.{kind}.{name}", par)
            for kind, model in self.models.items()
            for name, par in model.named_parameters()
        ]

    @property
    def parameters(self) -> Parameters:
        """Parameters, accessible by short name where it is unique ("index"), or by full name."""
        return Parameters.from_names(self.named_parameters())

    def _inner(self) -> Iterable[ModelBase]:
        return self.models.values()

    def check_values(self) -> None:
        """Raise an error for values outside their domain, such as a negative width.

        Raises
        ------
        ModelError
            If a value is outside; the message names the parameter, its value and the expectation.
        """
        for model in self.models.values():
            model.check_values()

    @property
    def frozen(self) -> bool:
        """Whether all parameters are frozen."""
        return all(model.frozen for model in self.models.values())

    def freeze(self, model_type: str | None = None) -> None:
        """Freeze all parameters, or those of one type ("spectral", "spatial", "temporal", "exposure", "energy")."""
        for model in self._of_type(model_type):
            model.freeze()

    def unfreeze(self, model_type: str | None = None) -> None:
        """Restore the frozen flags of the class for all parameters, or for those of one type."""
        for model in self._of_type(model_type):
            model.unfreeze()

    def _of_type(self, model_type: str | None) -> list[ModelBase]:
        if model_type not in (None, *_TYPES):
            msg = f"model_type is {model_type!r}, expected one of {', '.join(_TYPES)}"
            raise ModelError(msg)
        return [model for key, model in self.models.items() if model_type in (None, key)]

    # --- copies and plain data ----------------------------------------------------------

    def copy(self, name: str | None = None, memo: dict[int, Any] | None = None) -> Self:
        """Return an independent copy; maps are shared.

        Parameters
        ----------
        name : str, optional
            Name of the copy; by default the same.
        memo : dict, optional
            Parameters that are shared under the same ``memo`` stay shared; the covariance is copied
            only without a memo.
        """
        return self._copied(name, memo, self._datasets_names)

    def _copied(
        self, name: str | None, memo: dict[int, Any] | None, datasets_names: list[str] | None
    ) -> Self:
        """Return a copy that is assigned to some datasets; without a memo, it gets the covariance."""
        new = object.__new__(type(self))
        new.__dict__.update(self.__dict__)
        new.__dict__.pop("_covariance", None)
        new._name = self._name if name is None else name
        new._datasets_names = None if datasets_names is None else list(datasets_names)
        shared = {} if memo is None else memo
        for key in _PARTS:
            part = self.__dict__.get(key)
            if isinstance(part, ModelBase):
                new.__dict__[key] = part.copy(shared)
            elif isinstance(part, dict):
                new.__dict__[key] = dict(part)
        if new._name != self._name:
            new._label_parameters()
        if memo is None:
            self._copy_covariance(new)
        return new

    def __setattr__(self, name: str, value: object) -> None:
        if name not in _PARTS or not self._is_made:
            super().__setattr__(name, value)
            return
        before = self.__dict__.get(name)
        super().__setattr__(name, value)
        try:
            self._check_models()
        except ModelError:
            super().__setattr__(name, before)
            raise
        self._label_parameters()

    def _check_models(self) -> None:
        """Raise an error for models of a wrong kind, or that cannot be combined."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        new = memo[id(self)] = self.copy(memo=memo)
        self._copy_covariance(new)
        return new

    def to_dict(
        self, full_output: bool = True, links: dict[int, str] | None = None
    ) -> dict[str, Any]:
        """Return plain data in the form of Gammapy's YAML.

        Parameters
        ----------
        full_output : bool
            Whether values that equal the default are also written.
        links : dict, optional
            Label of each shared parameter, by the id of the parameter.
        """
        raise NotImplementedError

    @classmethod
    def from_dict(cls, data: dict[str, Any], links: dict[str, Parameter] | None = None) -> Self:
        """Return a component from plain data.

        Parameters
        ----------
        data : dict
            As returned by `to_dict`.
        links : dict, optional
            Shared parameters by their labels; new ones are added to it.

        Raises
        ------
        ModelError
            If the data are invalid.
        """
        raise NotImplementedError

    def __add__(self, other: Any) -> Models:
        from gmdask.models.models import Models

        models: Models = Models(self) + other
        return models

    def reassign(self, old: str | Iterable[str], new: str | Iterable[str]) -> Self:
        """Return a copy that is assigned to other datasets; see `Models.reassign`."""
        from gmdask.models.models import Models

        return Models(self).reassign(old, new)[0]  # type: ignore[no-any-return]

    def __str__(self) -> str:
        datasets = "all" if self._datasets_names is None else ", ".join(self._datasets_names)
        models = ", ".join(type(model).__name__ for model in self.models.values())
        pars = "\n".join(f"  {line}" for line in str(self.parameters).splitlines())
        return f"{type(self).__name__} {self._name!r} ({models}), datasets: {datasets}\n{pars}"

    def __repr__(self) -> str:
        models = ", ".join(repr(model) for model in self.models.values())
        return f"{type(self).__name__}(name={self._name!r}, {models})"

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"
