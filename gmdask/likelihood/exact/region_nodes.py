"""Nodes for integrals over regions.

A region is bounded by closed curves. From any centre c, the integral over it is that over fans to
the curves: ``∫ f = Σ ∫ dt (γ - c) × γ' ∫ s ds f(c + s (γ - c))``, in which contributions from outside
cancel. Both integrals are Gauss-Legendre sums, or equidistant sums along a whole circle or ellipse. Whether a point
is inside is decided in the plane of a projection, as for counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import regions as shapes
from numpy.typing import NDArray

from gmdask.geometry import WcsGrid
from gmdask.geometry.regions import Region
from gmdask.likelihood.exact.radial import DEG
from gmdask.likelihood.geometry_cache import CACHE

__all__ = ["region_nodes"]

Array = NDArray[np.float64]

PER_CORE = 2.0  # Gauss-Legendre nodes per standard deviation of the narrowest PSF
LEAST = 8
PER_CORE_AROUND = 1.1  # nodes along a closed curve
LEAST_AROUND = 24
SAMPLES = 256  # number of points of a piece among which crossings are searched
ASIDE = 1e-6  # pixels; distance of test points on either side of a curve
MOST = 1 << 20  # largest number of nodes
STEP = 0.01  # pixels; step of the finite differences for solid angles


class _Piece(NamedTuple):
    """Part of a boundary: points and tangents (t, 2) for t from 0 to 1.

    `speed` bounds the length of the tangents; `closed` marks a complete smooth curve.
    """

    at: Callable[[Array], tuple[Array, Array]]
    speed: float
    closed: bool


class _Loop(NamedTuple):
    """A closed curve, counter-clockwise in pixels; `sign` is -1 for holes."""

    pieces: list[_Piece]
    center: Array
    sign: float


def region_nodes(region: Region, core: float) -> Array | None:
    """Directions and solid angles of the nodes that integrate a smooth function over a region.

    Parameters
    ----------
    region : `Region`
    core : float
        Standard deviation in deg of the narrowest Gaussian that is integrated accurately.

    Returns
    -------
    nodes : array of shape (node, 4), or None
        Direction in the region's frame and solid angle in deg2, which is negative for nodes of
        subtracted areas. None for shapes other than circles, ellipses, rectangles,
        polygons with non-crossing edges, or annuli, for regions that are too large compared to the PSF, and where
        the projection is off the sky.
    """
    plain = region.to_dict()
    key = ("region nodes", plain["ds9"], tuple(plain["wcs"].items()), core)
    (found,) = CACHE.get(key, lambda: (_nodes(region, core),))
    return found if len(found) else None


def _nodes(region: Region, core: float) -> Array:
    grid = region.grid()
    parts = [shape.to_pixel(grid.wcs) for shape in region.shapes]
    loops = [_loops(part) for part in parts]
    if not all(loops):
        return np.zeros((0, 4))
    width = core / grid.max_pixel_scale
    speeds = [piece.speed for own in loops for loop in own for piece in loop.pieces]
    along = sum(LEAST_AROUND + PER_CORE * speed / width for speed in speeds)
    if along * (LEAST + PER_CORE * math.hypot(*grid.shape) / width) > MOST:
        return np.zeros((0, 4))
    kept = [
        [[_outside(piece, loop.sign, i, parts) for piece in loop.pieces] for loop in own]
        for i, own in enumerate(loops)
    ]
    flat = [(loop, ranges) for own, k in zip(loops, kept, strict=True)
            for loop, ranges in zip(own, k, strict=True)]  # fmt: skip
    cut = [loop.center for loop, ranges in flat if not _is_whole(ranges) and any(ranges)]
    common = np.mean(cut, axis=0) if cut else np.zeros(2)
    found = [np.zeros((0, 3))]
    for loop, ranges in flat:
        center = loop.center if _is_whole(ranges) else common
        for piece, own in zip(loop.pieces, ranges, strict=True):
            found += [_fan(piece, a, b, center, loop.sign, width) for a, b in own]
    nodes = _on_sky(grid, np.concatenate(found))
    return nodes if np.isfinite(nodes).all() else np.zeros((0, 4))


def _is_whole(ranges: list[list[tuple[float, float]]]) -> bool:
    return all(own == [(0.0, 1.0)] for own in ranges)


# --- boundaries ------------------------------------------------------------------------


def _ellipse(center: Array, a: float, b: float, angle: float, sign: float = 1.0) -> _Loop:
    major = a * np.array([math.cos(angle), math.sin(angle)])
    minor = b * np.array([-math.sin(angle), math.cos(angle)])

    def at(t: Array) -> tuple[Array, Array]:
        turn = 2 * np.pi * t[:, None]
        c, s = np.cos(turn), np.sin(turn)
        return center + c * major + s * minor, 2 * np.pi * (c * minor - s * major)

    return _Loop([_Piece(at, 2 * np.pi * max(a, b), True)], center, sign)


def _edges(corners: Array, sign: float = 1.0) -> _Loop:
    after = np.roll(corners, -1, axis=0)
    if _cross(corners, after).sum() < 0:
        return _edges(corners[::-1], sign)
    pieces = [_edge(a, b) for a, b in zip(corners, after, strict=True)]
    return _Loop(pieces, corners.mean(axis=0), sign)


def _edge(start: Array, end: Array) -> _Piece:
    def at(t: Array) -> tuple[Array, Array]:
        way = np.broadcast_to(end - start, (len(t), 2))
        return start + t[:, None] * way, way

    return _Piece(at, float(np.hypot(*(end - start))), False)


def _rectangle(
    center: Array, width: float, height: float, angle: float, sign: float = 1.0
) -> _Loop:
    along = width / 2 * np.array([math.cos(angle), math.sin(angle)])
    up = height / 2 * np.array([-math.sin(angle), math.cos(angle)])
    corners = [center - along - up, center + along - up, center + along + up, center - along + up]
    return _edges(np.array(corners), sign)


def _loops(shape: Any) -> list[_Loop]:
    """Boundaries of a shape in pixels; empty for unsupported shapes."""
    if isinstance(shape, shapes.PolygonPixelRegion):
        corners = np.stack([shape.vertices.x, shape.vertices.y], axis=1).astype(np.float64)
        return [_edges(corners)] if _is_simple(corners) else []
    if not hasattr(shape, "center"):
        return []
    center = np.array([float(shape.center.x), float(shape.center.y)])
    angle = float(shape.angle.to_value("rad")) if hasattr(shape, "angle") else 0.0
    if isinstance(shape, shapes.CirclePixelRegion):
        return [_ellipse(center, shape.radius, shape.radius, 0.0)]
    if isinstance(shape, shapes.CircleAnnulusPixelRegion):
        outer, inner = shape.outer_radius, shape.inner_radius
        return [_ellipse(center, outer, outer, 0.0), _ellipse(center, inner, inner, 0.0, -1.0)]
    if isinstance(shape, shapes.EllipsePixelRegion):
        return [_ellipse(center, shape.width / 2, shape.height / 2, angle)]
    if isinstance(shape, shapes.EllipseAnnulusPixelRegion):
        outer, inner = shape.outer_width / 2, shape.inner_width / 2
        return [
            _ellipse(center, outer, shape.outer_height / 2, angle),
            _ellipse(center, inner, shape.inner_height / 2, angle, -1.0),
        ]
    if isinstance(shape, shapes.RectanglePixelRegion):
        return [_rectangle(center, shape.width, shape.height, angle)]
    if isinstance(shape, shapes.RectangleAnnulusPixelRegion):
        return [
            _rectangle(center, shape.outer_width, shape.outer_height, angle),
            _rectangle(center, shape.inner_width, shape.inner_height, angle, -1.0),
        ]
    return []


def _cross(a: Array, b: Array) -> Array:
    result: Array = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    return result


def _is_simple(corners: Array) -> bool:
    """Whether no two edges of a polygon cross each other."""
    start, way = corners, np.roll(corners, -1, axis=0) - corners
    to = start[None] - start[:, None]
    first, second = _cross(way[:, None], to), _cross(way[:, None], to + way[None])
    apart = first * second < 0  # the ends of the second edge lie on opposite sides of the first
    return not bool((apart & apart.T).any())


# --- unions ----------------------------------------------------------------------------


def _outside(piece: _Piece, sign: float, index: int, parts: list[Any]) -> list[tuple[float, float]]:
    """Ranges of t in which a piece bounds the union: where no other shape covers the far side.

    Of coinciding pieces of two shapes, the first one is used.
    """

    def bounds(t: Array) -> NDArray[np.bool_]:
        point, tangent = piece.at(t)
        normal = sign * ASIDE * tangent[:, ::-1] * [1, -1] / np.hypot(*tangent.T)[:, None]
        free = np.ones(len(t), dtype=bool)
        for j, part in enumerate(parts):
            if j != index:
                free &= ~_contains(part, point + normal)
            if j < index:
                free &= ~_contains(part, point - normal)
        return free

    if len(parts) == 1 or piece.speed == 0:
        return [(0.0, 1.0)]
    t = np.linspace(0.0, 1.0, SAMPLES + 1)
    free = bounds(t)
    places = np.flatnonzero(np.diff(free))
    low, high, before = t[places], t[places + 1], free[places]
    for _ in range(40):
        middle = (low + high) / 2
        same = bounds(middle) == before if len(middle) else before
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    knots = np.array([0.0, *((low + high) / 2), 1.0])
    states = free[np.concatenate([[0], places + 1])]
    return [(float(a), float(b)) for a, b, s in zip(knots, knots[1:], states, strict=False) if s]


def _contains(shape: Any, points: Array) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = np.atleast_1d(shape.contains(shapes.PixCoord(*points.T)))
    return inside


# --- nodes -----------------------------------------------------------------------------


def _fan(piece: _Piece, a: float, b: float, center: Array, sign: float, width: float) -> Array:
    """Nodes (node, 3) of the fan between a centre and a piece: pixel coordinates and area."""
    if piece.closed and (a, b) == (0.0, 1.0):
        n = LEAST_AROUND + math.ceil(PER_CORE_AROUND * piece.speed / width)
        t, along = (np.arange(n) + 0.5) / n, np.full(n, 1 / n)
    else:
        x, w = _legendre((b - a) * piece.speed / width)
        t, along = a + (b - a) * x, (b - a) * w
    point, tangent = piece.at(t)
    arm = point - center
    s, out = _legendre(float(np.hypot(*arm.T).max()) / width)
    area = sign * np.outer(along * _cross(arm, tangent), s * out)
    places = center + s[None, :, None] * arm[:, None, :]
    return np.concatenate([places, area[..., None]], axis=-1).reshape(-1, 3)


def _legendre(length: float) -> tuple[Array, Array]:
    """Nodes and weights from 0 to 1, for a length in widths of the narrowest PSF."""
    x, w = np.polynomial.legendre.leggauss(LEAST + math.ceil(PER_CORE * length))
    return (x + 1) / 2, w / 2


def _on_sky(grid: WcsGrid, nodes: Array) -> Array:
    """Directions and solid angles (node, 4) of nodes in pixels."""
    x, y, area = nodes.T

    def toward(dx: float, dy: float) -> Array:
        lon, lat = (a * DEG for a in grid.to_sky(x + dx, y + dy))
        return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)

    by_x = (toward(STEP, 0) - toward(-STEP, 0)) / (2 * STEP * DEG)
    by_y = (toward(0, STEP) - toward(0, -STEP)) / (2 * STEP * DEG)
    scale = np.linalg.norm(np.cross(by_x, by_y), axis=1)
    return np.ascontiguousarray(np.column_stack([toward(0, 0), area * scale]))
