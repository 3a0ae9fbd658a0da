"""Pixels of one of the twelve base pixels of HEALPix (Górski et al. 2005), as a grid of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RING = (2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4)  # of the southernmost corner, in units of a side
MERIDIAN = (1, 3, 5, 7, 0, 2, 4, 6, 1, 3, 5, 7)  # of the centre, in units of 45 deg


class HealpixFace:
    """A rectangle of pixels of a base pixel, whose rows and columns are those of the nested scheme.

    Parameters
    ----------
    cards : mapping
        "nside", "face", the first pixel "x" and "y", and "frame".
    shape : tuple of int
        Number of pixels (y, x).
    """

    def __init__(self, cards: Mapping[str, Any], shape: tuple[int, ...]) -> None:
        self._nside, self._face = int(cards["nside"]), int(cards["face"])
        self._x, self._y = int(cards["x"]), int(cards["y"])
        self.frame = str(cards["frame"])
        self.shape = (int(shape[0]), int(shape[1]))

    @property
    def area(self) -> float:
        """Solid angle of every pixel in sr."""
        return float(4 * np.pi / (12 * self._nside**2))

    @property
    def max_pixel_scale(self) -> float:
        # near the poles a pixel is up to 1.4 times as long as it is wide
        return float(1.3 * np.degrees(np.sqrt(self.area)))

    @property
    def pixel_scales(self) -> tuple[float, float]:
        side = float(np.degrees(np.sqrt(self.area)))
        return side, side

    @property
    def center(self) -> tuple[float, float]:
        lon, lat = self.to_sky((self.shape[1] - 1) / 2, (self.shape[0] - 1) / 2)
        return float(lon), float(lat)

    @property
    def pixel_centers(self) -> tuple[Array, Array]:
        y, x = np.indices(self.shape, dtype=float)
        return self.to_sky(x, y)

    def solid_angles(self, y: slice, x: slice) -> Array:
        return np.full((y.stop - y.start, x.stop - x.start), self.area)

    def to_sky(self, x: Array | float, y: Array | float) -> tuple[Array, Array]:
        u = (np.asarray(x, dtype=float) + self._x + 0.5) / self._nside
        v = (np.asarray(y, dtype=float) + self._y + 0.5) / self._nside
        ring = RING[self._face] - u - v
        width = np.where(ring < 1, ring, np.where(ring > 3, 4 - ring, 1.0))
        polar = 1 - width * width / 3
        z = np.where(ring < 1, polar, np.where(ring > 3, -polar, (2 - ring) * 2 / 3))
        lon = 45.0 * (MERIDIAN[self._face] + (u - v) / width)
        return lon % 360, np.degrees(np.arcsin(z))

    def to_pixel(self, lon: Array | float, lat: Array | float) -> tuple[Array, Array]:
        z = np.sin(np.radians(lat))
        # meridians are counted from that of the centre
        apart = (np.asarray(lon) / 45 - MERIDIAN[self._face] + 4) % 8 - 4
        width = np.where(np.abs(z) > 2 / 3, np.sqrt(3 * (1 - np.abs(z))), 1.0)
        ring = np.where(z > 2 / 3, width, np.where(z < -2 / 3, 4 - width, 2 - 1.5 * z))
        total, difference = RING[self._face] - ring, apart * width
        u, v = (total + difference) / 2, (total - difference) / 2
        return u * self._nside - self._x - 0.5, v * self._nside - self._y - 0.5
