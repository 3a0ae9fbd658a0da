"""Simulated observations with analytic IRFs, counts drawn from the models.

The shapes are of the kind of an array of Cherenkov telescopes: effective area, PSF and
energy dispersion vary with energy, and with the offset from the pointing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import ndtr

from gmdask.errors import InputError
from gmdask.geometry import Axis, WcsGrid, separation
from gmdask.likelihood.compiled import CompiledDataset
from gmdask.models import DatasetModels, Models
from gmdask.store.axes import axis_coords

__all__ = ["Survey", "simulate_observation"]

Array = NDArray[np.float64]

IRF_PIXEL = 0.4  # deg
RAD_MAX, N_RAD = 0.6, 60
MIGRA = np.linspace(0.2, 3.0, 57)


@dataclass(frozen=True)
class Survey:
    """Axes, pixels and IRFs that the observations of a survey share.

    Attributes
    ----------
    energy, energy_true : array
        Edges of reconstructed and true energy bins in TeV.
    npix : int
        Pixels per side of the maps.
    pixel : float
        Size of a pixel in deg.
    livetime : float
        Livetime of each observation in s.
    psf_width, edisp_width : float
        Width of the PSF at 1 TeV on axis in deg, and of the migration.
    background : float
        Background rate at 1 TeV on axis in s-1 TeV-1 sr-1.
    """

    energy: Array
    energy_true: Array
    npix: int = 100
    pixel: float = 0.04
    livetime: float = 1800.0
    psf_width: float = 0.06
    edisp_width: float = 0.12
    background: float = 250.0

    def effective_area(self, energy: Array, offset: Array) -> Array:
        """Effective area in cm2 at energies (n, 1, 1) in TeV and offsets (lat, lon) in deg."""
        turn_on = 1 / (1 + (0.4 / energy) ** 3)
        return (
            2.5e9
            * energy**0.25
            * turn_on
            * np.exp(-0.5 * (offset / (1.6 + 0.25 * np.log10(energy))) ** 2)
        )

    def psf_sigma(self, energy: Array, offset: Array) -> Array:
        """Width of the (Gaussian) PSF in deg."""
        return self.psf_width * energy**-0.2 * (1 + 0.1 * offset**2)

    def edisp_sigma(self, energy: Array, offset: Array) -> Array:
        """Width of the (Gaussian) migration."""
        return self.edisp_width * energy**-0.1 * (1 + 0.05 * offset)

    def background_rate(self, energy: Array, offset: Array) -> Array:
        """Background rate in s-1 TeV-1 sr-1."""
        return self.background * energy**-2.7 * np.exp(-0.5 * (offset / 1.5) ** 2)


def _header(lon: float, lat: float, npix: int, pixel: float) -> dict[str, Any]:
    centre = (npix + 1) / 2
    return {
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": centre, "CRPIX2": centre, "CRVAL1": lon,
        "CRVAL2": lat, "CDELT1": -pixel, "CDELT2": pixel, "CUNIT1": "deg", "CUNIT2": "deg", "RADESYS": "ICRS",
    }  # fmt: skip


def _offsets(grid: WcsGrid, lon: float, lat: float) -> Array:
    """Offsets (lat, lon) of the pixel centres from the pointing, in deg."""
    return separation(*grid.pixel_centers, lon, lat)


def _psf(survey: Survey, energy: Array, rad: Axis, offset: Array) -> Array:
    """PSF (energy, rad, lat, lon) in deg-2, normalised on the rad axis."""
    sigma = survey.psf_sigma(energy[:, None, None], offset)[:, None]
    centre, width = rad.center[:, None, None], np.diff(rad.edges)[:, None, None]
    values = np.exp(-0.5 * (centre / sigma) ** 2)
    result: Array = values / (2 * np.pi * centre * width * values).sum(axis=1, keepdims=True)
    return result


def _edisp(survey: Survey, energy: Array, offset: Array) -> Array:
    """Migration density (energy, migra, lat, lon)."""
    sigma = survey.edisp_sigma(energy[:, None, None], offset)[:, None]
    cumulative = ndtr((MIGRA[:, None, None] - 1) / sigma)
    result: Array = np.diff(cumulative, axis=1) / np.diff(MIGRA)[:, None, None]
    return result


def simulate_observation(
    survey: Survey,
    name: str,
    pointing: tuple[float, float],
    models: Models | Sequence[Any],
    seed: int,
) -> xr.Dataset:
    """Simulate one observation.

    Parameters
    ----------
    survey : `Survey`
    name : str
        Name of the dataset.
    pointing : tuple of float
        Right ascension and declination of the pointing, in deg.
    models : `Models`
        True models; those that touch the dataset are used, its background model included.
    seed : int
        Seed of the counts.

    Returns
    -------
    cube : `xarray.Dataset`
        In memory, as datasets are stored.

    Raises
    ------
    InputError
        If the models predict counts that cannot be drawn.
    """
    energy, true = (
        Axis("energy", survey.energy, unit="TeV"),
        Axis("energy_true", survey.energy_true, unit="TeV"),
    )
    header = _header(*pointing, survey.npix, survey.pixel)
    grid = WcsGrid(header, (survey.npix, survey.npix))
    offset = _offsets(grid, *pointing)
    n_irf = int(np.ceil(survey.npix * survey.pixel / IRF_PIXEL)) + 1
    irf_header = _header(*pointing, n_irf, IRF_PIXEL)
    irf_offset = _offsets(WcsGrid(irf_header, (n_irf, n_irf)), *pointing)
    rad = Axis("rad", np.linspace(0, RAD_MAX, N_RAD + 1), "lin", unit="deg")
    width = np.diff(energy.edges)[:, None, None]
    rate = survey.background_rate(energy.center[:, None, None], offset)
    background = rate * width * survey.livetime * grid.solid_angle
    area = survey.effective_area(true.center[:, None, None], offset)
    cube = xr.Dataset(
        {
            "counts": (("energy", "lat", "lon"), np.zeros(background.shape, dtype=np.float32), {"unit": ""}),
            "background": (("energy", "lat", "lon"), background, {"unit": ""}),
            "mask_safe": (("energy", "lat", "lon"), np.tile(offset < 1.9, (energy.nbin, 1, 1)), {"unit": ""}),
            "exposure": (("energy_true", "lat", "lon"), area * survey.livetime,
                         {"unit": "cm2 s", "meta": {"livetime": f"{survey.livetime} s"}}),
            "psf": (("psf_energy_true", "rad", "psf_lat", "psf_lon"),
                    _psf(survey, true.center, rad, irf_offset), {"unit": "deg-2"}),
            "edisp": (("edisp_energy_true", "migra", "edisp_lat", "edisp_lon"),
                      _edisp(survey, true.center, irf_offset), {"unit": ""}),
        },
        coords={
            **axis_coords("energy", energy), **axis_coords("energy_true", true),
            **axis_coords("psf_energy_true", true), **axis_coords("edisp_energy_true", true),
            **axis_coords("rad", rad), **axis_coords("migra", Axis("migra", MIGRA, "lin")),
        },
        attrs={"name": name, "kind": "MapDataset", "wcs": header, "psf_wcs": irf_header, "edisp_wcs": irf_header},
    )  # fmt: skip
    return cube.assign(counts=(cube["counts"].dims, _draw(cube, models, name, seed), {"unit": ""}))


def _draw(
    cube: xr.Dataset, models: Models | Sequence[Any], name: str, seed: int
) -> NDArray[np.float32]:
    own = (models if isinstance(models, Models) else Models(models)).for_dataset(name)
    npred = _npred(cube, own)
    if not np.isfinite(npred).all() or npred.min() < -1e-9:
        msg = f"dataset {name!r}: the models predict counts that are negative or not finite"
        raise InputError(msg)
    drawn = np.random.default_rng(seed).poisson(np.clip(npred, 0, None))
    return drawn.reshape(cube["counts"].shape).astype(np.float32)


def _npred(cube: xr.Dataset, models: DatasetModels) -> Array:
    return CompiledDataset(cube, models, bins="all").npred(models.parameters.value)
