"""A source: spectrum, morphology, time dependence, and the IRFs that apply to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self
from uuid import uuid4

from gmdask.errors import ModelError, check_kind, described
from gmdask.models.base import ModelBase
from gmdask.models.component import Component
from gmdask.models.io.serialization import (
    check_keys,
    dataset_names_from,
    model_from_dict,
    model_to_dict,
)
from gmdask.models.parameter import Parameter
from gmdask.models.registry import get_class, register
from gmdask.models.spatial.base import SpatialModel
from gmdask.models.spectral.power_law import SpectralModel
from gmdask.models.temporal.base import TemporalModel

__all__ = ["SkyModel"]

_IRFS = ("exposure", "psf", "edisp")
_KINDS = ("spectral", "spatial", "temporal")


@register
class SkyModel(Component):
    """A source: the product of a spectral, a spatial and a temporal model.

    Parameters
    ----------
    spectral_model : SpectralModel
        Spectrum; a norm model if the spatial model is a template in cm-2 s-1 TeV-1 sr-1.
    spatial_model : SpatialModel, optional
        Morphology.
    name : str, optional
        Name; a random one by default.
    datasets_names : str or list of str, optional
        Datasets it applies to (exact names); None for all.
    apply_irf : dict of bool, optional
        Whether "exposure", "psf" and "edisp" apply; by default all do.
    temporal_model : TemporalModel, optional
        Time dependence.

    Raises
    ------
    ModelError
        If a model is of a wrong kind, or the exposure applies to a spectrum
        of counts.
    """

    tag = ("SkyModel", "sky-model")

    def __init__(
        self,
        spectral_model: SpectralModel,
        spatial_model: SpatialModel | None = None,
        name: str | None = None,
        datasets_names: str | Iterable[str] | None = None,
        apply_irf: Mapping[str, bool] | None = None,
        temporal_model: TemporalModel | None = None,
    ) -> None:
        super().__init__(uuid4().hex[:8] if name is None else name, datasets_names)
        self.spectral_model = spectral_model
        self.spatial_model = spatial_model
        self.temporal_model = temporal_model
        self.apply_irf = self._checked_irfs(apply_irf)
        self._check_models()
        self._label_parameters()

    def _check_models(self) -> None:
        self._checked_irfs(self.apply_irf)
        shape: Any = self.spatial_model
        spectral: Any = self.spectral_model
        if not isinstance(shape, SpatialModel | None) or (shape and not shape.density_unit):
            msg = f"{self._name}: spatial_model is {described(shape)}, expected a spatial model"
            raise ModelError(msg)
        # a template that is a spectrum per sr, like the Galactic diffuse emission, needs a norm model
        is_norm = shape is not None and shape.density_unit != "sr-1"
        if not isinstance(spectral, SpectralModel) or spectral.is_norm != is_norm:
            expected = "a norm (the map is a spectrum)" if is_norm else "a spectrum"
            msg = f"{self._name}: spectral_model is {described(spectral)}, expected {expected}"
            raise ModelError(msg)
        change: Any = self.temporal_model
        if not isinstance(change, TemporalModel | None):
            msg = f"{self._name}: temporal_model is {described(change)}, expected a temporal model"
            raise ModelError(msg)
        if spectral.is_counts and self.apply_irf["exposure"]:
            msg = (
                f"{self._name}: the spectrum has no area and time in its unit "
                f"({spectral.output_unit}), which is valid for apply_irf={{'exposure': False}} only"
            )
            raise ModelError(msg)

    def _checked_irfs(self, apply_irf: Mapping[str, bool] | None) -> dict[str, bool]:
        check_kind(
            apply_irf, Mapping | None, f"apply_irf with true or false for {', '.join(_IRFS)}"
        )
        given = {} if apply_irf is None else dict(apply_irf)
        for key, value in given.items():
            if key not in _IRFS or not isinstance(value, bool):
                msg = (
                    f"{self._name}: apply_irf has {key}: {value!r}, "
                    f"expected true or false for {', '.join(_IRFS)}"
                )
                raise ModelError(msg)
        return {**dict.fromkeys(_IRFS, True), **given}

    @property
    def models(self) -> dict[str, ModelBase]:
        """Models by kind, in the order of the parameters."""
        models: dict[str, ModelBase] = {"spectral": self.spectral_model}
        if self.spatial_model is not None:
            models["spatial"] = self.spatial_model
        if self.temporal_model is not None:
            models["temporal"] = self.temporal_model
        return models

    @property
    def position(self) -> Any:
        """Centre as a `~astropy.coordinates.SkyCoord`, None for a model without one."""
        return None if self.spatial_model is None else self.spatial_model.position

    @position.setter
    def position(self, position: Any) -> None:
        if self.spatial_model is None:
            msg = f"{self._name} has no spatial model, and so no position"
            raise ModelError(msg)
        self.spatial_model.position = position

    @classmethod
    def create(
        cls,
        spectral_model: str,
        spatial_model: str | None = None,
        temporal_model: str | None = None,
        **arguments: Any,
    ) -> Self:
        """Create a sky model from default models.

        Parameters
        ----------
        spectral_model, spatial_model, temporal_model : str
            Class names or short tags, such as "pl" and "gauss".
        **arguments
            Arguments of the class.

        Raises
        ------
        ModelError
            If there is no such model.
        """
        tags = (spectral_model, spatial_model, temporal_model)
        made = {
            f"{kind}_model": get_class(kind, tag)()
            for kind, tag in zip(_KINDS, tags, strict=True)
            if tag is not None
        }
        return cls(**made, **arguments)

    def to_dict(
        self, full_output: bool = True, links: dict[int, str] | None = None
    ) -> dict[str, Any]:
        """Return plain data in the form of Gammapy's YAML."""
        data: dict[str, Any] = {"name": self._name, "type": self.tag[0]}
        if not all(self.apply_irf.values()):
            data["apply_irf"] = dict(self.apply_irf)
        if self._datasets_names is not None:
            data["datasets_names"] = list(self._datasets_names)
        for kind, model in self.models.items():
            data[kind] = model_to_dict(model, full_output, links)
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any], links: dict[str, Parameter] | None = None) -> Self:
        """Return a sky model from plain data."""
        known = ("name", "type", "apply_irf", "datasets_names", *_KINDS)
        check_keys(data, known, required=("name", "spectral"))
        irfs = data.get("apply_irf")
        if not isinstance(irfs, dict | None):
            msg = f"apply_irf is {irfs!r}, expected true or false for {', '.join(_IRFS)}"
            raise ModelError(msg)
        links = {} if links is None else links
        models = {
            f"{kind}_model": model_from_dict(kind, data[kind], links)
            for kind in _KINDS
            if data.get(kind) is not None
        }
        return cls(
            **models,
            name=data["name"],
            datasets_names=dataset_names_from(data),
            apply_irf=irfs,
        )
