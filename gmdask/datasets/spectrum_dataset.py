"""Spectra of regions of the sky, with models."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
import xarray as xr

from gmdask.datasets.creation import (
    ResponseMap,
    array_cube,
    axis_from,
    empty_cube,
    empty_responses,
    energy_axes,
)
from gmdask.datasets.kinds import KINDS
from gmdask.datasets.map_dataset import MapDataset
from gmdask.errors import InputError
from gmdask.geometry.regions import Region
from gmdask.store.formats.ogip import ogip_files

__all__ = ["SpectrumDataset"]


class SpectrumDataset(MapDataset):
    """Counts, exposure, background, masks and energy dispersion of a region of the sky, with models.

    All arrays have one pixel, which represents the region. Without a PSF the spatial model of a source
    is ignored: its emission is taken to be inside the region.

    Parameters
    ----------
    cube : `xarray.Dataset`
        As for a `MapDataset`, with ``attrs["region"]``.
    stored : `StoredCube` or `AlteredCube`, optional
        See `MapDataset`.

    Raises
    ------
    InputError
        If arrays or the region are missing.
    """

    is_map: ClassVar[bool] = False
    input_files = staticmethod(ogip_files)

    def _check(self, cube: xr.Dataset) -> None:
        super()._check(cube)
        if "region" not in cube.attrs:
            msg = f"dataset {self._name!r}: attribute 'region' is missing"
            raise InputError(msg)

    @classmethod
    def create(  # type: ignore[override]
        cls, name: str, region: Any, energy: Any, energy_true: Any = None, *, migra: Any = None
    ) -> Self:
        """Create an empty spectrum for stacking: zeros, with no bin in the safe mask.

        Parameters
        ----------
        name : str
            Name of the dataset.
        region : SkyRegion, SkyCoord, list of SkyRegion, str or path
            See `gmdask.geometry.regions.read_region`.
        energy, energy_true, migra
            See `MapDataset.create`.
        """
        where = f"dataset {name!r}"
        axes = energy_axes(energy, energy_true, where)
        found = Region(region)
        migration = None if migra is None else axis_from("migra", migra, where, "lin")
        responses = empty_responses(found.pixel(), (1, 1), axes, None, migration)
        return cls(empty_cube(name, found.pixel(), (1, 1), axes, responses, found))

    @classmethod
    def from_arrays(  # type: ignore[override]
        cls,
        name: str,
        *,
        region: Any,
        energy: Any,
        energy_true: Any,
        counts: Any,
        exposure: Any,
        exposure_unit: str = "cm2 s",
        background: Any = None,
        mask_safe: Any = None,
        mask_fit: Any = None,
        edisp: Any = None,
    ) -> Self:
        """Create a spectrum from arrays.

        Parameters
        ----------
        name : str
            Name of the dataset.
        region : SkyRegion, SkyCoord, list of SkyRegion, str or path
            See `gmdask.geometry.regions.read_region`.
        energy, energy_true : `Axis` or Quantity
            Axes, or bin edges in logarithmic scale.
        counts, background, mask_safe, mask_fit : array of shape (energy,)
        exposure : array of shape (energy_true,)
            Exposure in `exposure_unit`.
        exposure_unit : str
            VOUnit.
        edisp : array of shape (energy_true, energy), optional
            Probabilities; by default those of a perfect instrument.

        Raises
        ------
        InputError
            If shapes do not match, or values in the mask are invalid.
        """
        found = Region(region)
        arrays = {
            "counts": counts, "background": background, "mask_safe": mask_safe,
            "mask_fit": mask_fit, "exposure": exposure,
        }  # fmt: skip
        pixels = {
            k: None if v is None else np.asarray(v)[..., None, None] for k, v in arrays.items()
        }
        axes = energy_axes(energy, energy_true, f"dataset {name!r}")
        response = None
        if edisp is not None:
            values = np.asarray(edisp)[..., None, None]
            response = ResponseMap(values, (axes[1], axes[0]), found.pixel())
        cards = found.pixel()
        return cls(array_cube(name, cards, axes, pixels, exposure_unit, {"edisp": response}, found))

    @property
    def region(self) -> Region | None:
        """The region, None if it is not known."""
        plain = self._cube.attrs["region"]
        return Region.from_dict(plain) if plain else None


KINDS["SpectrumDataset"] = SpectrumDataset
