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
    expand_pixel,
    is_near,
    slopes_of,
    spline_at,
    toward,
    zone_of,
)

__all__ = [
    "LAT",
    "LON",
    "PHI",
    "SIZE",
    "accumulate",
    "add_row",
    "add_rule",
    "at_bins",
    "evaluate",
    "forward",
    "to_spectrum",
    "turns",
]

Array = NDArray[np.float64]

LON, LAT, SIZE, PHI = 0, 1, 2, 3  # kinds of parameters


@inlined
def evaluate(
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
def accumulate(
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
def add_row(factor: float, values: Array, source: int, out: Array, row: int) -> None:
    """Add a multiple of a row to a row."""
    if factor != 0.0:
        for i in range(out.shape[1]):
            out[row, i] += factor * values[source, i]


@inlined
def turns(m: int, bearing: float) -> tuple[float, float]:
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
        cosine, sine = turns(m, bearing)
        evaluate(tables, 0, m, cell, weights, 0, solid, scratch, 0)
        add_row(cosine, scratch, 0, total, 0)
        if len(kinds) == 0:
            continue
        evaluate(tables, 0, m, cell, weights, 1, solid, scratch, 1)
        for s in range(len(kinds)):
            kind = kinds[s]
            if kind < 2:
                add_row(cosine * slopes[0, kind], scratch, 1, total, 1 + s)
                add_row(-sine * slopes[1, kind], scratch, 0, total, 1 + s)
            elif kind == 3:
                add_row(sine, scratch, 0, total, 1 + s)
            if table_of[s] >= 0:
                accumulate(tables, table_of[s], m, cell, weights, solid * cosine, total, 1 + s)


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
def add_rule(
    zone: int, share: float, pixel: Array, axes: Array, reach: float, tables: Array, grid: Array,
    phi: float, nodes: Array, rules: Array, kinds: Any, table_of: Any, scratch: Array,
    weights: Array, slopes: Array, seen: Array, total: Array,
) -> bool:  # fmt: skip
    """Add a share of a pixel's integral by the nodes of a zone; returns whether any is in reach."""
    touched = False
    for node in range(int(rules[zone, 0]), int(rules[zone, 1])):
        solid = toward(pixel, nodes[node, 0], nodes[node, 1], axes, seen)
        r = np.sqrt(seen[2]) + 1e-14
        if r < reach:
            touched = True
            _add_node(
                seen, r, share * solid * nodes[node, 2], tables, grid, phi, kinds, table_of,
                scratch, weights, slopes, total,
            )  # fmt: skip
    return touched


@inlined
def _add_blend(center: Array, kinds: Any, inner: Array, total: Array) -> None:
    """Add what the share of the first rule changes by, as the source moves."""
    share = center[0]
    for s in range(len(kinds)):
        if kinds[s] < 2:
            slope = center[1 + kinds[s]]
            for i in range(total.shape[1]):
                other = (total[0, i] - inner[0, i]) / (1 - share)
                total[1 + s, i] += slope * (inner[0, i] / share - other)


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
    rules: Array,
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
    grid : array of shape (6,)
        See `RadialGrid.at_latitude`.
    phi : float
        Angle of the major axis.
    nodes : array of shape (node, 3)
        Offsets in pixels and weight of the nodes of a pixel, one rule after the other.
    rules : array of shape (zone, 3)
        First node, end, and the chord at which the zone of each rule begins; see `Zones`.
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
    center, inner, curves = np.empty(6), np.empty((1, n_t)), np.empty((2, 2, 2))
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
            touched = add_rule(
                zone, center[0], pixel, axes, reach, tables, grid, phi, nodes, rules, kinds,
                table_of, scratch, weights, slopes, seen, total,
            )  # fmt: skip
            if center[0] < 1.0:
                inner[0] = total[0]
                touched |= add_rule(
                    zone + 1, 1 - center[0], pixel, axes, reach, tables, grid, phi, nodes, rules,
                    kinds, table_of, scratch, weights, slopes, seen, total,
                )  # fmt: skip
                _add_blend(center, kinds, inner, total)
            if not touched:
                continue
            _expose(total, exposure, y, x, p, o, flux, sums)


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
