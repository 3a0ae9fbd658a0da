"""Source shapes integrated over pixels without a PSF, with derivatives with respect to their parameters.

Sizes are chords; all shapes have the flux of their transforms, see `transforms`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gmdask.likelihood.exact.outlines import (
    LAT,
    LON,
    PHI,
    SIZE,
    TILT,
    Outline,
    along_edges,
)
from gmdask.likelihood.exact.profiles import BALL, DISK, GAUSSIAN, GENERAL, levels_of
from gmdask.likelihood.exact.radial import DEG, chord
from gmdask.models import (
    DiskSpatialModel,
    GaussianSpatialModel,
    GeneralizedGaussianSpatialModel,
    Shell2SpatialModel,
    ShellSpatialModel,
    SpatialModel,
)

__all__ = ["Pixels", "reach_of", "shape_in_pixels"]

Array = NDArray[np.float64]

EDGE_95 = (
    2.326174307353347  # the width of a disk's edge is so many times sqrt(2) standard deviations
)
LEAST_SIZE = 1e-10  # deg; smaller shapes are treated as points
STEP = 0.003  # relative step of the fourth-order differences in eta and edge_width
LEAST_EXTRA = 1e-3
THIN = 1e-7  # smallest thickness of a shell, relative to its radius
CODES = {"lon_0": LON, "lat_0": LAT, "phi": PHI, "sigma": SIZE, "r_0": SIZE, "e": TILT}


class Pixels(NamedTuple):
    """Pixels over which shapes are integrated.

    Attributes
    ----------
    points : array of shape (2 lat + 1, 2 lon + 1, 3)
        Directions of corners and of midpoints of edges.
    near : boolean array of shape (lat, lon)
        Pixels to compute.
    sign : float
        -1 if pixels are clockwise in the scaled plane.
    """

    points: Array
    near: NDArray[np.bool_]
    sign: float


class Jets(NamedTuple):
    """Values (lat, lon), with derivatives (P, lat, lon) and (P, P, lat, lon) up to some order."""

    value: Array
    first: Array
    second: Array


def _kind_of(spatial: SpatialModel) -> int:
    if isinstance(spatial, GaussianSpatialModel):
        return GAUSSIAN
    if isinstance(spatial, GeneralizedGaussianSpatialModel):
        return GENERAL
    return DISK if isinstance(spatial, DiskSpatialModel) else BALL


def _extra_name(spatial: SpatialModel) -> str | None:
    names = {GENERAL: "eta", DISK: "edge_width"}
    return names.get(_kind_of(spatial))


def _extra_of(kind: int, value: float) -> float:
    if kind == DISK:
        return abs(value) / EDGE_95
    return max(value, LEAST_EXTRA) if kind == GENERAL else 0.0


def reach_of(spatial: SpatialModel, values: Array) -> float:
    """Angle in deg beyond which an extended shape vanishes."""
    at = dict(zip(spatial.parameter_names, values.tolist(), strict=True))
    kind, name = _kind_of(spatial), _extra_name(spatial)
    if kind == BALL:
        return float(abs(at["r_0"] if "r_0" in at else at["radius"] + at["width"]))
    size = abs(at["sigma" if kind == GAUSSIAN else "r_0"])
    levels = levels_of(kind, _extra_of(kind, at[name]) if name else 0.0)
    reach = float(levels[-1] * chord(size))
    return 2 * math.degrees(math.asin(min(reach * DEG / 2, 1.0)))


def shape_in_pixels(
    spatial: SpatialModel, values: Array, free: list[str], axes: Array, pixels: Pixels, order: int
) -> Jets:
    """Integrals of an extended shape over pixels.

    Parameters
    ----------
    spatial : `SpatialModel`
        A model with a transform, not a point source.
    values : array
        Its parameters in its internal units.
    free : list of str
        Names of the free parameters.
    axes : array of shape (3, 3)
        East, north and direction of its position.
    pixels : `Pixels`
    order : {0, 1, 2}
        Order of derivatives.
    """
    at = dict(zip(spatial.parameter_names, values.tolist(), strict=True))
    free = free if order else []
    if isinstance(spatial, (ShellSpatialModel, Shell2SpatialModel)):
        return _shell(spatial, at, free, axes, pixels, order)
    kind, name = _kind_of(spatial), _extra_name(spatial)
    size = "sigma" if kind == GAUSSIAN else "r_0"
    own = [n for n in free if n != name]

    def make(extra: float) -> Jets:
        return _outlined(
            kind, _extra_of(kind, extra), at | {"size": at[size]}, own, axes, pixels, order
        )

    found = make(at[name] if name else 0.0)
    if name is None or name not in free:
        return found
    return _with_extra(found, make, at[name], free.index(name), order)


def _outlined(
    kind: int, extra: float, at: dict[str, float], free: list[str], axes: Array, pixels: Pixels,
    order: int,
) -> Jets:  # fmt: skip
    """Integrals of a profile, with derivatives with respect to position, angle, size and eccentricity."""
    angle = max(abs(at["size"]), LEAST_SIZE) * DEG
    sign = math.copysign(1.0, at["size"])
    lat, e = at["lat_0"] * DEG, min(abs(at.get("e", 0.0)), 1 - 1e-9)
    codes = np.array([CODES[n] for n in free], dtype=np.int64)
    shape = Outline(
        axes, math.sin(lat), math.cos(lat), at.get("phi", 0.0) * DEG, 2 * math.sin(angle / 2),
        sign * math.cos(angle / 2) * DEG, -math.sin(angle / 2) / 2 * DEG**2, math.copysign(e, at.get("e", 0.0)),
        kind, extra, levels_of(kind, extra), 1 + extra**2 / 2 if kind == DISK else 1.0, codes,
    )  # fmt: skip
    n_p, shape_of = len(free), pixels.near.shape
    n_rows = (1, 1 + n_p, 1 + n_p + n_p * (n_p + 1) // 2)[order]
    out = np.zeros((n_rows, *shape_of))
    along_edges(pixels.points, pixels.near, shape, order, out)
    np.nan_to_num(out, copy=False)  # pixels that are partly off the sky
    out *= pixels.sign
    scale = np.array([DEG if c in (LON, LAT, PHI) else 1.0 for c in codes])
    second = np.zeros((n_p, n_p, *shape_of) if order > 1 else (0, 0, *shape_of))
    row = 1 + n_p
    for s in range(n_p if order > 1 else 0):
        for u in range(s + 1):
            second[s, u] = second[u, s] = out[row] * (scale[s] * scale[u])
            row += 1
    return Jets(out[0], out[1 : 1 + n_p] * scale[:, None, None], second)


def _with_extra(
    found: Jets, make: Callable[[float], Jets], at: float, place: int, order: int
) -> Jets:
    """Insert derivatives with respect to a parameter of the profile, as finite differences."""
    step = STEP * max(abs(at), LEAST_EXTRA)
    a, b, c, d = (make(at + i * step) for i in (-2, -1, 1, 2))
    first = np.insert(
        found.first, place, (8 * (c.value - b.value) - (d.value - a.value)) / (12 * step), axis=0
    )
    if order < 2:
        return Jets(found.value, first, found.second)
    mixed = (8 * (c.first - b.first) - (d.first - a.first)) / (12 * step)
    bent = (16 * (c.value + b.value) - (d.value + a.value) - 30 * found.value) / (12 * step**2)
    second = np.insert(found.second, place, mixed, axis=0)
    second = np.insert(second, place, np.insert(mixed, place, bent, axis=0), axis=1)
    return Jets(found.value, first, second)


def _shell(
    spatial: SpatialModel, at: dict[str, float], free: list[str], axes: Array, pixels: Pixels,
    order: int,
) -> Jets:  # fmt: skip
    """A projected hollow sphere: the difference of two solid spheres."""
    if isinstance(spatial, Shell2SpatialModel):
        outer, inner = at["r_0"], at["r_0"] * (1 - at["eta"])
        by = {"r_0": (1.0, 1 - at["eta"]), "eta": (0.0, -at["r_0"])}
    else:
        outer, inner = at["radius"] + at["width"], at["radius"]
        by = {"radius": (1.0, 1.0), "width": (1.0, 0.0)}
    outer = max(abs(outer), LEAST_SIZE)
    inner = min(abs(inner), outer)
    if outer - inner < THIN * outer:
        outer = inner * (1 + THIN) + THIN * LEAST_SIZE
    place = [n for n in free if n in ("lon_0", "lat_0")]
    n_x = len(place)
    balls = [_ball(at, radius, place, axes, pixels, order) for radius in (outer, inner)]
    # derivatives with respect to position, and by the outer and the inner radius
    n, (n_y, n_z) = n_x + 2, pixels.near.shape
    first, second = np.zeros((n, n_y, n_z)), np.zeros((n, n, n_y, n_z))
    volume, by_volume, bent_volume = 0.0, np.zeros(n), np.zeros((n, n))
    value = balls[0].value - balls[1].value
    for i, (radius, sign) in enumerate(((outer, 1.0), (inner, -1.0))):
        own = [*range(n_x), n_x + i]
        rho, slope = 2 * math.sin(radius * DEG / 2), math.cos(radius * DEG / 2) * DEG
        bend = -math.sin(radius * DEG / 2) / 2 * DEG**2
        volume += sign * rho**3
        by_volume[n_x + i] = sign * 3 * rho**2 * slope
        bent_volume[n_x + i, n_x + i] = sign * (6 * rho * slope**2 + 3 * rho**2 * bend)
        if order:
            first[own] += sign * balls[i].first
        if order > 1:
            second[np.ix_(own, own)] += sign * balls[i].second
    value = value / volume
    if not order:
        return Jets(value, np.zeros((0, n_y, n_z)), np.zeros((0, 0, n_y, n_z)))
    first = (first - np.multiply.outer(by_volume, value)) / volume
    if order > 1:
        crossed = np.multiply.outer(by_volume, first)
        second -= crossed + crossed.swapaxes(0, 1) + np.multiply.outer(bent_volume, value)
        second /= volume
    chain = np.zeros((len(free), n))
    for k, name in enumerate(free):
        if name in by:
            chain[k, n_x:] = by[name]
        else:
            chain[k, place.index(name)] = 1.0
    by_free = np.tensordot(chain, first, 1)
    if order < 2:
        return Jets(value, by_free, np.zeros((0, 0, n_y, n_z)))
    bent = np.tensordot(chain, np.tensordot(chain, second, (1, 0)).swapaxes(0, 1), (1, 0))
    if "eta" in free and "r_0" in free:
        p, q = free.index("r_0"), free.index("eta")
        bent[p, q] -= first[n_x + 1]
        bent[q, p] -= first[n_x + 1]
    return Jets(value, by_free, bent)


def _ball(
    at: dict[str, float], radius: float, place: list[str], axes: Array, pixels: Pixels, order: int
) -> Jets:
    """A projected solid sphere times its radius cubed, with derivatives with respect to position and radius."""
    rho, slope = 2 * math.sin(radius * DEG / 2), math.cos(radius * DEG / 2) * DEG
    bend = -math.sin(radius * DEG / 2) / 2 * DEG**2
    spot = {"lon_0": at["lon_0"], "lat_0": at["lat_0"], "size": radius}
    free = [*place, "sigma"] if order else []
    found = _outlined(BALL, 0.0, spot, free, axes, pixels, order)
    cube, by, bent = rho**3, 3 * rho**2 * slope, 6 * rho * slope**2 + 3 * rho**2 * bend
    first, second = cube * found.first, cube * found.second
    if order:
        first[-1] += by * found.value
    if order > 1:
        second[-1] += by * found.first
        second[:, -1] += by * found.first
        second[-1, -1] += bent * found.value
    return Jets(cube * found.value, first, second)
