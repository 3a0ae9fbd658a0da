"""True directions of photons, drawn from spatial models independently of the pixels of a dataset."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gmdask.errors import InputError, ModelError
from gmdask.geometry import WcsGrid, rotate, separation
from gmdask.models import (
    ConstantFluxSpatialModel,
    ConstantSpatialModel,
    DiskSpatialModel,
    GaussianSpatialModel,
    GeneralizedGaussianSpatialModel,
    PointSpatialModel,
    Shell2SpatialModel,
    ShellSpatialModel,
    SkyGrid,
    SpatialModel,
    TemplateNDSpatialModel,
    TemplateSpatialModel,
)
from gmdask.models.spatial.offsets import DEG, positive

__all__ = ["Directions", "Field", "Tabulated", "around", "directions_of"]

Array = NDArray[np.float64]
Draw = Callable[[int, np.random.Generator], tuple[Array, Array]]
EDGE_95 = 2.326174307353347  # twice the half width of erf between 5 % and 95 %
INSIDE = 0.5 - 1e-7  # pixels; distance from the centre of a pixel to just inside its edge


@dataclass(frozen=True)
class Field:
    """Region in which photons can be detected.

    Attributes
    ----------
    grid : WcsGrid
        Pixels of the dataset.
    lon, lat : float
        Pointing in deg, in the frame of the grid.
    margin : float
        Largest distance in deg by which photons are scattered.
    """

    grid: WcsGrid
    lon: float
    lat: float
    margin: float

    @cached_property
    def reach(self) -> float:
        """Distance from the pointing in deg beyond which no photon can reach the pixels."""
        farthest = separation(*self.grid.pixel_centers, self.lon, self.lat).max()
        return float(farthest) + 2 * self.grid.max_pixel_scale + self.margin


@dataclass(frozen=True)
class Directions:
    """Directions to draw from.

    Attributes
    ----------
    total : float
        Integral of the density, including draws that are rejected.
    frame : str
        Frame of the positions.
    draw : callable
        Takes a number and a generator, and returns positions (lon, lat) in deg. It returns fewer than requested
        if some are rejected, which makes the density exact.
    """

    total: float
    frame: str
    draw: Draw


class Tabulated:
    """A density that is linear between nodes.

    Parameters
    ----------
    x : array of shape (n,)
        Nodes in increasing order.
    density : array of shape (n,)
        Non-negative values.

    Attributes
    ----------
    total : float
        Its integral.

    Raises
    ------
    InputError
        If the density is negative or not finite.
    """

    def __init__(self, x: Array, density: Array) -> None:
        if not (np.isfinite(density).all() and density.min() >= 0):
            msg = "predicts counts that are negative or not finite"
            raise InputError(msg)
        self._x, self._density = x, density
        parts = 0.5 * (density[1:] + density[:-1]) * np.diff(x)
        self._sums = np.concatenate([[0.0], np.cumsum(parts)])
        self.total = float(self._sums[-1])

    def draw(self, n: int, random: np.random.Generator) -> Array:
        """Draw n values."""
        at = random.random(n) * self.total
        cell = np.clip(np.searchsorted(self._sums, at, side="right") - 1, 0, len(self._x) - 2)
        low, high = self._density[cell], self._density[cell + 1]
        width = self._x[cell + 1] - self._x[cell]
        rest = np.maximum((at - self._sums[cell]) / width, 0.0)
        root = low + np.sqrt(np.maximum(low * low + 2 * (high - low) * rest, 0.0))
        part = np.divide(2 * rest, root, out=np.zeros_like(rest), where=root > 0)
        return np.asarray(self._x[cell] + np.minimum(part, 1.0) * width)


def around(lon: Array | float, lat: Array | float, r: Array, bearing: Array) -> tuple[Array, Array]:
    """Return positions at a distance and a bearing from others.

    Parameters
    ----------
    lon, lat : array or float
        In deg.
    r, bearing : array
        Distance, and angle from north to increasing longitude, in rad.

    Returns
    -------
    lon, lat : array
        In deg.
    """
    sin_lat, cos_lat = np.sin(np.radians(lat)), np.cos(np.radians(lat))
    north, y = np.sin(r) * np.cos(bearing), np.sin(r) * np.sin(bearing)
    x = np.cos(r) * cos_lat - north * sin_lat
    z = np.cos(r) * sin_lat + north * cos_lat
    return (
        np.asarray(lon + np.degrees(np.arctan2(y, x))),
        np.asarray(np.degrees(np.arctan2(z, np.hypot(x, y)))),
    )


def directions_of(spatial: SpatialModel, field: Field, energy: float | None = None) -> Directions:
    """Return the directions of photons of a spatial model.

    Parameters
    ----------
    spatial : `SpatialModel`
    field : `Field`
        Directions too far away may be left out.
    energy : float, optional
        In TeV, for an energy-dependent model.

    Raises
    ------
    ModelError
        If photons cannot be drawn from models of this kind.
    """
    values = dict(zip(spatial.parameter_names, spatial.internal_values.tolist(), strict=True))
    if isinstance(spatial, TemplateSpatialModel | TemplateNDSpatialModel):
        return _of_map(spatial, field, energy)
    if isinstance(spatial, ConstantFluxSpatialModel):
        return _of_pixels(field)
    if isinstance(spatial, ConstantSpatialModel):
        v = 1 - math.cos(field.reach * DEG)

        def cap(n: int, random: np.random.Generator) -> tuple[Array, Array]:
            r = 2 * np.arcsin(np.sqrt(0.5 * v * random.random(n)))
            return around(field.lon, field.lat, r, 2 * np.pi * random.random(n))

        return Directions(2 * math.pi * v * values["value"], field.grid.frame, cap)
    if type(spatial) not in _POLAR:
        msg = f"{type(spatial).__name__}: photons cannot be drawn from it; omit events"
        raise ModelError(msg)
    total, polar = _POLAR[type(spatial)](values)

    def draw(n: int, random: np.random.Generator) -> tuple[Array, Array]:
        return around(values["lon_0"], values["lat_0"], *polar(n, random))

    return Directions(total, spatial.frame, draw)


# --- models with a centre: distance and bearing in rad --------------------------------------


def _point(values: dict[str, float]) -> tuple[float, Draw]:
    del values

    def draw(n: int, random: np.random.Generator) -> tuple[Array, Array]:
        del random
        return np.zeros(n), np.zeros(n)

    return 1.0, draw


def _gaussian(values: dict[str, float]) -> tuple[float, Draw]:
    sigma, e = values["sigma"] * DEG, values["e"]

    def draw(n: int, random: np.random.Generator) -> tuple[Array, Array]:
        bearing, width = _ellipse(values, sigma, n, random)
        a = np.maximum(2 * np.sin(0.5 * width) ** 2, 1e-30)
        within = -np.expm1(-1 / a)  # v = 1 - cos(r) is exponential, and at most 2
        if e != 0:  # the model is normalised as in the plane
            kept = random.random(n) * width**2 <= 2 * a * within
            bearing, a, within = bearing[kept], a[kept], within[kept]
        v = -2 * a * np.log1p(-within * random.random(len(a)))
        return 2 * np.arcsin(np.sqrt(np.minimum(0.5 * v, 1.0))), bearing

    return 1.0, draw


def _ellipse(
    values: dict[str, float], size: float, n: int, random: np.random.Generator
) -> tuple[Array, Array]:
    """Bearings distributed like the area of an ellipse, and its radius in each, for a major semi-axis."""
    q = max(1 - values["e"] ** 2, 1e-12)
    x, y = random.normal(size=n), math.sqrt(q) * random.normal(size=n)
    cos2 = x * x / (x * x + y * y)
    radius = size * np.sqrt(q / (1 - (1 - q) * cos2))
    return values["phi"] * DEG + np.arctan2(y, x), radius


def _flat(r: Array, bearing: Array, random: np.random.Generator) -> tuple[Array, Array]:
    """Project from the plane onto the sphere, on which circles are shorter; the excess is rejected."""
    kept = (random.random(len(r)) * r <= np.sin(r)) & (r <= np.pi)
    return r[kept], bearing[kept]


def _generalised(values: dict[str, float]) -> tuple[float, Draw]:
    eta = values["eta"]

    def draw(n: int, random: np.random.Generator) -> tuple[Array, Array]:
        bearing, radius = _ellipse(values, positive(values["r_0"]), n, random)
        return _flat(radius * random.gamma(2 * eta, size=n) ** eta, bearing, random)

    return 1.0, draw


def _disk(values: dict[str, float]) -> tuple[float, Draw]:
    """A disk whose edge is an error function, as a mixture of sharp disks."""
    from scipy.special import ndtr

    r_0, s = positive(values["r_0"]), max(values["edge_width"], 1e-9) / (EDGE_95 * math.sqrt(2))
    edges = 1 + s * np.linspace(-min(10.0, 1 / s), 10.0, 4001)
    by_area = Tabulated(edges, edges**2 * np.exp(-0.5 * ((edges - 1) / s) ** 2))
    area = (1 + s * s) * ndtr(1 / s) + s * math.exp(-0.5 / (s * s)) / math.sqrt(2 * math.pi)

    def draw(n: int, random: np.random.Generator) -> tuple[Array, Array]:
        bearing, radius = _ellipse(values, r_0, n, random)
        z = by_area.draw(n, random) * np.sqrt(random.random(n))
        return _flat(radius * z, bearing, random)

    at_origin = {**values, "lon_0": 0.0, "lat_0": 0.0}.values()
    peak = float(DiskSpatialModel().evaluate(SkyGrid([0.0], [0.0]), *at_origin)[0])
    density = peak / ndtr(1 / s)
    plane = math.pi * r_0**2 * math.sqrt(max(1 - values["e"] ** 2, 1e-12))
    return density * plane * float(area), draw


def _shell(values: dict[str, float]) -> tuple[float, Draw]:
    outer, inner = values["radius"] + values["width"], values["radius"]
    return _hollow(outer * DEG, inner * DEG)


def _shell_2(values: dict[str, float]) -> tuple[float, Draw]:
    outer = values["r_0"] * DEG
    return _hollow(outer, (1 - values["eta"]) * outer)


def _hollow(outer: float, inner: float) -> tuple[float, Draw]:
    """A hollow sphere, projected along the line of sight."""
    if not 0 <= inner < outer:
        msg = f"radii of {inner / DEG:g} and {outer / DEG:g} deg, expected 0 <= inner < outer"
        raise ModelError(msg)

    def draw(n: int, random: np.random.Generator) -> tuple[Array, Array]:
        s = np.cbrt(inner**3 + random.random(n) * (outer**3 - inner**3))
        r = s * np.sqrt(1 - random.random(n) ** 2)
        return _flat(r, 2 * np.pi * random.random(n), random)

    return 1.0, draw


_POLAR: dict[type[SpatialModel], Callable[[dict[str, float]], tuple[float, Draw]]] = {
    PointSpatialModel: _point,
    GaussianSpatialModel: _gaussian,
    GeneralizedGaussianSpatialModel: _generalised,
    DiskSpatialModel: _disk,
    ShellSpatialModel: _shell,
    Shell2SpatialModel: _shell_2,
}


# --- models on pixels ----------------------------------------------------------------------


def _of_pixels(field: Field) -> Directions:
    """The same flux in every pixel of the dataset."""
    rows, columns = field.grid.shape

    def draw(n: int, random: np.random.Generator) -> tuple[Array, Array]:
        y, x = rows * random.random(n) - 0.5, columns * random.random(n) - 0.5
        return field.grid.to_sky(x, y)

    return Directions(float(rows * columns), field.grid.frame, draw)


def _of_map(
    spatial: TemplateSpatialModel | TemplateNDSpatialModel, field: Field, energy: float | None
) -> Directions:
    """An interpolated map: drawn from the highest value in each pixel, with rejection.

    Between pixel centres the logarithm is bilinear, so that its maximum is at a centre, at a
    corner or in the middle of a side.
    """
    grid, values = spatial.map.grid, spatial.internal_values.tolist()
    d_lon, d_lat = 0.0, 0.0
    if isinstance(spatial, TemplateSpatialModel):
        d_lon, d_lat = (v - c for v, c in zip(values, spatial.map.center, strict=True))

    def sky(x: Array, y: Array) -> tuple[Array, Array]:
        lon, lat = grid.to_sky(x, y)
        return lon + d_lon, lat + d_lat

    def density(lon: Array, lat: Array) -> Array:
        at = SkyGrid(lon, lat, None if energy is None else [energy])
        found = spatial.evaluate(at, *values)
        return found if energy is None else found[0]

    lon, lat = grid.pixel_centers
    near = rotate(lon + d_lon, lat + d_lat, spatial.frame, field.grid.frame)
    within = separation(*near, field.lon, field.lat) <= field.reach + 2 * grid.max_pixel_scale
    y, x = (indices.astype(float) for indices in np.nonzero(within))
    steps = (-INSIDE, 0.0, INSIDE)
    highest = np.max([density(*sky(x + i, y + j)) for i in steps for j in steps], axis=0)
    weights = highest * grid.solid_angle[within]
    sums = np.concatenate([[0.0], np.cumsum(weights)])

    def draw(n: int, random: np.random.Generator) -> tuple[Array, Array]:
        if not n:
            return np.zeros(0), np.zeros(0)
        at = np.searchsorted(sums, sums[-1] * random.random(n), side="right") - 1
        pixel = np.minimum(at, len(x) - 1)
        shift_x, shift_y = random.uniform(-0.5, 0.5, (2, n))
        lon, lat = sky(x[pixel] + shift_x, y[pixel] + shift_y)
        kept = random.random(n) * highest[pixel] <= density(lon, lat)
        return lon[kept], lat[kept]

    return Directions(float(sums[-1]), spatial.frame, draw)
