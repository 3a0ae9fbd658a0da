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

from gmdask.compiling import compiled, inlined, part
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

__all__ = ["at_bins", "duals", "fold", "onto_coefficients"]

Array = NDArray[np.float64]


@inlined
def _expose(prints: Array, lo: int, hi: int, maps: Array, seen: Array) -> None:
    """Products (row, M, (hi - lo) * K) of a footprint (row, M, n + 4) and an exposure (K,)."""
    n_k = len(maps)
    for q in range(prints.shape[0]):
        for m in range(prints.shape[1]):
            for cell in range(lo, hi):
                x, at = prints[q, m, cell], (cell - lo) * n_k
                to = seen[q, m, at : at + n_k]
                for j in range(n_k):
                    to[j] = x * maps[j]


@inlined
def _add(seen: Array, first: int, size: int, factor: float, out: Array, k: int) -> None:
    """Add products of `_expose` times a factor to those (row, M, (n + 4) * K) of number k."""
    for q in range(seen.shape[0]):
        for m in range(seen.shape[1]):
            to, own = out[k, q, m, first : first + size], seen[q, m, :size]
            for i in range(len(to)):
                to[i] += factor * own[i]


@inlined
def _dot(a: Array, b: Array, lanes: Array) -> float:
    """Sum of products; `lanes` (8,) is to work with."""
    whole = len(a) - len(a) % 8
    lanes[:] = 0.0
    for at in range(0, whole, 8):
        for lane in range(8):
            lanes[lane] += a[at + lane] * b[at + lane]
    for at in range(whole, len(a)):
        lanes[at % 8] += a[at] * b[at]
    low: float = (lanes[0] + lanes[1]) + (lanes[2] + lanes[3])
    high: float = (lanes[4] + lanes[5]) + (lanes[6] + lanes[7])
    return low + high


@part
def _add_bins(
    seen: Array, first: int, size: int, r: int, folded: Array, lanes: Array, counts: Array
) -> None:
    """Add what a pixel gives a bin (column + G,); see `at_bins`."""
    for m in range(seen.shape[1]):
        own = seen[0, m, :size]
        for c in range(folded.shape[2]):
            counts[c] += _dot(own, folded[r, m, c, first : first + size], lanes)
        for g in range(1, len(seen)):
            counts[folded.shape[2] + g - 1] += _dot(
                seen[g, m, :size], folded[r, m, 0, first : first + size], lanes
            )


@part
def _add_masked(
    patterns: Array, sums: Array, folded: Array, lanes: Array, totals: Array, w_sum: float, out: Array
) -> None:  # fmt: skip
    """Add what the pixels of each pattern give all that is masked; see `_sweep`."""
    for p in range(len(sums)):
        for r in range(patterns.shape[1]):
            if patterns[p, r] != 0.0 and len(out) > 0:
                _add(sums[p], 0, out.shape[3], w_sum, out, r)
            elif patterns[p, r] != 0.0:
                _add_bins(sums[p], 0, out.shape[3], r, folded, lanes, totals)


@compiled
def _sweep(
    sight: Sight, patch: Patch, order: int, folded: Array, counts: Array, totals: Array,
    w: Array, w_sum: float, out: Array,
) -> None:  # fmt: skip
    """One way through the pixels, for `at_bins` or, where there is something to add to, `onto_coefficients`."""
    n_q, n_k, n_m, backward = out.shape[1], patch.exposure.shape[2], out.shape[2], len(out) > 0
    prints, seen = np.zeros((2, n_q, n_m, out.shape[3] // n_k)), np.zeros(out.shape[1:])
    whole, round_, maps, lanes = prints[0], prints[0, :, 0], np.empty(n_k), np.empty(8)
    sums, room = np.zeros((len(patch.patterns), *out.shape[1:])), room_for(sight, patch, n_q)
    is_round = n_m == 1 and sight.waves[0, 0] == 0
    for y in range(patch.place.shape[0]):
        look_at_row(sight, patch, y, room)
        start = np.int64(0)  # of the same type everywhere, so that no further version is compiled
        while True:
            start, n, n_nodes = next_stretch(sight, patch, y, start, order, is_round, room)
            if n == 0:
                break
            for i in range(n):
                if is_round:
                    lo, hi = gather(i, n_nodes, room.cell, room.weights, round_)
                else:
                    lo, hi = pixel_footprint(sight, start, i, order, room, prints)
                p, o = patch.pattern[y, start + i], patch.place[y, start + i]
                for j in range(n_k):
                    maps[j] = patch.exposure[y, start + i, j]
                _expose(whole, lo, hi, maps, seen)
                first, size = lo * n_k, (hi - lo) * n_k
                if p >= 0:
                    _add(seen, first, size, 1.0, sums, p)
                for b in range(patch.starts[o] if o >= 0 else 0, patch.starts[o + 1]):
                    r, k = patch.r[b], patch.order[b]
                    if backward:
                        _add(seen, first, size, w[k], out, r)
                    else:
                        _add_bins(seen, first, size, r, folded, lanes, counts[k])
            start += n
    _add_masked(patch.patterns, sums, folded, lanes, totals, w_sum, out)


def at_bins(sight: Sight, patch: Patch, folded: Array) -> tuple[Array, Array]:
    """Counts of a source in the bins, and their sum over all that is masked, with derivatives.

    Parameters
    ----------
    sight : `Sight`
    patch : `Patch`
    folded : array of shape (R, M, column, (n + 4) * K)
        What the coefficients give in each reconstructed energy: of the spectrum, then of all that
        is derived otherwise than by what moves.

    Returns
    -------
    counts : array of shape (bin, column + G)
        Each column, then derivatives of the first one by what moves.
    totals : array of shape (column + G,)
    """
    n_g, n_columns = len(sight.turns), folded.shape[2]
    counts, totals = np.zeros((len(patch.r), n_columns + n_g)), np.zeros(n_columns + n_g)
    nothing = np.zeros((0, 1 + n_g, folded.shape[1], folded.shape[3]))
    order = 1 if n_g else 0
    _sweep(sight, patch, order, folded, counts, totals, np.zeros(0), 0.0, nothing)
    return counts, totals


def onto_coefficients(
    sight: Sight, patch: Patch, w: Array, w_sum: float, shape: tuple[int, int, int]
) -> Array:
    """Sum footprints, with second derivatives, with the weights of the counts.

    Parameters
    ----------
    sight, patch
        See `at_bins`.
    w : array of shape (bin,)
        Weight of the counts in each bin.
    w_sum : float
        Weight of their masked sum.
    shape : tuple of int
        M, n + 4 and K.

    Returns
    -------
    weights : array of shape (R, 1 + G + G (G + 1) / 2, M, (n + 4) * K)
    """
    n_r, n_q, (n_m, n, n_k) = patch.patterns.shape[1], rows(len(sight.turns), 2), shape
    out = np.zeros((n_r, n_q, n_m, n * n_k))
    counts, nothing = np.zeros((0, 0)), np.zeros((0, n_m, 0, n * n_k))
    _sweep(sight, patch, 2, nothing, counts, np.zeros(0), np.ascontiguousarray(w), w_sum, out)
    return out


@compiled
def fold(a: Array, shares: Array, tables: Array, column: int, out: Array) -> None:
    """Add ``Σ_e a[r, e] shares[j, e] tables[e, m, cell]`` to a column of (R, M, column, (n + 4) * K)."""
    n_k, n = len(shares), tables.shape[2]
    sums = np.empty((n_k, n))
    for r in range(a.shape[0]):
        for m in range(tables.shape[1]):
            sums[:] = 0.0
            for e in range(a.shape[1]):
                for j in range(n_k if a[r, e] != 0.0 else 0):
                    factor, own, to = a[r, e] * shares[j, e], tables[e, m], sums[j]
                    for cell in range(n if factor != 0.0 else 0):
                        to[cell] += factor * own[cell]
            for cell in range(n):
                for j in range(n_k):
                    out[r, m, column, cell * n_k + j] += sums[j, cell]


@compiled
def duals(
    weights: Array, q: int, shares: Array, tables: Array, wanted: NDArray[np.bool_], out: Array
) -> None:
    """Add ``Σ weights[r, q, m, cell, j] shares[j, e] tables[i, e, m, cell]`` to (table, energy, R).

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
    n_k, n, lanes = len(shares), tables.shape[3], np.empty(8)
    flat, mixed = np.empty((n_k, n)), np.empty(n)
    for r in range(len(weights)):
        for m in range(tables.shape[2]):
            for j in range(n_k):
                for cell in range(n):
                    flat[j, cell] = weights[r, q, m, cell * n_k + j]
            for e in range(tables.shape[1]):
                if not wanted[e, r]:
                    continue
                mixed[:] = 0.0
                for j in range(n_k):
                    factor, added = shares[j, e], flat[j]
                    for cell in range(n if factor != 0.0 else 0):
                        mixed[cell] += factor * added[cell]
                for i in range(len(tables)):
                    out[i, e, r] += _dot(mixed, tables[i, e, m], lanes)
