"""The background of one dataset: corrections to the background template that is stored with the data."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from gmdask.errors import ModelError, described
from gmdask.geometry import WcsGrid, rotate
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
from gmdask.models.spatial.base import SkyGrid, SpatialModel
from gmdask.models.spectral.power_law import PowerLawNormSpectralModel, SpectralModel

__all__ = ["BackgroundIRFModel"]

Array = NDArray[np.float64]


@register
class BackgroundIRFModel(Component):
    """Norm (as a function of energy) of the background template of one dataset.

    Corresponds to Gammapy's `FoVBackgroundModel`, under whose name it is written to YAML.

    Parameters
    ----------
    spectral_model : SpectralModel, optional
        Norm model, by default a `PowerLawNormSpectralModel`.
    spatial_model : SpatialModel, optional
        Norm on the sky; its unit is dropped.
    dataset_name : str
        Name of the dataset.
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
        spatial_model: SpatialModel | None = None,
    ) -> None:
        if not isinstance(dataset_name, str) or not dataset_name:
            msg = f"dataset_name is {dataset_name!r}, expected the name of a dataset"
            raise ModelError(msg)
        super().__init__(f"{dataset_name}-bkg" if name is None else name, [dataset_name])
        model = PowerLawNormSpectralModel() if spectral_model is None else spectral_model
        self.spectral_model, self.spatial_model = model, spatial_model
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
    def dataset_name(self) -> str:
        """Name of the dataset."""
        return (self._datasets_names or [""])[0]

    def _checked_names(self, names: Any) -> list[str] | None:
        checked = super()._checked_names(names)
        if checked is None or len(checked) != 1:
            msg = f"datasets_names of {self._name!r} is {names!r}, expected exactly one"
            raise ModelError(msg)
        return checked

    @property
    def models(self) -> dict[str, ModelBase]:
        """Models by kind."""
        models: dict[str, ModelBase] = {"spectral": self.spectral_model}
        if self.spatial_model is not None:
            models["spatial"] = self.spatial_model
        return models

    def evaluate(
        self,
        energy: u.Quantity | None = None,
        lon: u.Quantity | None = None,
        lat: u.Quantity | None = None,
        *,
        map: Any = None,  # noqa: A002
    ) -> Any:
        """Evaluate the norm, or apply it to a background.

        Parameters
        ----------
        energy : Quantity, optional
            Energies [...].
        lon, lat : Quantity, optional
            Positions in the frame of the spatial model, if there is one; energies and positions
            are broadcast.
        map : `xarray.DataArray`, optional
            A background to apply the norm to, with a dimension "energy" and, for a map, "lat" and "lon" and
            the WCS cards in ``attrs["wcs"]`` (needed only with a spatial model). On a
            region, without pixels, there is no spatial norm.

        Returns
        -------
        Quantity or `xarray.DataArray`

        Raises
        ------
        ModelError
            If positions are required and missing.
        """
        if map is not None:
            return self._evaluate_map(map)
        norm = self.spectral_model(energy)
        if self.spatial_model is None:
            return norm
        if lon is None or lat is None:
            msg = f"{self._name}: lon and lat are required with a spatial model"
            raise ModelError(msg)
        at = energy if self.spatial_model.is_energy_dependent else None
        values = self.spatial_model(lon, lat, at).value * self.spatial_model.norm_factor
        return norm * values

    def factors(self, energy: Array, grid: WcsGrid | None) -> Array:
        """Norm at energies and, with a spatial model, at pixels.

        Parameters
        ----------
        energy : array of shape (energy,)
            In TeV.
        grid : WcsGrid or None
            Pixels; without them there is no spatial norm.

        Returns
        -------
        norm : array of shape (energy, 1, 1) or (energy, lat, lon)
        """
        norm = self.spectral_model.evaluate(energy, *self.spectral_model.internal_values)
        norm, spatial = norm[:, None, None], self.spatial_model
        if spatial is None or grid is None:
            return norm
        sky = rotate(*grid.pixel_centers, grid.frame, spatial.frame)
        where = SkyGrid(*sky, energy if spatial.is_energy_dependent else None)
        values = spatial.evaluate(where, *spatial.internal_values.tolist())
        result: Array = norm * (values * spatial.norm_factor)
        return result

    def _evaluate_map(self, background: Any) -> Any:
        energy = background["energy"]
        at = u.Quantity(energy.values, energy.attrs.get("unit", "TeV")).to_value("TeV")
        grid = None
        if self.spatial_model is not None and {"lat", "lon"} <= set(background.dims):
            cards = background.attrs.get("wcs")
            if cards is None:
                msg = f"{self._name}: the WCS cards of the map, attrs['wcs'], are missing"
                raise ModelError(msg)
            grid = WcsGrid(cards, background.shape[-2:])
        norm = self.factors(np.atleast_1d(at), grid)
        if grid is None:
            norm = norm.reshape([-1 if dim == "energy" else 1 for dim in background.dims])
        return background.copy(data=background.values * norm)

    def copy(
        self,
        name: str | None = None,
        memo: dict[int, Any] | None = None,
        dataset_name: str | None = None,
    ) -> Self:
        """Return an independent copy, with another name or for another dataset if one is given.

        A default name is adapted to the dataset.
        """
        names = self._datasets_names
        if dataset_name is not None:
            names = self._checked_names(dataset_name)
            if name is None and self._name == f"{self.dataset_name}-bkg":
                name = f"{dataset_name}-bkg"
        return self._copied(name, memo, names)

    def to_dict(
        self, full_output: bool = True, links: dict[int, str] | None = None
    ) -> dict[str, Any]:
        """Return plain data in the form of Gammapy's YAML (with ``name``, if it is not the default)."""
        data: dict[str, Any] = {"type": self.tag[0], "datasets_names": [self.dataset_name]}
        if self._name != f"{self.dataset_name}-bkg":
            data["name"] = self._name
        data["spectral"] = model_to_dict(self.spectral_model, full_output, links)
        if self.spatial_model is not None:
            data["spatial"] = model_to_dict(self.spatial_model, full_output, links)
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any], links: dict[str, Parameter] | None = None) -> Self:
        """Return a background model from plain data."""
        known = ("name", "type", "datasets_names", "spectral", "spatial")
        check_keys(data, known, required=("datasets_names",))
        names = dataset_names_from(data) or []
        if len(names) != 1:
            msg = f"datasets_names is {names!r}, expected exactly one"
            raise ModelError(msg)
        links = {} if links is None else links
        spectral, spatial = (
            None if data.get(kind) is None else model_from_dict(kind, data[kind], links)
            for kind in ("spectral", "spatial")
        )
        return cls(spectral, names[0], data.get("name"), spatial)
