"""The formulas of the spatial models once more, for the dense reference."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.coordinates import SkyCoord
from scipy.special import erfc

Array = np.ndarray


def value(model: Any, name: str, unit: str) -> float:
    return float(model.parameter(name).quantity.to_value(unit))


def gaussian(model: Any, at: SkyCoord) -> Array:
    """Density in sr-1."""
    sigma, e = value(model, "sigma", "rad"), value(model, "e", "")
    centre = position_of(model)
    twice = 4 * np.sin(0.5 * centre.separation(at).rad) ** 2  # 2 (1 - cos r)
    if e == 0:
        a = 2 * np.sin(0.5 * sigma) ** 2
        return np.exp(-twice / (4 * a)) / (4 * np.pi * a * (1 - np.exp(-1 / a)))
    minor = sigma * np.sqrt(1 - e**2)
    angle = value(model, "phi", "rad") - centre.position_angle(at.transform_to(model.frame)).rad
    width = sigma * minor / np.hypot(sigma * np.sin(angle), minor * np.cos(angle))
    return np.exp(-twice / (8 * np.sin(0.5 * width) ** 2)) / (2 * np.pi * sigma * minor)


def disk(model: Any, at: SkyCoord) -> Array:
    """Density in sr-1; the norm by the integral over the position angle."""
    major, e, edge = (
        value(model, "r_0", "rad"),
        value(model, "e", ""),
        value(model, "edge_width", ""),
    )
    minor = major * np.sqrt(1 - e**2)
    centre = position_of(model)
    angle = value(model, "phi", "rad") - centre.position_angle(at.transform_to(model.frame)).rad
    radius = major * minor / np.hypot(major * np.sin(angle), minor * np.cos(angle))
    x = 2.326174307353347 * (centre.separation(at).rad / radius - 1) / edge
    turn = (np.arange(4000) + 0.5) * 2 * np.pi / 4000
    t = 1 / (np.cos(turn) ** 2 / np.sin(major) ** 2 + np.sin(turn) ** 2 / np.sin(minor) ** 2)
    solid = np.mean(1 - np.sqrt(1 - t)) * 2 * np.pi
    return 0.5 * erfc(x) / solid


def shell(model: Any, at: SkyCoord) -> Array:
    """Density in sr-1."""
    inner = value(model, "radius", "rad")
    outer = inner + value(model, "width", "rad")
    r = position_of(model).separation(at).rad
    roots = [np.sqrt(np.clip(x**2 - r**2, 0, None)) for x in (outer, inner)]
    return 3 * (roots[0] - roots[1]) / (2 * np.pi * (outer**3 - inner**3))


def constant(model: Any, at: SkyCoord) -> Array:
    """Density in sr-1."""
    return np.full(at.shape, value(model, "value", "sr-1"))


def extent(model: Any) -> tuple[float | None, float | None]:
    """Evaluation radius and smallest bin in deg."""
    name = type(model).__name__
    if name == "PointSpatialModel":
        return 0.0, 0.0
    if name == "GaussianSpatialModel":
        sigma = value(model, "sigma", "deg")
        return 5 * sigma, sigma / 3.0
    if name == "DiskSpatialModel":
        r_0, edge = value(model, "r_0", "deg"), value(model, "edge_width", "")
        return 1.1 * r_0 * (1 + edge), r_0 * (1 - edge) / 10.0
    if name == "ShellSpatialModel":
        radius, width = value(model, "radius", "deg"), value(model, "width", "deg")
        return radius + width, width
    assert name == "ConstantSpatialModel"
    return None, None


DENSITIES = {
    "GaussianSpatialModel": gaussian, "DiskSpatialModel": disk, "ShellSpatialModel": shell,
    "ConstantSpatialModel": constant,
}  # fmt: skip


def position_of(model: Any) -> SkyCoord:
    return SkyCoord(
        value(model, "lon_0", "deg"), value(model, "lat_0", "deg"), unit="deg", frame=model.frame
    )
