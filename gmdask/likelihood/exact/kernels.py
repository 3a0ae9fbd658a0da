"""The hot loops of the exact response, compiled.

Geometry is in rad, and the tables are per sr. The convolved source is
``C(r, ψ) = Σ_m C_m(r) cos 2m(ψ - φ)`` of the chord r and the bearing ψ of a pixel from the
source; C_m is a cubic B-spline in ``q = r / (step sqrt(1 + (r / scale)²))``. A pixel's counts are
the integral over a few Gauss-Legendre nodes within it, whose directions and solid angles follow
from the centres of the pixel and its eight neighbours.

All energies, and all that is derived by sizes or by the response, have the same nodes: so each
pixel is first turned into its *footprint*, the weights of the few coefficients of a spline that
its integral is made of. There is one for the value, one for each derivative by what moves, and one
for each second derivative; see `footprints`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gmdask.compiling import compiled
from gmdask.likelihood.exact.nodes import node_scratch
from gmdask.likelihood.exact.patch import Patch
from gmdask.likelihood.exact.pixel_footprint import (
    Sight,
    nodes_of_row,
    pixel_footprint,
    room_for_nodes,
    weigh_nodes,
)

__all__ = ["add_totals", "at_bins", "duals", "fold", "onto_coefficients"]

Array = NDArray[np.float64]


@compiled
def _add_outer(print_: Array, lo: int, hi: int, factor: float, maps: Array, out: Array) -> None:
    """Add the product of a footprint (M, n + 4) and an exposure (K,) to (M, n + 4, K)."""
    for m in range(len(print_)):
        for cell in range(lo, hi):
            x = factor * print_[m, cell]
            for j in range(0, len(maps), 4):
                out[m, cell, j] += x * maps[j]
                out[m, cell, j + 1] += x * maps[j + 1]
                out[m, cell, j + 2] += x * maps[j + 2]
                out[m, cell, j + 3] += x * maps[j + 3]


@compiled
def _contract(print_: Array, lo: int, hi: int, folded: Array, width: int, out: Array) -> None:
    """Sum of a footprint (M, n + 4) over the coefficients of the first columns (M, n + 4, column)."""
    for i in range(width):
        out[i] = 0.0
    for m in range(len(print_)):
        for cell in range(lo, hi):
            x = print_[m, cell]
            for i in range(width):
                out[i] += x * folded[m, cell, i]


@compiled
def _dot(found: Array, start: int, maps: Array) -> float:
    total = 0.0
    for j in range(len(maps)):
        total += found[start + j] * maps[j]
    return total


@compiled
def at_bins(sight: Sight, patch: Patch, folded: Array, sums: Array, counts: Array) -> None:
    """Counts of a source in the bins, with derivatives, and footprints of all that is masked.

    Parameters
    ----------
    sight : `Sight`
    patch : `Patch`
    folded : array of shape (R, M, n + 4, column * K)
        What the coefficients give in each reconstructed energy: of the spectrum, then of all that
        is derived otherwise than by what moves.
    sums : array of shape (pattern, 1 + G, M, n + 4, K)
        Sums of footprints times exposure over the pixels of each pattern are added.
    counts : array of shape (bin, column + G)
        Added to: each column, then derivatives of the first one by what moves.
    """
    n_g, n_k, width = len(sight.turns), patch.exposure.shape[2], folded.shape[3]
    prints = np.zeros((2, 1 + n_g, folded.shape[1], folded.shape[2]))
    maps, found, scratch = np.empty(n_k), np.empty(width), node_scratch(n_g)
    row, order = room_for_nodes(sight, patch), np.int64(1 if n_g else 0)
    for y in range(patch.place.shape[0]):
        start = np.int64(0)  # not one of a kind: nothing is compiled for it alone
        while start < patch.place.shape[1]:
            start, n = nodes_of_row(sight, patch, y, start, scratch, row)
            weigh_nodes(sight, n, order, folded.shape[1], row)
            for i in range(n):
                lo, hi = pixel_footprint(sight, i, order, scratch, row, prints)
                x = row.x[i]
                for j in range(n_k):
                    maps[j] = patch.exposure[y, x, j]
                if patch.pattern[y, x] >= 0:
                    for q in range(1 + n_g):
                        _add_outer(prints[0, q], lo, hi, 1.0, maps, sums[patch.pattern[y, x], q])
                o = patch.place[y, x]
                if o >= 0:
                    _add_bins(patch, o, prints[0], lo, hi, maps, folded, found, counts)


@compiled
def _add_bins(
    patch: Patch, o: int, prints: Array, lo: int, hi: int, maps: Array, folded: Array,
    found: Array, counts: Array,
) -> None:  # fmt: skip
    """Add what a pixel with a footprint (1 + G, M, n + 4) gives its bins; see `at_bins`."""
    n_k, columns = len(maps), folded.shape[3] // len(maps)
    for b in range(patch.starts[o], patch.starts[o + 1]):
        r, k = patch.r[b], patch.order[b]
        _contract(prints[0], lo, hi, folded[r], folded.shape[3], found)
        for c in range(columns):
            counts[k, c] += _dot(found, c * n_k, maps)
        for g in range(len(prints) - 1):
            _contract(prints[1 + g], lo, hi, folded[r], n_k, found)
            counts[k, columns + g] += _dot(found, 0, maps)


@compiled
def add_totals(patterns: Array, sums: Array, folded: Array, totals: Array) -> None:
    """Masked sums (column + G,) of what `at_bins` fills, from `sums`; added."""
    n_k, width = sums.shape[4], folded.shape[3]
    columns = width // n_k
    found = np.empty(width)
    for p in range(len(patterns)):
        for r in range(len(folded)):
            if patterns[p, r] == 0.0:
                continue
            for m in range(sums.shape[2]):
                for cell in range(sums.shape[3]):
                    for c in range(columns):
                        for j in range(n_k):
                            found[c * n_k + j] = (
                                sums[p, 0, m, cell, j] * folded[r, m, cell, c * n_k + j]
                            )
                    for c in range(columns):
                        for j in range(n_k):
                            totals[c] += found[c * n_k + j]
                    for q in range(1, sums.shape[1]):
                        for j in range(n_k):
                            totals[columns + q - 1] += (
                                sums[p, q, m, cell, j] * folded[r, m, cell, j]
                            )


@compiled
def onto_coefficients(sight: Sight, patch: Patch, w: Array, w_sum: float, out: Array) -> None:
    """Footprints, with second derivatives, weighted as the counts are.

    Parameters
    ----------
    sight, patch
        See `at_bins`.
    w : array of shape (bin,)
        Weight of the counts in each bin.
    w_sum : float
        Weight of their masked sum.
    out : array of shape (R, 1 + G + G (G + 1) / 2, M, n + 4, K)
        Added to.
    """
    n_q, n_k = out.shape[1], patch.exposure.shape[2]
    prints = np.zeros((2, n_q, out.shape[2], out.shape[3]))
    sums = np.zeros((len(patch.patterns), *out.shape[1:]))
    maps, scratch, row = np.empty(n_k), node_scratch(len(sight.turns)), room_for_nodes(sight, patch)
    order = np.int64(2)
    for y in range(patch.place.shape[0]):
        start = np.int64(0)
        while start < patch.place.shape[1]:
            start, n = nodes_of_row(sight, patch, y, start, scratch, row)
            weigh_nodes(sight, n, order, out.shape[2], row)
            for i in range(n):
                lo, hi = pixel_footprint(sight, i, order, scratch, row, prints)
                x = row.x[i]
                p, o = patch.pattern[y, x], patch.place[y, x]
                for j in range(n_k):
                    maps[j] = patch.exposure[y, x, j]
                for q in range(n_q if p >= 0 else 0):
                    _add_outer(prints[0, q], lo, hi, 1.0, maps, sums[p, q])
                if o >= 0:
                    _add_weighted(patch, o, prints[0], lo, hi, w, maps, out)
    for r in range(len(out)):
        for p in range(len(sums)):
            if patch.patterns[p, r] != 0.0:
                to, added = out[r].ravel(), sums[p].ravel()
                for i in range(len(to)):
                    to[i] += w_sum * added[i]


@compiled
def _add_weighted(
    patch: Patch, o: int, prints: Array, lo: int, hi: int, w: Array, maps: Array, out: Array
) -> None:
    """Add the footprint (row, M, n + 4) of a pixel with the weights of its bins."""
    for b in range(patch.starts[o], patch.starts[o + 1]):
        factor, r = w[patch.order[b]], patch.r[b]
        for q in range(len(prints)):
            _add_outer(prints[q], lo, hi, factor, maps, out[r, q])


@compiled
def fold(a: Array, shares: Array, tables: Array, column: int, out: Array) -> None:
    """Add ``Σ_e a[r, e] shares[j, e] tables[e, m, cell]`` to a column of (R, M, n + 4, column * K)."""
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
                    out[r, m, cell, column * n_k + j] += sums[j, cell]


@compiled
def duals(weights: Array, q: int, shares: Array, tables: Array, out: Array) -> None:
    """Add ``Σ weights[r, q, m, cell, j] shares[j, e] tables[e, m, cell]`` to (R, energy).

    `tables` has the shape (energy, M, n + 4), `weights` that of `onto_coefficients`.
    """
    n_k, n_e = shares.shape
    n = tables.shape[2]
    flat = np.empty((n_k, n))
    for r in range(len(weights)):
        for m in range(tables.shape[1]):
            for cell in range(n):
                for j in range(n_k):
                    flat[j, cell] = weights[r, q, m, cell, j]
            for e in range(n_e):
                mixed, own = np.zeros(n), tables[e, m]
                for j in range(n_k):
                    factor, added = shares[j, e], flat[j]
                    for cell in range(n if factor != 0.0 else 0):
                        mixed[cell] += factor * added[cell]
                total = 0.0
                for cell in range(n):
                    total += mixed[cell] * own[cell]
                out[r, e] += total
