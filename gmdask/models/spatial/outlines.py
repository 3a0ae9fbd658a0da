"""Outlines of spatial models as regions on the sky, which are drawn and saved by `regions`."""

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

_RADIUS_95 = np.sqrt(-2 * np.log(0.05))  # standard deviations that hold 95 % in two dimensions


def point(model: SpatialModel) -> Any:
    """Position of a model."""
    return regions.PointSkyRegion(model.position)


def ellipse(model: SpatialModel, size: u.Quantity) -> Any:
    """Ellipse with a major semiaxis, of a model with parameters ``e`` and ``phi``."""
    width = 2 * size * np.sqrt(1 - model.parameter("e").value ** 2)
    angle = model.parameter("phi").quantity
    return regions.EllipseSkyRegion(model.position, width=width, height=2 * size, angle=angle)


def annulus(model: SpatialModel, inner: u.Quantity, outer: u.Quantity) -> Any:
    """Annulus around the position of a model."""
    return regions.CircleAnnulusSkyRegion(model.position, inner, outer)


def position_error(model: SpatialModel) -> Any:
    """Ellipse that holds 95 % of the positions, None where one of the coordinates has no error."""
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
    """Ring between the ellipses of a size less and more by its error, None where that is not known."""
    low, high = (size_factor * (size.quantity + sign * size.error * size.unit) for sign in (-1, 1))
    if not 0 < low.value < high.value:
        return None
    inner, outer = ellipse(model, low), ellipse(model, high)
    return regions.EllipseAnnulusSkyRegion(
        model.position, inner_width=inner.width, outer_width=outer.width,
        inner_height=inner.height, outer_height=outer.height, angle=inner.angle,
    )  # fmt: skip


def rectangle(frame: str, center: tuple[float, float], size: tuple[float, float]) -> Any:
    """Rectangle of a centre and a size in deg."""
    width, height = u.Quantity(size, "deg")
    sky = SkyCoord(*center, unit="deg", frame=frame)
    return regions.RectangleSkyRegion(sky, width=width, height=height)
