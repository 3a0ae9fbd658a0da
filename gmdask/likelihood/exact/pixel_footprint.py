"""The footprints of pixels: weights of a spline's coefficients in their integrals, compiled."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gmdask.compiling import compiled
from gmdask.likelihood.exact.footprints import add_node
from gmdask.likelihood.exact.nodes import BLEND, expand_pixel, zone_of
from gmdask.likelihood.exact.patch import Patch

__all__ = ["Nodes", "Sight", "nodes_of_row", "pixel_footprint", "room_for_nodes", "weigh_nodes"]

Array = NDArray[np.float64]


class Sight(NamedTuple):
    """How a source is seen from pixels.

    Attributes
    ----------
    axes : array of shape (3, 3)
        East, north, and direction of the source.
    grid : array of shape (6,)
        See `RadialGrid.at_latitude`.
    phi : float
        Angle of the major axis.
    nodes : array of shape (node, 3)
        Offsets in pixels and weight of the nodes of a pixel, one rule after the other.
    rules : array of shape (zone, 3)
        First node, end, and the chord at which the zone of each rule begins; see `Zones`.
    moves, turns : array of shape (G, 2) and (G,)
        Derivatives of longitude and latitude, and of phi, by the parameters that these depend on.
    """

    axes: Array
    grid: Array
    phi: float
    nodes: Array
    rules: Array
    moves: Array
    turns: Array


class Nodes(NamedTuple):
    """Nodes of some pixels of a row.

    Attributes
    ----------
    seen : array of shape (5, node)
        East, north, squared chord and chord of each node from the source, and its solid angle.
    second : boolean array of shape (node,)
        Whether it belongs to the second of two rules that are blended.
    cell : integer array of shape (node,)
        First coefficient it touches.
    weights : array of shape (4 + 4 G, node)
        What it gives four coefficients: value, and derivatives by what moves.
    x : integer array of shape (pixel,)
        Column of each pixel that is reached.
    starts : integer array of shape (pixel + 1,)
        First node of each pixel.
    shares : array of shape (pixel, 6)
        See `zone_of`.
    centers : array of shape (4, lon)
        Offset (east, north, up) and chord of all pixels of the row.
    """

    seen: Array
    second: NDArray[np.bool_]
    cell: NDArray[np.int64]
    weights: Array
    x: NDArray[np.int64]
    starts: NDArray[np.int64]
    shares: Array
    centers: Array


@compiled
def room_for_nodes(sight: Sight, patch: Patch) -> Any:
    """Room for the nodes of as many pixels as are looked at together."""
    width, most = patch.place.shape[1], 0
    for zone in range(len(sight.rules)):
        most = max(most, int(sight.rules[zone, 1] - sight.rules[zone, 0]))
    size = 2 * most + 4 * width
    return Nodes(
        np.empty((5, size)), np.empty(size, dtype=np.bool_), np.empty(size, dtype=np.int64),
        np.empty((4 + 4 * len(sight.turns), size)), np.empty(width, dtype=np.int64),
        np.zeros(width + 1, dtype=np.int64), np.empty((width, 6)), np.empty((4, width)),
    )  # fmt: skip


@compiled
def _centers(vectors: Array, y: int, axes: Array, out: Array) -> None:
    """Offset (east, north, up) and chord of the pixels of a row."""
    a, b, c = vectors[0, y + 1, 1:-1], vectors[1, y + 1, 1:-1], vectors[2, y + 1, 1:-1]
    for k in range(3):
        p, q, s = axes[k, 0], axes[k, 1], axes[k, 2]
        to = out[k]
        for x in range(len(to)):
            to[x] = (a[x] - axes[2, 0]) * p + (b[x] - axes[2, 1]) * q + (c[x] - axes[2, 2]) * s
    east, north, up, chord = out[0], out[1], out[2], out[3]
    for x in range(len(chord)):
        chord[x] = np.sqrt(east[x] * east[x] + north[x] * north[x] + up[x] * up[x]) + 1e-14


@compiled
def _place_nodes(
    pixel: Array, area: Array, nodes: Array, first: int, end: int, reach: float, second: bool,
    count: int, found: Nodes,
) -> Any:  # fmt: skip
    """Add the nodes of a rule that are in reach, and return the number of all."""
    for node in range(first, end):
        x, y = nodes[node, 0], nodes[node, 1]
        xx, xy, yy = 0.5 * x * x, x * y, 0.5 * y * y
        east = pixel[0, 0] + x * pixel[1, 0] + y * pixel[2, 0]
        east += xx * pixel[3, 0] + xy * pixel[4, 0] + yy * pixel[5, 0]
        north = pixel[0, 1] + x * pixel[1, 1] + y * pixel[2, 1]
        north += xx * pixel[3, 1] + xy * pixel[4, 1] + yy * pixel[5, 1]
        up = pixel[0, 2] + x * pixel[1, 2] + y * pixel[2, 2]
        up += xx * pixel[3, 2] + xy * pixel[4, 2] + yy * pixel[5, 2]
        square = east * east + north * north + up * up
        r = np.sqrt(square) + 1e-14
        if r < reach:
            found.seen[0, count], found.seen[1, count] = east, north
            found.seen[2, count], found.seen[3, count] = square, r
            found.seen[4, count] = (area[0] + x * area[1] + y * area[2]) * nodes[node, 2]
            found.second[count] = second
            count += 1
    return count


@compiled
def nodes_of_row(sight: Sight, patch: Patch, y: int, x: int, scratch: Any, found: Nodes) -> Any:
    """Find the nodes of pixels of a row, from a column on: as many as there is room for.

    Returns the next column, and the number of pixels that are reached.
    """
    rules, grid, centers = sight.rules, sight.grid, found.centers
    last, reach, rim = len(rules) - 1, grid[5], grid[5] + patch.diagonal
    pixel, own = np.zeros((6, 3)), scratch
    outermost = rules[last, 2] * (1 + BLEND) if last > 0 else 0.0
    single = rules[last, 1] - rules[last, 0] == 1.0
    if x == 0:
        _centers(patch.vectors, y, sight.axes, centers)
    n, count, width = 0, 0, patch.place.shape[1]
    while x < width:
        r = centers[3, x]
        near = r < rim and (patch.pattern[y, x] >= 0 or patch.place[y, x] >= 0)
        if not near or not patch.areas[y, x, 0] > 0.0:
            x += 1
            continue
        before = count
        if count == found.seen.shape[1]:
            break
        if single and r >= outermost:
            if r < reach:
                found.seen[0, count], found.seen[1, count] = centers[0, x], centers[1, x]
                found.seen[2, count], found.seen[3, count] = (r - 1e-14) ** 2, r
                found.seen[4, count], found.second[count] = patch.areas[y, x, 0], False
                count += 1
                found.shares[n, 0] = 1.0
        else:
            for k in range(3):
                pixel[0, k] = centers[k, x]
            zone = zone_of(pixel[0], rules, grid, own, found.shares[n])
            n_rules = 2 if found.shares[n, 0] < 1.0 else 1
            if count + rules[zone + n_rules - 1, 1] - rules[zone, 0] > found.seen.shape[1]:
                break
            expand_pixel(patch.vectors, y, x, sight.axes, pixel)
            for k in range(n_rules):
                count = _place_nodes(
                    pixel, patch.areas[y, x], sight.nodes, int(rules[zone + k, 0]),
                    int(rules[zone + k, 1]), reach, k == 1, count, found,
                )  # fmt: skip
        if count > before:
            found.x[n], found.starts[n], found.starts[n + 1] = x, before, count
            n += 1
        x += 1
    return x, n


@compiled
def _weigh(sight: Sight, count: int, order: int, found: Nodes) -> None:
    """Fill what nodes give their coefficients, for a round source; without second derivatives."""
    step, scale = sight.grid[0], sight.grid[1]
    r, solid, cell = found.seen[3, :count], found.seen[4, :count], found.cell[:count]
    u, slope = np.empty(count), np.empty(count)
    for i in range(count):
        t = 1 / np.sqrt(1 + (r[i] / scale) ** 2)
        q = r[i] * t / step
        cell[i] = int(q)
        u[i] = q - np.floor(q)
        slope[i] = t * t * t / step * solid[i]
    w0, w1 = found.weights[0], found.weights[1]
    w2, w3 = found.weights[2], found.weights[3]
    for i in range(count):
        v = 1 - u[i]
        w0[i] = v * v * v / 6 * solid[i]
        w3[i] = u[i] * u[i] * u[i] / 6 * solid[i]
    for i in range(count):
        v = 1 - u[i]
        w1[i] = (3 * u[i] * u[i] * u[i] - 6 * u[i] * u[i] + 4) / 6 * solid[i]
        w2[i] = (3 * v * v * v - 6 * v * v + 4) / 6 * solid[i]
    for g in range(len(sight.turns) if order > 0 else 0):
        by_east, by_north = -sight.moves[g, 0] * sight.grid[4], -sight.moves[g, 1]
        east, north, by_r = found.seen[0, :count], found.seen[1, :count], np.empty(count)
        for i in range(count):
            by_r[i] = (by_east * east[i] + by_north * north[i]) / r[i] * slope[i]
        d0, d1 = found.weights[4 + 4 * g], found.weights[5 + 4 * g]
        d2, d3 = found.weights[6 + 4 * g], found.weights[7 + 4 * g]
        for i in range(count):
            v = 1 - u[i]
            d0[i] = -0.5 * v * v * by_r[i]
            d3[i] = 0.5 * u[i] * u[i] * by_r[i]
        for i in range(count):
            v = 1 - u[i]
            d1[i] = (1.5 * u[i] * u[i] - 2 * u[i]) * by_r[i]
            d2[i] = (2 * v - 1.5 * v * v) * by_r[i]


@compiled
def _blend(center: Array, moves: Array, order: int, lo: int, hi: int, prints: Array) -> None:
    """Join the footprints of two rules by the share of the first, which the source's position moves."""
    share, n_s = center[0], len(moves)
    for m in range(prints.shape[2]):
        for cell in range(lo, hi):
            apart = prints[0, 0, m, cell] - prints[1, 0, m, cell]
            row = 1 + n_s
            for s in range(n_s if order > 1 else 0):
                by_s = moves[s, 0] * center[1] + moves[s, 1] * center[2]
                apart_s = prints[0, 1 + s, m, cell] - prints[1, 1 + s, m, cell]
                for u in range(s + 1):
                    by_u = moves[u, 0] * center[1] + moves[u, 1] * center[2]
                    apart_u = prints[0, 1 + u, m, cell] - prints[1, 1 + u, m, cell]
                    both = moves[s, 0] * moves[u, 0] * center[3]
                    both += (moves[s, 0] * moves[u, 1] + moves[s, 1] * moves[u, 0]) * center[4]
                    both += moves[s, 1] * moves[u, 1] * center[5]
                    prints[0, row, m, cell] = (
                        share * prints[0, row, m, cell] + (1 - share) * prints[1, row, m, cell]
                        + by_s * apart_u + by_u * apart_s + both * apart
                    )  # fmt: skip
                    row += 1
            for s in range(n_s):
                slope = moves[s, 0] * center[1] + moves[s, 1] * center[2]
                prints[0, 1 + s, m, cell] = (
                    share * prints[0, 1 + s, m, cell] + (1 - share) * prints[1, 1 + s, m, cell]
                    + slope * apart
                )  # fmt: skip
            prints[0, 0, m, cell] = (
                share * prints[0, 0, m, cell] + (1 - share) * prints[1, 0, m, cell]
            )


@compiled
def pixel_footprint(
    sight: Sight, n: int, order: int, scratch: Any, found: Nodes, prints: Array
) -> Any:
    """Fill the footprint of a pixel, with derivatives.

    Parameters
    ----------
    sight : `Sight`
    n : int
        Which of the pixels of `found`.
    order : {0, 1, 2}
        Up to which derivatives.
    scratch
        Of `node_scratch`.
    found : `Nodes`
        Of `nodes_of_row` and `weigh`.
    prints : array of shape (2, row, M, n + 4)
        The first one is filled, with rows as in `footprints`.

    Returns
    -------
    lo, hi : int
        First coefficient that is touched, and the end.
    """
    first, end, plain = found.starts[n], found.starts[n + 1], prints.shape[2] == 1 and order < 2
    lo, hi = found.cell[first], found.cell[first]
    for i in range(first, end):
        lo, hi = min(lo, found.cell[i]), max(hi, found.cell[i])
    hi += 4
    blended = found.shares[n, 0] < 1.0
    for rule in range(2 if blended else 1):
        for q in range(prints.shape[1]):
            for m in range(prints.shape[2]):
                for cell in range(lo, hi):
                    prints[rule, q, m, cell] = 0.0
    for i in range(first, end):
        rule, cell = int(found.second[i]), found.cell[i]
        if plain:
            for q in range(prints.shape[1]):
                for k in range(4):
                    prints[rule, q, 0, cell + k] += found.weights[4 * q + k, i]
        else:
            add_node(
                found.seen[:, i], found.seen[4, i], sight.grid, sight.phi, sight.moves, sight.turns,
                order, scratch, prints[rule],
            )  # fmt: skip
    if blended:
        _blend(found.shares[n], sight.moves, order, lo, hi, prints)
    return lo, hi


@compiled
def weigh_nodes(sight: Sight, n: int, order: int, n_m: int, found: Nodes) -> None:
    """Prepare the footprints of pixels of `nodes_of_row`; see `pixel_footprint`."""
    count = found.starts[n]
    if n_m == 1 and order < 2:
        _weigh(sight, count, order, found)
    else:
        for i in range(count):
            r, t = found.seen[3, i], 1 / np.sqrt(1 + (found.seen[3, i] / sight.grid[1]) ** 2)
            found.cell[i] = int(r * t / sight.grid[0])
