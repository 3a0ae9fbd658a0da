"""Outlines of spatial models as regions on the sky, which are drawn and saved by `regions`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import regions
from astropy import units as u
from astropy.coordinates import SkyCoord

if TYPE_CHECKING:
    from gmdask.models.spatial.base import SpatialModel

__all__ = ["annulus", "ellipse", "point", "rectangle"]


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


def rectangle(frame: str, center: tuple[float, float], size: tuple[float, float]) -> Any:
    """Rectangle of a centre and a size in deg."""
    width, height = u.Quantity(size, "deg")
    sky = SkyCoord(*center, unit="deg", frame=frame)
    return regions.RectangleSkyRegion(sky, width=width, height=height)
