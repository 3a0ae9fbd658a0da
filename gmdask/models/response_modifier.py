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
from gmdask.models.registry import register
from gmdask.models.spectral.power_law import PowerLawNormSpectralModel, SpectralModel

__all__ = ["ResponseModifier"]


@register
class ResponseModifier(Component):
    """A factor of the exposure of some datasets, as a function of true energy.

    The predicted counts of every `SkyModel` in these datasets are computed with the exposure of the dataset
    times the norm; in flux points, the predicted flux is multiplied by it. Backgrounds, templates of
    predicted counts and sky models without exposure (``apply_irf``) are not changed. If several modifiers apply to a
    dataset, their norms are multiplied.

    A prior, such as ``LogNormalPrior(mu=1, sigma=0.1)``, states how well the response is known. Parameters of a
    modifier of exactly one dataset are minimised where the data are, like those of a background.

    Parameters
    ----------
    exposure_model : SpectralModel, optional
        Norm model, evaluated at the centres of the true energies; by default a `PowerLawNormSpectralModel`
        with frozen tilt.
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
    ) -> None:
        super().__init__(uuid4().hex[:8] if name is None else name, datasets_names)
        if name is None and self.dataset_name is not None:
            self._name = f"{self.dataset_name}-response"
        if exposure_model is None:
            exposure_model = PowerLawNormSpectralModel()
            exposure_model.tilt.frozen = True
        self.exposure_model = exposure_model
        self._check_models()
        self._label_parameters()

    def _check_models(self) -> None:
        norm: Any = self.exposure_model
        if not isinstance(norm, SpectralModel) or not norm.is_norm:
            msg = f"{self._name}: exposure_model is {described(norm)}, expected a norm model"
            raise ModelError(msg)

    @property
    def dataset_name(self) -> str | None:
        """Name of the dataset, if it applies to exactly one."""
        names = self._datasets_names
        return names[0] if names is not None and len(names) == 1 else None

    @property
    def models(self) -> dict[str, ModelBase]:
        """Models by kind, in the order of the parameters."""
        return {"exposure": self.exposure_model}

    def to_dict(
        self, full_output: bool = True, links: dict[int, str] | None = None
    ) -> dict[str, Any]:
        """Return plain data."""
        data: dict[str, Any] = {"name": self._name, "type": self.tag[0]}
        data["exposure"] = model_to_dict(self.exposure_model, full_output, links)
        if self._datasets_names is not None:
            data["datasets_names"] = list(self._datasets_names)
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any], links: dict[str, Parameter] | None = None) -> Self:
        """Return a modifier from plain data."""
        check_keys(data, ("name", "type", "exposure", "datasets_names"), required=("exposure",))
        model = model_from_dict("spectral", data["exposure"], {} if links is None else links)
        return cls(model, dataset_names_from(data), data.get("name"))
