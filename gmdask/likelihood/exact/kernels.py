"""The compiled inner loops of the exact response.

Geometry is in rad, and the tables are per sr. The convolved source is
``C(r, ψ) = Σ_m C_m(r) cos 2m(ψ - φ)`` of the chord r and the bearing ψ of a pixel from the
source, or has other waves around it, see `Sight`; C_m is a cubic B-spline in
``q = r / (step sqrt(1 + (r / scale)²))``. A pixel's counts are the integral over a few
Gauss-Legendre nodes within it, whose directions and solid angles follow from the centres of the
pixel and its eight neighbours.

All energies, and all derivatives with respect to sizes or the response, use the same nodes: so each
pixel is first converted to its *footprint*, the weights of the few spline coefficients that
contribute to its integral. There is one footprint for the value, one for each derivative by position or angle,
and one for each second derivative; see `footprints`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gmdask.compiling import compiled, part
from gmdask.likelihood.exact.footprints import rows
from gmdask.likelihood.exact.patch import Patch
from gmdask.likelihood.exact.pixel_footprint import (
    Sight,
    gather,
    look_at_row,
    next_stretch,
    pixel_footprint,
    room_for,
)
from gmdask.vectors import add_multiple, dot, set_multiple

__all__ = ["at_bins", "duals", "fold", "onto_coefficients"]

Array = NDArray[np.float64]


@part
def _expose(prints: Array, lo: int, hi: int, maps: Array, seen: Array) -> None:
    """Products (row, (hi - lo) * M * K) of a footprint (row, M, n + 4) and an exposure (K,)."""
    n_k, n_m = len(maps), prints.shape[1]
    for q in range(prints.shape[0]):
        for m in range(n_m):
            for cell in range(lo, hi):
                place = q * seen.shape[1] + ((cell - lo) * n_m + m) * n_k
                set_multiple(prints[q, m, cell], maps, 0, seen, place, n_k)


@part
def _expose_node(weights: Array, i: int, maps: Array, seen: Array) -> None:
    """Products of `_expose` for a pixel with one node, which has number i in weights (4 * row, node)."""
    n_k = len(maps)
    for q in range(seen.shape[0]):
        for k in range(4):
            set_multiple(weights[4 * q + k, i], maps, 0, seen, q * seen.shape[1] + k * n_k, n_k)


@part
def _add(factor: float, own: Array, size: int, to: Array, first: int) -> None:
    """Add rows of products (row, n_f) times a factor to those that begin at a number of a flat array."""
    n_f = own.shape[1]
    for row in range(len(own)):
        add_multiple(factor, own, row * n_f, to, first + row * n_f, size)


@part
def _add_bins(
    seen: Array, first: int, size: int, r: int, folded: Array, k: int, counts: Array
) -> None:
    """Add what a pixel gives bin k of (bin, column + G); see `at_bins`."""
    _, n_c, n_f = folded.shape
    start = r * n_c * n_f + first
    for c in range(n_c):
        counts[k, c] += dot(seen, 0, folded, start + c * n_f, size)
    for g in range(1, len(seen)):
        counts[k, n_c + g - 1] += dot(seen, g * n_f, folded, start, size)


@part
def _add_pixel(
    patch: Patch, o: int, seen: Array, first: int, size: int, folded: Array, counts: Array,
    w: Array, out: Array,
) -> None:  # fmt: skip
    """Add what pixel number o gives its bins, or what these give the coefficients; see `_sweep`."""
    for b in range(patch.starts[o], patch.starts[o + 1]):
        r, k = patch.r[b], patch.order[b]
        if len(out) > 0:
            _add(w[k], seen, size, out, r * seen.size + first)
        else:
            _add_bins(seen, first, size, r, folded, k, counts)


@part
def _add_masked(
    patterns: Array, sums: Array, folded: Array, totals: Array, w_sum: float, seen: Array, out: Array
) -> None:  # fmt: skip
    """Add what the pixels of each pattern give all that is masked; see `_sweep`."""
    n_f = seen.shape[1]
    for r in range(patterns.shape[1]):
        seen[:] = 0.0
        for p in range(len(sums)):
            if patterns[p, r] != 0.0:
                _add(1.0, sums[p], n_f, seen, 0)
        if len(out) > 0:
            _add(w_sum, seen, n_f, out, r * seen.size)
        else:
            _add_bins(seen, 0, n_f, r, folded, 0, totals)


@compiled
def _sweep(
    sight: Sight, patch: Patch, order: int, folded: Array, counts: Array, totals: Array,
    w: Array, w_sum: float, out: Array,
) -> None:  # fmt: skip
    """One way through the pixels, for `at_bins` or, where there is something to add to, `onto_coefficients`."""
    _, n_q, n_f = out.shape
    n_k, n_m = patch.exposure.shape[2], len(sight.waves)
    n_cell = n_k * n_m  # numbers of one coefficient
    prints, seen = np.zeros((2, n_q, n_m, n_f // n_cell)), np.zeros((n_q, n_f))
    whole, round_, maps = prints[0], prints[0, :, 0], np.empty(n_k)
    sums, room = np.zeros((len(patch.patterns), n_q, n_f)), room_for(sight, patch, n_q)
    is_round = n_m == 1 and sight.waves[0, 0] == 0
    for y in range(patch.place.shape[0]):
        look_at_row(sight, patch, y, room)
        start = np.int64(0)  # of the same type everywhere, so that no further version is compiled
        while True:
            start, n, n_nodes = next_stretch(sight, patch, y, start, order, is_round, room)
            if n == 0:
                break
            for i in range(n):
                for j in range(n_k):
                    maps[j] = patch.exposure[y, start + i, j]
                if is_round and n_nodes == 1:
                    lo = np.int64(room.cell[i])
                    hi = lo + 4
                    _expose_node(room.weights, i, maps, seen)
                else:
                    if is_round:
                        lo, hi = gather(i, n_nodes, room.cell, room.weights, round_)
                    else:
                        lo, hi = pixel_footprint(sight, start, i, order, room, prints)
                    _expose(whole, lo, hi, maps, seen)
                first, size = lo * n_cell, (hi - lo) * n_cell
                p, o = patch.pattern[y, start + i], patch.place[y, start + i]
                if p >= 0:
                    _add(1.0, seen, size, sums, p * seen.size + first)
                if o >= 0:
                    _add_pixel(patch, o, seen, first, size, folded, counts, w, out)
            start += n
    _add_masked(patch.patterns, sums, folded, totals, w_sum, seen, out)


def at_bins(sight: Sight, patch: Patch, folded: Array) -> tuple[Array, Array]:
    """Counts of a source in the bins, and their sum over all that is masked, with derivatives.

    Parameters
    ----------
    sight : `Sight`
    patch : `Patch`
    folded : array of shape (R, column, (n + 4) * M * K)
        What the coefficients give in each reconstructed energy: of the spectrum, then of all that
        is derived otherwise than by what moves.

    Returns
    -------
    counts : array of shape (bin, column + G)
        Each column, then derivatives of the first one by what moves.
    totals : array of shape (column + G,)
    """
    n_g, n_columns = len(sight.turns), folded.shape[1]
    counts, totals = np.zeros((len(patch.r), n_columns + n_g)), np.zeros((1, n_columns + n_g))
    nothing = np.zeros((0, 1 + n_g, folded.shape[2]))
    order = 1 if n_g else 0
    _sweep(sight, patch, order, folded, counts, totals, np.zeros(0), 0.0, nothing)
    return counts, totals[0]


def onto_coefficients(sight: Sight, patch: Patch, w: Array, w_sum: float, size: int) -> Array:
    """Sum footprints, with second derivatives, with the weights of the counts.

    Parameters
    ----------
    sight, patch
        See `at_bins`.
    w : array of shape (bin,)
        Weight of the counts in each bin.
    w_sum : float
        Weight of their masked sum.
    size : int
        (n + 4) * M * K.

    Returns
    -------
    weights : array of shape (R, 1 + G + G (G + 1) / 2, size)
    """
    out = np.zeros((patch.patterns.shape[1], rows(len(sight.turns), 2), size))
    none, nothing = np.zeros((0, 0)), np.zeros((0, 0, size))
    _sweep(sight, patch, 2, nothing, none, none, np.ascontiguousarray(w), w_sum, out)
    return out


@compiled
def fold(a: Array, shares: Array, tables: Array, column: int, out: Array) -> None:
    """Add ``Σ_e a[r, e] shares[j, e] tables[e, m, cell]`` to a column of (R, column, (n + 4) * M * K)."""
    n_k, n_m, n = len(shares), tables.shape[1], tables.shape[2]
    sums = np.empty((n_k, n))
    for r in range(a.shape[0]):
        for m in range(n_m):
            sums[:] = 0.0
            for e in range(a.shape[1]):
                for j in range(n_k if a[r, e] != 0.0 else 0):
                    if shares[j, e] != 0.0:
                        factor = a[r, e] * shares[j, e]
                        add_multiple(factor, tables, (e * n_m + m) * n, sums, j * n, n)
            for cell in range(n):
                for j in range(n_k):
                    out[r, column, (cell * n_m + m) * n_k + j] += sums[j, cell]


@compiled
def duals(
    weights: Array, q: int, shares: Array, tables: Array, wanted: NDArray[np.bool_], out: Array
) -> None:
    """Add ``Σ weights[r, q, cell, m, j] shares[j, e] tables[i, e, m, cell]`` to (table, energy, R).

    Parameters
    ----------
    weights
        Of `onto_coefficients`.
    q : int
        Which row of them.
    shares : array of shape (K, energy)
    tables : array of shape (table, energy, M, n + 4)
    wanted : boolean array of shape (energy, R)
        What is asked for.
    out : array of shape (table, energy, R)
    """
    n_k, n_m, n = len(shares), tables.shape[2], tables.shape[3]
    flat, mixed = np.empty((n_k, n)), np.empty(n)
    for r in range(len(weights)):
        for m in range(n_m):
            for j in range(n_k):
                for cell in range(n):
                    flat[j, cell] = weights[r, q, (cell * n_m + m) * n_k + j]
            for e in range(tables.shape[1]):
                if not wanted[e, r]:
                    continue
                mixed[:] = 0.0
                for j in range(n_k):
                    if shares[j, e] != 0.0:
                        add_multiple(shares[j, e], flat, j * n, mixed, 0, n)
                for i in range(len(tables)):
                    place = ((i * tables.shape[1] + e) * n_m + m) * n
                    out[i, e, r] += dot(mixed, 0, tables, place, n)
