"""The Gaussian on the sphere, symmetric or elongated.

With v = 1 - cos r (r the distance to the centre) the density is N exp(-v / 2a). The symmetric one
has a = 1 - cos σ, N = 1 / (4π a (1 - e^(-1/a))); the elongated one uses the effective radius
in the direction of the position, σ_eff = σ sqrt(q / (1 - e² c²)), with q = 1 - e² and c the
cosine of the angle to the major axis, a = 1 - cos σ_eff and N = 1 / (2π σ² sqrt(q)).
Everything is expressed by haversines of differences, which are accurate for narrow sources.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gmdask.models.parameter import Parameter
from gmdask.models.parameter_default import ParameterDefault
from gmdask.models.registry import register
from gmdask.models.spatial.base import ANGLE, ECCENTRICITY, LAT, LON, SkyGrid, SpatialModel
from gmdask.models.spatial.offsets import DEG, Ellipse, Offsets, positive

__all__ = ["GaussianSpatialModel"]

Array = NDArray[np.float64]


def _round_norm(a: float) -> tuple[float, float]:
    """N of the symmetric Gaussian and d ln N / da."""
    inverse = 1 / a
    tail = math.expm1(inverse) if inverse < 700 else math.inf
    norm = 1 / (4 * math.pi * a * -math.expm1(-inverse))
    return norm, -inverse + inverse * inverse / tail


def _density(norm: float, exponent: Array) -> Array:
    with np.errstate(under="ignore"):
        return np.asarray(norm * np.exp(-exponent))


def _round(grid: SkyGrid, offsets: Offsets, sigma: float) -> tuple[Array, Array]:
    """Density and its derivatives [5, ...] per radian, of the symmetric Gaussian."""
    radius = positive(sigma)
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


def _elongated(
    grid: SkyGrid, offsets: Offsets, sigma: float, e: float, phi: float
) -> tuple[Array, Array]:
    """Density and its derivatives [5, ...] per radian, of the elongated Gaussian."""
    shape = Ellipse.of(offsets, sigma, e, phi)
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
    """Gaussian of width sigma (along its major axis) and eccentricity e, at a position angle phi.

    Parameters
    ----------
    lon_0, lat_0 : Quantity
        Centre.
    sigma : Quantity
        Width along the major axis.
    e : float
        Eccentricity, 0 to 1.
    phi : Quantity
        Position angle of the major axis, from north to east (increasing longitude).
    frame : {"icrs", "galactic"}
        Frame of the centre.
    """

    tag = ("GaussianSpatialModel", "gauss")
    defaults = (
        LON,
        LAT,
        ParameterDefault("sigma", 1.0, "deg", min=0.0, least=0.0, even=True),
        ECCENTRICITY,
        ANGLE,
    )
    lon_0: Parameter
    lat_0: Parameter
    sigma: Parameter
    e: Parameter
    phi: Parameter

    def to_region(self, size_factor: float = 1.0) -> Any:
        """Return the outline at a number of standard deviations, an ellipse."""
        from gmdask.models.spatial.outlines import ellipse

        return ellipse(self, size_factor * self.sigma.quantity)

    def extension_error(self, size_factor: float = 1.0) -> Any:
        """Return the ring between the outlines at sigma minus and plus its error."""
        from gmdask.models.spatial.outlines import ellipse_error

        return ellipse_error(self, self.sigma, size_factor)

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
            Density in sr-1.
        """
        lon_0, lat_0, sigma, e, phi = values
        offsets = Offsets.of(grid, lon_0, lat_0)
        if e == 0:
            a = 2 * math.sin(0.5 * positive(sigma)) ** 2
            return _density(_round_norm(a)[0], offsets.v / (2 * a))
        shape = Ellipse.of(offsets, sigma, e, phi)
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
            Density in sr-1.
        ds : ndarray [5, ...]
            Derivatives in sr-1 deg-1 (for e: sr-1). At e = 0 those with respect to e and phi are zero, the
            limit of the elongated Gaussian.
        """
        lon_0, lat_0, sigma, e, phi = values
        offsets = Offsets.of(grid, lon_0, lat_0)
        if e == 0:
            s, ds = _round(grid, offsets, sigma)
        else:
            s, ds = _elongated(grid, offsets, sigma, e, phi)
        ds[[0, 1, 2, 4]] *= DEG
        return s, ds

    def step_scales(self, values: Array) -> Array:
        """Width for position and width; eccentricity stays below one."""
        _, lat_0, sigma, e, _ = values.tolist()
        q = max(1 - e * e, 1e-6)
        width = max(abs(sigma), 1e-6) * math.sqrt(q)
        cos_lat = max(math.cos(lat_0 * DEG), 1e-3)
        return np.array([width / cos_lat, width, width, 0.3 * q, 20 * math.sqrt(q)])

    def evaluation_radius(self, values: Array) -> float:
        """Five sigma, in deg."""
        return float(5 * values[2])

    def evaluation_bin_size_min(self, values: Array) -> float:
        """Return a third of sigma, in deg."""
        return float(values[2] / 3.0)
