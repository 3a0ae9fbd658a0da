"""Counts, predicted counts and expected counts of a spectrum, summed over energy ranges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gmdask.errors import InputError
from gmdask.likelihood.npred import npred_parts
from gmdask.likelihood.observation import Observation
from gmdask.likelihood.responses import EXACT
from gmdask.likelihood.statistics import statistic_type
from gmdask.likelihood.statistics.cash import Cash
from gmdask.likelihood.threads import one_thread
from gmdask.models import EnergyGrid, Models, SpectralModel
from gmdask.models.dataset_models import DatasetModels
from gmdask.store.axes import cube_axis
from gmdask.store.cube_source import CubeSource, named_cube

__all__ = ["ExposedCounts", "ExposedSpec", "expected_counts", "exposed_counts", "predicted_cube"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class ExposedSpec:
    """A dataset, as plain data.

    Attributes
    ----------
    name : str
    cube : `CubeSource` or `xarray.Dataset`
        Location of the data, or the data.
    models : dict
        Plain data of its models.
    spectrum : dict
        Plain data of a model with the spectrum.
    bins : tuple of (int, int)
        First and end bin of each energy range.
    response : {"exact", "gammapy"}
        How predicted counts are computed.
    """

    name: str
    cube: CubeSource | xr.Dataset
    models: dict[str, Any]
    spectrum: dict[str, Any]
    bins: tuple[tuple[int, int], ...]
    response: str = EXACT


class ExposedCounts(NamedTuple):
    """Sums of a dataset within the safe mask, each of shape (range, lat, lon).

    Attributes
    ----------
    counts, npred : array
        Counts, and those predicted by the models.
    expected : array
        Counts that the spectrum would have if its flux came from this pixel, without the PSF.
    mask : array
        Pixels within safe and fit mask at any energy of the range.
    """

    counts: Array
    npred: Array
    expected: Array
    mask: Mask


def predicted_cube(
    cube: xr.Dataset, observation: Observation, models: dict[str, Any], response: str
) -> Array:
    """Predicted counts (energy, lat, lon) of all models of a map of counts, not below zero.

    Raises
    ------
    InputError
        If the dataset is not a map of counts with Cash's statistic.
    """
    if observation.is_region or statistic_type(cube.attrs) is not Cash:
        msg = f"dataset {observation.name!r}: expected a map of counts with the statistic cash"
        raise InputError(msg)
    own = DatasetModels(list(Models.from_dict(models)))
    return np.maximum(npred_parts(observation, cube, own, (), response)[0], 0.0)


def expected_counts(
    cube: xr.Dataset, edisp: Array, exposure: Array, spectral: SpectralModel
) -> Array:
    """Counts (energy, ...) of a spectrum with some exposure (energy_true, ...) in cm2 s."""
    axis = cube_axis(cube, "energy_true")
    flux = spectral.integral_bins(EnergyGrid(axis.edges, axis.unit), spectral.internal_values)
    flat = exposure.reshape(len(exposure), -1) * flux[:, None]
    return (edisp.T @ flat).reshape(-1, *exposure.shape[1:])


def exposed_counts(spec: ExposedSpec) -> ExposedCounts:
    """Sum the counts of a dataset over energy ranges, as in Gammapy's ``ExcessMapEstimator``.

    Parameters
    ----------
    spec : `ExposedSpec`
    """
    with one_thread():
        cube = named_cube(spec.name, spec.cube)
        observation = Observation(cube)
        npred = predicted_cube(cube, observation, spec.models, spec.response)
        safe, fit = (
            cube[key].values.astype(bool) if key in cube else np.ones(npred.shape, dtype=bool)
            for key in ("mask_safe", "mask_fit")
        )
        exposure = np.nan_to_num(observation.whole_exposure() * observation.exposure_unit)
        edisp = observation.edisp_at(None, "", apply=True)
        spectral: Any = Models.from_dict(spec.spectrum)[0]
        expected = expected_counts(cube, edisp, exposure, spectral.spectral_model)
        ranges = [slice(*own) for own in spec.bins]

        def summed(values: Array) -> Array:
            return np.stack([(values[own] * safe[own]).sum(axis=0) for own in ranges])

        mask = np.stack([safe[own].any(axis=0) & fit[own].any(axis=0) for own in ranges])
        return ExposedCounts(summed(observation.counts), summed(npred), summed(expected), mask)
