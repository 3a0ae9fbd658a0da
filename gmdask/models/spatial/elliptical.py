"""Spatial models that depend only on z = r / r_eff: the generalised Gaussian and the disk.

r is the distance to the centre, r_eff = r_0 sqrt(q / (1 - e² c²)) the radius of an ellipse in
the direction of the position, with q = 1 - e² and c the cosine of the angle to the major axis.
The density is N g(z); each class has N, g and their derivatives.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gmdask.models.parameter import Parameter
from gmdask.models.parameter_default import ParameterDefault
from gmdask.models.registry import register
from gmdask.models.spatial.base import ANGLE, ECCENTRICITY, LAT, LON, SkyGrid, SpatialModel
from gmdask.models.spatial.offsets import DEG, Ellipse, Offsets, positive

__all__ = ["DiskSpatialModel", "GeneralizedGaussianSpatialModel"]

Array = NDArray[np.float64]

_EDGE_95 = 2.326174307353347  # twice the half width of erf between 5 % and 95 %
_POWER_MAX = 7.0  # logarithm: exp(-exp(7)) is zero


class _Radial:
    """z at every position, and the derivatives of its logarithm."""

    def __init__(
        self, grid: SkyGrid, lon_0: float, lat_0: float, r_0: float, e: float, phi: float
    ) -> None:
        self._grid, self._e = grid, e
        self.offsets = Offsets.of(grid, lon_0, lat_0)
        self.ellipse = Ellipse.of(self.offsets, r_0, e, phi)
        sin_r = self.offsets.sin_distance
        self.r = np.arctan2(sin_r, 1 - self.offsets.v)
        self.z = self.r / self.ellipse.sigma_eff

    def log_gradient(self) -> Array:
        """Return the derivatives [5, ...] of ln z by lon_0, lat_0, r_0, e, phi, per radian.

        At the centre, where the direction is undefined, the derivatives with respect to position are zero.
        """
        offsets, ellipse, grid = self.offsets, self.ellipse, self._grid
        sin_r = offsets.sin_distance
        centre = sin_r * self.r == 0
        scale = np.where(centre, 0.0, 1 / np.where(centre, 1.0, sin_r * self.r))
        # d ln r_eff = turn * (dphi - dbearing); bearing changes by (N dE - E dN) / sin² r
        turn = (self._e**2) * ellipse.along * ellipse.across * ellipse.inverse_w / ellipse.d
        swing = turn * ellipse.inverse_w
        bearing = offsets.east * (offsets.sin_lat_0 * offsets.east)
        bearing -= offsets.north * grid.cos_lat * offsets.cos_dlon
        out = np.empty((5, *self.z.shape))
        out[0] = -scale * offsets.cos_lat_0 * offsets.east + swing * bearing
        out[1] = -scale * offsets.north + swing * offsets.east * (1 - offsets.v)
        out[2] = -1 / ellipse.radius
        tilt = ellipse.across * ellipse.across * ellipse.inverse_w / ellipse.d
        out[3] = (self._e / ellipse.q) * tilt
        out[4] = -turn
        return out


def _profile_gradient(
    radial: _Radial, norm: float, log_norm: tuple[float, float], g: Array, zg: Array
) -> tuple[Array, Array]:
    """Density, and derivatives [5, ...] with respect to lon_0, lat_0, r_0, e, phi in the units of the class.

    `log_norm` are the derivatives of ln N with respect to r_0 (per radian) and e; `zg` is z dg/dz.
    """
    s = norm * g
    with np.errstate(under="ignore"):
        ds = radial.log_gradient() * (norm * zg)
        ds[2] += s * log_norm[0]
        ds[3] += s * log_norm[1]
        ds[[0, 1, 2, 4]] *= DEG
    return s, ds


class _Elliptical(SpatialModel):
    """Common base of both models."""

    lon_0: Parameter
    lat_0: Parameter
    r_0: Parameter
    e: Parameter
    phi: Parameter

    def to_region(self, size_factor: float = 1.0) -> Any:
        """Return the outline at a multiple of r_0, an ellipse."""
        from gmdask.models.spatial.outlines import ellipse

        return ellipse(self, size_factor * self.r_0.quantity)

    def extension_error(self, size_factor: float = 1.0) -> Any:
        """Return the ring between the outlines at r_0 minus and plus its error."""
        from gmdask.models.spatial.outlines import ellipse_error

        return ellipse_error(self, self.r_0, size_factor)

    def _scales(self, values: Array, width: float) -> dict[str, float]:
        named: dict[str, Any] = dict(zip(self.parameter_names, values.tolist(), strict=True))
        q = max(1 - named["e"] ** 2, 1e-6)
        width = max(abs(named["r_0"]), 1e-6) * math.sqrt(q) * width
        cos_lat = max(math.cos(named["lat_0"] * DEG), 1e-3)
        return {"lon_0": width / cos_lat, "lat_0": width, "r_0": width, "e": 0.3 * q, "phi": 20.0}


@register
class GeneralizedGaussianSpatialModel(_Elliptical):
    """exp(-z^(1/eta)): a disk for eta → 0, a Gaussian at 0.5, a Laplace profile at 1.

    Parameters
    ----------
    lon_0, lat_0 : Quantity
        Centre.
    r_0 : Quantity
        Major semi-axis at which the density is 1/e of its maximum.
    eta : float
        Shape of the profile.
    e : float
        Eccentricity, 0 to 1.
    phi : Quantity
        Position angle of the major axis, from north to east (increasing longitude).
    frame : {"icrs", "galactic"}
        Frame of the centre.

    Notes
    -----
    The gradient is analytic; second derivatives are finite differences of it.
    """

    tag = ("GeneralizedGaussianSpatialModel", "gauss-general")
    defaults = (
        LON,
        LAT,
        ParameterDefault("r_0", 1.0, "deg", least=0.0, even=True),
        ParameterDefault("eta", 0.5, min=0.01, max=1.0, least=0.0),
        ECCENTRICITY,
        ANGLE,
    )
    eta: Parameter

    @staticmethod
    def _norm(ellipse: Ellipse, eta: float) -> float:
        area = 2 * math.pi * ellipse.radius**2 * math.sqrt(ellipse.q)
        return 1 / (area * eta * math.gamma(2 * eta))

    @staticmethod
    def _power(z: Array, eta: float) -> tuple[Array, Array]:
        """Return the logarithm of z, and z^(1/eta)."""
        with np.errstate(divide="ignore"):
            log_z = np.log(z)
        return log_z, np.exp(np.minimum(log_z / eta, _POWER_MAX))

    def evaluate(self, grid: SkyGrid, *values: float) -> Array:
        """Density in sr-1 at lon_0, lat_0, r_0 (deg), eta, e, phi (deg)."""
        lon_0, lat_0, r_0, eta, e, phi = values
        radial = _Radial(grid, lon_0, lat_0, r_0, e, phi)
        with np.errstate(under="ignore"):
            g = np.exp(-self._power(radial.z, eta)[1])
        return np.asarray(self._norm(radial.ellipse, eta) * g)

    def gradient(self, grid: SkyGrid, *values: float) -> tuple[Array, Array]:
        """Density and its derivatives [6, ...], analytic."""
        from scipy import special

        lon_0, lat_0, r_0, eta, e, phi = values
        radial = _Radial(grid, lon_0, lat_0, r_0, e, phi)
        norm = self._norm(radial.ellipse, eta)
        log_z, power = self._power(radial.z, eta)
        with np.errstate(under="ignore"):
            g = np.exp(-power)
            falling = g * power
            log_norm = -2 / radial.ellipse.radius, e / radial.ellipse.q
            s, ds = _profile_gradient(radial, norm, log_norm, g, -falling / eta)
            by_eta = -s * (1 / eta + 2 * float(special.digamma(2 * eta)))
            by_eta += norm * falling * np.where(falling > 0, log_z, 0.0) / eta**2
        return s, np.concatenate([ds[:3], by_eta[None], ds[3:]])

    def step_scales(self, values: Array) -> Array:
        """Width of the steepest part of the profile; eta and e stay within their limits."""
        eta = float(values[3])
        scales = self._scales(values, min(1.0, 2 * eta))
        scales["eta"] = 0.3 * eta
        return np.array([scales[name] for name in self.parameter_names])

    def evaluation_radius(self, values: Array) -> float:
        """r_0 (1 + 8 eta), in deg."""
        return float(values[2] * (1 + 8 * values[3]))

    def evaluation_bin_size_min(self, values: Array) -> float:
        """r_0 / (3 + 8 eta) / (1 + e), in deg."""
        return float(values[2] / (3 + 8 * values[3]) / (values[4] + 1))


@cache
def _quarter() -> tuple[Array, Array]:
    """Nodes and weights of the integral over a quarter of an ellipse."""
    nodes, weights = np.polynomial.legendre.leggauss(200)
    return 0.25 * math.pi * (nodes + 1), 0.25 * math.pi * weights


def _cone(radius: float, e: float, q: float) -> tuple[float, float, float]:
    """Solid angle of an elliptical cone, and its derivatives with respect to radius (rad) and e.

    With t = sin²a cos²τ + sin²b sin²τ it is sin a sin b ∫ dτ / (1 + sqrt(1 - t)), τ from 0 to 2π.
    """
    a, b = radius, radius * math.sqrt(q)
    tau, weights = _quarter()
    sin_a, sin_b = math.sin(a), math.sin(b)
    cos2, sin2 = np.cos(tau) ** 2, np.sin(tau) ** 2
    root = np.sqrt((math.cos(a) ** 2) * cos2 + (math.cos(b) ** 2) * sin2)
    integral = 4 * float((weights / (1 + root)).sum())
    omega = sin_a * sin_b * integral
    weight = 4 * weights / (2 * root * (1 + root) ** 2)
    by_a = math.cos(a) * sin_b * integral + sin_a * sin_b * math.sin(2 * a) * float(
        (weight * cos2).sum()
    )
    by_b = math.cos(b) * sin_a * integral + sin_a * sin_b * math.sin(2 * b) * float(
        (weight * sin2).sum()
    )
    return omega, by_a + by_b * math.sqrt(q), -by_b * radius * e / math.sqrt(q)


@register
class DiskSpatialModel(_Elliptical):
    """A flat disk or ellipse whose edge falls off like an error function.

    Parameters
    ----------
    lon_0, lat_0 : Quantity
        Centre.
    r_0 : Quantity
        Major semi-axis.
    e : float
        Eccentricity, 0 to 1.
    phi : Quantity
        Position angle of the major axis, from north to east (increasing longitude).
    edge_width : float
        Width of the edge, from 95 % to 5 %, relative to the radius.
    frame : {"icrs", "galactic"}
        Frame of the centre.

    Notes
    -----
    The gradient is analytic; second derivatives are finite differences of it.
    """

    tag = ("DiskSpatialModel", "disk")
    defaults = (
        LON,
        LAT,
        ParameterDefault("r_0", 1.0, "deg", min=0.0, least=0.0, even=True),
        ECCENTRICITY,
        ANGLE,
        ParameterDefault("edge_width", 0.01, min=0.0, max=1.0, frozen=True, least=0.0),
    )
    edge_width: Parameter

    @staticmethod
    def _edge(edge_width: float) -> float:
        return max(abs(edge_width), 1e-9)

    def evaluate(self, grid: SkyGrid, *values: float) -> Array:
        """Density in sr-1 at lon_0, lat_0, r_0 (deg), e, phi (deg), edge_width."""
        from scipy import special

        lon_0, lat_0, r_0, e, phi, edge_width = values
        radial = _Radial(grid, lon_0, lat_0, r_0, e, phi)
        x = _EDGE_95 * (radial.z - 1) / self._edge(edge_width)
        omega, _, _ = _cone(positive(r_0), e, radial.ellipse.q)
        return np.asarray((0.5 / omega) * special.erfc(x))

    def gradient(self, grid: SkyGrid, *values: float) -> tuple[Array, Array]:
        """Density and its derivatives [6, ...], analytic."""
        from scipy import special

        lon_0, lat_0, r_0, e, phi, edge_width = values
        radial = _Radial(grid, lon_0, lat_0, r_0, e, phi)
        edge = self._edge(edge_width)
        x = _EDGE_95 * (radial.z - 1) / edge
        omega, by_radius, by_e = _cone(positive(r_0), e, radial.ellipse.q)
        with np.errstate(under="ignore", over="ignore"):
            slope = -np.exp(-x * x) / math.sqrt(math.pi)  # dg/dx
            zg = slope * (_EDGE_95 / edge) * radial.z
            log_norm = -by_radius / omega, -by_e / omega
            s, ds = _profile_gradient(radial, 1 / omega, log_norm, 0.5 * special.erfc(x), zg)
            by_edge = slope * np.where(slope == 0, 0.0, x) * (-1 / (edge * omega))
        return s, np.concatenate([ds, by_edge[None]])

    def step_scales(self, values: Array) -> Array:
        """Width of the edge; e stays below one."""
        edge = max(float(values[5]), 1e-3)
        scales = self._scales(values, 0.3 * edge)
        scales |= {"edge_width": 0.3 * edge, "phi": 20 * edge, "e": 0.3 * edge * scales["e"]}
        return np.array([scales[name] for name in self.parameter_names])

    def evaluation_radius(self, values: Array) -> float:
        """1.1 r_0 (1 + edge_width), in deg."""
        return float(1.1 * values[2] * (1 + values[5]))

    def evaluation_bin_size_min(self, values: Array) -> float:
        """r_0 (1 - edge_width) / 10, in deg."""
        return float(values[2] * (1 - values[5]) / 10.0)
