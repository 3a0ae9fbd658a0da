"""Outlines of spatial models as regions on the sky, for drawing and saving with `regions`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import regions
from astropy import units as u
from astropy.coordinates import SkyCoord

if TYPE_CHECKING:
    from gmdask.models.parameter import Parameter
    from gmdask.models.spatial.base import SpatialModel

__all__ = ["annulus", "ellipse", "ellipse_error", "point", "position_error", "rectangle"]

_RADIUS_95 = np.sqrt(-2 * np.log(0.05))  # standard deviations that contain 95 % in two dimensions


def point(model: SpatialModel) -> Any:
    """Return the position of a model as a region."""
    return regions.PointSkyRegion(model.position)


def ellipse(model: SpatialModel, size: u.Quantity) -> Any:
    """Return the ellipse with a given major semi-axis, of a model with parameters ``e`` and ``phi``."""
    width = 2 * size * np.sqrt(1 - model.parameter("e").value ** 2)
    angle = model.parameter("phi").quantity
    return regions.EllipseSkyRegion(model.position, width=width, height=2 * size, angle=angle)


def annulus(model: SpatialModel, inner: u.Quantity, outer: u.Quantity) -> Any:
    """Return an annulus around the position of a model."""
    return regions.CircleAnnulusSkyRegion(model.position, inner, outer)


def position_error(model: SpatialModel) -> Any:
    """Return the 95 % error ellipse of the position, None if a coordinate has no error."""
    lon, lat = model.parameter("lon_0"), model.parameter("lat_0")
    factors = np.array([lon.unit.to("deg"), lat.unit.to("deg")])
    factors[0] *= np.cos(lat.quantity.to_value("rad"))
    matrix = model.covariance.matrix_of([lon, lat]) * np.outer(factors, factors)
    variances, axes = np.linalg.eigh(matrix)  # of east and north, the smaller first
    if not variances[0] > 0:
        return None
    width, height = u.Quantity(2 * _RADIUS_95 * np.sqrt(variances), "deg")
    east, north = axes[:, 0]
    angle = u.Quantity(np.arctan2(north, -east), "rad").to("deg")  # counted from the west
    return regions.EllipseSkyRegion(model.position, width=width, height=height, angle=angle)


def ellipse_error(model: SpatialModel, size: Parameter, size_factor: float) -> Any:
    """Return the ring between the ellipses of a size minus and plus its error, None without an error."""
    low, high = (size_factor * (size.quantity + sign * size.error * size.unit) for sign in (-1, 1))
    if not 0 < low.value < high.value:
        return None
    inner, outer = ellipse(model, low), ellipse(model, high)
    return regions.EllipseAnnulusSkyRegion(
        model.position, inner_width=inner.width, outer_width=outer.width,
        inner_height=inner.height, outer_height=outer.height, angle=inner.angle,
    )  # fmt: skip


def rectangle(frame: str, center: tuple[float, float], size: tuple[float, float]) -> Any:
    """Return the rectangle of a centre and a size in deg."""
    width, height = u.Quantity(size, "deg")
    sky = SkyCoord(*center, unit="deg", frame=frame)
    return regions.RectangleSkyRegion(sky, width=width, height=height)
