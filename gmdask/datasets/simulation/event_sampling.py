"""Photons of the sources of a simulated observation, drawn one by one.

Energies and directions are continuous, and so are PSF, energy dispersion and effective area: the
drawn photons do not depend on the pixels and bins of the counts, nor on the maps of the
response that are stored with the counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gmdask.datasets.simulation.iact import MIGRA, RAD
from gmdask.datasets.simulation.sky_sampling import (
    Directions,
    Field,
    Tabulated,
    around,
    directions_of,
)
from gmdask.datasets.simulation.survey import Observed, Survey
from gmdask.errors import InputError
from gmdask.geometry import WcsGrid, rotate, separation
from gmdask.likelihood.gti_norm import temporal_norm
from gmdask.likelihood.source import shape_of
from gmdask.models import SkyModel

__all__ = ["Photons", "detected_photons", "photon_counts"]

Array = NDArray[np.float64]

NODES = 1000  # per decade of energy; the photon spectrum is linear between them
CHUNK = 1 << 20  # photons in memory at a time
MAX_PHOTONS = 1e9  # largest number of photons of a source in an observation
CM2 = 1e4  # cm2 per m2


class Photons(NamedTuple):
    """Photons: positions in deg in the frame of the dataset, offsets of the true positions, energies in TeV."""

    lon: Array
    lat: Array
    offset: Array
    energy: Array

    def only(self, kept: NDArray[np.bool_]) -> Photons:
        """Return a selection."""
        return Photons(*(values[kept] for values in self))


def photon_counts(
    survey: Survey, observed: Observed, model: SkyModel, cube: xr.Dataset, random: np.random.Generator
) -> Array:  # fmt: skip
    """Draw the photons of a source, and count those that are detected in a dataset.

    Parameters
    ----------
    survey : `Survey`
    observed : `Observed`
    model : `SkyModel`
    cube : `xarray.Dataset`
        The dataset, from which the times are taken.
    random : `numpy.random.Generator`

    Returns
    -------
    counts : array of shape (energy, lat, lon)
        True energies are within the axis of the dataset. An energy-dependent spatial model is evaluated
        at the centres of its bins.

    Raises
    ------
    InputError
        If the model predicts counts that are negative, not finite, or too many to draw one by one.
    ModelError
        If photons cannot be drawn from its spatial model.
    """
    grid = survey.pixels.cutout(observed.lon, observed.lat, survey.npix)
    counts = np.zeros((len(survey.energy) - 1, *grid.shape))
    for photons in detected_photons(survey, observed, model, cube, random):
        counts += _counted(grid, survey.energy, photons)
    return counts


def detected_photons(
    survey: Survey, observed: Observed, model: SkyModel, cube: xr.Dataset, random: np.random.Generator
) -> Iterator[Photons]:  # fmt: skip
    """Draw the photons of a source that are detected, at their reconstructed positions and energies.

    Parameters
    ----------
    survey, observed, model, cube, random
        See `photon_counts`.

    Yields
    ------
    photons : `Photons`
        At most a million at a time. They are complete within the pixels of the dataset, and further out
        as far as the pixel that is farthest from the pointing.
    """
    grid = survey.pixels.cutout(observed.lon, observed.lat, survey.npix)
    scattered = float(RAD[-1]) if _has_psf(model) else 0.0
    field = Field(grid, observed.lon, observed.lat, scattered)
    try:
        for spectrum, directions in _parts(survey, observed, model, cube, field):
            left = _number(spectrum.total * directions.total, random)
            while left > 0:
                n = min(left, CHUNK)
                left -= n
                photons = _arriving(field, directions, spectrum, n, random)
                yield _detected(survey, observed, model, photons, random)
    except InputError as error:
        msg = f"dataset {observed.name!r}: model {model.name!r}: {error}"
        raise type(error)(msg) from error


def _has_psf(model: SkyModel) -> bool:
    return model.apply_irf["psf"] and model.spatial_model is not None


def _parts(
    survey: Survey, observed: Observed, model: SkyModel, cube: xr.Dataset, field: Field
) -> Iterator[tuple[Tabulated, Directions]]:
    """Logarithmic energies of photons, as many as if all were on axis, and their directions."""
    spatial, edges = shape_of(model), survey.energy_true
    if not spatial.is_energy_dependent:
        yield (
            _spectrum(survey, observed, model, cube, edges[[0, -1]]),
            directions_of(spatial, field),
        )
        return
    for low, high in pairwise(edges.tolist()):
        spectrum = _spectrum(survey, observed, model, cube, np.array([low, high]))
        yield spectrum, directions_of(spatial, field, float(np.sqrt(low * high)))


def _spectrum(
    survey: Survey, observed: Observed, model: SkyModel, cube: xr.Dataset, ends: Array
) -> Tabulated:
    low, high = ends.tolist()
    energy = np.geomspace(low, high, int(NODES * np.log10(high / low)) + 2)
    spectral = model.spectral_model
    density = energy * spectral.evaluate(energy, *spectral.internal_values.tolist())
    if model.apply_irf["exposure"]:
        area = survey.response.effective_area(energy, np.zeros(1), observed.zenith)
        density = density * area * (CM2 * observed.livetime)
    norm = temporal_norm(model, cube)
    if norm is not None and model.temporal_model is not None:
        density = density * norm.gradient(model.temporal_model.internal_values)[0]
    return Tabulated(np.log(energy), density)


def _number(expected: float, random: np.random.Generator) -> int:
    if not 0 <= expected <= MAX_PHOTONS:
        msg = f"{expected:.3g} photons, expected 0 to {MAX_PHOTONS:.3g} to draw one by one"
        raise InputError(msg)
    return int(random.poisson(expected))


def _arriving(
    field: Field, directions: Directions, spectrum: Tabulated, n: int, random: np.random.Generator
) -> Photons:
    """Photons that may be detected."""
    lon, lat = rotate(*directions.draw(n, random), directions.frame, field.grid.frame)
    offset = separation(lon, lat, field.lon, field.lat)
    near = offset <= field.reach
    energy = np.exp(spectrum.draw(int(near.sum()), random))
    return Photons(lon[near], lat[near], offset[near], energy)


def _detected(
    survey: Survey, observed: Observed, model: SkyModel, photons: Photons, random: np.random.Generator
) -> Photons:  # fmt: skip
    """Photons at their reconstructed positions and energies; others are lost."""
    response, zenith = survey.response, observed.zenith
    if model.apply_irf["exposure"]:  # their number is that on axis, where the area is largest
        area, on_axis = (
            response.effective_area(photons.energy, offset, zenith)
            for offset in (photons.offset, np.zeros(1))
        )
        photons = photons.only(random.random(len(area)) * on_axis < area)
    lon, lat, offset, energy = photons
    if _has_psf(model):
        r = np.radians(response.draw_distances(energy, offset, zenith, random))
        lon, lat = around(lon, lat, r, 2 * np.pi * random.random(len(r)))
    if not model.apply_irf["edisp"]:
        return Photons(lon, lat, offset, energy)
    width = response.migration_width(energy, offset, zenith)
    migra = 1 + width * random.normal(size=len(width))
    moved = Photons(lon, lat, offset, energy * migra)
    return moved.only((migra >= MIGRA[0]) & (migra < MIGRA[-1]))


def _counted(grid: WcsGrid, edges: Array, events: Photons) -> Array:
    """Bin events into counts (energy, lat, lon); those outside are lost."""
    shape = (len(edges) - 1, *grid.shape)
    x, y = grid.to_pixel(events.lon, events.lat)
    bins = np.stack(
        [np.searchsorted(edges, events.energy, side="right") - 1, *np.floor([y + 0.5, x + 0.5])]
    )
    inside = (bins >= 0).all(axis=0) & (bins < np.array(shape)[:, None]).all(axis=0)
    flat = np.ravel_multi_index(tuple(bins[:, inside].astype(np.intp)), shape)
    return np.bincount(flat, minlength=int(np.prod(shape))).reshape(shape).astype(np.float64)
