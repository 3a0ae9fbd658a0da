"""Profiles of source shapes in the plane, compiled: flux within a radius, density and slope.

Each is a function of ``z``, the radius in units of the shape's size, and has the flux of the
shape's transform; see `transforms`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gmdask.compiling import compiled

__all__ = ["BALL", "DISK", "GAUSSIAN", "GENERAL", "levels_of", "profile_at"]

Array = NDArray[np.float64]

GAUSSIAN, GENERAL, DISK, BALL = range(4)
TWO_PI = 2 * math.pi
LEAST_EDGE = 1e-6  # smallest width of the edge of a disk, relative to the radius
LEAST_Z = 1e-150

_GAUSSIAN = (0.7, 1.4, 2.1, 2.8, 3.5, 4.2, 5.0, 6.0, 7.0, 8.6)
_GENERAL = (0.001, 0.02, 0.1, 0.3, 0.7, 1.3, 2.0, 3.0, 4.5, 6.5, 9.0, 13.0, 18.0, 25.0, 37.0)
_EDGE = (-5.9, -3.5, -2.0, -1.0, 0.0, 1.0, 2.0, 3.5, 5.9)
_BALL = (0.5, 0.85, 0.96, 0.99, 0.9975, 0.9995, 1.0)


def levels_of(kind: int, extra: float) -> Array:
    """Radii between which a profile is smooth; it is zero beyond the last.

    Parameters
    ----------
    kind : int
    extra : float
        ``eta`` of a generalised Gaussian; width of a disk's edge, ``sqrt(2)`` standard deviations.
    """
    if kind == GAUSSIAN:
        return np.array(_GAUSSIAN)
    if kind == GENERAL:
        return np.array(_GENERAL) ** extra
    if kind == BALL:
        return np.array(_BALL)
    edge = 1 + max(extra, LEAST_EDGE) * np.array(_EDGE)
    return edge[edge > 0]


@compiled
def _within(a: float, u: float) -> Any:
    """``u^-a`` times the regularised lower incomplete gamma function P(a, u)."""
    if u < a + 12.0:
        term = 1 / math.gamma(a + 1)
        total, n = term, a
        while term > 1e-17 * total:
            n += 1.0
            term *= u / n
            total += term
        return total * math.exp(-u)
    tiny = 1e-300  # Lentz' continued fraction of the complement
    b = u + 1 - a
    c, d = 1 / tiny, 1 / b
    h = d
    for i in range(1, 200):
        an = -i * (i - a)
        b += 2.0
        d = an * d + b
        d = 1 / (d if abs(d) > tiny else tiny)
        c = b + an / c
        c = c if abs(c) > tiny else tiny
        h *= d * c
        if abs(d * c - 1) < 1e-16:
            break
    return (1 - math.exp(-u + a * math.log(u)) * h / math.gamma(a)) * u**-a


@compiled
def profile_at(kind: int, extra: float, z: float, out: Array) -> Any:
    """Fill ``F / z²``, the density s and ``s' / z``, with F the flux within z per radian."""
    z = max(z, LEAST_Z)
    if kind == 0:
        square = z * z / 2
        out[1] = math.exp(-square) / TWO_PI
        out[0] = -math.expm1(-square) / (2 * square * TWO_PI) if square > 1e-16 else 0.5 / TWO_PI
        out[2] = -out[1]
    elif kind == 1:
        u = math.exp(min(math.log(z) / extra, 7.0))
        out[0] = _within(2 * extra, u) / TWO_PI
        out[1] = math.exp(-u) / (TWO_PI * extra * math.gamma(2 * extra))
        out[2] = -out[1] * u / (extra * z * z)
    elif kind == 2:
        edge = max(extra, 1e-6)
        u, u0 = (z - 1) / edge, -1 / edge
        out[1] = math.erfc(u) / TWO_PI
        out[2] = -2 * math.exp(-u * u) / (math.sqrt(math.pi) * edge * z * TWO_PI)
        if u < -5.9:
            out[0] = 1 / TWO_PI
        elif z < 1e-3:
            out[0] = 0.5 * out[1] - out[2] * z * z / 6
        else:
            out[0] = edge * (_edge_sum(u, edge) - _edge_sum(max(u0, -6.0), edge)) / TWO_PI
            if u0 < -6.0:
                out[0] += (1 - 6 * edge) ** 2 / TWO_PI
            out[0] /= z * z
    else:
        root = math.sqrt(max(1 - z * z, 0.0))
        out[0] = (1 + root + root * root) / (1 + root) / TWO_PI
        out[1] = 3 * root / TWO_PI
        out[2] = -3 / (TWO_PI * root) if root > 0.0 else 0.0


@compiled
def _edge_sum(u: float, edge: float) -> float:
    """Integral of ``erfc(u) (1 + edge u)``."""
    bell = math.exp(-u * u) / math.sqrt(math.pi)
    first = u * math.erfc(u) - bell
    second = 0.5 * u * u * math.erfc(u) - 0.5 * u * bell + 0.25 * math.erf(u)
    return first + edge * second
