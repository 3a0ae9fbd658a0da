"""How much memory it takes to compile and evaluate a dataset, known before it is read."""

from __future__ import annotations

import xarray as xr

from gmdask.likelihood.geometry_cache import MAX_BYTES

__all__ = ["FIXED", "HELD", "HELD_PER_COMPONENT", "peak_bytes"]

# measured: besides what is shared by all datasets, tables of the PSF, plans of transforms, and
# what the heap keeps when arrays are freed
FIXED = MAX_BYTES + 80_000_000 + (1 << 25)
# what a compiled dataset holds whatever is kept in files: objects of its axes, grids and models
HELD, HELD_PER_COMPONENT = 110_000, 4_000

PADDED = 1.5  # pixels of a padded image in those of the grid
IMAGES = 9  # images per true energy in flight: transforms count twice
CUBES = 4  # copies of cubes of counts in flight


def peak_bytes(cube: xr.Dataset) -> int:
    """Bytes that compiling or evaluating a dataset takes at its peak.

    Parameters
    ----------
    cube : `xarray.Dataset`
        The dataset; nothing of it is read.
    """
    counts, exposure = cube["counts"], cube["exposure"]
    planes = max(exposure.shape[0], counts.shape[0])
    pixels = counts.shape[-1] * counts.shape[-2]
    images = IMAGES * 8 * int(planes * pixels * PADDED)
    cubes = CUBES * 8 * counts.size + 8 * exposure.size
    maps = sum(cube[key].nbytes for key in ("psf", "edisp") if key in cube)
    return images + cubes + min(maps, 8_000_000)
