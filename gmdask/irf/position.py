"""The pixel of a response map that is used for a position."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from gmdask.geometry import WcsGrid, separation
from gmdask.irf.tiles import TiledMap

__all__ = ["filled_nodes", "nearest_valid_pixel"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]


def nearest_valid_pixel(
    values: TiledMap, grid: WcsGrid, lon: float, lat: float
) -> tuple[float, float]:
    """Return the pixel coordinate (x, y) of a position, or of the nearest valid pixel.

    A pixel is valid if any of its values is positive. If the pixel of the position is not
    valid, but any other is, the centre of the valid pixel that is nearest on the
    sky is used (Gammapy's ``IRFMap._get_nearest_valid_position``).

    Parameters
    ----------
    values : `TiledMap`
        Values with axes (..., lat, lon).
    grid : `WcsGrid`
        Pixels of the map.
    lon, lat : float
        Position in the frame of the grid, in deg.
    """
    x, y = (float(v) for v in grid.to_pixel(lon, lat))
    finite = math.isfinite(x) and math.isfinite(y)
    column, row = (round(x), round(y)) if finite else (-1, -1)
    inside = 0 <= row < grid.shape[0] and 0 <= column < grid.shape[1]
    if inside and (values.window(row, row + 1, column, column + 1) > 0).any():
        return x, y
    distance = separation(*grid.pixel_centers, lon, lat)
    row, column = (int(k) for k in np.unravel_index(np.argmin(distance), grid.shape))
    if (values.window(row, row + 1, column, column + 1) > 0).any():
        return float(column), float(row)
    valid = values.valid
    if not valid.any():
        if finite:
            return x, y
        valid = np.ones_like(valid)  # behind the plane of projection: any pixel, the nearest one
    nearest = np.unravel_index(np.argmin(np.where(valid, distance, np.inf)), grid.shape)
    return float(nearest[1]), float(nearest[0])


def filled_nodes(values: TiledMap, grid: WcsGrid, rows: Index, columns: Index) -> Array:
    """Return the values (..., row, column) of some pixels; invalid pixels are replaced by the nearest valid one.

    Parameters
    ----------
    values : `TiledMap`
        Values with axes (..., lat, lon).
    grid : `WcsGrid`
        Pixels of the map.
    rows, columns : array
        In ascending order; different ones are adjacent.
    """
    y0, x0 = int(rows.min()), int(columns.min())
    y1, x1 = int(rows.max()) + 1, int(columns.max()) + 1
    window = values.window(y0, y1, x0, x1)
    if not values.is_valid(y0, y1, x0, x1) and values.valid.any():
        valid = (window > 0).any(axis=tuple(range(window.ndim - 2)))
        lon, lat = grid.pixel_centers
        for row, column in np.argwhere(~valid).tolist():
            at = (y0 + row, x0 + column)
            distance = separation(lon, lat, float(lon[at]), float(lat[at]))
            near = np.unravel_index(np.argmin(np.where(values.valid, distance, np.inf)), grid.shape)
            y, x = int(near[0]), int(near[1])
            window[..., row, column] = values.window(y, y + 1, x, x + 1)[..., 0, 0]
    if window.shape[-2:] == (len(rows), len(columns)):  # each pixel once
        return window
    result: Array = window[..., rows - y0, :][..., columns - x0]
    return np.ascontiguousarray(result)
