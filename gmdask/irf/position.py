"""The pixel of a response map that serves a position."""

from __future__ import annotations

import math

import numpy as np

from gmdask.geometry import WcsGrid
from gmdask.irf.tiles import TiledMap

__all__ = ["nearest_valid_pixel"]


def nearest_valid_pixel(values: TiledMap, grid: WcsGrid, lon: float, lat: float) -> tuple[float, float]:
    """Pixel coordinate (x, y) of a position, or of the nearest valid pixel.

    A pixel is valid where any of its values is positive. Where the pixel of
    the position is not, and any other is, the centre of the valid pixel nearest on the
    sky is taken (Gammapy's ``IRFMap._get_nearest_valid_position``).

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
    if 0 <= row < grid.shape[0] and 0 <= column < grid.shape[1]:
        if (values.window(row, row + 1, column, column + 1) > 0).any():
            return x, y
    everywhere = values.whole()
    valid = (everywhere > 0).reshape(-1, *grid.shape).any(axis=0)
    if not valid.any():
        if finite:
            return x, y
        valid[:] = True  # behind the plane of the projection: the nearest pixel there is
    lons, lats = (np.radians(a) for a in grid.pixel_centers)
    lon0, lat0 = np.radians(lon), np.radians(lat)
    haversine = np.sin((lats - lat0) / 2) ** 2 + np.cos(lats) * np.cos(lat0) * np.sin((lons - lon0) / 2) ** 2
    row, column = np.unravel_index(np.argmin(np.where(valid, haversine, np.inf)), grid.shape)
    return float(column), float(row)
