"""What sky models and background models have in common."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING, Any, ClassVar, Self

from gmdask.errors import ModelError
from gmdask.models.base import ModelBase
from gmdask.models.covariance import HasCovariance
from gmdask.models.parameter import Parameter
from gmdask.models.parameters import Parameters

if TYPE_CHECKING:
    from gmdask.models.models import Models

__all__ = ["Component"]

_TYPES = ("spectral", "spatial", "temporal")
_PARTS = ("spectral_model", "spatial_model", "temporal_model", "apply_irf")


class Component(HasCovariance):
    """A named component of the global model, made of models and bound to datasets.

    Parameters
    ----------
    name : str
        Name.
    datasets_names : str or list of str, optional
        Datasets it applies to (exact names), None for all.

    Raises
    ------
    ModelError
        If the name is not a non-empty string.
    """

    kind: ClassVar[str] = "component"
    tag: ClassVar[tuple[str, ...]] = ()
    # counts changes of datasets_names anywhere, so that an index by dataset knows its age
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
        names = [names] if isinstance(names, str) else list(names)
        if not all(isinstance(name, str) for name in names):
            msg = f"datasets_names of {self._name!r} is {names!r}, expected names"
            raise ModelError(msg)
        return names

    @property
    def name(self) -> str:
        """Name; it stays what it is (``copy(name=...)`` makes another)."""
        return self._name

    @property
    def datasets_names(self) -> list[str] | None:
        """Names of the datasets it applies to (a new list), None for all."""
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
        """Let messages of the parameters say where they belong."""
        for name, par in reversed(self.named_parameters()):
            par.where = name

    def named_parameters(self) -> list[tuple[str, Parameter]]:
        """Full names ("crab.spectral.index") and parameters, shared ones repeated."""
        return [
            (f"{self._name}.{kind}.{name}", par)
            for kind, model in self.models.items()
            for name, par in model.named_parameters()
        ]

    @property
    def parameters(self) -> Parameters:
        """Parameters, found by short name where it is unique ("index") or full name."""
        return Parameters.from_names(self.named_parameters())

    def _inner(self) -> Iterable[ModelBase]:
        return self.models.values()

    def check_values(self) -> None:
        """Refuse values that mean nothing, as a width below zero.

        Raises
        ------
        ModelError
            Naming the parameter, its value and what is expected.
        """
        for model in self.models.values():
            model.check_values()

    @property
    def frozen(self) -> bool:
        """Whether all parameters are frozen."""
        return all(model.frozen for model in self.models.values())

    def freeze(self, model_type: str | None = None) -> None:
        """Freeze all parameters, or those of one type ("spectral", "spatial", "temporal")."""
        for model in self._of_type(model_type):
            model.freeze()

    def unfreeze(self, model_type: str | None = None) -> None:
        """Give parameters back the frozen flag of their class."""
        for model in self._of_type(model_type):
            model.unfreeze()

    def _of_type(self, model_type: str | None) -> list[ModelBase]:
        if model_type not in (None, *_TYPES):
            msg = f"model_type is {model_type!r}, expected one of {', '.join(_TYPES)}"
            raise ModelError(msg)
        return [model for key, model in self.models.items() if model_type in (None, key)]

    # --- copies and plain data ----------------------------------------------------------

    def copy(self, name: str | None = None, memo: dict[int, Any] | None = None) -> Self:
        """Independent copy; maps are shared.

        Parameters
        ----------
        name : str, optional
            Its name, by default the same.
        memo : dict, optional
            Parameters that are shared under one ``memo`` stay shared; the covariance is copied
            without one only.
        """
        return self._copied(name, memo, self._datasets_names)

    def _copied(
        self, name: str | None, memo: dict[int, Any] | None, datasets_names: list[str] | None
    ) -> Self:
        """Copy, bound to some datasets; one that is made alone gets the covariance."""
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
        """Refuse models that are not of the kind that is expected, or do not go together."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        new = memo[id(self)] = self.copy(memo=memo)
        self._copy_covariance(new)
        return new

    def to_dict(
        self, full_output: bool = True, links: dict[int, str] | None = None
    ) -> dict[str, Any]:
        """Plain data, in the form of Gammapy's YAML.

        Parameters
        ----------
        full_output : bool
            Whether what equals the default is written too.
        links : dict, optional
            Label of each shared parameter, by its id.
        """
        raise NotImplementedError

    @classmethod
    def from_dict(cls, data: dict[str, Any], links: dict[str, Parameter] | None = None) -> Self:
        """Component from plain data.

        Parameters
        ----------
        data : dict
            As of `to_dict`.
        links : dict, optional
            Shared parameters by their labels; it is added to.

        Raises
        ------
        ModelError
            If the data are not what is expected.
        """
        raise NotImplementedError

    def __add__(self, other: Any) -> Models:
        from gmdask.models.models import Models

        models: Models = Models(self) + other
        return models

    def reassign(self, old: str | Iterable[str], new: str | Iterable[str]) -> Self:
        """Copy, bound to other datasets; see `Models.reassign`."""
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
