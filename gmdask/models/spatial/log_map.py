"""Interpolation of a map between its pixels, linear in the logarithm of the values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gmdask.models.io.sky_map import SkyMap

__all__ = ["LogImage", "LogMap"]

Array = NDArray[np.float64]

_STEP = 1e-3  # pixels; step of the finite differences of the projection


def _cell(pix: Array, size: int) -> tuple[NDArray[np.intp], Array]:
    """Return the lower node of the cell and the position in it; beyond the ends the last cell is extrapolated."""
    low = np.clip(np.floor(np.nan_to_num(pix)), 0, max(size - 2, 0)).astype(np.intp)
    return low, pix - low if size > 1 else np.zeros_like(pix)


class LogMap:
    """Logarithm of a map, for interpolation.

    Parameters
    ----------
    sky_map : SkyMap
        Map; values that are not finite or not positive are replaced by the smallest number.
    """

    def __init__(self, sky_map: SkyMap) -> None:
        self.map = sky_map
        self.tiny = float(np.finfo(sky_map.data.dtype).tiny)
        values = np.where(np.isfinite(sky_map.data), sky_map.data, 0.0)
        self.log: Array = np.log(np.clip(values, self.tiny, None)).astype(np.float64)

    @classmethod
    def of(cls, sky_map: SkyMap) -> LogMap:
        """Return the logarithm of a map, computed once per map."""
        if "log" not in sky_map.kept:
            sky_map.kept["log"] = cls(sky_map)
        return sky_map.kept["log"]  # type: ignore[no-any-return]

    def at(self, lon: Array, lat: Array, pixels: Mapping[str, Any]) -> LogImage:
        """Interpolate at positions (deg, in the frame of the map) and along its axes.

        Parameters
        ----------
        lon, lat : ndarray [...]
            Positions.
        pixels : dict
            Pixel coordinate along each axis, by name: a number, or an array for at most one axis.
        """
        return LogImage(self, lon, lat, pixels)


class LogImage:
    """A map at some positions and at some coordinates along its axes."""

    def __init__(self, log_map: LogMap, lon: Array, lat: Array, pixels: Mapping[str, Any]) -> None:
        self._grid = log_map.map.grid
        self._lon, self._lat = lon, lat
        self._log_map, self._pixels = log_map, pixels
        self._x, self._y = self._grid.to_pixel(lon, lat)
        shape = self._grid.shape
        with np.errstate(invalid="ignore"):
            inside = (np.floor(self._x + 0.5) >= 0) & (np.floor(self._x + 0.5) < shape[1])
            inside &= (np.floor(self._y + 0.5) >= 0) & (np.floor(self._y + 0.5) < shape[0])
        self._inside = inside
        self._along: NDArray[np.bool_] | None = None
        self._images = self._reduce(None)

    def _reduce(self, derived: str | None) -> Array:
        """Images [lat, lon] or [T, lat, lon], or their derivative along one axis, per pixel."""
        data, outside, kept = self._log_map.log, False, 0
        for axis in reversed(self._log_map.map.axes):  # the slowest axis is the first
            pix = np.asarray(self._pixels[axis.name], dtype=float)
            low, part = _cell(pix, axis.nbin)
            first = np.take(data, low, axis=kept)
            second = np.take(data, np.minimum(low + 1, axis.nbin - 1), axis=kept)
            weight = part.reshape(*part.shape, *(1,) * (first.ndim - kept - part.ndim))
            data = second - first if axis.name == derived else first + weight * (second - first)
            within = (np.floor(pix + 0.5) >= 0) & (np.floor(pix + 0.5) < axis.nbin)
            if pix.ndim:
                self._along, kept = within, kept + 1
            else:
                outside = outside or not bool(within)
        self._outside = outside
        return np.asarray(data)

    def _corners(self, images: Array) -> tuple[Array, Array, Array, Array, Array, Array]:
        (row, v), (column, u) = _cell(self._y, images.shape[-2]), _cell(self._x, images.shape[-1])
        below = np.minimum(row + 1, images.shape[-2] - 1)
        right = np.minimum(column + 1, images.shape[-1] - 1)
        a, b = images[..., row, column], images[..., row, right]
        c, d = images[..., below, column], images[..., below, right]
        return a, b, c, d, u, v

    def _interpolate(self, images: Array) -> Array:
        a, b, c, d, u, v = self._corners(images)
        return np.asarray((a * (1 - u) + b * u) * (1 - v) + (c * (1 - u) + d * u) * v)

    def _cut(self, values: Array) -> Array:
        """Set values outside the map to zero."""
        values = np.where(self._inside & np.isfinite(values), values, 0.0)
        if self._along is not None:
            values[~self._along] = 0.0
        return np.zeros_like(values) if self._outside else values

    def value(self) -> Array:
        """Values [...] or [T, ...]."""
        with np.errstate(over="ignore", invalid="ignore"):
            values = np.exp(self._interpolate(self._images))
        return self._cut(np.where(values <= 2 * self._log_map.tiny, 0.0, values))

    def gradient(self) -> tuple[Array, Array]:
        """Values, and derivatives [2, ...] with respect to longitude and latitude, per deg."""
        a, b, c, d, u, v = self._corners(self._images)
        by_x, by_y = (b - a) * (1 - v) + (d - c) * v, (c - a) * (1 - u) + (d - b) * u
        value = self.value()
        rows = []
        for lon_step, lat_step in self._steps():
            x_1, y_1 = self._grid.to_pixel(self._lon + lon_step, self._lat + lat_step)
            x_0, y_0 = self._grid.to_pixel(self._lon - lon_step, self._lat - lat_step)
            step = 2 * (lon_step + lat_step)
            rows.append(self._cut(value * (by_x * (x_1 - x_0) + by_y * (y_1 - y_0)) / step))
        return value, np.stack(rows)

    def _steps(self) -> tuple[tuple[float, float], tuple[float, float]]:
        lon, lat = self._grid.pixel_scales
        return (_STEP * lon, 0.0), (0.0, _STEP * lat)

    def by_axis(self, name: str) -> Array:
        """Return the derivative along an axis, per pixel of the axis."""
        return self._cut(self.value() * self._interpolate(self._reduce(name)))
