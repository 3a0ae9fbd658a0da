"""Positions of pixel nodes relative to a source: compiled geometry, in rad."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gmdask.compiling import compiled, part

__all__ = [
    "curves_of",
    "node_scratch",
    "pixel_areas",
    "slopes_of",
    "spline_at",
    "zone_of",
]

Array = NDArray[np.float64]

LEAST = 1e-14  # rules with a smaller weight are left out
BLEND = 0.25  # width of the blending of two zones, relative to the chord at which the second begins


@compiled
def node_scratch(n_moves: int) -> Any:
    """Return work arrays for one node: its relative position, weights of coefficients, and derivatives."""
    slopes, curves = np.empty((2, 2)), np.empty((2, 2, 2))
    return np.empty(3), np.empty((3, 4)), slopes, curves, np.empty(n_moves), np.empty(n_moves)


@compiled
def pixel_areas(vectors: Array, out: Array) -> None:
    """Solid angle of each pixel, and its slopes along x and y: (3, lat, lon)."""
    a, b, aa, ab, bb = np.empty(3), np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    for y in range(out.shape[1]):
        for x in range(out.shape[2]):
            for i in range(3):
                near = vectors[i, y : y + 3, x : x + 3]
                a[i], b[i] = 0.5 * (near[1, 2] - near[1, 0]), 0.5 * (near[2, 1] - near[0, 1])
                aa[i], bb[i] = (
                    near[1, 2] - 2 * near[1, 1] + near[1, 0],
                    near[2, 1] - 2 * near[1, 1] + near[0, 1],
                )
                ab[i] = 0.25 * (near[2, 2] - near[2, 0] - near[0, 2] + near[0, 0])
            area, by_x, by_y = 0.0, 0.0, 0.0
            for i in range(3):
                j, k = (i + 1) % 3, (i + 2) % 3
                normal = a[j] * b[k] - a[k] * b[j]
                area += normal * normal
                by_x += normal * (aa[j] * b[k] - aa[k] * b[j] + a[j] * ab[k] - a[k] * ab[j])
                by_y += normal * (ab[j] * b[k] - ab[k] * b[j] + a[j] * bb[k] - a[k] * bb[j])
            area = np.sqrt(area)
            out[0, y, x], out[1, y, x], out[2, y, x] = area, by_x / area, by_y / area


@part
def _spline(q: float, weights: Array) -> Any:
    """Weights (value, slope, curvature) of four coefficients of a cubic B-spline; returns the index of the first."""
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


@part
def slopes_of(seen: Array, r: float, sin_lat: float, cos_lat: float, out: Array) -> None:
    """Derivatives (2, 2) of chord and bearing with respect to longitude and latitude."""
    east, north, z = seen[0], seen[1], 1 - 0.5 * seen[2]
    around = east * east + north * north + 1e-28
    out[0, 0], out[0, 1] = -cos_lat * east / r, -north / r
    out[1, 0], out[1, 1] = sin_lat - cos_lat * z * north / around, east * z / around


@part
def curves_of(
    seen: Array, r: float, slopes: Array, sin_lat: float, cos_lat: float, out: Array
) -> None:
    """Second derivatives (2, 2, 2) of chord and bearing with respect to longitude and latitude."""
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


@part
def spline_at(r: float, grid: Array, weights: Array) -> Any:
    """Weights (3, 4) of coefficients for the value and its derivatives by r; returns the index of the first."""
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
def zone_of(offset: Array, rules: Array, grid: Array, scratch: Any, out: Array) -> Any:
    """Zone of a pixel at an offset (east, north, up) from the source, and its weight relative to the next zone.

    `out` (6,) is filled with the weight and its derivatives with respect to longitude and latitude: two first
    and three second ones (lon lon, lon lat, lat lat). `scratch` is from `node_scratch`.
    """
    seen, _, slopes, curves, _, _ = scratch
    seen[0], seen[1] = offset[0], offset[1]
    seen[2] = offset[0] * offset[0] + offset[1] * offset[1] + offset[2] * offset[2]
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
        if share < LEAST:  # only rounding errors are left
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
