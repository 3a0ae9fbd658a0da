"""Positions relative to the centre of a source, symmetric or elongated.

Everything is expressed by haversines of differences, which are accurate for narrow sources.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gmdask.models.spatial.base import SkyGrid

__all__ = ["DEG", "Ellipse", "Offsets", "positive"]

Array = NDArray[np.float64]

DEG = math.pi / 180
_SIZE_MIN = 1e-9 * DEG  # keeps a source of zero extension finite
_Q_MIN = 1e-12  # keeps an eccentricity of one finite
_TINY = np.finfo(float).tiny


def positive(size: float) -> float:
    """Convert a size from deg to rad, and keep it away from zero."""
    radius = size * DEG
    return radius if abs(radius) > _SIZE_MIN else _SIZE_MIN


@dataclass(frozen=True)
class Offsets:
    """Positions relative to the centre."""

    v: Array  # 1 - cos(distance)
    north: Array  # sin(distance) cos(bearing)
    east: Array  # sin(distance) sin(bearing)
    sin_dlon: Array
    cos_dlon: Array
    sin_lat_0: float
    cos_lat_0: float

    @classmethod
    def of(cls, grid: SkyGrid, lon_0: float, lat_0: float) -> Offsets:
        """Offsets of a grid from a centre in deg."""
        turns = np.round((grid.lon - lon_0) / 360.0)
        half_lon = 0.5 * DEG * ((grid.lon - 360.0 * turns) - lon_0)
        half_lat = 0.5 * DEG * (grid.lat - lat_0)
        sin_b, cos_b = math.sin(lat_0 * DEG), math.sin((90 - abs(lat_0)) * DEG)
        s_lon, s_lat = np.sin(half_lon), np.sin(half_lat)
        hav_lon = s_lon * s_lon
        sin_dlon = 2 * s_lon * np.sqrt(1 - hav_lon)
        hav_lat = s_lat * s_lat
        v = 2 * (hav_lat + (cos_b * grid.cos_lat) * hav_lon)
        cos_half_lat = np.sqrt(1 - hav_lat)
        north = 2 * (s_lat * cos_half_lat + (sin_b * grid.cos_lat) * hav_lon)
        east = grid.cos_lat * sin_dlon
        return cls(v, north, east, sin_dlon, 1 - 2 * hav_lon, sin_b, cos_b)

    @property
    def sin_distance(self) -> Array:
        """Sine of the distance."""
        return np.asarray(np.hypot(self.north, self.east))


@dataclass(frozen=True)
class Ellipse:
    """The radius of an ellipse in the direction of every position."""

    radius: float
    q: float
    along: Array  # sin(distance) times cosine of the angle to the major axis
    across: Array
    inverse_w: Array  # 1 / sin²(distance), 0 at the centre
    d: Array  # 1 - e² c²
    sigma_eff: Array
    a: Array

    @classmethod
    def of(cls, offsets: Offsets, sigma: float, e: float, phi: float) -> Ellipse:
        """Return the ellipse of a major axis (deg) in the directions of the offsets."""
        radius, q = positive(sigma), max(1 - e * e, _Q_MIN)
        sin_phi, cos_phi = math.sin(phi * DEG), math.cos(phi * DEG)
        along = offsets.north * cos_phi + offsets.east * sin_phi
        across = offsets.east * cos_phi - offsets.north * sin_phi
        along2, across2 = along * along, across * across
        w = along2 + across2
        centre = w < _TINY
        inverse_w = np.where(centre, 0.0, 1 / np.where(centre, 1.0, w))
        d = np.where(centre, 1.0, (across2 + q * along2) * inverse_w)
        sigma_eff = radius * np.sqrt(q / d)
        a = 2 * np.sin(0.5 * sigma_eff) ** 2
        return cls(radius, q, along, across, inverse_w, d, sigma_eff, a)

    @property
    def norm(self) -> float:
        """Normalisation N of the elongated Gaussian."""
        return 1 / (2 * math.pi * self.radius * self.radius * math.sqrt(self.q))
