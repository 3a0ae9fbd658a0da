"""Systematic errors of the response of some datasets, as parameters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self
from uuid import uuid4

from gmdask.errors import ModelError, described
from gmdask.models.base import ModelBase
from gmdask.models.component import Component
from gmdask.models.io.serialization import (
    check_keys,
    dataset_names_from,
    model_from_dict,
    model_to_dict,
)
from gmdask.models.parameter import Parameter
from gmdask.models.parameter_default import ParameterDefault
from gmdask.models.registry import register
from gmdask.models.spectral.power_law import PowerLawNormSpectralModel, SpectralModel

__all__ = ["EnergyScaleModel", "ResponseModifier"]


@register
class EnergyScaleModel(ModelBase):
    """Factor s by which the energies of an instrument are too high: of a flux f(E) it sees ``f(E / s) / s``.

    Parameters
    ----------
    scale : float or Quantity
        Factor of the energy.
    """

    kind = "energy"
    tag = ("EnergyScaleModel", "energy-scale")
    defaults = (ParameterDefault("scale", 1.0, min=0.1, max=10.0, least=1e-3, most=1e3),)


@register
class ResponseModifier(Component):
    """Factors of the exposure, as a function of true energy, and of the energies of some datasets.

    The predicted counts of every `SkyModel` in these datasets are computed with the exposure of the dataset
    times the norm; in flux points, the predicted flux is multiplied by it. With an energy scale s, the flux f(E) of
    every source appears as ``f(E / s) / s`` (exposure, PSF and energy dispersion are those of the energies that the
    instrument assigns; energy-dependent shapes are not changed). Backgrounds, templates of
    predicted counts and sky models without exposure (``apply_irf``) are not changed. If several modifiers apply to a
    dataset, their norms and scales are multiplied.

    A prior, such as ``LogNormalPrior(mu=1, sigma=0.1)``, states how well the response is known. Parameters of a
    modifier of exactly one dataset are minimised where the data are, like those of a background.

    Parameters
    ----------
    exposure_model : SpectralModel, optional
        Norm model, evaluated at the centres of the true energies; by default a `PowerLawNormSpectralModel`
        with frozen tilt, if there is no `energy_model`.
    energy_model : EnergyScaleModel, optional
        Scale of the energies.
    datasets_names : str or list of str, optional
        Datasets it applies to, such as those of an instrument; None for all.
    name : str, optional
        Name; by default "<dataset>-response" for one dataset, else a random one.

    Raises
    ------
    ModelError
        If the model is not a norm model.

    Notes
    -----
    Gammapy has no such component and cannot read files with one.
    """

    tag = ("ResponseModifier", "response-modifier")

    def __init__(
        self,
        exposure_model: SpectralModel | None = None,
        datasets_names: str | Iterable[str] | None = None,
        name: str | None = None,
        energy_model: EnergyScaleModel | None = None,
    ) -> None:
        super().__init__(uuid4().hex[:8] if name is None else name, datasets_names)
        if name is None and self.dataset_name is not None:
            self._name = f"{self.dataset_name}-response"
        if exposure_model is None and energy_model is None:
            exposure_model = PowerLawNormSpectralModel()
            exposure_model.tilt.frozen = True
        self.exposure_model, self.energy_model = exposure_model, energy_model
        self._check_models()
        self._label_parameters()

    def _check_models(self) -> None:
        norm: Any = self.exposure_model
        if norm is not None and not (isinstance(norm, SpectralModel) and norm.is_norm):
            msg = f"{self._name}: exposure_model is {described(norm)}, expected a norm model"
            raise ModelError(msg)
        scale: Any = self.energy_model
        if not isinstance(scale, EnergyScaleModel | None):
            msg = f"{self._name}: energy_model is {described(scale)}, expected an EnergyScaleModel"
            raise ModelError(msg)
        if norm is None and scale is None:
            msg = f"{self._name}: has neither exposure_model nor energy_model"
            raise ModelError(msg)

    @property
    def dataset_name(self) -> str | None:
        """Name of the dataset, if it applies to exactly one."""
        names = self._datasets_names
        return names[0] if names is not None and len(names) == 1 else None

    @property
    def models(self) -> dict[str, ModelBase]:
        """Models by kind, in the order of the parameters."""
        parts = {"exposure": self.exposure_model, "energy": self.energy_model}
        return {key: model for key, model in parts.items() if model is not None}

    def to_dict(
        self, full_output: bool = True, links: dict[int, str] | None = None
    ) -> dict[str, Any]:
        """Return plain data."""
        data: dict[str, Any] = {"name": self._name, "type": self.tag[0]}
        data |= {key: model_to_dict(m, full_output, links) for key, m in self.models.items()}
        if self._datasets_names is not None:
            data["datasets_names"] = list(self._datasets_names)
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any], links: dict[str, Parameter] | None = None) -> Self:
        """Return a modifier from plain data."""
        check_keys(data, ("name", "type", "exposure", "energy", "datasets_names"))
        links = {} if links is None else links
        if data.get("exposure") is None and data.get("energy") is None:
            msg = "key 'exposure' is missing, and so is 'energy'"
            raise ModelError(msg)
        exposure, energy = (
            None if data.get(key) is None else model_from_dict(kind, data[key], links)
            for kind, key in (("spectral", "exposure"), ("energy", "energy"))
        )
        return cls(exposure, dataset_names_from(data), data.get("name"), energy)
