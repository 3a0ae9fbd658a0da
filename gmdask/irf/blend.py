"""Smooth interpolation of response maps in position.

Between two nodes of a map the parabolas through three nodes to either side are blended with a
quintic step. The result passes through every node, reproduces parabolas, needs four nodes per
direction and is twice continuously differentiable, so that a likelihood does not show where the
pixels of the response map are.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gmdask.geometry import WcsGrid, rotate

__all__ = ["Blend", "blend_at", "blend_weights"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]

STENCIL = 1e-3  # deg, of the differences by which pixel coordinates are derived
N_ORDERS = 6  # value, two first and three second derivatives


class Blend(NamedTuple):
    """Nodes of a map around a position, and what each contributes.

    Attributes
    ----------
    y, x : array of shape (4,)
        Rows and columns of the nodes; a node beyond the border stands for the one at it.
    weights : array of shape (6, 4, 4)
        Weights (row, column) of the value, of its derivatives by longitude and latitude, and
        of the second ones (lon lon, lon lat, lat lat), per deg.
    """

    y: Index
    x: Index
    weights: Array

    @property
    def is_constant(self) -> bool:
        """Whether all nodes are one, so that nothing depends on the position."""
        return len(set(self.y.tolist())) == 1 and len(set(self.x.tolist())) == 1


def blend_weights(u: float) -> Array:
    """Weights (order, node) of the nodes -1, 0, 1, 2 at `u` between 0 and 1.

    The orders are the value and its first and second derivative by `u`.
    """
    step = u**3 * (10 - 15 * u + 6 * u * u)
    d_step = 30 * u * u * (1 - u) ** 2
    d2_step = 60 * u * (1 - u) * (1 - 2 * u)
    left = np.array([
        [u * (u - 1) / 2, 1 - u * u, u * (u + 1) / 2, 0.0],
        [u - 0.5, -2 * u, u + 0.5, 0.0],
        [1.0, -2.0, 1.0, 0.0],
    ])  # fmt: skip
    v = u - 1
    right = np.array([
        [0.0, v * (v - 1) / 2, 1 - v * v, v * (v + 1) / 2],
        [0.0, v - 0.5, -2 * v, v + 0.5],
        [0.0, 1.0, -2.0, 1.0],
    ])  # fmt: skip
    apart = right - left
    return np.stack([
        left[0] + step * apart[0],
        left[1] + step * apart[1] + d_step * apart[0],
        left[2] + step * apart[2] + 2 * d_step * apart[1] + d2_step * apart[0],
    ])  # fmt: skip


def _axis(at: float, n: int) -> tuple[Index, Array]:
    """Nodes (4,) and weights (3, 4) along one axis of n nodes; constant beyond its ends."""
    if n == 1 or not math.isfinite(at):
        weights = np.zeros((3, 4))
        weights[0, 1] = 1.0
        return np.full(4, 0 if n == 1 else n // 2, dtype=np.intp), weights
    cell = min(max(math.floor(at), -2), n)
    nodes = np.clip(cell + np.arange(-1, 3), 0, n - 1).astype(np.intp)
    return nodes, blend_weights(min(max(at - cell, 0.0), 1.0))


def blend_at(grid: WcsGrid, lon: float, lat: float, frame: str) -> Blend:
    """Nodes and weights of a map at a position.

    Parameters
    ----------
    grid : `WcsGrid`
        Pixels of the map, whose centres are the nodes.
    lon, lat : float
        Position in `frame`, in deg; the derivatives are by these.
    frame : {"icrs", "galactic"}
        Frame of the position.
    """
    if grid.shape == (1, 1):
        (y, wy), (x, wx) = _axis(0.0, 1), _axis(0.0, 1)
        weights = np.zeros((N_ORDERS, 4, 4))
        weights[0] = np.outer(wy[0], wx[0])
        return Blend(y, x, weights)
    step = np.array([-STENCIL, 0.0, STENCIL])
    sky_lat, sky_lon = np.meshgrid(lat + step, lon + step, indexing="ij")
    pixels = grid.to_pixel(*rotate(sky_lon, sky_lat, frame, grid.frame))
    (y, wy), (x, wx) = (
        _axis(float(p[1, 1]), n) for p, n in zip(pixels[::-1], grid.shape, strict=True)
    )
    px, py = (_differences(p) for p in pixels)
    by_x, by_y = np.outer(wy[0], wx[1]), np.outer(wy[1], wx[0])
    xx, xy, yy = np.outer(wy[0], wx[2]), np.outer(wy[1], wx[1]), np.outer(wy[2], wx[0])
    found = [np.outer(wy[0], wx[0])]
    found += [by_x * px[i] + by_y * py[i] for i in (0, 1)]
    for k, (i, j) in enumerate(((0, 0), (0, 1), (1, 1))):
        second = xx * px[i] * px[j] + xy * (px[i] * py[j] + px[j] * py[i]) + yy * py[i] * py[j]
        found.append(second + by_x * px[2 + k] + by_y * py[2 + k])
    return Blend(y, x, np.stack(found))


def _differences(p: Array) -> Array:
    """First (lon, lat) and second (lon lon, lon lat, lat lat) derivatives of a 3 x 3 stencil."""
    if not np.isfinite(p).all() or np.ptp(p) > 1.0:  # the edge of the projection
        return np.zeros(5)
    h = STENCIL
    first = [(p[1, 2] - p[1, 0]) / (2 * h), (p[2, 1] - p[0, 1]) / (2 * h)]
    mixed = (p[2, 2] - p[2, 0] - p[0, 2] + p[0, 0]) / (4 * h * h)
    second = [
        (p[1, 2] - 2 * p[1, 1] + p[1, 0]) / h**2,
        mixed,
        (p[2, 1] - 2 * p[1, 1] + p[0, 1]) / h**2,
    ]
    return np.array([*first, *second])
