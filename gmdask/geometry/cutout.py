"""Rectangles of pixels around a position, by Gammapy's rounding rules."""

from __future__ import annotations

import math
from typing import NamedTuple

__all__ = ["Window", "cutout_window", "nearest_pixel", "round_up_to_odd"]


class Window(NamedTuple):
    """A rectangle of pixels: rows ``y0:y1`` (latitude) and columns ``x0:x1`` (longitude)."""

    y0: int
    y1: int
    x0: int
    x1: int

    @property
    def shape(self) -> tuple[int, int]:
        """Number of pixels (lat, lon)."""
        return self.y1 - self.y0, self.x1 - self.x0

    @property
    def slices(self) -> tuple[slice, slice]:
        """Slices (lat, lon) into the grid the window belongs to."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    def contains(self, other: Window) -> bool:
        """Whether this window contains all pixels of another."""
        rows = self.y0 <= other.y0 and other.y1 <= self.y1
        return rows and self.x0 <= other.x0 and other.x1 <= self.x1

    def grown(self, margin: int, shape: tuple[int, int]) -> Window:
        """Return the window with a margin of some pixels, trimmed to a grid of the given shape."""
        return Window(
            max(self.y0 - margin, 0),
            min(self.y1 + margin, shape[0]),
            max(self.x0 - margin, 0),
            min(self.x1 + margin, shape[1]),
        )

    def within(self, other: Window) -> Window:
        """Return the same pixels, counted from the first ones of another window."""
        y, x = other.y0, other.x0
        return Window(self.y0 - y, self.y1 - y, self.x0 - x, self.x1 - x)


def round_up_to_odd(value: float) -> int:
    """Round up to an odd integer, as Gammapy does: ``ceil(f) // 2 * 2 + 1``."""
    return int(math.ceil(value) // 2 * 2 + 1)


def nearest_pixel(pix: float, n: int) -> int:
    """Nearest of n pixels; the lower one at the border between two, the middle one if `pix` is not finite."""
    return min(max(math.ceil(pix - 0.5), 0), n - 1) if math.isfinite(pix) else n // 2


def cutout_window(
    shape: tuple[int, int], position: tuple[float, float], npix: tuple[int, int]
) -> Window | None:
    """Return the pixels of a cutout, trimmed at the border of the grid.

    Parameters
    ----------
    shape : tuple of int
        Shape of the grid (lat, lon).
    position : tuple of float
        Pixel coordinate (y, x) of the centre.
    npix : tuple of int
        Size of the cutout (lat, lon) before trimming.

    Returns
    -------
    window : `Window` or None
        None if cutout and grid do not overlap, or the position is not finite.

    Notes
    -----
    The lower limit is ``ceil(position - npix / 2)``, the rule of
    `astropy.nddata.overlap_slices` that Gammapy's cutouts follow.
    """
    limits: list[int] = []
    for length, centre, size in zip(shape, position, npix, strict=True):
        if not math.isfinite(centre):
            return None
        start = math.ceil(centre - size / 2.0)
        stop = start + size
        if stop <= 0 or start >= length:
            return None
        limits += [max(0, start), min(length, stop)]
    return Window(*limits)
