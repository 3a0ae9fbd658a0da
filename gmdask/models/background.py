"""The background of one dataset: corrections to a template that stays with the data."""

from __future__ import annotations

from typing import Any, Self

from astropy import units as u

from gmdask.errors import ModelError
from gmdask.models.base import ModelBase
from gmdask.models.component import Component
from gmdask.models.parameter import Parameter
from gmdask.models.plain import (
    check_keys,
    dataset_names_from,
    model_from_dict,
    model_to_dict,
    refuse_key,
)
from gmdask.models.registry import register
from gmdask.models.spectral import PowerLawNormSpectralModel, SpectralModel

__all__ = ["BackgroundIRFModel"]


@register
class BackgroundIRFModel(Component):
    """Norm (as a function of energy) of the background template of one dataset.

    Gammapy's `FoVBackgroundModel`, under which name it is written to YAML.

    Parameters
    ----------
    spectral_model : SpectralModel, optional
        Norm model, by default a `PowerLawNormSpectralModel`.
    dataset_name : str
        The dataset.
    name : str, optional
        Name, by default "<dataset_name>-bkg".

    Raises
    ------
    ModelError
        If the spectral model is not a norm model.
    """

    tag = ("FoVBackgroundModel", "fov-bkg", "BackgroundIRFModel")

    def __init__(
        self,
        spectral_model: SpectralModel | None = None,
        dataset_name: str = "",
        name: str | None = None,
    ) -> None:
        if not isinstance(dataset_name, str) or not dataset_name:
            message = f"dataset_name is {dataset_name!r}, expected the name of a dataset"
            raise ModelError(message)
        super().__init__(f"{dataset_name}-bkg" if name is None else name, [dataset_name])
        model = PowerLawNormSpectralModel() if spectral_model is None else spectral_model
        if not isinstance(model, SpectralModel) or not model.is_norm:
            message = f"{self._name}: spectral_model is {model!r}, expected a norm model"
            raise ModelError(message)
        self.spectral_model = model
        self._label_parameters()

    @property
    def dataset_name(self) -> str:
        """Name of the dataset."""
        return (self._datasets_names or [""])[0]

    def _checked_names(self, names: Any) -> list[str] | None:
        checked = super()._checked_names(names)
        if checked is None or len(checked) != 1:
            message = f"datasets_names of {self._name!r} is {names!r}, expected exactly one"
            raise ModelError(message)
        return checked

    @property
    def models(self) -> dict[str, ModelBase]:
        """Models by kind."""
        return {"spectral": self.spectral_model}

    def evaluate(self, energy: u.Quantity) -> u.Quantity:
        """Norm at energies."""
        return self.spectral_model(energy)

    def copy(
        self,
        name: str | None = None,
        memo: dict[int, Any] | None = None,
        dataset_name: str | None = None,
    ) -> Self:
        """Independent copy, of another name or for another dataset if one is given.

        A default name follows the dataset.
        """
        new = object.__new__(type(self))
        new.__dict__.update(self.__dict__)
        new.spectral_model = self.spectral_model.copy(memo)
        if dataset_name is not None:
            if self._name == f"{self.dataset_name}-bkg":
                new._name = f"{dataset_name}-bkg"
            new._datasets_names = self._checked_names(dataset_name)
        if name is not None:
            new._name = name
        if new._name != self._name:
            new._label_parameters()
        return new

    def to_dict(
        self, full_output: bool = True, links: dict[int, str] | None = None
    ) -> dict[str, Any]:
        """Plain data, in the form of Gammapy's YAML (with ``name``, if it is not the default)."""
        data: dict[str, Any] = {"type": self.tag[0], "datasets_names": [self.dataset_name]}
        if self._name != f"{self.dataset_name}-bkg":
            data["name"] = self._name
        data["spectral"] = model_to_dict(self.spectral_model, full_output, links)
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any], links: dict[str, Parameter] | None = None) -> Self:
        """Background model from plain data."""
        refuse_key(data, "spatial", "spatial norms of a background are not supported")
        known = ("name", "type", "datasets_names", "spectral")
        check_keys(data, known, required=("datasets_names",))
        names = dataset_names_from(data) or []
        if len(names) != 1:
            message = f"datasets_names is {names!r}, expected exactly one"
            raise ModelError(message)
        spectral = data.get("spectral")
        if spectral is not None:
            spectral = model_from_dict("spectral", spectral, {} if links is None else links)
        return cls(spectral, dataset_name=names[0], name=data.get("name"))
