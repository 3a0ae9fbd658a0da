"""Pixels around a source: directions, exposure, mask and the bins that are evaluated there."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gmdask.geometry import WcsGrid, Window, rotation_matrix
from gmdask.likelihood.bins import Bins
from gmdask.likelihood.observation import Keep, Observation
from gmdask.sums import times

__all__ = ["Field", "Patch", "field_of", "make_patch", "source_axes", "window_around"]

Array = NDArray[np.float64]
Places = NDArray[np.intp] | slice

DEG = np.pi / 180
RIM = 32  # directions in which the rim of a circle is looked at
MAX_FIELD = 60.0  # deg, of fields that a circle describes


class Patch(NamedTuple):
    """Pixels of a window, as the compiled loops want them.

    Attributes
    ----------
    window : `Window`
    vectors : array of shape (lat + 2, lon + 2, 3)
        Directions of the centres, one pixel around them included.
    exposure : array of shape (lat, lon, energy_true)
        As stored, in cm2 s after multiplication with `unit`.
    unit : float
    pattern : integer array of shape (lat, lon)
        Row of `patterns`; -1 where the mask lets nothing through.
    patterns : array of shape (pattern, energy)
        Sets of energies that the mask lets through, as 0 and 1.
    place : integer array of shape (lat, lon)
        Number of each pixel that holds bins; -1 for the others.
    places : array, or a slice of all
        Positions of the patch's bins among those of the dataset.
    pixel, r : array of shape (bin,)
        Number of the pixel, and reconstructed energy, of each bin.
    """

    window: Window
    vectors: Array
    exposure: NDArray[Any]
    unit: float
    pattern: NDArray[np.int32]
    patterns: Array
    place: NDArray[np.int32]
    places: Places
    pixel: NDArray[np.int32]
    r: NDArray[np.int32]

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return sum(a.nbytes for a in self if isinstance(a, np.ndarray))

    @property
    def n_pixels(self) -> int:
        """Number of pixels that hold bins."""
        return int(self.place.max(initial=-1)) + 1


def source_axes(position: tuple[float, float], frame: str, grid: WcsGrid) -> Array:
    """East, north and direction (3, 3) of a position in deg, in the frame of a grid."""
    lon, lat = position[0] * DEG, position[1] * DEG
    axes = np.array([
        [-np.sin(lon), np.cos(lon), 0.0],
        [-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)],
        [np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)],
    ])  # fmt: skip
    if frame == grid.frame:
        return axes
    turned: Array = times(axes, rotation_matrix(frame, grid.frame).T)
    return turned


def window_around(
    grid: WcsGrid, position: tuple[float, float], frame: str, radius: float
) -> Window | None:
    """Pixels that a circle touches, None where it is outside the grid.

    Parameters
    ----------
    grid : `WcsGrid`
    position, frame
        Centre, in deg.
    radius : float
        In deg.
    """
    n_y, n_x = grid.shape
    whole = Window(0, n_y, 0, n_x)
    east, north, toward = source_axes(position, frame, grid)
    if radius > 60.0:
        return whole
    angle = np.linspace(0, 2 * np.pi, RIM, endpoint=False)
    rim = np.cos(radius * DEG) * toward + np.sin(radius * DEG) * (
        np.outer(np.cos(angle), east) + np.outer(np.sin(angle), north)
    )
    points = np.vstack([rim, toward])
    lon, lat = np.degrees(np.arctan2(points[:, 1], points[:, 0])), np.degrees(
        np.arcsin(np.clip(points[:, 2], -1, 1))
    )  # fmt: skip
    x, y = grid.to_pixel(lon, lat)
    at_pole = abs(np.degrees(np.arcsin(np.clip(toward[2], -1, 1)))) + radius > 89.9
    step = 4 * radius / min(grid.pixel_scales) + 4
    broken = not (np.isfinite(x).all() and np.isfinite(y).all()) or (
        max(np.abs(np.diff(x[:-1])).max(), np.abs(np.diff(y[:-1])).max()) > step
    )
    if at_pole or broken:
        return whole
    low_x, high_x = x.min() - 0.02 * np.ptp(x) - 1, x.max() + 0.02 * np.ptp(x) + 1
    low_y, high_y = y.min() - 0.02 * np.ptp(y) - 1, y.max() + 0.02 * np.ptp(y) + 1
    x0, x1 = max(int(np.floor(low_x)), 0), min(int(np.ceil(high_x)) + 1, n_x)
    y0, y1 = max(int(np.floor(low_y)), 0), min(int(np.ceil(high_y)) + 1, n_y)
    return Window(y0, y1, x0, x1) if x0 < x1 and y0 < y1 else None


class Field(NamedTuple):
    """Circle on the sky that holds all pixels of a grid.

    Attributes
    ----------
    center : array of shape (3,)
        Direction.
    radius : float
        In deg; infinite where a grid is not small.
    """

    center: Array
    radius: float

    def is_beyond(self, direction: Array, reach: float) -> bool:
        """Whether a circle around a direction, of a radius in deg, is surely outside."""
        if self.radius + reach >= MAX_FIELD:
            return False
        return float((self.center * direction).sum()) < math.cos((self.radius + reach) * DEG)


def field_of(grid: WcsGrid) -> Field:
    """Circle that holds all pixels of a grid, by those on its rim."""
    window = Window(0, grid.shape[0], 0, grid.shape[1])
    vectors = pixel_vectors(grid, window)
    rim = np.concatenate([vectors[0], vectors[-1], vectors[:, 0], vectors[:, -1]])
    center = np.asarray(vectors[vectors.shape[0] // 2, vectors.shape[1] // 2])
    apart = (rim * center).sum(axis=1).min()
    small = bool(apart > math.cos(MAX_FIELD / 2 * DEG))  # NaN, where there is no sky, is not
    return Field(center, math.degrees(math.acos(min(apart, 1.0))) if small else math.inf)


def pixel_vectors(grid: WcsGrid, window: Window) -> Array:
    """Directions of the centres of a window and of the pixels around it; NaN where there is no sky."""
    rows, columns = np.arange(window.y0 - 1, window.y1 + 1), np.arange(window.x0 - 1, window.x1 + 1)
    y, x = np.meshgrid(rows.astype(float), columns.astype(float), indexing="ij")
    lon, lat = (a * DEG for a in grid.to_sky(x, y))
    vectors = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)
    for edge, first, next_ in ((0, 1, 2), (-1, -2, -3)):  # beyond the edge of the projection
        if vectors.shape[0] > 2 and np.isnan(vectors[edge]).any():
            vectors[edge] = _beyond(vectors[edge], vectors[first], vectors[next_])
        if vectors.shape[1] > 2 and np.isnan(vectors[:, edge]).any():
            vectors[:, edge] = _beyond(vectors[:, edge], vectors[:, first], vectors[:, next_])
    return vectors


def _beyond(edge: Array, first: Array, next_: Array) -> Array:
    return np.where(np.isnan(edge), 2 * first - next_, edge)


def make_patch(
    observation: Observation, bins: Bins, window: Window, keep: Keep, *, exposed: bool
) -> Patch:
    """Read a patch.

    Parameters
    ----------
    observation : `Observation`
    bins : `Bins`
        Of the dataset.
    window : `Window`
    keep : callable
        Takes an array that is kept for long, and gives it back from where it is kept.
    exposed : bool
        Whether the exposure applies; if not, it is one.
    """
    stored, mask = observation.read(window)
    exposure = np.ascontiguousarray(np.moveaxis(stored, 0, -1))
    if exposure.dtype != np.float32:
        exposure = exposure.astype(np.float64)
    np.nan_to_num(exposure, copy=False, posinf=0.0, neginf=0.0)
    unit = observation.exposure_unit
    if not exposed:
        exposure, unit = np.ones_like(exposure), 1.0
    columns = np.ascontiguousarray(np.moveaxis(mask, 0, -1)).reshape(-1, len(mask))
    packed = np.packbits(columns, axis=1)
    _, first, pattern = np.unique(packed, axis=0, return_index=True, return_inverse=True)
    patterns = columns[first].astype(np.float64)
    seen: NDArray[np.bool_] = np.asarray(patterns.any(axis=1))
    pattern = np.where(seen[pattern.ravel()], pattern.ravel(), -1)
    index = bins.within(window)
    own = bins.take(index)
    y, x, pixel = own.pixels(window)
    place = np.full(window.shape, -1, dtype=np.int32)
    place[y, x] = np.arange(len(y))
    return Patch(
        window, keep(pixel_vectors(observation.grid, window)), keep(exposure), unit,
        keep(pattern.reshape(window.shape).astype(np.int32)), patterns, keep(place),
        index if isinstance(index, slice) else keep(index),
        keep(pixel.astype(np.int32)), keep(own.r.astype(np.int32)),
    )  # fmt: skip
