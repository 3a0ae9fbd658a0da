"""Smooth interpolation of response maps in position.

Between two nodes of a map, the parabolas through three nodes on either side are blended with a
quintic step. The result passes through every node, reproduces parabolas, needs four nodes per
direction and is twice continuously differentiable, so that the pixels of the response map do not
show in the likelihood.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gmdask.compiling import compiled
from gmdask.geometry import WcsGrid, rotate

__all__ = ["Blend", "blend_at", "blend_axis", "blend_weights"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]

STENCIL = 1e-3  # deg; step of the finite differences of pixel coordinates
NORTH, EAST = STENCIL * (np.indices((3, 3)) - 1.0)
N_ORDERS = 6  # value, two first and three second derivatives


class Blend(NamedTuple):
    """Nodes of a map around a position, and their weights.

    Attributes
    ----------
    y, x : array of shape (4,)
        Rows and columns of the nodes; a node beyond the border is replaced by the one at it.
    weights : array of shape (6, 4, 4)
        Weights (row, column) of the value, of its derivatives with respect to longitude and
        latitude, and of the second derivatives (lon lon, lon lat, lat lat), per deg.
    """

    y: Index
    x: Index
    weights: Array

    @property
    def is_constant(self) -> bool:
        """Whether all nodes are the same, so that nothing depends on the position."""
        return len(set(self.y.tolist())) == 1 and len(set(self.x.tolist())) == 1


@compiled
def blend_weights(u: float) -> Array:
    """Weights (order, node) of the nodes -1, 0, 1, 2 at `u` between 0 and 1.

    The orders are the value and its first and second derivative with respect to `u`.
    """
    step = u**3 * (10 - 15 * u + 6 * u * u)
    d_step = 30 * u * u * (1 - u) ** 2
    d2_step = 60 * u * (1 - u) * (1 - 2 * u)
    left, right, v = np.zeros((3, 4)), np.zeros((3, 4)), u - 1
    left[0, 0], left[0, 1], left[0, 2] = u * (u - 1) / 2, 1 - u * u, u * (u + 1) / 2
    left[1, 0], left[1, 1], left[1, 2] = u - 0.5, -2 * u, u + 0.5
    left[2, 0], left[2, 1], left[2, 2] = 1.0, -2.0, 1.0
    right[0, 1], right[0, 2], right[0, 3] = v * (v - 1) / 2, 1 - v * v, v * (v + 1) / 2
    right[1, 1], right[1, 2], right[1, 3] = v - 0.5, -2 * v, v + 0.5
    right[2, 1], right[2, 2], right[2, 3] = 1.0, -2.0, 1.0
    out = np.empty((3, 4))
    for node in range(4):
        apart = right[:, node] - left[:, node]
        out[0, node] = left[0, node] + step * apart[0]
        out[1, node] = left[1, node] + step * apart[1] + d_step * apart[0]
        out[2, node] = left[2, node] + step * apart[2] + 2 * d_step * apart[1] + d2_step * apart[0]
    return out


@compiled
def _differences(p: Array) -> Any:
    """First (lon, lat) and second (lon lon, lon lat, lat lat) derivatives of a 3 x 3 stencil."""
    out, h, middle = np.zeros(5), STENCIL, p[1, 1]
    for i in range(3):
        for j in range(3):
            if not abs(p[i, j] - middle) <= 0.5:  # at the edge of the projection
                return out
    out[0] = (p[1, 2] - p[1, 0]) / (2 * h)
    out[1] = (p[2, 1] - p[0, 1]) / (2 * h)
    out[2] = (p[1, 2] - 2 * middle + p[1, 0]) / h**2
    out[3] = (p[2, 2] - p[2, 0] - p[0, 2] + p[0, 0]) / (4 * h * h)
    out[4] = (p[2, 1] - 2 * middle + p[0, 1]) / h**2
    return out


@compiled
def _axis(at: float, n: int, nodes: Index) -> Any:
    """Fill the nodes (4,) along an axis, and return their weights; see `blend_axis`."""
    if n == 1 or not math.isfinite(at):
        weights = np.zeros((3, 4))
        weights[0, 1] = 1.0
        nodes[:] = 0 if n == 1 else n // 2
        return weights
    cell = min(max(math.floor(at), -2), n)
    for k in range(4):
        nodes[k] = min(max(cell + k - 1, 0), n - 1)
    return blend_weights(min(max(at - cell, 0.0), 1.0))


def blend_axis(at: float, n: int) -> tuple[Index, Array]:
    """Nodes (4,) and weights (3, 4) along one axis of n nodes; constant beyond its ends.

    See `blend_weights`.
    """
    nodes = np.empty(4, dtype=np.intp)
    return nodes, _axis(float(at), n, nodes)


@compiled
def _blend(x: Array, y: Array, n_y: int, n_x: int, nodes: Index, weights: Array) -> None:
    """Fill the nodes (2, 4) and weights (6, 4, 4) of `Blend` from pixels (3, 3) at the positions of the stencil."""
    wy, wx = _axis(y[1, 1], n_y, nodes[0]), _axis(x[1, 1], n_x, nodes[1])
    px, py = _differences(x), _differences(y)
    for i in range(4):
        for j in range(4):
            by_x, by_y = wy[0, i] * wx[1, j], wy[1, i] * wx[0, j]
            xx, xy, yy = wy[0, i] * wx[2, j], wy[1, i] * wx[1, j], wy[2, i] * wx[0, j]
            weights[0, i, j] = wy[0, i] * wx[0, j]
            weights[1, i, j] = by_x * px[0] + by_y * py[0]
            weights[2, i, j] = by_x * px[1] + by_y * py[1]
            for k in range(3):
                a, b = k // 2, (k + 1) // 2  # (0, 0), (0, 1), (1, 1)
                weights[3 + k, i, j] = (
                    xx * px[a] * px[b] + xy * (px[a] * py[b] + px[b] * py[a])
                    + yy * py[a] * py[b] + by_x * px[2 + k] + by_y * py[2 + k]
                )  # fmt: skip


def blend_at(grid: WcsGrid, lon: float, lat: float, frame: str) -> Blend:
    """Return the nodes and weights of a map at a position.

    Parameters
    ----------
    grid : `WcsGrid`
        Pixels of the map, whose centres are the nodes.
    lon, lat : float
        Position in `frame`, in deg; derivatives are with respect to these.
    frame : {"icrs", "galactic"}
        Frame of the position.
    """
    if grid.shape == (1, 1):
        (y, wy), (x, wx) = blend_axis(0.0, 1), blend_axis(0.0, 1)
        weights = np.zeros((N_ORDERS, 4, 4))
        weights[0] = np.outer(wy[0], wx[0])
        return Blend(y, x, weights)
    pixels = grid.to_pixel(*rotate(lon + EAST, lat + NORTH, frame, grid.frame))
    nodes: Index = np.empty((2, 4), dtype=np.intp)
    weights = np.empty((N_ORDERS, 4, 4))
    in_x, in_y = (np.ascontiguousarray(p) for p in pixels)
    _blend(in_x, in_y, *grid.shape, nodes, weights)
    return Blend(nodes[0], nodes[1], weights)
