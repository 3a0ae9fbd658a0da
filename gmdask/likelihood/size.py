"""Estimates of the memory for compiling and evaluating a dataset, before it is read."""

from __future__ import annotations

import xarray as xr

from gmdask.likelihood.geometry_cache import MAX_BYTES

__all__ = ["FIXED", "HELD", "HELD_PER_COMPONENT", "peak_bytes"]

# measured: besides what all datasets share, tables of the PSF, plans of transforms, and
# memory that the heap retains when arrays are freed
FIXED = MAX_BYTES + 80_000_000 + (1 << 25)
# memory of a compiled dataset that is never in files: objects of its axes, grids and models, exposure in zones, and for
# each source its energy dispersion
HELD, HELD_PER_COMPONENT = 200_000, 9_000

PADDED = 1.5  # pixels of a padded image relative to those of the grid
IMAGES = 9  # temporary images per true energy; transforms count twice
CUBES = 4  # temporary copies of cubes of counts


def peak_bytes(cube: xr.Dataset) -> int:
    """Estimate the peak memory in bytes of compiling or evaluating a dataset.

    Parameters
    ----------
    cube : `xarray.Dataset`
        The dataset, which is not read.
    """
    counts, exposure = cube["counts"], cube["exposure"]
    planes = max(exposure.shape[0], counts.shape[0])
    pixels = counts.shape[-1] * counts.shape[-2]
    images = IMAGES * 8 * int(planes * pixels * PADDED)
    cubes = CUBES * 8 * counts.size + 8 * exposure.size
    maps = sum(cube[key].nbytes for key in ("psf", "edisp") if key in cube)
    return images + cubes + min(maps, 8_000_000)
