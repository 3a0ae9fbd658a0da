"""Operations on the pixels of cubes: cutouts, padding, and downsampling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from gmdask.datasets.operations.arrays import double, finite, kept, ordered
from gmdask.datasets.operations.background import background_factors, ratio
from gmdask.datasets.operations.irf import IRFS, grid_of
from gmdask.datasets.operations.masks import refuse_weights
from gmdask.errors import InputError
from gmdask.geometry import (
    WcsGrid,
    Window,
    cutout_window,
    downsampled_cards,
    rotate,
    shifted_cards,
)

__all__ = ["IRF_MIN_PIXELS", "cutout", "cutout_windows", "downsample", "pad", "pixel_window"]

IRF_MIN_PIXELS = 3  # smallest cutout of a response map, so that it can be interpolated
WHOLE_SKY = 360.0  # deg


def pixel_window(
    grid: WcsGrid, at: tuple[float, float], width: tuple[float, float], least: int
) -> Window | None:
    """Return the rectangle of pixels around a position, None if it lies outside.

    Parameters
    ----------
    grid : WcsGrid
    at : tuple of float
        Pixel coordinate (y, x).
    width : tuple of float
        Size in longitude and latitude, in deg.
    least : int
        Smallest number of pixels along each side.
    """
    npix = [
        round(max(min(side, WHOLE_SKY) / scale, float(least)))
        for side, scale in zip(width[::-1], grid.pixel_scales[::-1], strict=True)
    ]
    return cutout_window(grid.shape, at, (npix[0], npix[1]))


def cutout_windows(
    cube: xr.Dataset,
    position: tuple[float, float],
    frame: str,
    width: tuple[float, float],
    where: str,
) -> dict[str, Window]:
    """Return the pixels of the maps of a cube that a cutout contains.

    Parameters
    ----------
    cube : `xarray.Dataset`
    position : tuple of float
        Longitude and latitude of the centre in deg.
    frame : str
        Frame of the position.
    width : tuple of float
        Size in longitude and latitude, in deg.
    where : str
        Text with which messages begin.

    Returns
    -------
    windows : dict
        For the counts under "", for the response maps under "psf" and "edisp"; a map that does not
        contain the position is used completely.

    Raises
    ------
    InputError
        If the cutout lies outside the maps.
    """
    windows = {}
    for key in ("", *(key for key in IRFS if key in cube)):
        grid = grid_of(cube, key)
        x, y = grid.to_pixel(*rotate(*position, frame, grid.frame))
        at = float(y), float(x)
        window = pixel_window(grid, at, width, 1 if key == "" else IRF_MIN_PIXELS)
        if window is None and key == "":
            msg = f"{where}: a cutout of {width} deg at {position} deg ({frame}) lies outside its maps"
            raise InputError(msg)
        windows[key] = window or Window(0, grid.shape[0], 0, grid.shape[1])
    return windows


def cutout(cube: xr.Dataset, windows: Mapping[str, tuple[int, int, int, int]]) -> xr.Dataset:
    """Cut out pixels of the maps, and of response maps with their exposure.

    Parameters
    ----------
    cube : `xarray.Dataset`
    windows : mapping
        See `cutout_windows`.
    """
    cuts: dict[str, slice] = {}
    cards = {}
    for key, limits in windows.items():
        window, prefix = Window(*limits), f"{key}_" if key else ""
        cuts |= dict(zip((f"{prefix}lat", f"{prefix}lon"), window.slices, strict=True))
        cards[f"{prefix}wcs"] = shifted_cards(cube.attrs[f"{prefix}wcs"], window.y0, window.x0)
    return cube.isel(cuts).assign_attrs(cards)


def pad(cube: xr.Dataset, pixels: tuple[int, int]) -> xr.Dataset:
    """Add pixels on all sides: without counts, background and exposure, and outside the masks.

    Parameters
    ----------
    cube : `xarray.Dataset`
    pixels : tuple of int
        Number of pixels on each side, in longitude and in latitude.
    """
    widths = {"lon": (pixels[0], pixels[0]), "lat": (pixels[1], pixels[1])}
    arrays = {}
    for key, array in cube.data_vars.items():
        if "lat" in array.dims:
            fill = False if array.dtype == bool else 0
            padded = array.variable.pad(widths, mode="constant", constant_values=fill)
            padded.attrs = dict(array.attrs)
            arrays[str(key)] = padded
    cards = shifted_cards(cube.attrs["wcs"], -pixels[1], -pixels[0])
    padded_cube = cube.drop_vars(list(arrays)).assign(arrays).assign_attrs(wcs=cards)
    return ordered(padded_cube, cube)


def downsample(
    cube: xr.Dataset, factor: int, background: Mapping[str, Any] | None = None
) -> xr.Dataset:
    """Combine `factor` times `factor` pixels into one; the response maps are not changed.

    Parameters
    ----------
    cube : `xarray.Dataset`
        A cube whose numbers of pixels are divisible by the factor.
    factor : int
    background : mapping, optional
        Plain data of the background model, which then predicts the sum.

    Notes
    -----
    As Gammapy's ``MapDataset.downsample``: counts and background are summed within the safe mask,
    exposure is averaged, and a pixel belongs to a mask if any of its parts does.
    """
    refuse_weights(cube, "a sum over pixels")
    arrays = {k: v.variable for k, v in cube.data_vars.items() if "lat" in v.dims}
    mask = arrays.get("mask_safe")
    new = cube.drop_vars(list(arrays))
    new.attrs["wcs"] = downsampled_cards(cube.attrs["wcs"], factor)
    for key, variable in arrays.items():
        values = double(variable)
        if key == "background" and background is not None:
            before = background_factors(cube, background)
            shape = cube.sizes["lat"] // factor, cube.sizes["lon"] // factor
            grid = WcsGrid(new.attrs["wcs"], shape)
            share = ratio(before, _repeated(background, cube, grid, factor))
            values = (values * share).transpose(*variable.dims)
        if values.dtype == bool:
            coarse = _blocks(values, factor).any(("y", "x"))
        elif key in ("counts", "background"):
            coarse = _blocks(kept(values, mask), factor).sum(("y", "x"), skipna=False)
        else:
            coarse = _blocks(finite(values), factor).mean(("y", "x"), skipna=False)
        coarse.attrs = dict(variable.attrs)
        new[key] = coarse
    return ordered(new, cube)


def _blocks(variable: xr.Variable, factor: int) -> xr.Variable:
    """Split an array into blocks of pixels along two further dimensions."""
    shape = variable.sizes["lat"] // factor, factor, variable.sizes["lon"] // factor, factor
    values = variable.transpose(..., "lat", "lon")
    data = values.data.reshape(*values.shape[:-2], *shape)
    return xr.Variable((*values.dims[:-2], "lat", "y", "lon", "x"), data)


def _repeated(
    background: Mapping[str, Any], cube: xr.Dataset, grid: WcsGrid, factor: int
) -> xr.Variable:
    """Return the norm of the background at coarse pixels, repeated for each of their parts."""
    coarse = xr.Dataset(
        coords={key: cube[key] for key in ("energy", "energy_edges")}, attrs={"wcs": grid.header}
    )
    coarse = coarse.expand_dims(lat=grid.shape[0], lon=grid.shape[1])
    factors = background_factors(coarse, background)
    for dim in set(factors.dims) & {"lat", "lon"}:
        factors = factors.isel({dim: np.arange(factors.sizes[dim]).repeat(factor)})
    return factors
