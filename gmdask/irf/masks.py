"""Correspondence between the pixels of a response map and those of a mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gmdask.geometry import WcsGrid, rotate

__all__ = ["corner_pixels", "nearest_pixels", "serving_pixels"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]


def nearest_pixels(grid: WcsGrid, target: WcsGrid) -> tuple[Index, NDArray[np.bool_]]:
    """Return the pixels of one grid that contain the pixel centres of another.

    Parameters
    ----------
    grid, target : WcsGrid

    Returns
    -------
    index : array of the shape of `target`
        Flat index into `grid`; 0 outside it.
    inside : boolean array of the shape of `target`
    """
    x, y = _pixel_centers(grid, target)
    finite = np.isfinite(x) & np.isfinite(y)
    column, row = (np.floor(np.where(finite, v, -2.0) + 0.5).astype(np.intp) for v in (x, y))
    inside = (row >= 0) & (row < grid.shape[0]) & (column >= 0) & (column < grid.shape[1])
    return np.where(inside, row * grid.shape[1] + column, 0), inside


def corner_pixels(grid: WcsGrid, target: WcsGrid) -> tuple[Index, Array]:
    """Return the four pixels of one grid around each pixel centre of another.

    Parameters
    ----------
    grid, target : WcsGrid

    Returns
    -------
    index : array of shape (4, lat, lon)
        Flat index into `grid`.
    weight : array of shape (4, lat, lon)
        Weights of a bilinear interpolation, which extrapolates outside the grid; 0 off the sky.
    """
    x, y = _pixel_centers(grid, target)
    finite = np.isfinite(x) & np.isfinite(y)
    (row, v), (column, u) = (
        _cell(np.where(finite, at, 0.0), n) for at, n in ((y, grid.shape[0]), (x, grid.shape[1]))
    )
    rows = [row, np.minimum(row + 1, grid.shape[0] - 1)]
    columns = [column, np.minimum(column + 1, grid.shape[1] - 1)]
    index = [rows[i] * grid.shape[1] + columns[j] for i in (0, 1) for j in (0, 1)]
    weight = [a * b * finite for a in (1 - v, v) for b in (1 - u, u)]
    return np.stack(index), np.stack(weight)


def serving_pixels(mask: NDArray[np.bool_], grid: WcsGrid, target: WcsGrid) -> NDArray[np.bool_]:
    """Return the pixels of a response map from which the response at some pixels of a mask is interpolated.

    Parameters
    ----------
    mask : boolean array of shape (..., lat, lon)
    grid : WcsGrid
        Pixels of the mask.
    target : WcsGrid
        Pixels of the response.

    Returns
    -------
    serving : boolean array of shape (..., lat, lon)
        On the pixels of `target`.
    """
    index, weight = corner_pixels(target, grid)
    serving = np.zeros((*mask.shape[:-2], target.shape[0] * target.shape[1]), dtype=bool)
    for at in np.ndindex(mask.shape[:-2]):
        serving[at][index[mask[at] & (weight != 0)]] = True
    return serving.reshape(*mask.shape[:-2], *target.shape)


def _pixel_centers(grid: WcsGrid, target: WcsGrid) -> tuple[Array, Array]:
    return grid.to_pixel(*rotate(*target.pixel_centers, target.frame, grid.frame))


def _cell(at: Array, n: int) -> tuple[Index, Array]:
    low = np.clip(np.floor(at).astype(np.intp), 0, max(n - 2, 0))
    return low, at - low if n > 1 else np.zeros_like(at)
