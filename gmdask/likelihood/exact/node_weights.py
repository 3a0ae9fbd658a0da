"""What the nodes of a stretch of pixels give the coefficients of a round source, compiled.

A loop is done several nodes at once where few arrays come together in it: compilers compare the
places of no more than eight pairs of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gmdask.compiling import part

__all__ = ["blend_weights", "weigh"]

Array = NDArray[np.float64]


@part
def weigh(grid: Array, moves: Array, count: int, order: int, room: Any) -> None:
    """Find the coefficients of some nodes and, up to an order, what they are given; -1 for no weights.

    Solid angles of nodes that are out of reach become 0. See `Room`.
    """
    per_step, per_scale, last, reach = 1 / grid[0], 1 / grid[1], grid[2], grid[5]
    r, solid, cell = room.seen[3, :count], room.seen[4, :count], room.cell[:count]
    u, slope = room.extra[0, :count], room.extra[1, :count]
    for i in range(count):
        ratio = r[i] * per_scale
        t = 1 / np.sqrt(1 + ratio * ratio)
        q = r[i] * t * per_step
        first = np.floor(q if q < last else last)
        u[i], slope[i], cell[i] = q - first, t * t * t * per_step, np.int32(first)
    for i in range(count):
        solid[i] = solid[i] if r[i] < reach else 0.0
    if order >= 0:
        _weigh_value(u, solid, room.weights[:4])
    for g in range(len(moves) if order > 0 else 0):
        by_east, by_north, by_r = -moves[g, 0] * grid[4], -moves[g, 1], room.extra[7 + g, :count]
        east, north, by_q = room.seen[0, :count], room.seen[1, :count], room.extra[2, :count]
        for i in range(count):
            by_r[i] = (by_east * east[i] + by_north * north[i]) / r[i]
        for i in range(count):
            by_q[i] = by_r[i] * slope[i] * solid[i]
        _weigh_slope(u, by_q, room.weights[4 + 4 * g : 8 + 4 * g])
    if order > 1:
        _curve(grid, count, room)
        row = 4 + 4 * len(moves)
        for s in range(len(moves)):
            for p in range(s + 1):
                _weigh_pair(grid[1], moves, s, p, count, room.weights[row : row + 4], room)
                row += 4


@part
def _weigh_value(u: Array, solid: Array, weights: Array) -> None:
    w0, w1, w2, w3 = weights[0], weights[1], weights[2], weights[3]
    for i in range(len(u)):
        v = 1 - u[i]
        w0[i] = v * v * v / 6 * solid[i]
        w3[i] = u[i] * u[i] * u[i] / 6 * solid[i]
    for i in range(len(u)):
        v = 1 - u[i]
        w1[i] = (3 * u[i] * u[i] * u[i] - 6 * u[i] * u[i] + 4) / 6 * solid[i]
        w2[i] = (3 * v * v * v - 6 * v * v + 4) / 6 * solid[i]


@part
def _weigh_slope(u: Array, by_q: Array, weights: Array) -> None:
    d0, d1, d2, d3 = weights[0], weights[1], weights[2], weights[3]
    for i in range(len(u)):
        v = 1 - u[i]
        d0[i] = -0.5 * v * v * by_q[i]
        d3[i] = 0.5 * u[i] * u[i] * by_q[i]
    for i in range(len(u)):
        v = 1 - u[i]
        d1[i] = (1.5 * u[i] * u[i] - 2 * u[i]) * by_q[i]
        d2[i] = (2 * v - 1.5 * v * v) * by_q[i]


@part
def _curve(grid: Array, count: int, room: Any) -> None:
    """Second derivatives of the chord by longitude and latitude; see `curves_of`."""
    sin_lat, cos_lat = grid[3], grid[4]
    east, north = room.seen[0, :count], room.seen[1, :count]
    square, r = room.seen[2, :count], room.seen[3, :count]
    lon_lon, lon_lat = room.extra[4, :count], room.extra[5, :count]
    lat_lat = room.extra[6, :count]
    for i in range(count):
        z, by_lon = 1 - 0.5 * square[i], cos_lat * east[i] / r[i]
        lon_lon[i] = (cos_lat * (cos_lat * z - sin_lat * north[i]) - by_lon * by_lon) / r[i]
    for i in range(count):
        lon_lat[i] = (sin_lat - cos_lat * north[i] / (r[i] * r[i])) * east[i] / r[i]
    for i in range(count):
        by_lat = north[i] / r[i]
        lat_lat[i] = (1 - 0.5 * square[i] - by_lat * by_lat) / r[i]


@part
def _weigh_pair(
    scale: float, moves: Array, s: int, p: int, count: int, weights: Array, room: Any
) -> None:
    """Second derivatives by a pair of parameters, after the first ones."""
    u, slope, first, second = (
        room.extra[0, :count], room.extra[1, :count], room.extra[2, :count], room.extra[3, :count]
    )  # fmt: skip
    lon_lon, lon_lat, lat_lat = (
        room.extra[4, :count], room.extra[5, :count], room.extra[6, :count]
    )  # fmt: skip
    by_s, by_p = room.extra[7 + s, :count], room.extra[7 + p, :count]
    r, solid = room.seen[3, :count], room.seen[4, :count]
    a, c = moves[s, 0] * moves[p, 0], moves[s, 1] * moves[p, 1]
    b = moves[s, 0] * moves[p, 1] + moves[s, 1] * moves[p, 0]
    for i in range(count):
        bend = -3 * r[i] / (scale * scale + r[i] * r[i]) * by_s[i] * by_p[i]
        first[i] = (
            (a * lon_lon[i] + b * lon_lat[i] + c * lat_lat[i] + bend) * slope[i] * solid[i]
        )  # fmt: skip
    for i in range(count):
        second[i] = by_s[i] * by_p[i] * slope[i] * slope[i] * solid[i]
    d0, d1, d2, d3 = weights[0], weights[1], weights[2], weights[3]
    for i in range(count):
        v = 1 - u[i]
        d0[i] = -0.5 * v * v * first[i] + v * second[i]
        d3[i] = 0.5 * u[i] * u[i] * first[i] + u[i] * second[i]
    for i in range(count):
        v = 1 - u[i]
        d1[i] = (1.5 * u[i] * u[i] - 2 * u[i]) * first[i] + (3 * u[i] - 2) * second[i]
        d2[i] = (2 * v - 1.5 * v * v) * first[i] + (3 * v - 2) * second[i]


@part
def blend_weights(
    moves: Array, x: int, n: int, other: int, n_nodes: int, order: int, room: Any
) -> None:
    """Weigh the nodes of two rules by their shares, which the source's position moves.

    Of the nodes of each of n pixels from x on, those from `other` on belong to the second rule.
    """
    n_s, shares, count, weights = len(moves), room.shares, n * n_nodes, room.weights
    share = room.extra[2, :count]
    for i in range(n):
        for node in range(n_nodes):
            at, value, sign = i * n_nodes + node, shares[0, x + i], 1.0 if node < other else -1.0
            share[at] = value if node < other else 1 - value
            for s in range(n_s if order > 0 else 0):
                by_s = moves[s, 0] * shares[1, x + i] + moves[s, 1] * shares[2, x + i]
                room.extra[7 + s, at] = sign * by_s
    row = 4 + 4 * n_s
    for s in range(n_s if order > 1 else 0):
        for p in range(s + 1):
            _blend_pair(moves, s, p, x, n, other, n_nodes, row, room)
            row += 4
    for k in range(4):
        value = weights[k, :count]
        for s in range(n_s if order > 0 else 0):
            by_s, of_s = room.extra[7 + s, :count], weights[4 + 4 * s + k, :count]
            for at in range(count):
                of_s[at] = share[at] * of_s[at] + by_s[at] * value[at]
        for at in range(count):
            value[at] *= share[at]


@part
def _blend_pair(
    moves: Array, s: int, p: int, x: int, n: int, other: int, n_nodes: int, row: int, room: Any
) -> None:
    """Second derivatives by a pair of parameters, before the first ones are blended."""
    shares, weights, count = room.shares, room.weights, n * n_nodes
    share, both = room.extra[2, :count], room.extra[3, :count]
    a, c = moves[s, 0] * moves[p, 0], moves[s, 1] * moves[p, 1]
    b = moves[s, 0] * moves[p, 1] + moves[s, 1] * moves[p, 0]
    for i in range(n):
        value = a * shares[3, x + i] + b * shares[4, x + i] + c * shares[5, x + i]
        for node in range(n_nodes):
            both[i * n_nodes + node] = value if node < other else -value
    by_s, by_p = room.extra[7 + s, :count], room.extra[7 + p, :count]
    for k in range(4):
        of_s, of_p = weights[4 + 4 * s + k, :count], weights[4 + 4 * p + k, :count]
        value, out = weights[k, :count], weights[row + k, :count]
        for at in range(count):
            out[at] = (share[at] * out[at] + both[at] * value[at]) + (
                by_s[at] * of_p[at] + by_p[at] * of_s[at]
            )
