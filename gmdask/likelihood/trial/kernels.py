"""Compiled loops over trial positions and the bins around each of them.

Counts of a trial source are linear in its norm x: a bin with ``s`` counts of the source at norm 1 and ``b`` other
predicted counts contributes ``2 (x s - n log(1 + x s / b))`` to the rise of the statistic over that without
the source. The first term is summed once; the second needs only the bins with counts, of which ``b / s`` and n
are kept.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gmdask.compiling import compiled, part

__all__ = ["FIELDS", "add_gridded", "add_located", "first_bins", "pixel_rules", "slopes"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]

FIELDS = 6  # signal, counts, other counts, statistic without the source, and two lowest norms: see `add_gridded`
TRUNCATION = 1e-25
NODES = (
    (5, 1.5),
    (3, 3.0),
    (2, math.inf),
)  # nodes of a pixel along each side, up to a distance in pixels


@cache
def pixel_rules() -> tuple[Array, ...]:
    """Nodes of a pixel by its distance from a source: offsets along x and y in pixels, and weights.

    The fourth column is half the square of the distance in pixels up to which the rule is used.
    """
    rules = []
    for n, end in NODES:
        x, w = np.polynomial.legendre.leggauss(n)
        along, across = (a.ravel() for a in np.meshgrid(x / 2, x / 2))
        rules.append(
            np.stack(
                [across, along, np.outer(w, w).ravel() / 4, np.full(n * n, end**2 / 2)], axis=1
            )
        )
    return tuple(rules)


@compiled
def first_bins(rows: Index, columns: Index, half: Index, counts: Array) -> Index:
    """Index of the first bin with counts of each position (P + 1,), in windows of ``2 half + 1`` pixels.

    Parameters
    ----------
    rows, columns : array of shape (P,)
        Nearest pixel of each position.
    half : array of shape (2,)
        Half width (lat, lon) of the windows, without the central pixel.
    counts : array of shape (layer, lat, lon)
        Zero outside the mask.
    """
    first = np.zeros(len(rows) + 1, dtype=np.intp)
    n_layer, n_y, n_x = counts.shape
    for i in range(len(rows)):
        found = 0
        for k in range(n_layer):
            for y in range(max(rows[i] - half[0], 0), min(rows[i] + half[0] + 1, n_y)):
                for x in range(max(columns[i] - half[1], 0), min(columns[i] + half[1] + 1, n_x)):
                    found += counts[k, y, x] > 0.0
        first[i + 1] = first[i] + found
    return first


@part
def _add(
    s: float, n: float, b: float, null: float, i: int, at: int, limits: Array, kept: Array
) -> int:
    """Add one bin of the mask to position i; returns the index after the last kept bin."""
    limits[1, i] += n
    limits[2, i] += b
    limits[3, i] += null
    if s > 0.0:
        limits[0, i] += s
        ratio = b / s
        limits[5, i] = max(limits[5, i], -ratio)
        if n > 0.0:
            ratio = max(b, TRUNCATION) / s
            limits[4, i] = max(limits[4, i], -ratio)
            kept[0, at], kept[1, at] = ratio, n
            return at + 1
    return at


@compiled
def add_gridded(
    rows: Index, columns: Index, half: Index, kernels: Array, which: Any, exposure: Array,
    mask: Any, data: Array, first: Index, limits: Array, kept: Array,
) -> Index:  # fmt: skip
    """Add sources at the centres of pixels, whose shape is one of some images.

    Parameters
    ----------
    rows, columns, half
        See `first_bins`.
    kernels : array of shape (K, 2 half + 1, 2 half + 1)
        Shapes of the source.
    which : integer array of shape (layer, lat, lon)
        Index of the shape that applies to a bin.
    exposure : array of shape (layer, lat, lon)
        Counts of a source at norm 1 whose shape is 1 in this bin.
    mask : boolean array of shape (layer, lat, lon)
    data : array of shape (3, layer, lat, lon)
        Counts, other predicted counts, and the statistic without the source.
    first : array of shape (P + 1,)
        See `first_bins`.
    limits : array of shape (FIELDS, P)
        Sums are added to: signal, counts, other counts, statistic without the source; the highest norm at which the
        prediction vanishes in a bin with counts, and in any bin.
    kept : array of shape (2, N)
        Filled with other counts relative to those of the source, and counts, in bins with both.

    Returns
    -------
    last : array of shape (P,)
        Index after the last kept bin of each position.
    """
    last = np.empty(len(rows), dtype=np.intp)
    n_layer, n_y, n_x = mask.shape
    for i in range(len(rows)):
        at, y0, x0 = first[i], rows[i] - half[0], columns[i] - half[1]
        for k in range(n_layer):
            for y in range(max(y0, 0), min(rows[i] + half[0] + 1, n_y)):
                for x in range(max(x0, 0), min(columns[i] + half[1] + 1, n_x)):
                    if mask[k, y, x]:
                        s = kernels[which[k, y, x], y - y0, x - x0] * exposure[k, y, x]
                        n, b, null = data[0, k, y, x], data[1, k, y, x], data[2, k, y, x]
                        at = _add(s, n, b, null, i, at, limits, kept)
        last[i] = at
    return last


@part
def _add_profile(square: float, step: float, table: Array, weight: float, out: Array) -> None:
    """Add the profiles (K,) at a squared chord, linear between nodes."""
    place = math.sqrt(square) / step
    cell = int(place)
    if cell + 1 < len(table):
        upper = (place - cell) * weight
        lower = weight - upper
        for k in range(len(out)):
            out[k] += lower * table[cell, k] + upper * table[cell + 1, k]


@part
def _see(near: Array, source: Array, rules: Any, table: Array, step: float, out: Array) -> None:
    """Mean of the profiles (K,) over a pixel, with directions (3, 3, 3) of itself and those around it."""
    square, p00, p01, p11, d0, d1 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for c in range(3):
        d = near[1, 1, c] - source[c]
        u = 0.5 * (near[1, 2, c] - near[1, 0, c])
        v = 0.5 * (near[2, 1, c] - near[0, 1, c])
        square += d * d
        d0 += d * u
        d1 += d * v
        p00 += u * u
        p01 += u * v
        p11 += v * v
    out[:] = 0.0
    size = p00 + p11
    if square > (step * (len(table) - 1) + math.sqrt(size)) ** 2:
        return
    zone = 0
    while zone < len(rules) - 1 and square > rules[zone][0, 3] * size:
        zone += 1
    rule = rules[zone]
    for j in range(len(rule)):
        across, along = rule[j, 0], rule[j, 1]
        there = square + 2 * (across * d0 + along * d1 + across * along * p01)
        there += across * across * p00 + along * along * p11
        _add_profile(max(there, 0.0), step, table, rule[j, 2], out)


@compiled
def add_located(
    rows: Index, columns: Index, half: Index, sources: Array, vectors: Array, rules: Any, table: Array, step: float,
    weights: Array, mix: Array, mask: Any, data: Array, first: Index, limits: Array, kept: Array,
) -> Index:  # fmt: skip
    """Add sources at any positions, whose shape is a profile, integrated over pixels.

    Parameters
    ----------
    rows, columns, half, mask, data, first, limits, kept
        See `add_gridded`.
    sources : array of shape (P, 3)
        Directions of the positions, in the frame of the pixels.
    vectors : array of shape (lat + 2, lon + 2, 3)
        Directions of the pixels, and of those around them.
    rules : tuple of array of shape (N, 4)
        Nodes of a pixel from the centre of a source outwards; see `pixel_rules`.
    table : array of shape (node, K)
        Profiles per sr of the source through the PSF, at multiples of `step`.
    step : float
        Distance of the nodes: a chord of the unit sphere.
    weights : array of shape (lat, lon, K)
        Counts of a source whose profile is 1 per sr all over the pixel.
    mix : array of shape (K, layer)
        Fraction of these that is counted in each layer.

    Returns
    -------
    last : array of shape (P,)
    """
    last, seen = np.empty(len(rows), dtype=np.intp), np.empty(table.shape[1])
    n_layer, n_y, n_x = mask.shape
    for i in range(len(rows)):
        at = first[i]
        for y in range(max(rows[i] - half[0], 0), min(rows[i] + half[0] + 1, n_y)):
            for x in range(max(columns[i] - half[1], 0), min(columns[i] + half[1] + 1, n_x)):
                inside = False
                for k in range(n_layer):
                    inside |= mask[k, y, x]
                if not inside:
                    continue
                _see(vectors[y : y + 3, x : x + 3], sources[i], rules, table, step, seen)
                for k in range(len(seen)):
                    seen[k] *= weights[y, x, k]
                for k in range(n_layer):
                    if mask[k, y, x]:
                        s = 0.0
                        for t in range(len(seen)):
                            s += seen[t] * mix[t, k]
                        n, b, null = data[0, k, y, x], data[1, k, y, x], data[2, k, y, x]
                        at = _add(s, n, b, null, i, at, limits, kept)
        last[i] = at
    return last


@compiled
def slopes(
    index: Index,
    norms: Array,
    first: Index,
    last: Index,
    kept: Array,
    signal: Array,
    with_stat: bool,
    out: Array,
) -> None:
    """Add the rise of the statistic over that without the source, and its slope and curvature.

    Parameters
    ----------
    index, norms : array of shape (A,)
        Positions, and norms at these.
    first, last, kept, signal
        See `add_gridded`; signal (P,) is the first of the limits.
    with_stat : bool
        Whether the rise itself is needed.
    out : array of shape (3, A)
        Changed in place.
    """
    for j in range(len(index)):
        i, x = index[j], norms[j]
        rise, slope, bend = 0.0, 0.0, 0.0
        for k in range(first[i], last[i]):
            inverse = 1.0 / (kept[0, k] + x)
            part = kept[1, k] * inverse
            slope += part
            bend += part * inverse
            if with_stat:
                rise += kept[1, k] * math.log1p(x / kept[0, k])
        out[0, j] += 2 * (x * signal[i] - rise)
        out[1, j] += 2 * (signal[i] - slope)
        out[2, j] += 2 * bend
