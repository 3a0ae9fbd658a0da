"""Where the nodes of pixels lie, seen from a source: compiled geometry, in rad."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gmdask.compiling import compiled

__all__ = [
    "curves_of",
    "expand_pixel",
    "is_near",
    "slopes_of",
    "spline_at",
    "toward",
    "zone_of",
]

Array = NDArray[np.float64]

LEAST = 1e-14  # share of a rule below which it is left out
BLEND = 0.25  # of the chord at which a zone begins, over which it is blended with the one before


@compiled
def expand_pixel(vectors: Array, y: int, x: int, out: Array) -> bool:
    """Expand directions in a pixel: c, ∂x, ∂y, ∂xx, ∂xy, ∂yy as rows, then solid angle and its slopes."""
    for i in range(3):
        c, left, right = vectors[y + 1, x + 1, i], vectors[y + 1, x, i], vectors[y + 1, x + 2, i]
        down, up = vectors[y, x + 1, i], vectors[y + 2, x + 1, i]
        out[0, i] = c
        out[1, i] = 0.5 * (right - left)
        out[2, i] = 0.5 * (up - down)
        out[3, i] = right - 2 * c + left
        out[4, i] = 0.25 * (
            vectors[y + 2, x + 2, i] - vectors[y + 2, x, i]
            - vectors[y, x + 2, i] + vectors[y, x, i]
        )  # fmt: skip
        out[5, i] = up - 2 * c + down
    area, by_x, by_y = 0.0, 0.0, 0.0
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        a = out[1, j] * out[2, k] - out[1, k] * out[2, j]
        area += a * a
        by_x += a * (
            out[3, j] * out[2, k] - out[3, k] * out[2, j]
            + out[1, j] * out[4, k] - out[1, k] * out[4, j]
        )  # fmt: skip
        by_y += a * (
            out[4, j] * out[2, k] - out[4, k] * out[2, j]
            + out[1, j] * out[5, k] - out[1, k] * out[5, j]
        )  # fmt: skip
    area = np.sqrt(area)
    out[6, 0] = area
    out[6, 1] = by_x / area
    out[6, 2] = by_y / area
    return bool(area > 0.0)


@compiled
def _spline(q: float, weights: Array) -> Any:
    """Weights (value, slope, curvature) of four coefficients of a cubic B-spline; index of the first."""
    cell = int(q)
    u = q - cell
    v = 1.0 - u
    weights[0, 0] = v * v * v / 6
    weights[0, 1] = (3 * u * u * u - 6 * u * u + 4) / 6
    weights[0, 2] = (3 * v * v * v - 6 * v * v + 4) / 6
    weights[0, 3] = u * u * u / 6
    weights[1, 0] = -0.5 * v * v
    weights[1, 1] = 1.5 * u * u - 2 * u
    weights[1, 2] = -1.5 * v * v + 2 * v
    weights[1, 3] = 0.5 * u * u
    weights[2, 0] = v
    weights[2, 1] = 3 * u - 2
    weights[2, 2] = 3 * v - 2
    weights[2, 3] = u
    return cell


@compiled
def is_near(vectors: Array, y: int, x: int, axes: Array, reach: float) -> bool:
    """Whether any of a pixel may be within reach of the source; not where there is no sky."""
    distance, size = 0.0, 0.0
    for i in range(3):
        d = vectors[y + 1, x + 1, i] - axes[2, i]
        distance += d * d
        d = vectors[y + 2, x + 2, i] - vectors[y + 1, x + 1, i]
        size += d * d
    return bool(np.sqrt(distance) < reach + np.sqrt(size))


@compiled
def toward(pixel: Array, a: float, b: float, axes: Array, out: Array) -> float:
    """East, north and squared chord of a node of a pixel from the source; returns its solid angle."""
    out[:] = 0.0
    for i in range(3):
        d = (
            pixel[0, i] - axes[2, i] + a * pixel[1, i] + b * pixel[2, i]
            + 0.5 * a * a * pixel[3, i] + a * b * pixel[4, i] + 0.5 * b * b * pixel[5, i]
        )  # fmt: skip
        out[0] += d * axes[0, i]
        out[1] += d * axes[1, i]
        out[2] += d * d
    return float(pixel[6, 0] + a * pixel[6, 1] + b * pixel[6, 2])


@compiled
def slopes_of(seen: Array, r: float, sin_lat: float, cos_lat: float, out: Array) -> None:
    """Derivatives of chord and bearing by longitude and latitude: (2, 2)."""
    east, north, z = seen[0], seen[1], 1 - 0.5 * seen[2]
    around = east * east + north * north + 1e-28
    out[0, 0], out[0, 1] = -cos_lat * east / r, -north / r
    out[1, 0], out[1, 1] = sin_lat - cos_lat * z * north / around, east * z / around


@compiled
def curves_of(
    seen: Array, r: float, slopes: Array, sin_lat: float, cos_lat: float, out: Array
) -> None:
    """Second derivatives of chord and bearing by longitude and latitude: (2, 2, 2)."""
    east, north, z = seen[0], seen[1], 1 - 0.5 * seen[2]
    around = east * east + north * north + 1e-28
    g, dg = z / around, (1 + z * z) / (around * around)
    by_lon, by_lat = slopes[0, 0], slopes[0, 1]
    out[0, 0, 0] = (cos_lat * (cos_lat * z - sin_lat * north) - by_lon * by_lon) / r
    out[0, 0, 1] = out[0, 1, 0] = (sin_lat * east - by_lon * by_lat) / r
    out[0, 1, 1] = (z - by_lat * by_lat) / r
    out[1, 0, 0] = cos_lat * east * (sin_lat * g - cos_lat * north * dg)
    out[1, 0, 1] = out[1, 1, 0] = (sin_lat * north - cos_lat * z) * g + cos_lat * east * east * dg
    out[1, 1, 1] = east * north * dg


@compiled
def spline_at(r: float, grid: Array, weights: Array) -> Any:
    """Weights (3, 4) of coefficients for the value and its derivatives by r; index of the first."""
    step, scale = grid[0], grid[1]
    t = 1 / np.sqrt(1 + (r / scale) ** 2)
    cell = _spline(r * t / step, weights)
    slope = t * t * t / step
    bend = -3 * r * t**5 / (scale * scale * step)
    for k in range(4):
        weights[2, k] = weights[2, k] * slope * slope + weights[1, k] * bend
        weights[1, k] *= slope
    return cell


@compiled
def zone_of(
    pixel: Array, axes: Array, rules: Array, grid: Array, seen: Array, slopes: Array,
    curves: Array, out: Array,
) -> Any:  # fmt: skip
    """Zone of a pixel, and its share beside the next zone.

    `out` (6,) is filled with the share and its derivatives by longitude and latitude: two first
    and three second ones (lon lon, lon lat, lat lat).
    """
    toward(pixel, 0.0, 0.0, axes, seen)
    r = np.sqrt(seen[2]) + 1e-14
    zone = 0
    while zone + 1 < len(rules) and r >= (1 + BLEND) * rules[zone + 1, 2]:
        zone += 1
    out[:] = 0.0
    out[0] = 1.0
    if zone + 1 < len(rules) and r > rules[zone + 1, 2] * (1 + 1e-9):
        width = BLEND * rules[zone + 1, 2]
        u = (r - rules[zone + 1, 2]) / width
        share = 1 - u * u * u * (10 - 15 * u + 6 * u * u)
        if share < LEAST:  # rounding has left nothing of it
            return zone + 1
        slope, bend = -30 * u * u * (1 - u) ** 2 / width, -60 * u * (1 - u) * (1 - 2 * u) / width**2
        slopes_of(seen, r, grid[3], grid[4], slopes)
        curves_of(seen, r, slopes, grid[3], grid[4], curves)
        by_lon, by_lat = slopes[0, 0], slopes[0, 1]
        out[0] = share
        out[1], out[2] = slope * by_lon, slope * by_lat
        out[3] = bend * by_lon * by_lon + slope * curves[0, 0, 0]
        out[4] = bend * by_lon * by_lat + slope * curves[0, 0, 1]
        out[5] = bend * by_lat * by_lat + slope * curves[0, 1, 1]
    return zone
