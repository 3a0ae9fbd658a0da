"""The footprints of pixels: weights of a spline's coefficients in their integrals, compiled.

Pixels of a row that have the same rules of nodes next to one another make a *stretch*. What is
known of its nodes lies in arrays, those of one pixel after those of another, so that loops do
several at once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gmdask.compiling import inlined, part
from gmdask.likelihood.exact.footprints import add_node
from gmdask.likelihood.exact.node_weights import blend_weights, weigh
from gmdask.likelihood.exact.nodes import BLEND, node_scratch, zone_of
from gmdask.likelihood.exact.patch import Patch

__all__ = ["Room", "Sight", "gather", "look_at_row", "next_stretch", "pixel_footprint", "room_for"]

Array = NDArray[np.float64]

STRETCH = 256  # nodes of a stretch, if one pixel has no more


class Sight(NamedTuple):
    """A source as seen from pixels.

    Attributes
    ----------
    axes : array of shape (3, 3)
        East, north, and direction of the source.
    grid : array of shape (6,)
        See `RadialGrid.at_latitude`.
    phi : float
        Position angle of the major axis.
    waves : integer array of shape (M, 2)
        Of each harmonic of the source, in ascending order: how many there are around it, and 1 for a
        sine of the bearing from the major axis, 0 for a cosine.
    nodes : array of shape (node, 3)
        Offsets in pixels and weights of the nodes of a pixel, one rule after the other.
    rules : array of shape (zone, 3)
        First and end node of each rule, and the chord at which its zone begins; see `Zones`.
    moves, turns : array of shape (G, 2) and (G,)
        Derivatives of longitude and latitude, and of phi, by the parameters that affect them.
    """

    axes: Array
    grid: Array
    phi: float
    waves: NDArray[np.int64]
    nodes: Array
    rules: Array
    moves: Array
    turns: Array


class Room(NamedTuple):
    """What is known of the pixels of a row, and of the nodes of a stretch of it.

    Attributes
    ----------
    turned : array of shape (3, 3, lon + 2)
        Offsets (east, north, up) from the source of three rows of pixels, the last axis but one.
    chord : array of shape (lon,)
        Distance of the pixels of the row from the source.
    zone : integer array of shape (lon,)
        Twice the zone of each pixel, one more where it is blended with the next; -1 out of reach.
    shares : array of shape (6, lon)
        See `zone_of`.
    bends : array of shape (3, 5, lon)
        Expansion of the offsets (east, north, up) in a pixel: x, y, xx, xy, yy.
    seen : array of shape (5, node)
        East, north, squared chord and chord of each node from the source, and its solid angle.
    cell : integer array of shape (node,)
        First coefficient it touches.
    weights : array of shape (4 * row, node)
        What it gives four coefficients: value, and derivatives by what moves.
    extra : array of shape (7 + G, node)
        To work with.
    scratch
        Of `node_scratch`.
    """

    turned: Array
    chord: Array
    zone: NDArray[np.int64]
    shares: Array
    bends: Array
    seen: Array
    cell: NDArray[np.int32]
    weights: Array
    extra: Array
    scratch: Any


@part
def room_for(sight: Sight, patch: Patch, n_rows: int) -> Any:
    """Room for rows of a patch and footprints of so many rows."""
    width, most, n_g = patch.place.shape[1], 0, len(sight.turns)
    for zone in range(len(sight.rules)):
        most = max(most, int(sight.rules[zone, 1] - sight.rules[zone, 0]))
    size = max(2 * most, STRETCH)
    return Room(
        np.empty((3, 3, width + 2)), np.empty(width), np.empty(width, dtype=np.int64),
        np.empty((6, width)), np.empty((3, 5, width)), np.empty((5, size)),
        np.empty(size, dtype=np.int32), np.empty((4 * n_rows, size)), np.empty((7 + n_g, size)),
        node_scratch(n_g),
    )  # fmt: skip


@part
def _turn(vectors: Array, y: int, axes: Array, out: Array) -> None:
    """Offsets (east, north, up) of a row of pixels, and of those around it."""
    a, b, c = vectors[0, y], vectors[1, y], vectors[2, y]
    for k in range(3):
        p, q, s = axes[k, 0], axes[k, 1], axes[k, 2]
        to = out[k]
        for x in range(len(to)):
            to[x] = (a[x] - axes[2, 0]) * p + (b[x] - axes[2, 1]) * q + (c[x] - axes[2, 2]) * s


@part
def _expand(below: Array, row: Array, above: Array, out: Array) -> None:
    """Expand offsets in the pixels of a row: ∂x, ∂y, ∂xx / 2, ∂xy, ∂yy / 2."""
    by_x, by_y, xx, xy, yy = out[0], out[1], out[2], out[3], out[4]
    for x in range(len(by_x)):
        by_x[x], by_y[x] = 0.5 * (row[x + 2] - row[x]), 0.5 * (above[x + 1] - below[x + 1])
    for x in range(len(by_x)):
        xx[x] = 0.5 * (row[x + 2] - 2 * row[x + 1] + row[x])
        yy[x] = 0.5 * (above[x + 1] - 2 * row[x + 1] + below[x + 1])
    for x in range(len(by_x)):
        xy[x] = 0.25 * ((above[x + 2] - above[x]) - (below[x + 2] - below[x]))


@part
def look_at_row(sight: Sight, patch: Patch, y: int, room: Room) -> None:
    """Find how the pixels of a row are seen, and which rules serve them; the row before is known."""
    axes, rules, chord, turned = sight.axes, sight.rules, room.chord, room.turned
    for row in range(y if y == 0 else y + 2, y + 3):
        _turn(patch.vectors, row, axes, turned[row % 3])
    row = turned[(y + 1) % 3]
    east, north, up = row[0, 1:], row[1, 1:], row[2, 1:]
    for x in range(len(chord)):
        chord[x] = np.sqrt(east[x] * east[x] + north[x] * north[x] + up[x] * up[x]) + 1e-14
    rim, offset, share, expanded = sight.grid[5] + patch.diagonal, np.empty(3), np.empty(6), False
    for x in range(len(chord)):
        r, zone = chord[x], 0
        near = r < rim and (patch.pattern[y, x] >= 0 or patch.place[y, x] >= 0)
        if not near or not patch.areas[0, y, x] > 0.0:
            room.zone[x] = -1
            continue
        while zone + 1 < len(rules) and r >= (1 + BLEND) * rules[zone + 1, 2]:
            zone += 1
        room.zone[x] = 2 * zone
        if zone + 1 < len(rules) and r > rules[zone + 1, 2] * (1 + 1e-9):
            for k in range(3):
                offset[k] = row[k, x + 1]
            zone = zone_of(offset, rules, sight.grid, room.scratch, share)
            room.zone[x] = 2 * zone + (1 if share[0] < 1.0 else 0)
            for k in range(6):
                room.shares[k, x] = share[k]
        expanded = expanded or room.zone[x] % 2 == 1 or rules[zone, 1] - rules[zone, 0] > 1
    for k in range(3 if expanded else 0):
        below, above = turned[y % 3, k], turned[(y + 2) % 3, k]
        _expand(below, row[k], above, room.bends[k])


@part
def _place(
    row: Array, bends: Array, areas: Array, y: int, x: int, n: int, nodes: Array, seen: Array
) -> None:
    """Place nodes (node, 3) in n pixels of a row: fill (5, node), all of a pixel, then of the next."""
    if len(nodes) == 1:  # what is around the pixels does not matter
        for k in range(3):
            for i in range(n):
                seen[k, i] = row[k, x + 1 + i]
        for i in range(n):
            seen[4, i] = areas[0, y, x + i]
    else:
        at = 0
        for i in range(x, x + n):
            e, ex, ey = row[0, i + 1], bends[0, 0, i], bends[0, 1, i]
            exx, exy, eyy = bends[0, 2, i], bends[0, 3, i], bends[0, 4, i]
            n_, nx, ny = row[1, i + 1], bends[1, 0, i], bends[1, 1, i]
            nxx, nxy, nyy = bends[1, 2, i], bends[1, 3, i], bends[1, 4, i]
            p, px, py = row[2, i + 1], bends[2, 0, i], bends[2, 1, i]
            pxx, pxy, pyy = bends[2, 2, i], bends[2, 3, i], bends[2, 4, i]
            area, along_x, along_y = areas[0, y, i], areas[1, y, i], areas[2, y, i]
            for node in range(len(nodes)):
                u, v, weight = nodes[node, 0], nodes[node, 1], nodes[node, 2]
                uu, uv, vv = u * u, u * v, v * v
                east = (e + (u * ex + v * ey)) + (uu * exx + uv * exy + vv * eyy)
                north = (n_ + (u * nx + v * ny)) + (uu * nxx + uv * nxy + vv * nyy)
                up = (p + (u * px + v * py)) + (uu * pxx + uv * pxy + vv * pyy)
                solid = weight * (area + u * along_x + v * along_y)
                seen[0, at], seen[1, at], seen[2, at], seen[4, at] = east, north, up, solid
                at += 1
    count = n * len(nodes)
    east, north, square, chord = seen[0, :count], seen[1, :count], seen[2, :count], seen[3, :count]
    for i in range(count):
        square[i] = east[i] * east[i] + north[i] * north[i] + square[i] * square[i]
    for i in range(count):
        chord[i] = np.sqrt(square[i]) + 1e-14


@part
def next_stretch(
    sight: Sight, patch: Patch, y: int, x: int, order: int, is_round: bool, room: Room
) -> Any:
    """Find the nodes of a stretch, from a column on, and what they give the coefficients.

    Returns
    -------
    x, n, n_nodes : int
        First column and number of pixels, none at the end of the row; how many nodes each has.
    """
    zone, width, rules = room.zone, patch.place.shape[1], sight.rules
    while x < width and zone[x] < 0:
        x += 1
    if x == width:
        return x, 0, 0
    rule, blended = zone[x] // 2, zone[x] % 2 == 1
    first, end = int(rules[rule, 0]), int(rules[rule + 1 if blended else rule, 1])
    n, most = 1, room.seen.shape[1] // (end - first)
    while x + n < width and n < most and zone[x + n] == zone[x]:
        n += 1
    row, nodes = room.turned[(y + 1) % 3], sight.nodes[first:end]
    _place(row, room.bends, patch.areas, y, x, n, nodes, room.seen)
    weigh(sight.grid, sight.moves, (end - first) * n, order if is_round else -1, room)
    if blended and is_round:
        blend_weights(sight.moves, x, n, int(rules[rule, 1]) - first, end - first, order, room)
    return x, n, end - first


@part
def _blend(share: Array, moves: Array, order: int, lo: int, hi: int, prints: Array) -> None:
    """Blend the footprints of two rules with the weight of the first, which depends on the source's position."""
    n_s, value = len(moves), share[0]
    for m in range(prints.shape[2]):
        for cell in range(lo, hi):
            apart = prints[0, 0, m, cell] - prints[1, 0, m, cell]
            row = 1 + n_s
            for s in range(n_s if order > 1 else 0):
                by_s = moves[s, 0] * share[1] + moves[s, 1] * share[2]
                apart_s = prints[0, 1 + s, m, cell] - prints[1, 1 + s, m, cell]
                for u in range(s + 1):
                    by_u = moves[u, 0] * share[1] + moves[u, 1] * share[2]
                    apart_u = prints[0, 1 + u, m, cell] - prints[1, 1 + u, m, cell]
                    both = moves[s, 0] * moves[u, 0] * share[3]
                    both += (moves[s, 0] * moves[u, 1] + moves[s, 1] * moves[u, 0]) * share[4]
                    both += moves[s, 1] * moves[u, 1] * share[5]
                    prints[0, row, m, cell] = (
                        value * prints[0, row, m, cell] + (1 - value) * prints[1, row, m, cell]
                        + by_s * apart_u + by_u * apart_s + both * apart
                    )  # fmt: skip
                    row += 1
            for s in range(n_s):
                slope = moves[s, 0] * share[1] + moves[s, 1] * share[2]
                prints[0, 1 + s, m, cell] = (
                    value * prints[0, 1 + s, m, cell] + (1 - value) * prints[1, 1 + s, m, cell]
                    + slope * apart
                )  # fmt: skip
            prints[0, 0, m, cell] = (
                value * prints[0, 0, m, cell] + (1 - value) * prints[1, 0, m, cell]
            )


@inlined
def gather(i: int, n_nodes: int, cells: NDArray[np.int32], weights: Array, prints: Array) -> Any:
    """Fill the footprint (row, n + 4) of a round source in a pixel with what its nodes give it.

    Parameters
    ----------
    i : int
        Which pixel of a stretch.
    n_nodes : int
        Of each pixel.
    cells, weights
        Of `Room`.
    prints : array of shape (row, n + 4)

    Returns
    -------
    lo, hi : int
        First coefficient that is touched, and the end.
    """
    start, end = i * n_nodes, (i + 1) * n_nodes
    lo, hi = np.int64(cells[start]), np.int64(cells[start])
    for at in range(start + 1, end):
        lo, hi = min(lo, np.int64(cells[at])), max(hi, np.int64(cells[at]))
    for q in range(len(prints)):
        prints[q, lo : hi + 4] = 0.0
    for at in range(start, end):
        cell = np.uint64(cells[at])
        for q in range(len(prints)):
            for k in range(4):
                prints[q, cell + np.uint64(k)] += weights[4 * q + k, at]
    return lo, hi + 4


@part
def pixel_footprint(sight: Sight, x: int, i: int, order: int, room: Room, prints: Array) -> Any:
    """Fill the footprint of an elongated source in a pixel, with derivatives.

    Parameters
    ----------
    sight : `Sight`
    x, i : int
        Column of the first pixel of a stretch, and which of its pixels.
    order : {0, 1, 2}
        Up to which derivatives.
    room : `Room`
        As `next_stretch` left it.
    prints : array of shape (2, row, M, n + 4)
        The first one is filled, with rows as in `footprints`.

    Returns
    -------
    lo, hi : int
        First coefficient that is touched, and the end.
    """
    rule, blended = room.zone[x] // 2, room.zone[x] % 2 == 1
    first, other = int(sight.rules[rule, 0]), int(sight.rules[rule, 1])
    end = int(sight.rules[rule + 1, 1]) if blended else other
    at, end_at = i * (end - first), (i + 1) * (end - first)
    lo, hi = np.int64(room.cell[at]), np.int64(room.cell[at])
    for k in range(at + 1, end_at):
        lo, hi = min(lo, np.int64(room.cell[k])), max(hi, np.int64(room.cell[k]))
    hi += 4
    for rule in range(2 if blended else 1):
        for q in range(prints.shape[1]):
            for m in range(prints.shape[2]):
                for cell in range(lo, hi):
                    prints[rule, q, m, cell] = 0.0
    for k in range(at, end_at):
        if room.seen[4, k] != 0.0:  # within reach
            add_node(
                room.seen[:, k], room.seen[4, k], sight.grid, sight.phi, sight.waves, sight.moves,
                sight.turns, order, room.scratch, prints[0 if first + k - at < other else 1],
            )  # fmt: skip
    if blended:
        _blend(room.shares[:, x + i], sight.moves, order, lo, hi, prints)
    return lo, hi
