"""The hot loops of the exact response, compiled.

Geometry is in rad, and the tables are per sr. The convolved source is
``C(r, ψ) = Σ_m C_m(r) cos 2m(ψ - φ)`` of the chord r and the bearing ψ of a pixel from the
source; C_m is a cubic B-spline in ``q = r / (step sqrt(1 + (r / scale)²))``. A pixel's counts are
the integral over a few Gauss-Legendre nodes within it, whose directions and solid angles follow
from the centres of the pixel and its eight neighbours.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gmdask.compiling import compiled, inlined
from gmdask.likelihood.exact.nodes import (
    curves_of,
    expand_pixel,
    is_near,
    reach_of,
    slopes_of,
    spline_at,
    toward,
)

__all__ = ["LAT", "LON", "PHI", "SIZE", "at_bins", "forward", "second", "to_spectrum"]

Array = NDArray[np.float64]

LON, LAT, SIZE, PHI = 0, 1, 2, 3  # kinds of parameters


@inlined
def _evaluate(
    tables: Array,
    d: int,
    m: int,
    cell: int,
    weights: Array,
    order: int,
    factor: float,
    out: Array,
    row: int,
) -> None:
    """Fill a row with ``factor Σ_k weights[order, k] tables[d, m, cell + k]``."""
    w0, w1 = factor * weights[order, 0], factor * weights[order, 1]
    w2, w3 = factor * weights[order, 2], factor * weights[order, 3]
    for i in range(out.shape[1]):
        out[row, i] = (
            w0 * tables[d, m, cell, i] + w1 * tables[d, m, cell + 1, i]
            + w2 * tables[d, m, cell + 2, i] + w3 * tables[d, m, cell + 3, i]
        )  # fmt: skip


@inlined
def _accumulate(
    tables: Array, d: int, m: int, cell: int, weights: Array, factor: float, out: Array, row: int
) -> None:
    """Add ``factor Σ_k weights[0, k] tables[d, m, cell + k]`` to a row."""
    w0, w1 = factor * weights[0, 0], factor * weights[0, 1]
    w2, w3 = factor * weights[0, 2], factor * weights[0, 3]
    for i in range(out.shape[1]):
        out[row, i] += (
            w0 * tables[d, m, cell, i] + w1 * tables[d, m, cell + 1, i]
            + w2 * tables[d, m, cell + 2, i] + w3 * tables[d, m, cell + 3, i]
        )  # fmt: skip


@inlined
def _add(factor: float, values: Array, source: int, out: Array, row: int) -> None:
    """Add a multiple of a row to a row."""
    if factor != 0.0:
        for i in range(out.shape[1]):
            out[row, i] += factor * values[source, i]


@inlined
def _turns(m: int, bearing: float) -> tuple[float, float]:
    """Cosine of ``2m`` times an angle, and ``2m`` times its sine."""
    if m == 0:
        return 1.0, 0.0
    return np.cos(2 * m * bearing), 2 * m * np.sin(2 * m * bearing)


@inlined
def _add_node(
    seen: Array,
    r: float,
    solid: float,
    tables: Array,
    grid: Array,
    phi: float,
    kinds: Any,
    table_of: Any,
    scratch: Array,
    weights: Array,
    slopes: Array,
    total: Array,
) -> None:
    """Add the value of a node and its first derivatives (1 + S, T)."""
    cell = spline_at(r, grid, weights)
    slopes_of(seen, r, grid[3], grid[4], slopes)
    bearing = 0.0 if tables.shape[1] == 1 else np.arctan2(seen[0], seen[1]) - phi
    for m in range(tables.shape[1]):
        cosine, sine = _turns(m, bearing)
        if len(kinds) == 0:
            _accumulate(tables, 0, m, cell, weights, solid * cosine, total, 0)
            continue
        _evaluate(tables, 0, m, cell, weights, 0, solid, scratch, 0)
        _evaluate(tables, 0, m, cell, weights, 1, solid, scratch, 1)
        _add(cosine, scratch, 0, total, 0)
        for s in range(len(kinds)):
            kind = kinds[s]
            if kind < 2:
                _add(cosine * slopes[0, kind], scratch, 1, total, 1 + s)
                _add(-sine * slopes[1, kind], scratch, 0, total, 1 + s)
            elif kind == 3:
                _add(sine, scratch, 0, total, 1 + s)
            if table_of[s] >= 0:
                _accumulate(tables, table_of[s], m, cell, weights, solid * cosine, total, 1 + s)


@inlined
def _expose(
    total: Array, exposure: Any, y: int, x: int, p: int, o: int, flux: Array, sums: Array
) -> None:
    """Multiply a pixel (1 + S, T) with its exposure, and put it where it belongs."""
    for s in range(len(total)):
        for i in range(total.shape[1]):
            value = total[s, i] * exposure[y, x, i]
            if p >= 0:
                sums[p, s, i] += value
            if o >= 0:
                flux[s, o, i] = value


@compiled
def forward(
    vectors: Array,
    exposure: Any,
    pattern: Any,
    place: Any,
    axes: Array,
    tables: Array,
    grid: Array,
    phi: float,
    nodes: Array,
    kinds: Any,
    table_of: Any,
    flux: Array,
    sums: Array,
) -> None:
    """Exposure times the convolved source, in pixels that matter, with first derivatives.

    Parameters
    ----------
    vectors : array of shape (lat + 2, lon + 2, 3)
        Directions of the pixel centres, one pixel around them included.
    exposure : array of shape (lat, lon, T)
    pattern : integer array of shape (lat, lon)
        Which set of energies the mask lets through; -1 for none.
    place : integer array of shape (lat, lon)
        Row of `flux`; -1 for none.
    axes : array of shape (3, 3)
        East, north, and direction of the source.
    tables : array of shape (table, M, n + 4, T)
        Coefficients of the splines.
    grid : array (step, scale, number of knots, sine, cosine of the latitude of the source)
    phi : float
        Angle of the major axis.
    nodes : array of shape (node, 3)
        Offsets in pixels and weight of the nodes of a pixel.
    kinds, table_of : integer array of shape (S,)
        Kind of each parameter, and the table of its own derivative; -1 for none.
    flux : array of shape (1 + S, pixel, T)
        Filled.
    sums : array of shape (pattern, 1 + S, T)
        Filled with the sums over the pixels of each pattern.
    """
    n_y, n_x, n_t = exposure.shape
    pixel, weights, slopes = np.empty((7, 3)), np.empty((3, 4)), np.empty((2, 2))
    total, scratch, seen = np.empty((1 + len(kinds), n_t)), np.empty((2, n_t)), np.empty(3)
    reach = reach_of(grid)
    for y in range(n_y):
        for x in range(n_x):
            p, o = pattern[y, x], place[y, x]
            if (p < 0 and o < 0) or not is_near(vectors, y, x, axes, reach):
                continue
            if not expand_pixel(vectors, y, x, pixel):
                continue
            total[:] = 0.0
            touched = False
            for node in range(len(nodes)):
                solid = toward(pixel, nodes[node, 0], nodes[node, 1], axes, seen)
                r = np.sqrt(seen[2]) + 1e-14
                if r < reach:
                    touched = True
                    _add_node(
                        seen, r, solid * nodes[node, 2], tables, grid, phi, kinds, table_of,
                        scratch, weights, slopes, total,
                    )  # fmt: skip
            if not touched:
                continue
            _expose(total, exposure, y, x, p, o, flux, sums)


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
        _add(-sine * turn_u, own, 2 * s, total, row)
        _add(cosine * r_u, own, 2 * s + 1, total, row)
    if table_of[u] >= 0:
        _add(-sine * turn_s, own, 2 * u, total, row)
        _add(cosine * r_s, own, 2 * u + 1, total, row)


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
        cosine, sine = _turns(m, bearing)
        for order in range(3):
            _evaluate(tables, 0, m, cell, weights, order, solid, scratch, order)
        for s in range(len(kinds)):
            if table_of[s] >= 0:
                for order in range(2):
                    _evaluate(
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
                    _accumulate(
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
    vectors, exposure, pattern, place, axes, tables, grid, phi, nodes, kinds, table_of
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
    slopes, curves = np.empty((2, 2)), np.empty((2, 2, 2))
    n_pairs = n_s * (n_s + 1) // 2
    total, sums = np.empty((n_pairs, n_t)), np.zeros((n_pairs, n_t))
    scratch, own = np.empty((3, n_t)), np.zeros((2 * n_s, n_t))
    reach = reach_of(grid)
    for y in range(n_y):
        for x in range(n_x):
            p, o = pattern[y, x], place[y, x]
            if (p < 0 and o < 0) or not is_near(vectors, y, x, axes, reach):
                continue
            if not expand_pixel(vectors, y, x, pixel):
                continue
            total[:] = 0.0
            for node in range(len(nodes)):
                solid = toward(pixel, nodes[node, 0], nodes[node, 1], axes, seen)
                r = np.sqrt(seen[2]) + 1e-14
                if r < reach:
                    _add_curvature(
                        seen, r, solid * nodes[node, 2], tables, grid, phi, kinds, table_of,
                        table_of_two, scratch, own, weights, slopes, curves, total,
                    )  # fmt: skip
            _weigh(exposure, y, x, p, o, weight_of_pattern, weight_of_pixel, scratch)
            _add_weighted(total, scratch, sums)
    row = 0
    for s in range(n_s):
        for u in range(s + 1):
            for i in range(n_t):
                out[s, u] += sums[row, i]
            out[u, s] = out[s, u]
            row += 1


@compiled
def at_bins(flux: Array, folded: Array, pixel: Any, r: Any, out: Array) -> None:
    """Add ``Σ_t folded[r_k, t] flux[p_k, t]`` to each bin k."""
    n_t = flux.shape[1]
    for k in range(len(r)):
        f, e = flux[pixel[k]], folded[r[k]]
        a0, a1, a2, a3 = 0.0, 0.0, 0.0, 0.0
        i = 0
        while i + 4 <= n_t:
            a0 += f[i] * e[i]
            a1 += f[i + 1] * e[i + 1]
            a2 += f[i + 2] * e[i + 2]
            a3 += f[i + 3] * e[i + 3]
            i += 4
        while i < n_t:
            a0 += f[i] * e[i]
            i += 1
        out[k] += (a0 + a1) + (a2 + a3)


@compiled
def to_spectrum(flux: Array, edisp: Array, pixel: Any, r: Any, w: Array, out: Array) -> None:
    """Add ``Σ_k w_k edisp[r_k, t] flux[p_k, t]`` to each true energy t."""
    n_t = flux.shape[1]
    for k in range(len(r)):
        x = w[k]
        f, e = flux[pixel[k]], edisp[r[k]]
        for i in range(n_t):
            out[i] += x * e[i] * f[i]
