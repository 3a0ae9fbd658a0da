"""Response maps of a cube: which of their pixels are safe, and their mean with another's."""

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
    """Pixels of the maps of a cube, or of its "psf" or "edisp".

    Parameters
    ----------
    cube : `xarray.Dataset`
    key : str
        Which.
    """
    prefix = f"{key}_" if key else ""
    shape = cube.sizes[f"{prefix}lat"], cube.sizes[f"{prefix}lon"]
    return _grid(tuple(cube.attrs[f"{prefix}wcs"].items()), shape)


@lru_cache(maxsize=256)
def _grid(cards: tuple[tuple[str, Any], ...], shape: tuple[int, int]) -> WcsGrid:
    """Pixels, made once: that takes longer than to stack small maps."""
    return WcsGrid(dict(cards), shape)


def irf_mask(cube: xr.Dataset, key: str) -> xr.Variable | None:
    """Where a response map counts: the safe mask, brought onto its pixels.

    Parameters
    ----------
    cube : `xarray.Dataset`
    key : {"psf", "edisp"}

    Returns
    -------
    mask : `xarray.Variable` or None
        With pixels, and energies for an energy dispersion of kernels; None without a mask.

    Notes
    -----
    Gammapy's ``MapDataset.mask_safe_psf`` and ``mask_safe_edisp``: for a PSF the nearest pixel of
    the mask, none outside it; for an energy dispersion whatever a bilinear interpolation, which
    extrapolates, does not leave at zero. Gammapy's rule looks at the centres of the pixels alone. Where
    one pixel of the response is as large as the field, or no centre is safe although there are safe
    bins, those pixels count that serve a safe bin.
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
    """Pixels of a PSF that count, of a mask (..., lat, lon)."""
    index, inside = nearest_pixels(grid, target)
    flat = mask.reshape(*mask.shape[:-2], -1)
    return _or_serving((flat[..., index] & inside), mask, grid, target)


def _corners_safe(mask: Mask, grid: WcsGrid, target: WcsGrid) -> Mask:
    """Pixels of an energy dispersion that count, of a mask (..., lat, lon)."""
    flat = mask.reshape(*mask.shape[:-2], -1)
    total: Any = 0.0
    for index, weight in zip(*corner_pixels(grid, target), strict=True):
        total = total + flat[..., index] * weight
    return _or_serving(np.asarray(total != 0), mask, grid, target)


def _or_serving(safe: Mask, mask: Mask, grid: WcsGrid, target: WcsGrid) -> Mask:
    """Pixels that Gammapy's rule calls safe, or those that serve safe bins where it cannot tell."""
    field = min(n * scale for n, scale in zip(grid.shape[::-1], grid.pixel_scales, strict=True))
    cannot = ~safe.any(axis=(-2, -1), keepdims=True) & mask.any(axis=(-2, -1), keepdims=True)
    cannot |= target.max_pixel_scale >= field
    return np.where(cannot, serving_pixels(mask, grid, target), safe) if cannot.any() else safe


def onto_pixels(
    variable: xr.Variable, offset: tuple[int, int], sizes: tuple[int, int], dims: tuple[str, str]
) -> xr.Variable:
    """Array on other pixels, of the same kind: cut, and filled with zeros.

    Parameters
    ----------
    variable : `xarray.Variable`
    offset : tuple of int
        Row and column of the other grid at which its first pixel lies.
    sizes : tuple of int
        Rows and columns of the other grid.
    dims : tuple of str
        Names of the dimensions of rows and columns.
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
    """Mean of two response maps, each weighted with its exposure.

    Parameters
    ----------
    cube, other : `xarray.Dataset`
        Both with the map; of the second what is safe counts.
    key : {"psf", "edisp"}
    where : str
        To begin messages with.

    Returns
    -------
    arrays : dict of `xarray.Variable`
        The map and its exposure. Where neither has any, the map is 0. Of maps whose exposures are 0
        everywhere, as Fermi's, the first stays, or the second comes where the first is 0 (in Gammapy no
        response is left of them).

    Raises
    ------
    InputError
        An exposure is missing, or the axes or the pixels differ.
    """
    exposure_key = f"{key}_exposure"
    for one in (cube, other):
        if exposure_key not in one:
            msg = f"{where}: {exposure_key!r} of dataset {one.attrs['name']!r} is missing, the weight of its {key}"
            raise InputError(msg)
    _check_axes(cube, other, key, where)
    offset = pixel_offset(grid_of(cube, key), grid_of(other, key), grid_of(other, key).frame)
    if offset is None:
        msg = f"{where}: the pixels of {key!r} are not the same"
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
    # of maps without any exposure the first stays, or the second comes where there is no first
    some = (values != 0).any(values.dims[:2])
    second = onto_pixels(kept(others, mask), offset, sizes, dims)
    instead = kept(values, some) + kept(second, ~some)
    mean = mean + kept(instead, (total == 0).all())
    mean.attrs, total.attrs = dict(cube[key].attrs), dict(cube[exposure_key].attrs)
    return {key: mean, exposure_key: total}


def _check_axes(cube: xr.Dataset, other: xr.Dataset, key: str, where: str) -> None:
    dims = cube[key].dims
    if other[key].dims != dims:
        msg = f"{where}: {key!r} has axes {other[key].dims[:2]}, expected are {dims[:2]}"
        raise InputError(msg)
    for dim in map(str, dims[:2]):
        if not same_axis(cube_axis(cube, dim), cube_axis(other, dim)):
            msg = f"{where}: the axes {dim!r} of {key!r} are not the same"
            raise InputError(msg)
