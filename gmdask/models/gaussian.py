"""The Gaussian on the sphere, round or elongated.

With v = 1 - cos r (r the distance to the centre) the density is N exp(-v / 2a). A round one
has a = 1 - cos σ, N = 1 / (4π a (1 - e^(-1/a))); an elongated one takes the effective radius
in the direction of the position, σ_eff = σ sqrt(q / (1 - e² c²)), with q = 1 - e² and c the
cosine of the angle to the major axis, a = 1 - cos σ_eff and N = 1 / (2π σ² sqrt(q)).
Everything is written with haversines of differences, accurate for narrow shapes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gmdask.models.parameter import Parameter, ParameterDefault
from gmdask.models.registry import register
from gmdask.models.spatial import _LAT, _LON, SkyGrid, SpatialModel

__all__ = ["GaussianSpatialModel"]

Array = NDArray[np.float64]

_DEG = math.pi / 180
_SIGMA_MIN = 1e-9 * _DEG  # keeps a shape of no extension finite
_Q_MIN = 1e-12  # keeps an eccentricity of one finite
_TINY = np.finfo(float).tiny


@dataclass(frozen=True)
class _Offsets:
    """Where the positions are as seen from the centre."""

    v: Array  # 1 - cos(distance)
    north: Array  # sin(distance) cos(bearing)
    east: Array  # sin(distance) sin(bearing)
    sin_dlon: Array
    cos_dlon: Array
    sin_lat_0: float
    cos_lat_0: float

    @classmethod
    def of(cls, grid: SkyGrid, lon_0: float, lat_0: float) -> _Offsets:
        """Offsets of a grid from a centre in deg."""
        turns = np.round((grid.lon - lon_0) / 360.0)
        half_lon = 0.5 * _DEG * ((grid.lon - 360.0 * turns) - lon_0)
        half_lat = 0.5 * _DEG * (grid.lat - lat_0)
        sin_b, cos_b = math.sin(lat_0 * _DEG), math.sin((90 - abs(lat_0)) * _DEG)
        s_lon, s_lat = np.sin(half_lon), np.sin(half_lat)
        hav_lon = s_lon * s_lon
        sin_dlon = 2 * s_lon * np.sqrt(1 - hav_lon)
        hav_lat = s_lat * s_lat
        v = 2 * (hav_lat + (cos_b * grid.cos_lat) * hav_lon)
        cos_half_lat = np.sqrt(1 - hav_lat)
        north = 2 * (s_lat * cos_half_lat + (sin_b * grid.cos_lat) * hav_lon)
        east = grid.cos_lat * sin_dlon
        return cls(v, north, east, sin_dlon, 1 - 2 * hav_lon, sin_b, cos_b)


def _round_norm(a: float) -> tuple[float, float]:
    """N of the round shape and d ln N / da."""
    inverse = 1 / a
    tail = math.expm1(inverse) if inverse < 700 else math.inf
    norm = 1 / (4 * math.pi * a * -math.expm1(-inverse))
    return norm, -inverse + inverse * inverse / tail


def _positive(sigma: float) -> float:
    radius = sigma * _DEG
    return radius if abs(radius) > _SIGMA_MIN else _SIGMA_MIN


def _density(norm: float, exponent: Array) -> Array:
    with np.errstate(under="ignore"):
        return np.asarray(norm * np.exp(-exponent))


def _round(grid: SkyGrid, offsets: _Offsets, sigma: float) -> tuple[Array, Array]:
    """Density and its derivatives [5, ...] per radian, of the round shape."""
    radius = _positive(sigma)
    a = 2 * math.sin(0.5 * radius) ** 2
    norm, dlog_norm = _round_norm(a)
    exponent = offsets.v / (2 * a)
    s = _density(norm, exponent)
    ds = np.zeros((5, *s.shape))
    with np.errstate(under="ignore"):
        pull = s / (2 * a)
        ds[0] = pull * offsets.cos_lat_0 * grid.cos_lat * offsets.sin_dlon
        ds[1] = pull * offsets.north
        ds[2] = s * ((dlog_norm + exponent / a) * math.sin(radius))
    return s, ds


@dataclass(frozen=True)
class _Ellipse:
    """The elongated shape in the direction of every position."""

    radius: float
    q: float
    along: Array  # sin(distance) times cosine of the angle to the major axis
    across: Array
    inverse_w: Array  # 1 / sin²(distance), 0 at the centre
    d: Array  # 1 - e² c²
    sigma_eff: Array
    a: Array

    @classmethod
    def of(cls, offsets: _Offsets, sigma: float, e: float, phi: float) -> _Ellipse:
        """Shape of a Gaussian (deg) as seen at the offsets."""
        radius, q = _positive(sigma), max(1 - e * e, _Q_MIN)
        sin_phi, cos_phi = math.sin(phi * _DEG), math.cos(phi * _DEG)
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
        """N of the elongated shape."""
        return 1 / (2 * math.pi * self.radius * self.radius * math.sqrt(self.q))


def _elongated(
    grid: SkyGrid, offsets: _Offsets, sigma: float, e: float, phi: float
) -> tuple[Array, Array]:
    """Density and its derivatives [5, ...] per radian, of the elongated shape."""
    shape = _Ellipse.of(offsets, sigma, e, phi)
    exponent = offsets.v / (2 * shape.a)
    s = _density(shape.norm, exponent)
    ds = np.empty((5, *s.shape))
    with np.errstate(under="ignore"):
        # d ln s = d ln N - dv / 2a + stretch * d ln sigma_eff
        stretch = exponent * shape.sigma_eff * np.sin(shape.sigma_eff) / shape.a
        # d ln sigma_eff = turn * (dphi - dbearing); bearing changes by (N dE - E dN) / w
        turn = (e * e) * shape.along * shape.across * shape.inverse_w / shape.d
        swing = stretch * turn * shape.inverse_w
        pull = s / (2 * shape.a)
        lon_slope = grid.cos_lat * offsets.sin_dlon
        bearing = lon_slope * (offsets.sin_lat_0 * offsets.east)
        bearing -= offsets.north * grid.cos_lat * offsets.cos_dlon
        ds[0] = pull * offsets.cos_lat_0 * lon_slope - s * swing * bearing
        ds[1] = pull * offsets.north - s * swing * offsets.east * (1 - offsets.v)
        ds[2] = s * (stretch - 2) / shape.radius
        tilt = shape.across * shape.across * shape.inverse_w / shape.d
        ds[3] = s * (e / shape.q) * (1 - stretch * tilt)
        ds[4] = s * stretch * turn
    return s, ds


@register
class GaussianSpatialModel(SpatialModel):
    """Gaussian of width sigma (along its major axis), eccentricity e, at an angle phi.

    Parameters
    ----------
    lon_0, lat_0 : Quantity
        Centre.
    sigma : Quantity
        Width along the major axis.
    e : float
        Eccentricity, 0 to 1.
    phi : Quantity
        Angle of the major axis, from north to east (growing longitude).
    frame : {"icrs", "galactic"}
        Frame of the centre.
    """

    tag = ("GaussianSpatialModel", "gauss")
    defaults = (
        _LON,
        _LAT,
        ParameterDefault("sigma", 1.0, "deg", min=0.0),
        ParameterDefault("e", 0.0, min=0.0, max=1.0, frozen=True),
        ParameterDefault("phi", 0.0, "deg", min=-180.0, max=180.0, frozen=True, period=360.0),
    )
    lon_0: Parameter
    lat_0: Parameter
    sigma: Parameter
    e: Parameter
    phi: Parameter

    def evaluate(self, grid: SkyGrid, *values: float) -> Array:
        """Density.

        Parameters
        ----------
        grid : SkyGrid
            Positions in the frame of the model.
        *values : float
            lon_0, lat_0, sigma (deg), e, phi (deg).

        Returns
        -------
        ndarray [...]
            In sr-1.
        """
        lon_0, lat_0, sigma, e, phi = values
        offsets = _Offsets.of(grid, lon_0, lat_0)
        if e == 0:
            a = 2 * math.sin(0.5 * _positive(sigma)) ** 2
            return _density(_round_norm(a)[0], offsets.v / (2 * a))
        shape = _Ellipse.of(offsets, sigma, e, phi)
        return _density(shape.norm, offsets.v / (2 * shape.a))

    def gradient(self, grid: SkyGrid, *values: float) -> tuple[Array, Array]:
        """Density and its derivatives.

        Parameters
        ----------
        grid : SkyGrid
            Positions in the frame of the model.
        *values : float
            lon_0, lat_0, sigma (deg), e, phi (deg).

        Returns
        -------
        s : ndarray [...]
            In sr-1.
        ds : ndarray [5, ...]
            In sr-1 deg-1 (by e: sr-1). At e = 0 the derivatives by e and phi are zero, the
            limit of the elongated shape.
        """
        lon_0, lat_0, sigma, e, phi = values
        offsets = _Offsets.of(grid, lon_0, lat_0)
        if e == 0:
            s, ds = _round(grid, offsets, sigma)
        else:
            s, ds = _elongated(grid, offsets, sigma, e, phi)
        ds[[0, 1, 2, 4]] *= _DEG
        return s, ds

    def step_scales(self, values: Array) -> Array:
        """Width for position and width; eccentricity stays below one."""
        _, lat_0, sigma, e, _ = values.tolist()
        q = max(1 - e * e, 1e-6)
        width = max(abs(sigma), 1e-6) * math.sqrt(q)
        cos_lat = max(math.cos(lat_0 * _DEG), 1e-3)
        return np.array([width / cos_lat, width, width, 0.3 * q, 20 * math.sqrt(q)])

    def evaluation_radius(self, values: Array) -> float:
        """Five sigma, in deg."""
        return float(5 * values[2])

    def evaluation_bin_size_min(self, values: Array) -> float:
        """Return a third of sigma, in deg."""
        return float(values[2] / 3.0)
