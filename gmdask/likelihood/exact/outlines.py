"""Integrals of a source shape over pixels, along their edges: compiled.

Without a PSF, counts are integrals of the shape itself, which may be much smaller than a pixel and
have sharp edges. In the plane of chords around the source, rotated and scaled to the shape's axes,
the shape is a function s of the radius z alone, with the flux F(z) within z per radian. By Green's
theorem its integral over a pixel is an integral along the pixel's edges,

    I = ∮ F(z) / z² (w × dw),   ∂I = ∮ s (∂w × dw),

with w the position of a point of the edge. Adjacent pixels share their edges, so that no flux is lost.
An edge is split where the shape is not smooth, and each part is a Gauss-Legendre sum whose nodes
are dense at its ends; outside the shape only the angle subtended by the edge remains.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gmdask.compiling import compiled
from gmdask.likelihood.exact.profiles import profile_at

__all__ = ["LAT", "LON", "PHI", "SIZE", "TILT", "Outline", "along_edges"]

Array = NDArray[np.float64]

LON, LAT, PHI, SIZE, TILT = range(5)  # parameters of derivatives; the last is the eccentricity
N_NODES = 16  # nodes of each part of an edge
_X, _W = np.polynomial.legendre.leggauss(N_NODES)
SHARES = (1 - np.cos(np.pi * (_X + 1) / 2)) / 2
WEIGHTS = _W * np.sin(np.pi * (_X + 1) / 2) * np.pi / 4


class Outline(NamedTuple):
    """A source shape and its position.

    Attributes
    ----------
    axes : array of shape (3, 3)
        East, north and direction.
    sin_lat, cos_lat : float
        Sine and cosine of the latitude.
    phi : float
        Angle of the major axis from north to east, in rad.
    size, slope, bend : float
        Chord of the major semi-axis in rad, and its derivatives with respect to the parameter.
    e : float
        Eccentricity.
    kind : int
        Kind of its profile.
    extra : float
        See `levels_of`.
    levels : array
        Radii between which the profile is smooth.
    flux : float
        Flux of the profile.
    free : integer array of shape (P,)
        Parameters of the derivatives.
    """

    axes: Array
    sin_lat: float
    cos_lat: float
    phi: float
    size: float
    slope: float
    bend: float
    e: float
    kind: int
    extra: float
    levels: Array
    flux: float
    free: NDArray[np.int64]


@compiled
def _seen(curve: Array, t: float, axes: Array, out: Array) -> None:
    """East, north and up (2, 3) of a point of an edge relative to the source, and of its tangent."""
    out[:2] = 0.0
    for i in range(3):
        d = (curve[0, i] - axes[2, i]) + t * (curve[1, i] + t * curve[2, i])
        along = curve[1, i] + 2 * t * curve[2, i]
        for k in range(3):
            out[0, k] += d * axes[k, i]
            out[1, k] += along * axes[k, i]
    out[0, 2] += 1.0


@compiled
def _onto(shape: Outline, x: float, y: float, out: Array) -> None:
    """Transform east and north in the plane of chords to the scaled plane."""
    sine, cosine = math.sin(shape.phi), math.cos(shape.phi)
    out[0] = (x * sine + y * cosine) / shape.size
    out[1] = (x * cosine - y * sine) / (shape.size * math.sqrt(1 - shape.e * shape.e))


@compiled
def _place(curve: Array, t: float, shape: Outline, seen: Array, out: Array) -> None:
    """Position and tangent (2, 2) of a point of an edge in the scaled plane."""
    _seen(curve, t, shape.axes, seen)
    up = seen[0, 2]
    g = math.sqrt(2 / (1 + up))
    by_t = -0.5 * g / (1 + up) * seen[1, 2]
    _onto(shape, seen[0, 0] * g, seen[0, 1] * g, out[0])
    _onto(shape, seen[1, 0] * g + seen[0, 0] * by_t, seen[1, 1] * g + seen[0, 1] * by_t, out[1])


@compiled
def _cuts(curve: Array, shape: Outline, scratch: Any, cuts: Array) -> Any:
    """Find where an edge is split, in order: at its ends, where it is nearest, and where it crosses a level.

    Returns the number of these points.
    """
    seen, place, levels = scratch[0], scratch[1], shape.levels
    t = 0.5
    for _ in range(
        12
    ):  # the edge is nearly straight, so that the squared radius is nearly a parabola
        _place(curve, t, shape, seen, place)
        step = (place[0] * place[1]).sum() / (place[1] * place[1]).sum()
        moved = min(max(t - step, 0.0), 1.0)
        if abs(moved - t) < 1e-15:
            break
        t = moved
    _place(curve, t, shape, seen, place)
    least, speed = (place[0] ** 2).sum(), (place[1] ** 2).sum()
    rise = (place[0] * place[1]).sum()  # not zero where it is nearest at an end
    n = 0
    for side in range(2):
        end, sign = float(side), 2.0 * side - 1.0
        low, high = min(t, end), max(t, end)
        _place(curve, end, shape, seen, place)
        most = (place[0] ** 2).sum()
        cuts[n] = low
        n += 1
        for k in range(len(levels)):
            level = levels[k] if side == 1 else levels[len(levels) - 1 - k]
            wanted = level * level
            if not least < wanted < most:
                continue
            first = max(sign * rise, 0.0)
            way = math.sqrt(first * first + speed * (wanted - least))
            at = t + sign * (wanted - least) / (first + way)
            for _ in range(8):
                at = min(max(at, low), high)
                _place(curve, at, shape, seen, place)
                slope, off = (place[0] * place[1]).sum(), (place[0] ** 2).sum() - wanted
                if abs(off) < 1e-15 * wanted or not slope * sign > 0.0:
                    break
                at -= 0.5 * off / slope
            cuts[n] = max(min(max(at, low), high), cuts[n - 1])
            n += 1
    cuts[n] = 1.0
    return n + 1


@compiled
def _moved(shape: Outline, seen: Array, out: Array) -> None:
    """Derivatives of a position in the scaled plane, and of its tangent.

    `out` (2, 6, 2) is filled, for the place and the tangent, with the value, first derivatives by
    longitude and latitude, and second ones (lon lon, lon lat, lat lat), which the tangent lacks.
    """
    b_s, b_c = shape.sin_lat, shape.cos_lat
    jets = np.zeros((2, 6, 3))
    for k in range(2):
        e, n, p = seen[k, 0], seen[k, 1], seen[k, 2]
        jets[k, 0, 0], jets[k, 0, 1], jets[k, 0, 2] = e, n, p
        jets[k, 1, 0], jets[k, 1, 1], jets[k, 1, 2] = b_s * n - b_c * p, -b_s * e, b_c * e
        jets[k, 2, 1], jets[k, 2, 2] = -p, n
        jets[k, 3, 0], jets[k, 3, 1] = -e, b_s * b_c * p - b_s * b_s * n
        jets[k, 3, 2] = b_s * b_c * n - b_c * b_c * p
        jets[k, 4, 1], jets[k, 4, 2] = -b_c * e, -b_s * e
        jets[k, 5, 1], jets[k, 5, 2] = -n, -p
    q = 1 + jets[0, 0, 2]
    g0 = math.sqrt(2 / q)
    g1, g2 = -0.5 * g0 / q, 0.75 * g0 / (q * q)
    x, up = np.zeros((2, 6, 2)), jets[0, :, 2]
    for i in range(2):
        own, run = jets[0, :, i], jets[1, :, i]
        x[0, 0, i] = own[0] * g0
        x[1, 0, i] = run[0] * g0 + own[0] * g1 * jets[1, 0, 2]
        for a in range(1, 3):
            x[0, a, i] = own[a] * g0 + own[0] * g1 * up[a]
            x[1, a, i] = (
                run[a] * g0 + own[a] * g1 * jets[1, 0, 2] + run[0] * g1 * up[a]
                + own[0] * (g2 * up[a] * jets[1, 0, 2] + g1 * jets[1, a, 2])
            )  # fmt: skip
        for pair in range(3):
            a, b = 1 + pair // 2, 1 + (pair + 1) // 2
            x[0, 3 + pair, i] = (
                own[3 + pair] * g0 + (own[a] * up[b] + own[b] * up[a]) * g1
                + own[0] * (g2 * up[a] * up[b] + g1 * up[3 + pair])
            )  # fmt: skip
    for k in range(2):
        for a in range(6):
            _onto(shape, x[k, a, 0], x[k, a, 1], out[k, a])


@compiled
def _by_axes(shape: Outline, what: int, w: Array, out: Array) -> None:
    """Derivative of a vector in the scaled plane by an angle or axis of the shape."""
    ratio = math.sqrt(1 - shape.e * shape.e)
    if what == 2:
        out[0], out[1] = ratio * w[1], -w[0] / ratio
    elif what == 3:
        out[0], out[1] = -shape.slope / shape.size * w[0], -shape.slope / shape.size * w[1]
    else:
        out[0], out[1] = 0.0, shape.e / (ratio * ratio) * w[1]


@compiled
def _by_two_axes(shape: Outline, first: int, second: int, w: Array, out: Array) -> None:
    """Second derivative with respect to two of these parameters, the first index being the larger one."""
    q = 1 - shape.e * shape.e
    by_size = shape.slope / shape.size
    if first == second == 2:
        out[0], out[1] = -w[0], -w[1]
    elif first == second == 3:
        factor = 2 * by_size * by_size - shape.bend / shape.size
        out[0], out[1] = factor * w[0], factor * w[1]
    elif first == second:
        out[0], out[1] = 0.0, w[1] * (1 / q + 3 * shape.e * shape.e / (q * q))
    elif first == 4 and second == 2:
        out[0], out[1] = 0.0, -w[0] * shape.e / (q * math.sqrt(q))
    else:  # with the size
        _by_axes(shape, second if first == 3 else first, w, out)
        out[0] *= -by_size
        out[1] *= -by_size


@compiled
def _jets(shape: Outline, seen: Array, scratch: Any) -> None:
    """Fill derivatives of position and tangent by the free parameters: first (2, P, 2), second (P, P, 2)."""
    moved, first, second = scratch[2], scratch[3], scratch[4]
    _moved(shape, seen, moved)
    for s in range(len(shape.free)):
        a = shape.free[s]
        for k in range(2):
            if a < 2:
                first[k, s] = moved[k, 1 + a]
            else:
                _by_axes(shape, a, moved[k, 0], first[k, s])
        for u in range(s + 1):
            b = shape.free[u]
            if a < 2 and b < 2:
                second[s, u] = moved[0, 3 + a + b]
            elif a >= 2 and b >= 2:
                _by_two_axes(shape, max(a, b), min(a, b), moved[0, 0], second[s, u])
            else:
                _by_axes(shape, max(a, b), moved[0, 1 + min(a, b)], second[s, u])


@compiled
def _along_edge(curve: Array, shape: Outline, order: int, scratch: Any, out: Array) -> None:
    """Fill the contribution of an edge to the integral, and its first and second derivatives (row,)."""
    seen, place, _, first, second, profile, cuts = scratch
    n_p = len(shape.free) if order > 0 else 0
    out[:] = 0.0
    n = _cuts(curve, shape, scratch, cuts)
    beyond = shape.levels[-1]
    for part in range(n - 1):
        start, length = cuts[part], cuts[part + 1] - cuts[part]
        if not length > 0.0:
            continue
        _place(curve, start + 0.5 * length, shape, seen, place)
        if (place[0] ** 2).sum() >= beyond * beyond:
            _place(curve, start, shape, seen, place)
            x, y = place[0, 0], place[0, 1]
            _place(curve, start + length, shape, seen, place)
            angle = math.atan2(x * place[0, 1] - y * place[0, 0], x * place[0, 0] + y * place[0, 1])
            out[0] += shape.flux * angle / (2 * math.pi)
            continue
        for i in range(len(SHARES)):
            weight = length * WEIGHTS[i]
            _place(curve, start + length * SHARES[i], shape, seen, place)
            w, along = place[0], place[1]
            profile_at(shape.kind, shape.extra, math.sqrt(w[0] * w[0] + w[1] * w[1]), profile)
            out[0] += weight * profile[0] * (w[0] * along[1] - w[1] * along[0])
            if n_p == 0:
                continue
            _jets(shape, seen, scratch)
            density, row = weight * profile[1], 1 + n_p
            for s in range(n_p):
                by = first[0, s]
                out[1 + s] += density * (by[0] * along[1] - by[1] * along[0])
                for u in range(s + 1 if order > 1 else 0):
                    other = first[0, u]
                    out[row] += (
                        weight
                        * profile[2]
                        * (w[0] * other[0] + w[1] * other[1])
                        * (by[0] * along[1] - by[1] * along[0])
                    )
                    out[row] += density * (
                        second[s, u, 0] * along[1] - second[s, u, 1] * along[0]
                        + by[0] * first[1, u, 1] - by[1] * first[1, u, 0]
                    )  # fmt: skip
                    row += 1


@compiled
def along_edges(
    points: Array, near: NDArray[np.bool_], shape: Outline, order: int, out: Array
) -> None:
    """Integrals over pixels, with derivatives.

    Parameters
    ----------
    points : array of shape (2 lat + 1, 2 lon + 1, 3)
        Directions of the corners of pixels and of the middles of their edges.
    near : boolean array of shape (lat, lon)
        Pixels to compute.
    shape : `Outline`
    order : {0, 1, 2}
        Order of derivatives.
    out : array of shape (row, lat, lon)
        Filled with the value, first and second derivatives; zero where the shape does not reach. The
        sign is that of pixels with counter-clockwise corners.
    """
    n_p, (n_y, n_x) = len(shape.free), near.shape
    scratch = (
        np.empty((2, 3)), np.empty((2, 2)), np.empty((2, 6, 2)), np.empty((2, n_p, 2)),
        np.empty((n_p, n_p, 2)), np.empty(3), np.empty(2 * len(shape.levels) + 3),
    )  # fmt: skip
    found, curve = np.empty(len(out)), np.empty((3, 3))
    for y in range(n_y + 1):
        for x in range(n_x + 1):
            for way in range(2):
                n_after = (x < n_x) if way == 0 else (y < n_y)
                before = (y > 0) if way == 0 else (x > 0)
                inside = (y < n_y) if way == 0 else (x < n_x)
                if not n_after:
                    continue
                after = inside and near[y, x]
                before = before and (near[y - 1, x] if way == 0 else near[y, x - 1])
                if not (after or before):
                    continue
                dy, dx = way, 1 - way
                for i in range(3):
                    a, c = points[2 * y, 2 * x, i], points[2 * (y + dy), 2 * (x + dx), i]
                    b = points[2 * y + dy, 2 * x + dx, i]
                    curve[0, i], curve[1, i], curve[2, i] = (
                        a,
                        4 * b - 3 * a - c,
                        2 * (a - 2 * b + c),
                    )
                _along_edge(curve, shape, order, scratch, found)
                sign = 1.0 if way == 0 else -1.0
                for row in range(len(out)):
                    if after:
                        out[row, y, x] += sign * found[row]
                    if before and way == 0:
                        out[row, y - 1, x] -= sign * found[row]
                    elif before:
                        out[row, y, x - 1] -= sign * found[row]
