"""Pixels around a source: directions, exposure, mask, and the bins that are evaluated."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gmdask.geometry import Grid, Window, rotation_matrix
from gmdask.likelihood.bins import Bins
from gmdask.likelihood.exact.exposure import Exposure, padded
from gmdask.likelihood.exact.nodes import pixel_areas
from gmdask.likelihood.observation import Keep, Observation
from gmdask.sums import times

__all__ = ["Field", "Patch", "field_of", "make_patch", "source_axes", "window_around"]

Array = NDArray[np.float64]
Places = NDArray[np.intp] | slice

DEG = np.pi / 180
RIM = 32  # number of directions in which the rim of a circle is sampled
MAX_FIELD = 60.0  # deg; largest field that is described by a circle


class Patch(NamedTuple):
    """Pixels of a window in the form of the compiled loops; no array may be written to.

    Attributes
    ----------
    y0, y1, x0, x1 : int
        Limits of the window.
    diagonal : float
        No part of a pixel is further from its centre than this chord.
    vectors : array of shape (3, lat + 2, lon + 2)
        Directions of the pixel centres, including one pixel around the window.
    areas : array of shape (3, lat, lon)
        Solid angle of each pixel, and its slopes along x and y.
    exposure : array of shape (lat, lon, K)
        Maps into which the exposure is decomposed, as stored; K is a multiple of 4.
    pattern : integer array of shape (lat, lon)
        Row of `patterns`; -1 for fully masked pixels.
    patterns : array of shape (pattern, energy)
        Sets of unmasked energies, as 0 and 1.
    place : integer array of shape (lat, lon)
        Index of each pixel that contains bins; -1 for the others.
    starts : integer array of shape (pixel + 1,)
        Start of the bins of each pixel in `order`.
    order : integer array of shape (bin,)
        Indices of the bins among those of the patch, sorted by pixel.
    r : integer array of shape (bin,)
        Reconstructed energy of each bin in this order.
    """

    y0: int
    y1: int
    x0: int
    x1: int
    diagonal: float
    vectors: Array
    areas: Array
    exposure: NDArray[Any]
    pattern: NDArray[np.int32]
    patterns: Array
    place: NDArray[np.int32]
    starts: NDArray[np.int32]
    order: NDArray[np.int32]
    r: NDArray[np.int32]

    @property
    def window(self) -> Window:
        """Which pixels."""
        return Window(self.y0, self.y1, self.x0, self.x1)

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return sum(a.nbytes for a in self if isinstance(a, np.ndarray))


def source_axes(position: tuple[float, float], frame: str, grid: Grid) -> Array:
    """Return east, north and direction (3, 3) of a position in deg, in the frame of a grid."""
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
    grid: Grid, position: tuple[float, float], frame: str, radius: float
) -> Window | None:
    """Return the pixels that a circle touches, None if it is outside the grid.

    Parameters
    ----------
    grid : `Grid`
    position, frame
        Centre in deg, and its frame.
    radius : float
        Radius in deg.
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
    """A circle around the centre of a grid that contains all pixels.

    Attributes
    ----------
    frame : str
        Frame of the grid.
    center : tuple of float
        Direction of the centre in this frame.
    radius : float
        Radius in deg; infinite if the grid is not small.
    """

    frame: str
    center: tuple[float, float, float]
    radius: float

    def gap(self, position: tuple[float, float], frame: str) -> float:
        """Separation in deg of a position from the circle around all pixels; -inf if that is not known to be small."""
        if not self.radius < MAX_FIELD:
            return -math.inf
        along = min(max(self._along(position, frame), -1.0), 1.0)
        return math.degrees(math.acos(along)) - self.radius

    def _along(self, position: tuple[float, float], frame: str) -> float:
        """Cosine of the separation of a position in deg from the centre."""
        x, y, z = self.center if frame == self.frame else _turned(self.center, self.frame, frame)
        lon, lat = math.radians(position[0]), math.radians(position[1])
        return math.cos(lat) * (x * math.cos(lon) + y * math.sin(lon)) + z * math.sin(lat)


@lru_cache(maxsize=256)
def _turned(
    direction: tuple[float, float, float], source: str, target: str
) -> tuple[float, float, float]:
    """Rotate a direction to another frame."""
    x, y, z = times(rotation_matrix(source, target), np.array(direction)).tolist()
    return x, y, z


def field_of(grid: Grid) -> Field:
    """Return the circles of a grid, from the pixels on its rim."""
    window = Window(0, grid.shape[0], 0, grid.shape[1])
    vectors = pixel_vectors(grid, window)
    rim = np.concatenate([vectors[0], vectors[-1], vectors[:, 0], vectors[:, -1]])
    center = np.asarray(vectors[vectors.shape[0] // 2, vectors.shape[1] // 2])
    apart = np.degrees(np.arccos(np.clip((rim * center).sum(axis=1), -1.0, 1.0)))
    small = apart.max() < MAX_FIELD / 2  # false for NaN, which is off the sky
    at = float(center[0]), float(center[1]), float(center[2])
    return Field(grid.frame, at, float(apart.max()) if small else math.inf)


def nearest(patch: Patch, toward: Array) -> float:
    """Separation in deg of a direction from the nearest pixel that is not masked; infinite if all are."""
    seen = (patch.pattern >= 0) | (patch.place >= 0)
    apart = patch.vectors[:, 1:-1, 1:-1] - toward[:, None, None]
    square = np.where(seen, (apart * apart).sum(axis=0), np.inf)
    least = float(np.nanmin(square, initial=np.inf))
    return math.inf if least > 4 else 2 * math.degrees(math.asin(math.sqrt(least) / 2))


def pixel_vectors(grid: Grid, window: Window) -> Array:
    """Directions of the centres of a window's pixels and of those around it; NaN off the sky."""
    rows, columns = np.arange(window.y0 - 1, window.y1 + 1), np.arange(window.x0 - 1, window.x1 + 1)
    y, x = np.meshgrid(rows.astype(float), columns.astype(float), indexing="ij")
    lon, lat = (a * DEG for a in grid.to_sky(x, y))
    vectors, across = np.empty((*x.shape, 3)), np.cos(lat)
    np.multiply(across, np.cos(lon), out=vectors[..., 0])
    np.multiply(across, np.sin(lon), out=vectors[..., 1])
    np.sin(lat, out=vectors[..., 2])
    for edge, first, next_ in ((0, 1, 2), (-1, -2, -3)):  # beyond the edge of the projection
        if vectors.shape[0] > 2 and np.isnan(vectors[edge]).any():
            vectors[edge] = _beyond(vectors[edge], vectors[first], vectors[next_])
        if vectors.shape[1] > 2 and np.isnan(vectors[:, edge]).any():
            vectors[:, edge] = _beyond(vectors[:, edge], vectors[:, first], vectors[:, next_])
    return vectors


def _beyond(edge: Array, first: Array, next_: Array) -> Array:
    return np.where(np.isnan(edge), 2 * first - next_, edge)


def _patterns(mask: NDArray[np.bool_]) -> tuple[NDArray[np.intp], Array]:
    """Return the sets of unmasked energies of a mask (energy, lat, lon); see `Patch`."""
    columns = np.ascontiguousarray(np.moveaxis(mask, 0, -1)).reshape(-1, len(mask))
    # usually the same as in the previous pixel
    starts = np.flatnonzero((columns[1:] != columns[:-1]).any(axis=1)) + 1
    starts = np.concatenate([[0], starts])
    _, first, of_run = np.unique(columns[starts], axis=0, return_index=True, return_inverse=True)
    patterns = columns[starts[first]].astype(np.float64)
    seen: NDArray[np.bool_] = np.asarray(patterns.any(axis=1))
    of_run = np.where(seen[of_run.ravel()], of_run.ravel(), -1)
    pattern = np.repeat(of_run, np.diff(starts, append=len(columns)))
    return pattern.reshape(mask.shape[1:]), patterns


def make_patch(
    observation: Observation, bins: Bins, window: Window, keep: Keep, exposure: Exposure | None
) -> tuple[Patch, Places]:
    """Read a patch, and return the indices of its bins among those of the dataset.

    Parameters
    ----------
    observation : `Observation`
    bins : `Bins`
        Bins of the dataset.
    window : `Window`
    keep : callable
        Takes an array that is kept permanently, and returns it from where it is kept.
    exposure : `Exposure` or None
        Decomposition of the exposure; None for a model without exposure, with one map of ones.
    """
    stored, mask = observation.read(window)
    maps = np.ones((*window.shape, 1))
    if exposure is not None:
        maps = np.moveaxis(stored[exposure.energies], 0, -1)
        maps = np.nan_to_num(maps, posinf=0.0, neginf=0.0)
        maps = maps if maps.dtype == np.float32 else maps.astype(np.float64)
    pattern, patterns = _patterns(mask)
    index = bins.within(window)
    own = bins.take(index)
    y, x, pixel = own.pixels(window)
    place = np.full(window.shape, -1, dtype=np.int32)
    place[y, x] = np.arange(len(y))
    order = np.argsort(pixel, kind="stable")
    starts = np.searchsorted(pixel[order], np.arange(len(y) + 1))
    vectors, areas = pixel_vectors(observation.grid, window), np.empty((3, *window.shape))
    vectors = np.ascontiguousarray(np.moveaxis(vectors, -1, 0))
    pixel_areas(vectors, areas)
    steps = np.diff(vectors[:, :, :-1], axis=1)[..., 1:], np.diff(vectors[:, :-1], axis=2)[:, 1:]
    sides = [np.sqrt(np.nanmax((step * step).sum(axis=0), initial=0.0)) for step in steps]

    def kept(array: NDArray[Any], kind: Any) -> NDArray[Any]:
        found = keep(np.ascontiguousarray(array, dtype=kind)).view()
        found.flags.writeable = False  # wherever it is kept, so that its type is always the same
        return found

    patch = Patch(
        window.y0, window.y1, window.x0, window.x1, float(sum(sides)), kept(vectors, np.float64),
        kept(areas, np.float64), kept(padded(maps), maps.dtype), kept(pattern, np.int32),
        patterns, kept(place, np.int32), kept(starts, np.int32), kept(order, np.int32),
        kept(own.r[order], np.int32),
    )  # fmt: skip
    return patch, index if isinstance(index, slice) else keep(index)
