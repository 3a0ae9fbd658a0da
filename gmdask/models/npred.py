"""Predicted counts given as a map, times an energy-dependent norm."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import numpy as np
from astropy import units as u
from astropy.units import Unit, ct

from gmdask.errors import ModelError, described
from gmdask.geometry import rotate
from gmdask.models.base import ModelBase
from gmdask.models.component import Component
from gmdask.models.io.region_map import map_from_gammapy
from gmdask.models.io.serialization import (
    check_keys,
    dataset_names_from,
    model_from_dict,
    model_to_dict,
)
from gmdask.models.io.sky_map import SkyMap, read_sky_map
from gmdask.models.io.template_files import write_map
from gmdask.models.parameter import Parameter
from gmdask.models.registry import register
from gmdask.models.spatial.base import SkyGrid, SpatialModel
from gmdask.models.spectral.power_law import PowerLawNormSpectralModel, SpectralModel

__all__ = ["TemplateNPredModel"]

log = logging.getLogger(__name__)


@register
class TemplateNPredModel(Component):
    """A map of counts per bin of reconstructed energy, with a norm.

    Parameters
    ----------
    map : SkyMap, optional
        Counts, with one axis "energy" of edges, on the pixels of the datasets it applies to (or
        some of them); by default it is read from the file.
    spectral_model : SpectralModel, optional
        Norm, at the centres of the energy bins; by default a power law with frozen tilt.
    name : str, optional
        Name; a random one by default.
    filename : str or Path, optional
        FITS file of the map.
    datasets_names : str or list of str, optional
        The dataset it applies to, None for all.
    spatial_model : SpatialModel, optional
        Norm on the sky. As in Gammapy, its parameters are not among those of the model.

    Raises
    ------
    ModelError
        If the map or a model is of a wrong kind.
    """

    tag = ("TemplateNPredModel", "template-npred")

    def __init__(
        self,
        map: SkyMap | None = None,  # noqa: A002
        spectral_model: SpectralModel | None = None,
        name: str | None = None,
        filename: str | Path | None = None,
        datasets_names: str | Iterable[str] | None = None,
        spatial_model: SpatialModel | None = None,
    ) -> None:
        super().__init__(uuid4().hex[:8] if name is None else name, datasets_names)
        self.filename = None if filename is None else str(filename)
        self._is_read = map is None
        given: Any = read_sky_map(filename) if map is None and filename is not None else map
        if hasattr(given, "to_hdulist"):  # a Gammapy map
            given = map_from_gammapy(given)
        if not isinstance(given, SkyMap):
            msg = f"{self._name}: map is {described(given)}, expected a SkyMap or a filename"
            raise ModelError(msg)
        if given.axis_names != ("energy",) or given.axes[0].node_type != "edges":
            msg = (
                f"{self._name}: its map has the axes {given.axis_names}, expected energy with edges"
            )
            raise ModelError(msg)
        self.map = given
        if not Unit(given.unit).is_equivalent("") and Unit(given.unit) != ct:
            msg = f"{self._name}: its map is in {given.unit}, expected counts"
            raise ModelError(msg)
        if not np.isfinite(given.data).all():
            msg = f"{self._name}: its map has values that are NaN or infinite"
            raise ModelError(msg)
        if spectral_model is None:
            spectral_model = PowerLawNormSpectralModel()
            spectral_model.tilt.frozen = True
        self.spectral_model, self.spatial_model = spectral_model, spatial_model
        self._check_models()
        self._label_parameters()

    def _check_models(self) -> None:
        norm: Any = self.spectral_model
        if not isinstance(norm, SpectralModel) or not norm.is_norm:
            msg = f"{self._name}: spectral_model is {described(norm)}, expected a norm model"
            raise ModelError(msg)
        shape: Any = self.spatial_model
        if not isinstance(shape, SpatialModel | None):
            msg = f"{self._name}: spatial_model is {described(shape)}, expected a norm on the sky"
            raise ModelError(msg)

    @property
    def models(self) -> dict[str, ModelBase]:
        """Models by kind, in the order of the parameters."""
        return {"spectral": self.spectral_model}

    def evaluate(self) -> SkyMap:
        """Return the map with all norms applied."""
        axis = self.map.axes[0]
        norm = self.spectral_model(u.Quantity(axis.center, axis.unit or "TeV")).to_value("")
        data = self.map.data * norm[:, None, None]
        if self.spatial_model is not None:
            lonlat = rotate(*self.map.grid.pixel_centers, self.map.frame, self.spatial_model.frame)
            values = self.spatial_model.internal_values.tolist()
            spatial = self.spatial_model.evaluate(SkyGrid(*lonlat), *values)
            data = data * np.nan_to_num(spatial * self.spatial_model.norm_factor)
        return SkyMap(data, self.map.grid.header, self.map.axes, self.map.unit)

    def write_map(self, path: str | Path | None = None, overwrite: bool = False) -> None:
        """Write the map, unless its file exists already; see `template_files.write_map`."""
        write_map(self, self.map, path, overwrite, is_read=self._is_read)

    def to_dict(
        self, full_output: bool = True, links: dict[int, str] | None = None
    ) -> dict[str, Any]:
        """Return plain data in the form of Gammapy's YAML (with the map, if it has no file)."""
        data: dict[str, Any] = {"name": self._name, "type": self.tag[0]}
        if self.spatial_model is not None:
            data["spatial"] = model_to_dict(self.spatial_model, full_output, links)
        data["spectral"] = model_to_dict(self.spectral_model, full_output, links)
        if self.filename is not None:
            data["filename"] = self.filename
        if self._datasets_names is not None:
            data["datasets_names"] = list(self._datasets_names)
        if not self._is_read:
            data["map"] = self.map
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any], links: dict[str, Parameter] | None = None) -> Self:
        """Return a model from plain data."""
        data = dict(data)
        if data.pop("parameters", None) is not None:
            log.warning(
                "%s: key 'parameters' is ignored, as in Gammapy: those of 'spectral' are used",
                data.get("name"),
            )
        known = ("name", "type", "spatial", "spectral", "filename", "datasets_names", "map")
        check_keys(data, known, required=("name",))
        links = {} if links is None else links
        spectral, spatial = (
            None if data.get(kind) is None else model_from_dict(kind, data[kind], links)
            for kind in ("spectral", "spatial")
        )
        return cls(
            map=data.get("map"),
            spectral_model=spectral,
            name=data["name"],
            filename=data.get("filename"),
            datasets_names=dataset_names_from(data),
            spatial_model=spatial,
        )
