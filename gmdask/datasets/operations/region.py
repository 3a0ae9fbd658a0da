"""Projection of maps to regions: counts and background are summed inside, exposure is averaged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gmdask.datasets.operations.arrays import double, kept, ordered, values_now
from gmdask.datasets.operations.background import background_factors
from gmdask.datasets.operations.irf import IRFS, grid_of
from gmdask.datasets.operations.masks import refuse_weights
from gmdask.errors import InputError
from gmdask.geometry import nearest_pixel, rotate, shifted_cards
from gmdask.geometry.regions import Region
from gmdask.likelihood.observation import Observation

__all__ = ["check_region", "to_region"]

Mask = NDArray[np.bool_]


def check_region(cube: xr.Dataset, region: Region, where: str) -> None:
    """Raise an error for a region from which no spectrum can be extracted.

    Parameters
    ----------
    cube : `xarray.Dataset`
        The cube, of whose masks the pixels of the region are read.
    region : Region
    where : str
        Text with which messages begin.

    Raises
    ------
    InputError
        If it is not completely inside the map, or a mask varies within it.
    """
    grid = grid_of(cube)
    y0, y1, x0, x1 = region.box
    inside = region.mask(grid)
    partly = y0 < 0 or x0 < 0 or y1 > grid.shape[0] or x1 > grid.shape[1]
    if not region.is_point and partly and _beyond(region, cube):
        msg = f"{where}: {region} is not completely inside its map"
        raise InputError(msg)
    if not inside.any() or (region.is_point and partly):
        msg = f"{where}: {region} contains no pixel of its map"
        raise InputError(msg)
    masks = [cube[key] for key in ("mask_safe", "mask_fit") if key in cube]
    if masks:
        rows, columns = _window(inside)
        whole = np.all([values_now(m[:, rows, columns]) for m in masks], axis=0)[
            :, inside[rows, columns]
        ]
        if (whole.any(axis=1) & ~whole.all(axis=1)).any():
            msg = f"{where}: the mask varies between the pixels of {region} at some energies"
            raise InputError(msg)


def _beyond(region: Region, cube: xr.Dataset) -> bool:
    """Whether pixels of the region lie in a frame of one pixel around the map."""
    grid = grid_of(cube)
    shape = grid.shape[0] + 2, grid.shape[1] + 2
    frame = region.mask(type(grid)(shifted_cards(grid.header, -1, -1), shape))
    return bool(frame[[0, -1]].any() or frame[:, [0, -1]].any())


def _window(inside: Mask) -> tuple[slice, slice]:
    y, x = inside.nonzero()
    return slice(int(y.min()), int(y.max()) + 1), slice(int(x.min()), int(x.max()) + 1)


def to_region(
    cube: xr.Dataset,
    region: Mapping[str, Any],
    background: Mapping[str, Any] | None,
    kind: str,
    psf: bool = True,
    contained: bool = False,
) -> xr.Dataset:
    """Sum a map within a region.

    Parameters
    ----------
    cube : `xarray.Dataset`
    region : mapping
        Plain data of a `Region` in the projection of the map.
    background : mapping or None
        Plain data of the background model, which is applied.
    kind : str
        Kind of the result.
    psf : bool
        Whether it has a PSF.
    contained : bool
        Whether the exposure is multiplied with the fraction of the PSF inside a circle.

    Notes
    -----
    As Gammapy's ``MapDataset.to_region_map_dataset`` and ``to_spectrum_dataset``: a pixel belongs to the
    region if its centre does; the responses are those of the pixel at the region's centre.
    """
    refuse_weights(cube, "a sum over a region")
    where = Region.from_dict(region)
    inside = _pixels(cube, where)
    rows, columns = _window(inside)
    window = cube.isel(lat=rows, lon=columns)
    shape = xr.Variable(("lat", "lon"), inside[rows, columns])
    mask = window["mask_safe"].variable & shape if "mask_safe" in window else shape
    arrays: dict[str, xr.Variable] = {}
    for key in ("counts", "background", "mask_safe", "mask_fit", "exposure"):
        if key not in window:
            continue
        values = double(window[key].variable)
        if key == "background":
            values = values * background_factors(window_cards(window, rows, columns), background)
            values = values.transpose(*window[key].dims)
        if key in ("counts", "background"):
            total = kept(values, mask).sum(("lat", "lon"), skipna=False)
        elif key == "exposure":
            total = kept(values, shape).sum(("lat", "lon"), skipna=False) / int(inside.sum())
        else:
            total = (values & shape).any(("lat", "lon"))
        dims, shape_one = (*total.dims, "lat", "lon"), (*total.shape, 1, 1)
        arrays[key] = xr.Variable(dims, total.data.reshape(shape_one), dict(window[key].attrs))
    if contained:
        arrays["exposure"] = _contained(cube, where, arrays["exposure"])
    new = cube.drop_vars(list(arrays)).assign(arrays)
    new = new.assign_attrs(region=dict(region), wcs=where.pixel(), kind=kind)
    for key in IRFS:
        if key in new:
            new = _at(new, key, where) if psf or key != "psf" else _without(new, key)
    return ordered(new, cube)


def window_cards(window: xr.Dataset, rows: slice, columns: slice) -> xr.Dataset:
    """Return a part of a cube, with the WCS cards of its pixels."""
    return window.assign_attrs(wcs=shifted_cards(window.attrs["wcs"], rows.start, columns.start))


def _pixels(cube: xr.Dataset, region: Region) -> Mask:
    """Return the pixels of the region: those whose centres are inside, for points the nearest."""
    grid = grid_of(cube)
    if not region.is_point:
        return region.mask(grid)
    inside = np.zeros(grid.shape, dtype=bool)
    x, y = grid.to_pixel(*rotate(*region.center, "icrs", grid.frame))
    inside[nearest_pixel(float(y), grid.shape[0]), nearest_pixel(float(x), grid.shape[1])] = True
    return inside


def _at(cube: xr.Dataset, key: str, region: Region) -> xr.Dataset:
    """Return the response of the pixel at the centre of a region, as a map of one pixel."""
    grid = grid_of(cube, key)
    x, y = grid.to_pixel(*rotate(*region.center, "icrs", grid.frame))
    row, column = nearest_pixel(float(y), grid.shape[0]), nearest_pixel(float(x), grid.shape[1])
    at = {f"{key}_lat": slice(row, row + 1), f"{key}_lon": slice(column, column + 1)}
    cards = shifted_cards(grid.header, row, column)
    return cube.isel(at).assign_attrs({f"{key}_wcs": cards})


def _without(cube: xr.Dataset, key: str) -> xr.Dataset:
    """Return a cube without a response and its axes."""
    gone = [k for k in (key, f"{key}_exposure") if k in cube]
    dims = {dim for k in gone for dim in cube[k].dims}
    new = cube.drop_vars(gone)
    used = {dim for array in new.data_vars.values() for dim in array.dims}
    coords = [c for dim in dims - used for c in (dim, f"{dim}_edges") if c in new.coords]
    attrs = {k: v for k, v in new.attrs.items() if k != f"{key}_wcs"}
    result = new.drop_vars(coords)
    result.attrs = attrs
    return result


def _contained(cube: xr.Dataset, region: Region, exposure: xr.Variable) -> xr.Variable:
    """Return the exposure times the fraction of the PSF inside a circle."""
    observation = Observation(cube)
    psf, radius = observation.required_psf, region.required_radius
    lon, lat = rotate(*region.center, "icrs", psf.grid.frame)
    share = psf.containment(float(lon), float(lat), observation.energy_true.center, radius)
    result = exposure * xr.Variable(("energy_true",), share)
    result.attrs = dict(exposure.attrs)
    return result
