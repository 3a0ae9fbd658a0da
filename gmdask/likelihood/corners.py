"""The four pixels over which a point source is distributed."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from gmdask.geometry import Grid, rotate

__all__ = ["point_corners"]

Array = NDArray[np.float64]

STEP_FIRST, STEP_SECOND = 1e-4, 1e-2  # deg; steps of the finite differences of pixel coordinates


def point_corners(
    grid: Grid, frame: str, values: Array, free: list[int], *, derivatives: bool
) -> tuple[list[tuple[int, int]], Array]:
    """Return the four pixels around a point and their weights, with derivatives if requested.

    As Gammapy's ``PointSpatialModel``: bilinear in pixel coordinates, so that the centroid is kept.

    Parameters
    ----------
    grid : `Grid`
    frame : str
        Frame of the position.
    values : array
        Longitude and latitude in deg.
    free : list of int
        Free ones among the two, S in total.
    derivatives : bool

    Returns
    -------
    pixels : list of tuple of int
        Row and column of each; empty off the sky.
    shares : array of shape (1 + S + S², pixel) or (1, pixel)
    """
    x, y = (float(v) for v in _pixel(grid, frame, values[0], values[1]))
    if not (math.isfinite(x) and math.isfinite(y)):
        n_shape = len(free) if derivatives else 0
        return [], np.zeros((1 + n_shape + n_shape**2, 0))
    column, row = math.floor(x), math.floor(y)
    pixels = [(row + i, column + j) for i in (0, 1) for j in (0, 1)]
    v, u = y - row, x - column
    in_y, in_x = np.array([1 - v, v]), np.array([1 - u, u])
    slope = np.array([-1.0, 1.0])
    share = np.outer(in_y, in_x).ravel()
    if not derivatives:
        return pixels, share[None]
    by_y, by_x = np.outer(slope, in_x).ravel(), np.outer(in_y, slope).ravel()
    mixed = np.outer(slope, slope).ravel()
    (x_1, y_1), (x_2, y_2) = _pixel_derivatives(grid, frame, values)
    first = np.outer(x_1, by_x) + np.outer(y_1, by_y)
    cross = np.outer(x_1, y_1)
    second = (cross + cross.T)[..., None] * mixed + x_2[..., None] * by_x + y_2[..., None] * by_y
    return pixels, np.concatenate(
        [share[None], first[free], second[np.ix_(free, free)].reshape(-1, 4)]
    )


def _pixel(grid: Grid, frame: str, lon: Array | float, lat: Array | float) -> tuple[Array, Array]:
    return grid.to_pixel(*rotate(lon, lat, frame, grid.frame))


def _pixel_derivatives(
    grid: Grid, frame: str, values: Array
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """First (2,) and second (2, 2) derivatives of x and y with respect to (lon, lat), by finite differences.

    The projection is smooth on the scale of degrees: central differences are accurate to
    1e-9 of the first derivatives.
    """
    h, k = STEP_FIRST, STEP_SECOND
    lon = values[0] + np.array([h, -h, 0, 0, k, -k, 0, 0, 0, k, k, -k, -k])
    lat = values[1] + np.array([0, 0, h, -h, 0, 0, k, -k, 0, k, -k, k, -k])
    firsts, seconds = [], []
    for p in _pixel(grid, frame, lon, lat):
        firsts.append(np.array([p[0] - p[1], p[2] - p[3]]) / (2 * h))
        mixed = (p[9] - p[10] - p[11] + p[12]) / (4 * k * k)
        seconds.append(np.array([
            [(p[4] - 2 * p[8] + p[5]) / k**2, mixed], [mixed, (p[6] - 2 * p[8] + p[7]) / k**2],
        ]))  # fmt: skip
    return (firsts[0], firsts[1]), (seconds[0], seconds[1])
