"""Second derivatives of the exact response, compiled; see `kernels`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gmdask.compiling import compiled, inlined
from gmdask.likelihood.exact.kernels import accumulate, add_row, add_rule, evaluate, turns
from gmdask.likelihood.exact.nodes import (
    curves_of,
    expand_pixel,
    is_near,
    slopes_of,
    spline_at,
    toward,
    zone_of,
)

__all__ = ["second"]

Array = NDArray[np.float64]


@inlined
def _add_blend_curvature(center: Array, kinds: Any, apart: Array, total: Array) -> None:
    """Add the second derivatives of a share times the difference (1 + S, T) of two rules."""
    row = 0
    for s in range(len(kinds)):
        for u in range(s + 1):
            by_s = center[1 + kinds[s]] if kinds[s] < 2 else 0.0
            by_u = center[1 + kinds[u]] if kinds[u] < 2 else 0.0
            both = center[3 + kinds[s] + kinds[u]] if kinds[s] < 2 and kinds[u] < 2 else 0.0
            for i in range(total.shape[1]):
                total[row, i] += (
                    by_s * apart[1 + u, i] + by_u * apart[1 + s, i] + both * apart[0, i]
                )
            row += 1


@inlined
def _parts_of(kind: int, slopes: Array) -> tuple[float, float]:
    """Derivatives of chord and bearing by a parameter of a kind."""
    if kind < 2:
        return slopes[0, kind], slopes[1, kind]
    return 0.0, (-1.0 if kind == 3 else 0.0)


@inlined
def _add_pair(
    s: int,
    u: int,
    kinds: Any,
    table_of: Any,
    slopes: Array,
    curves: Array,
    cosine: float,
    sine: float,
    square: float,
    scratch: Array,
    own: Array,
    total: Array,
    row: int,
) -> None:
    """Add the second derivative by two parameters, but for the table of both."""
    r_s, turn_s = _parts_of(kinds[s], slopes)
    r_u, turn_u = _parts_of(kinds[u], slopes)
    r_su, turn_su = 0.0, 0.0
    if kinds[s] < 2 and kinds[u] < 2:
        r_su, turn_su = curves[0, kinds[s], kinds[u]], curves[1, kinds[s], kinds[u]]
    by_rr, by_r = cosine * r_s * r_u, cosine * r_su - sine * (turn_s * r_u + turn_u * r_s)
    by_value = -sine * turn_su - square * turn_s * turn_u
    for i in range(total.shape[1]):
        total[row, i] += by_rr * scratch[2, i] + by_r * scratch[1, i] + by_value * scratch[0, i]
    if table_of[s] >= 0:
        add_row(-sine * turn_u, own, 2 * s, total, row)
        add_row(cosine * r_u, own, 2 * s + 1, total, row)
    if table_of[u] >= 0:
        add_row(-sine * turn_s, own, 2 * u, total, row)
        add_row(cosine * r_s, own, 2 * u + 1, total, row)


@inlined
def _add_curvature(
    seen: Array,
    r: float,
    solid: float,
    tables: Array,
    grid: Array,
    phi: float,
    kinds: Any,
    table_of: Any,
    table_of_two: Any,
    scratch: Array,
    own: Array,
    weights: Array,
    slopes: Array,
    curves: Array,
    total: Array,
) -> None:
    """Add the second derivatives (S (S + 1) / 2, T) of a node."""
    cell = spline_at(r, grid, weights)
    slopes_of(seen, r, grid[3], grid[4], slopes)
    curves_of(seen, r, slopes, grid[3], grid[4], curves)
    bearing = 0.0 if tables.shape[1] == 1 else np.arctan2(seen[0], seen[1]) - phi
    for m in range(tables.shape[1]):
        cosine, sine = turns(m, bearing)
        for order in range(3):
            evaluate(tables, 0, m, cell, weights, order, solid, scratch, order)
        for s in range(len(kinds)):
            if table_of[s] >= 0:
                for order in range(2):
                    evaluate(
                        tables, table_of[s], m, cell, weights, order, solid, own, 2 * s + order
                    )
        row = 0
        for s in range(len(kinds)):
            for u in range(s + 1):
                _add_pair(
                    s, u, kinds, table_of, slopes, curves, cosine, sine, 4 * m * m * cosine,
                    scratch, own, total, row,
                )  # fmt: skip
                if table_of_two[s, u] >= 0:
                    accumulate(
                        tables, table_of_two[s, u], m, cell, weights, solid * cosine, total, row
                    )
                row += 1


@inlined
def _add_weighted(total: Array, weight: Array, sums: Array) -> None:
    for row in range(len(total)):
        for i in range(total.shape[1]):
            sums[row, i] += weight[0, i] * total[row, i]


@inlined
def _weigh(
    exposure: Any,
    y: int,
    x: int,
    p: int,
    o: int,
    weight_of_pattern: Array,
    weight_of_pixel: Array,
    out: Array,
) -> None:
    """Fill the first row with the weight of a pixel, times its exposure."""
    for i in range(out.shape[1]):
        weight = weight_of_pattern[p, i] if p >= 0 else 0.0
        if o >= 0:
            weight += weight_of_pixel[o, i]
        out[0, i] = weight * exposure[y, x, i]


@compiled
def _add_rule_curvature(
    zone: int, share: float, pixel: Array, axes: Array, reach: float, tables: Array, grid: Array,
    phi: float, nodes: Array, rules: Array, kinds: Any, table_of: Any, table_of_two: Any,
    scratch: Array, own: Array, weights: Array, slopes: Array, curves: Array, seen: Array,
    total: Array,
) -> None:  # fmt: skip
    """Add a share of the second derivatives of a pixel's integral by the nodes of a zone."""
    for node in range(int(rules[zone, 0]), int(rules[zone, 1])):
        solid = toward(pixel, nodes[node, 0], nodes[node, 1], axes, seen)
        r = np.sqrt(seen[2]) + 1e-14
        if r < reach:
            _add_curvature(
                seen, r, share * solid * nodes[node, 2], tables, grid, phi, kinds, table_of,
                table_of_two, scratch, own, weights, slopes, curves, total,
            )  # fmt: skip


@compiled
def second(
    vectors: Array,
    exposure: Any,
    pattern: Any,
    place: Any,
    axes: Array,
    tables: Array,
    grid: Array,
    phi: float,
    nodes: Array,
    rules: Array,
    kinds: Any,
    table_of: Any,
    table_of_two: Any,
    weight_of_pattern: Array,
    weight_of_pixel: Array,
    out: Array,
) -> None:
    """Second derivatives (S, S) of a weighted sum of exposure times the convolved source.

    Parameters
    ----------
    vectors, exposure, pattern, place, axes, tables, grid, phi, nodes, rules, kinds, table_of
        See `forward`.
    table_of_two : integer array of shape (S, S)
        Tables of the second derivatives; -1 for none.
    weight_of_pattern : array of shape (pattern, T)
        Weight of all pixels of a pattern.
    weight_of_pixel : array of shape (pixel, T)
        Weight, added to that, of the pixels of `place`.
    out : array of shape (S, S)
        Filled.
    """
    n_y, n_x, n_t = exposure.shape
    n_s = len(kinds)
    pixel, weights, seen = np.empty((7, 3)), np.empty((3, 4)), np.empty(3)
    slopes, curves, center = np.empty((2, 2)), np.empty((2, 2, 2)), np.empty(6)
    apart = np.empty((1 + n_s, n_t))
    n_pairs = n_s * (n_s + 1) // 2
    total, sums = np.empty((n_pairs, n_t)), np.zeros((n_pairs, n_t))
    scratch, own = np.empty((3, n_t)), np.zeros((2 * n_s, n_t))
    reach = grid[5]
    for y in range(n_y):
        for x in range(n_x):
            p, o = pattern[y, x], place[y, x]
            if (p < 0 and o < 0) or not is_near(vectors, y, x, axes, reach):
                continue
            if not expand_pixel(vectors, y, x, pixel):
                continue
            total[:] = 0.0
            zone = zone_of(pixel, axes, rules, grid, seen, slopes, curves, center)
            for k in range(2 if center[0] < 1.0 else 1):
                _add_rule_curvature(
                    zone + k, center[0] if k == 0 else 1 - center[0], pixel, axes, reach, tables,
                    grid, phi, nodes, rules, kinds, table_of, table_of_two, scratch, own, weights,
                    slopes, curves, seen, total,
                )  # fmt: skip
            if center[0] < 1.0:
                apart[:] = 0.0
                for k in range(2):
                    add_rule(
                        zone + k, 1.0 - 2 * k, pixel, axes, reach, tables, grid, phi, nodes, rules,
                        kinds, table_of, scratch, weights, slopes, seen, apart,
                    )  # fmt: skip
                _add_blend_curvature(center, kinds, apart, total)
            _weigh(exposure, y, x, p, o, weight_of_pattern, weight_of_pixel, scratch)
            _add_weighted(total, scratch, sums)
    row = 0
    for s in range(n_s):
        for u in range(s + 1):
            for i in range(n_t):
                out[s, u] += sums[row, i]
            out[u, s] = out[s, u]
            row += 1
