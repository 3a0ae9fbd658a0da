"""The compiled loop of a source in a region: the part of the region at each radius."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gmdask.compiling import compiled, part
from gmdask.likelihood.exact.nodes import curves_of, node_scratch, slopes_of, spline_at

__all__ = ["add_node", "even_waves", "footprints", "pairs", "rows"]

Array = NDArray[np.float64]


@part
def _put(
    out: Array, row: int, m: int, cell: int, weights: Array, value: float, slope: float, bend: float
) -> None:
    """Add the contributions of a node to four coefficients, from value, slope and curvature."""
    for k in range(4):
        out[row, m, cell + k] += (
            value * weights[0, k] + slope * weights[1, k] + bend * weights[2, k]
        )


@part
def _put_pairs(
    out: Array,
    m: int,
    cell: int,
    weights: Array,
    k: float,
    cosine: float,
    sine: float,
    moves: Array,
    by_r: Array,
    by_turn: Array,
    curves: Array,
    row: int,
) -> None:
    """Add second derivatives with respect to all pairs of parameters, from a row on."""
    for s in range(len(by_r)):
        for u in range(s + 1):
            bent, turned = 0.0, 0.0
            for i in range(2):
                for j in range(2):
                    both = moves[s, i] * moves[u, j]
                    bent += both * curves[0, i, j]
                    turned += both * curves[1, i, j]
            value = -k * sine * turned - k * k * cosine * by_turn[s] * by_turn[u]
            slope = cosine * bent - k * sine * (by_turn[s] * by_r[u] + by_turn[u] * by_r[s])
            _put(out, row, m, cell, weights, value, slope, cosine * by_r[s] * by_r[u])
            row += 1


@part
def add_node(
    seen: Array, solid: float, grid: Array, phi: float, waves: NDArray[np.int64], moves: Array,
    turns: Array, order: int, scratch: Any, out: Array,
) -> None:  # fmt: skip
    """Add the contributions of a node to the coefficients.

    Parameters
    ----------
    seen : array
        East, north, squared chord and chord of the node from the source.
    solid : float
        Its solid angle.
    grid, phi, waves, moves, turns, order, out
        See `footprints`.
    scratch
        From `node_scratch`.
    """
    _, weights, slopes, curves, by_r, by_turn = scratch
    n_s, n_m, r = len(turns), out.shape[1], seen[3]
    cell = spline_at(r, grid, weights)
    if order > 0:
        slopes_of(seen, r, grid[3], grid[4], slopes)
        for s in range(n_s):
            by_r[s] = moves[s, 0] * slopes[0, 0] + moves[s, 1] * slopes[0, 1]
            by_turn[s] = moves[s, 0] * slopes[1, 0] + moves[s, 1] * slopes[1, 1] - turns[s]
    if order > 1:
        curves_of(seen, r, slopes, grid[3], grid[4], curves)
    bearing = 0.0 if n_m == 1 and waves[0, 0] == 0 else np.arctan2(seen[0], seen[1]) - phi
    turn_c, turn_s = np.cos(bearing), np.sin(bearing)
    wave_c, wave_s, wave = solid, 0.0, 0
    for m in range(n_m):
        while wave < waves[m, 0]:
            wave_c, wave_s = wave_c * turn_c - wave_s * turn_s, wave_s * turn_c + wave_c * turn_s
            wave += 1
        cosine, sine = wave_c, wave_s
        if waves[m, 1] == 1:  # a sine is a cosine a quarter of a turn behind
            cosine, sine = wave_s, -wave_c
        _put(out, 0, m, cell, weights, cosine, 0.0, 0.0)
        k = float(wave)
        if order > 0:
            for s in range(n_s):
                _put(out, 1 + s, m, cell, weights, -k * sine * by_turn[s], cosine * by_r[s], 0.0)
        if order > 1:
            _put_pairs(
                out, m, cell, weights, k, cosine, sine, moves, by_r, by_turn, curves, 1 + n_s
            )


@compiled
def footprints(
    nodes: Array,
    axes: Array,
    grid: Array,
    phi: float,
    waves: NDArray[np.int64],
    moves: Array,
    turns: Array,
    order: int,
    out: Array,
) -> None:
    """Integrate each coefficient's basis function of a spline over a region.

    Parameters
    ----------
    nodes : array of shape (node, 4)
        Directions and solid angles.
    axes, grid, phi, waves
        See `pixel_footprint.Sight`.
    moves : array of shape (S, 2)
        Derivatives of longitude and latitude by the shape parameters.
    turns : array of shape (S,)
        Derivatives of phi by the shape parameters.
    order : {0, 1, 2}
        Order of derivatives.
    out : array of shape (1 + S + S (S + 1) / 2, M, n + 4)
        Filled with the value, and the first and second derivatives; rows beyond the order may be missing.
    """
    seen, scratch = np.empty(4), node_scratch(len(turns))
    for node in range(len(nodes)):
        seen[:] = 0.0
        for i in range(3):
            d = nodes[node, i] - axes[2, i]
            seen[0] += d * axes[0, i]
            seen[1] += d * axes[1, i]
            seen[2] += d * d
        seen[3] = np.sqrt(seen[2]) + 1e-14
        if seen[3] < grid[5]:
            add_node(seen, nodes[node, 3], grid, phi, waves, moves, turns, order, scratch, out)


def even_waves(n: int) -> NDArray[np.int64]:
    """Waves (n, 2) of a shape with two axes of symmetry: even cosines."""
    return np.stack([2 * np.arange(n), np.zeros(n)], axis=1).astype(np.int64)


def pairs(n: int) -> list[tuple[int, int]]:
    """Parameters (s, u) of the rows of second derivatives."""
    return [(s, u) for s in range(n) for u in range(s + 1)]


def rows(n: int, order: int) -> int:
    """Number of rows of `footprints` of n parameters."""
    return (1, 1 + n, 1 + n + n * (n + 1) // 2)[order]
