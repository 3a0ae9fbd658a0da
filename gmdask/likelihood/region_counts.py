"""Counts of a dataset in regions, and those expected of a spectrum in each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gmdask.errors import InputError
from gmdask.geometry import wcs_of
from gmdask.geometry.regions import Region
from gmdask.likelihood.exposed_counts import expected_counts, predicted_cube
from gmdask.likelihood.observation import Observation
from gmdask.likelihood.responses import EXACT
from gmdask.likelihood.threads import one_thread
from gmdask.models import Models
from gmdask.store.cube_source import CubeSource, named_cube

__all__ = ["RegionCounts", "RegionSpec", "region_counts"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class RegionSpec:
    """A dataset and regions, as plain data.

    Attributes
    ----------
    name : str
    cube : `CubeSource` or `xarray.Dataset`
        Location of the data, or the data.
    models : dict
        Plain data of its models.
    spectrum : dict
        Plain data of a model with the spectrum.
    regions : tuple of dict
        Plain data of `Region`.
    response : {"exact", "gammapy"}
        How predicted counts are computed.
    """

    name: str
    cube: CubeSource | xr.Dataset
    models: dict[str, Any]
    spectrum: dict[str, Any]
    regions: tuple[dict[str, Any], ...]
    response: str = EXACT


class RegionCounts(NamedTuple):
    """Sums over regions, each of shape (region, energy).

    Attributes
    ----------
    counts, npred : array
        Counts, and those predicted by the models, within the safe mask.
    expected : array
        Counts of the spectrum, with the mean exposure of the region and the energy dispersion at its centre.
    mask : array
        Energies that are used.
    """

    counts: Array
    npred: Array
    expected: Array
    mask: Mask


def region_counts(spec: RegionSpec) -> RegionCounts:
    """Sum a dataset over regions, as Gammapy's ``FluxProfileEstimator`` does.

    Parameters
    ----------
    spec : `RegionSpec`

    Raises
    ------
    InputError
        If a region contains no pixel of the map.
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
        spectral: Any = Models.from_dict(spec.spectrum)[0]
        grid = wcs_of(observation.grid, "a sum over a region")
        parts = []
        for plain in spec.regions:
            region = Region.from_dict(plain)
            y, x = np.nonzero(region.mask(grid))
            if len(y) == 0:
                msg = f"dataset {spec.name!r}: {region} contains no pixel of its map"
                raise InputError(msg)
            used = safe[:, y, x]
            edisp = observation.edisp_at(region.center, "icrs", apply=True)
            mean = exposure[:, y, x].mean(axis=1)
            expected = expected_counts(cube, edisp, mean, spectral.spectral_model)
            seen = used.any(axis=1) & fit[:, y, x].any(axis=1)
            sums = ((values[:, y, x] * used).sum(axis=1) for values in (observation.counts, npred))
            parts.append((*sums, expected, seen))
        counts, predicted, signal, mask = (np.stack(values) for values in zip(*parts, strict=True))
        return RegionCounts(counts, predicted, signal, mask)
