"""Response maps of a cube: their safe pixels, and their average with those of another cube."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, cast

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gmdask.datasets.operations.arrays import finite, kept, unit_factor
from gmdask.errors import InputError
from gmdask.geometry import WcsGrid, pixel_offset
from gmdask.irf.masks import corner_pixels, nearest_pixels, serving_pixels
from gmdask.store.axes import cube_axis, same_axis

__all__ = ["IRFS", "grid_of", "irf_mask", "onto_pixels", "stack_irf"]

IRFS = ("psf", "edisp")

Mask = NDArray[np.bool_]


def grid_of(cube: xr.Dataset, key: str = "") -> WcsGrid:
    """Return the pixels of the maps of a cube, or of its "psf" or "edisp".

    Parameters
    ----------
    cube : `xarray.Dataset`
    key : str
        "" for the maps, "psf" or "edisp".
    """
    prefix = f"{key}_" if key else ""
    shape = cube.sizes[f"{prefix}lat"], cube.sizes[f"{prefix}lon"]
    return _grid(tuple(cube.attrs[f"{prefix}wcs"].items()), shape)


@lru_cache(maxsize=256)
def _grid(cards: tuple[tuple[str, Any], ...], shape: tuple[int, int]) -> WcsGrid:
    """Return a pixel grid, which is cached: creating it takes longer than stacking small maps."""
    return WcsGrid(dict(cards), shape)


def irf_mask(cube: xr.Dataset, key: str) -> xr.Variable | None:
    """Return the safe mask on the pixels of a response map.

    Parameters
    ----------
    cube : `xarray.Dataset`
    key : {"psf", "edisp"}

    Returns
    -------
    mask : `xarray.Variable` or None
        On the pixels, and for an energy dispersion with kernels also energies; None without a mask.

    Notes
    -----
    As Gammapy's ``MapDataset.mask_safe_psf`` and ``mask_safe_edisp``: for a PSF the nearest pixel of
    the mask, false outside of it; for an energy dispersion all pixels at which an extrapolating bilinear
    interpolation is not zero. Gammapy's rule considers only the centres of the pixels. If
    one pixel of the response is as large as the field, or no centre is safe although there are safe
    bins, the pixels are used from which the response at a safe bin is interpolated.
    """
    if "mask_safe" not in cube:
        return None
    dims = [f"{key}_lat", f"{key}_lon"]
    mask = cube["mask_safe"].variable
    if key == "psf" or "energy" not in cube[key].dims:
        mask = mask.any("energy")
    grid, target = grid_of(cube), grid_of(cube, key)
    apply: Any = xr.apply_ufunc  # untyped
    result = apply(
        _centers_safe if key == "psf" else _corners_safe,
        mask,
        input_core_dims=[["lat", "lon"]],
        output_core_dims=[dims],
        kwargs={"grid": grid, "target": target},
        dask="parallelized",
        output_dtypes=[bool],
        dask_gufunc_kwargs={
            "output_sizes": dict(zip(dims, target.shape, strict=True)),
            "allow_rechunk": True,
        },
    )
    return cast("xr.Variable", result)


def _centers_safe(mask: Mask, grid: WcsGrid, target: WcsGrid) -> Mask:
    """Return the safe pixels of a PSF, for a mask (..., lat, lon)."""
    index, inside = nearest_pixels(grid, target)
    flat = mask.reshape(*mask.shape[:-2], -1)
    return _or_serving((flat[..., index] & inside), mask, grid, target)


def _corners_safe(mask: Mask, grid: WcsGrid, target: WcsGrid) -> Mask:
    """Return the safe pixels of an energy dispersion, for a mask (..., lat, lon)."""
    flat = mask.reshape(*mask.shape[:-2], -1)
    total: Any = 0.0
    for index, weight in zip(*corner_pixels(grid, target), strict=True):
        total = total + flat[..., index] * weight
    return _or_serving(np.asarray(total != 0), mask, grid, target)


def _or_serving(safe: Mask, mask: Mask, grid: WcsGrid, target: WcsGrid) -> Mask:
    """Return the safe pixels by Gammapy's rule, or those used by safe bins if that rule fails."""
    field = min(n * scale for n, scale in zip(grid.shape[::-1], grid.pixel_scales, strict=True))
    cannot = ~safe.any(axis=(-2, -1), keepdims=True) & mask.any(axis=(-2, -1), keepdims=True)
    cannot |= target.max_pixel_scale >= field
    return np.where(cannot, serving_pixels(mask, grid, target), safe) if cannot.any() else safe


def onto_pixels(
    variable: xr.Variable, offset: tuple[int, int], sizes: tuple[int, int], dims: tuple[str, str]
) -> xr.Variable:
    """Return an array on another grid with the same pixels: cut, and padded with zeros.

    Parameters
    ----------
    variable : `xarray.Variable`
    offset : tuple of int
        Row and column of the other grid at which the array's first pixel lies.
    sizes : tuple of int
        Numbers of rows and columns of the other grid.
    dims : tuple of str
        Names of the row and column dimensions.
    """
    cut, pad = {}, {}
    for dim, start, size in zip(dims, offset, sizes, strict=True):
        own = variable.sizes[dim]
        first, last = min(max(0, -start), own), max(min(own, size - start), 0)
        last = max(first, last)
        cut[dim] = slice(first, last)
        before = min(max(start + first, 0), size) if last > first else size
        pad[dim] = (before, size - before - (last - first))
    result = variable.isel(cut)
    if any(n for pair in pad.values() for n in pair):
        fill = False if result.dtype == bool else 0
        result = result.pad(pad, mode="constant", constant_values=fill)
    return result


def stack_irf(cube: xr.Dataset, other: xr.Dataset, key: str, where: str) -> dict[str, xr.Variable]:
    """Average two response maps, each weighted with its exposure.

    Parameters
    ----------
    cube, other : `xarray.Dataset`
        Both have the map; only safe pixels of the second are used.
    key : {"psf", "edisp"}
    where : str
        Text with which messages begin.

    Returns
    -------
    arrays : dict of `xarray.Variable`
        The map and its exposure. Where neither has exposure, the map is 0. For maps whose exposures are 0
        everywhere, as for Fermi-LAT, the first is kept, or the second used where the first is 0 (in Gammapy no
        response is left).

    Raises
    ------
    InputError
        If an exposure is missing, or the axes or the pixels differ.
    """
    exposure_key = f"{key}_exposure"
    for one in (cube, other):
        if exposure_key not in one:
            msg = f"{where}: dataset {one.attrs['name']!r} has no {exposure_key!r}, which is the weight of its {key}"
            raise InputError(msg)
    _check_axes(cube, other, key, where)
    offset = pixel_offset(grid_of(cube, key), grid_of(other, key), grid_of(other, key).frame)
    if offset is None:
        msg = f"{where}: the pixels of {key!r} differ"
        raise InputError(msg)
    dims = f"{key}_lat", f"{key}_lon"
    sizes = cube.sizes[dims[0]], cube.sizes[dims[1]]
    values, exposure = finite(cube[key].variable), finite(cube[exposure_key].variable)
    others, weight = finite(other[key].variable), finite(other[exposure_key].variable)
    others = others * unit_factor(other[key], cube[key])
    weight = weight * unit_factor(other[exposure_key], cube[exposure_key])
    mask = irf_mask(other, key)
    image = mask.any("energy") if mask is not None and "energy" in mask.dims else mask
    total = exposure + onto_pixels(kept(weight, image), offset, sizes, dims)
    added = onto_pixels(kept((others * weight).transpose(*others.dims), mask), offset, sizes, dims)
    product = (values * exposure).transpose(*values.dims) + added
    mean = (product / (total + (total == 0))).transpose(*values.dims)
    # without any exposure, the first map is kept, or the second used where the first is 0
    some = (values != 0).any(values.dims[:2])
    second = onto_pixels(kept(others, mask), offset, sizes, dims)
    instead = kept(values, some) + kept(second, ~some)
    mean = mean + kept(instead, (total == 0).all())
    mean.attrs, total.attrs = dict(cube[key].attrs), dict(cube[exposure_key].attrs)
    return {key: mean, exposure_key: total}


def _check_axes(cube: xr.Dataset, other: xr.Dataset, key: str, where: str) -> None:
    dims = cube[key].dims
    if other[key].dims != dims:
        msg = f"{where}: {key!r} has axes {other[key].dims[:2]}, expected {dims[:2]}"
        raise InputError(msg)
    for dim in map(str, dims[:2]):
        if not same_axis(cube_axis(cube, dim), cube_axis(other, dim)):
            msg = f"{where}: the axes {dim!r} of {key!r} differ"
            raise InputError(msg)
