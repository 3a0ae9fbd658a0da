"""Radial functions as cubic splines, and the matrices that compute them from PSF tables.

The radial coordinate is the chord between two directions, ``2 sin(θ / 2)`` for the separation
θ, in deg. The plane with this radius has the areas of the sphere, so that flux is conserved exactly,
and Gammapy's Gaussian ``exp(-(1 - cos θ) / (2 a))`` is a Gaussian in it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.linalg import solve_banded

__all__ = ["RadialGrid", "RadialTable", "chord", "radial_table"]

Array = NDArray[np.float64]

DEG = np.pi / 180
TAIL = 160.0  # number of cells with full resolution before they widen
WIDEST = 4.0  # largest ratio of the reach to the radius where cells widen; with more, the last cells span the sky
FADE = 4.0  # number of cells beyond its last node over which a table falls to zero


def chord(angle: Array | float) -> Array:
    """Chord in deg of an angle in deg."""
    return np.asarray(2 * np.sin(np.asarray(angle) * DEG / 2) / DEG)


class RadialGrid(NamedTuple):
    """Knots of a spline that is even in ``q = r / (step sqrt(1 + (r / scale)²))``, so that cells widen outwards.

    Attributes
    ----------
    step : float
        Distance of the innermost knots, in deg.
    scale : float
        Radius in deg beyond which knots are further apart.
    n : int
        Number of knots with values, from 0 on.
    """

    step: float
    scale: float
    n: int

    @classmethod
    def reaching(cls, step: float, inner: float, reach: float) -> RadialGrid:
        """Return knots up to a radius, with full resolution within an inner radius; all in deg."""
        scale = max(float(np.hypot(inner, TAIL * step)), reach / WIDEST)
        last = reach / (step * np.sqrt(1 + (reach / scale) ** 2))
        return cls(step, scale, int(np.ceil(last)) + 1)

    @property
    def radii(self) -> Array:
        """Radii (n,) of the knots in deg."""
        q = np.arange(self.n) * (self.step / self.scale)
        radii: Array = self.scale * q / np.sqrt(np.maximum(1 - q * q, 1e-6))
        return radii

    @property
    def end(self) -> float:
        """Radius in deg beyond which a spline is zero."""
        share = min((self.n + 1) * self.step / self.scale, 0.999999)
        return float(self.scale * share / np.sqrt(1 - share * share))

    def at_latitude(self, latitude: float) -> Array:
        """Return the arguments of the compiled loops: knots in rad, sine and cosine of a latitude in deg."""
        lat = latitude * DEG
        knots = [
            self.step * DEG,
            self.scale * DEG,
            self.n,
            np.sin(lat),
            np.cos(lat),
            self.end * DEG,
        ]
        return np.array(knots)

    def coefficients(self, values: Array) -> Array:
        """Coefficients (..., n + 4) of the cubic B-spline through values (..., n) at the knots.

        The spline is even at 0 and zero from knot n + 1 on; coefficient k belongs to knot k - 1.
        """
        n = self.n
        bands = np.zeros((3, n))
        bands[0, 1:], bands[1], bands[2, :-1] = 1 / 6, 4 / 6, 1 / 6
        bands[0, 1] = 2 / 6
        flat = values.reshape(-1, n).T
        inner = solve_banded((1, 1), bands, flat, check_finite=False).T.reshape(values.shape)
        out = np.zeros((*values.shape[:-1], n + 4))
        out[..., 1 : n + 1], out[..., 0] = inner, inner[..., 1]
        return out


class RadialTable(NamedTuple):
    """The offset axis of a PSF, as nodes of a spline.

    Attributes
    ----------
    nodes : array of shape (rad,)
        Chords in deg of the offsets of the table.
    end : float
        Chord in deg beyond which the PSF is zero.
    """

    nodes: tuple[float, ...]
    end: float

    def basis(self, r: Array) -> Array:
        """Matrix (r, rad) from values of the table to values at radii in deg.

        A cubic spline through the nodes, which is even at 0 and falls smoothly to zero beyond the last
        node.
        """
        nodes = np.array(self.nodes)
        values = np.eye(len(nodes))
        mirrored = slice(None, None, -1) if nodes[0] > 0 else slice(None, 0, -1)
        knots = np.concatenate([[-self.end], -nodes[mirrored], nodes, [self.end]])
        zero = np.zeros((1, len(nodes)))
        spline = CubicSpline(
            knots, np.concatenate([zero, values[mirrored], values, zero]), bc_type="clamped"
        )
        out: Array = spline(np.minimum(r, self.end))
        out[np.asarray(r) >= self.end] = 0.0
        return out


@lru_cache(maxsize=16)
def radial_table(offsets: tuple[float, ...]) -> RadialTable:
    """Nodes of a table at offsets in deg."""
    nodes = chord(np.array(offsets))
    last = float(nodes[-1] - nodes[-2]) if len(nodes) > 1 else float(nodes[-1])
    return RadialTable(tuple(nodes.tolist()), float(nodes[-1]) + FADE * last)
