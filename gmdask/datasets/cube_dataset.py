"""The common base of datasets of counts: maps and spectra."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import xarray as xr

from gmdask.datasets.base import Dataset
from gmdask.datasets.io.gammapy_cubes import cube_from_gammapy, cube_to_gammapy
from gmdask.datasets.operations.energy import follow_groups
from gmdask.errors import InputError
from gmdask.likelihood.dataset_likelihood import CompiledDataset
from gmdask.likelihood.kind import Compile
from gmdask.likelihood.size import peak_bytes
from gmdask.store.axes import cube_axis
from gmdask.store.formats.gadf import read_map_dataset
from gmdask.store.formats.gadf_writer import to_hdulist
from gmdask.store.formats.validity import check_values

__all__ = ["CubeDataset"]


class CubeDataset(Dataset):
    """Counts, exposure, background, masks and IRFs, with models.

    Parameters
    ----------
    cube : `xarray.Dataset` or `Unopened`
        The observation as stored: ``counts(energy, lat, lon)``, ``exposure(energy_true, lat,
        lon)``, and optionally ``background``, ``mask_safe``, ``mask_fit``, ``psf``, ``edisp``.
    stored, response
        See `Dataset`.

    Raises
    ------
    InputError
        If counts or exposure are missing.
    """

    compile: ClassVar[Compile] = CompiledDataset
    check_cube = staticmethod(check_values)
    to_hdus = staticmethod(to_hdulist)
    cube_to_gammapy = staticmethod(cube_to_gammapy)
    cube_from_gammapy = staticmethod(cube_from_gammapy)

    @staticmethod
    def read_cube(path: str | Path, name: str | None = None) -> xr.Dataset:
        """Read the cube of a file, with OGIP's groups of channels as bins; see `Dataset.read_cube`."""
        return follow_groups(read_map_dataset(path, name))

    def _check(self, cube: xr.Dataset) -> None:
        for key in ("counts", "exposure"):
            if key not in cube:
                msg = f"dataset {self._name!r}: {key!r} is missing"
                raise InputError(msg)
        super()._check(cube)

    def peak_bytes(self, n_cubes: int = 0) -> int:
        """Estimate the peak memory of compiling or evaluating it; see `Dataset.peak_bytes`."""
        return peak_bytes(self.cube) + 8 * n_cubes * int(self.counts.size)

    @property
    def energy_range(self) -> tuple[float, float]:
        """Lowest and highest reconstructed energy in TeV."""
        edges = cube_axis(self._cube, "energy", "TeV").edges
        return float(edges[0]), float(edges[-1])

    @property
    def counts(self) -> xr.DataArray:
        """Counts (energy, lat, lon), lazy."""
        return self.cube["counts"]

    @property
    def exposure(self) -> xr.DataArray:
        """Exposure (energy_true, lat, lon), lazy; its unit is an attribute."""
        return self.cube["exposure"]

    @property
    def background(self) -> xr.DataArray | None:
        """Background (energy, lat, lon) before models are applied, lazy."""
        return self._array("background")

    @property
    def psf(self) -> xr.DataArray | None:
        """PSF (energy, rad, lat, lon), lazy."""
        return self._array("psf")

    @property
    def edisp(self) -> xr.DataArray | None:
        """Energy dispersion (energy_true, energy or migra, lat, lon), lazy."""
        return self._array("edisp")
