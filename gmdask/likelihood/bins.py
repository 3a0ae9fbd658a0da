"""The bins in which a dataset's likelihood is evaluated."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gmdask.geometry import Window
from gmdask.likelihood.observation import Observation

__all__ = ["Bins", "Pixels", "all_bins", "masked_bins", "occupied_bins"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Mask = NDArray[np.bool_]
Coordinate = NDArray[np.int32]


class Pixels(NamedTuple):
    """Distinct pixels of some bins.

    Attributes
    ----------
    y, x : array of shape (pixel,)
        Row and column within a window.
    place : array of shape (bin,)
        Index of the pixel of each bin.
    """

    y: Index
    x: Index
    place: Index


class Bins(NamedTuple):
    """A list of bins of one dataset, in the order of its energies.

    Attributes
    ----------
    r, y, x : array of shape (bin,)
        Reconstructed energy, row and column.
    """

    r: Index
    y: Coordinate
    x: Coordinate

    def within(self, window: Window) -> Index | slice:
        """Return the indices of the bins inside a window; a slice if all are."""
        inside = (
            (self.y >= window.y0)
            & (self.y < window.y1)
            & (self.x >= window.x0)
            & (self.x < window.x1)
        )
        return slice(None) if inside.all() else np.flatnonzero(inside)

    def pixels(self, window: Window) -> Pixels:
        """Return the pixels of the bins, all of which lie within a window."""
        width = window.shape[1]
        flat = (self.y - window.y0).astype(np.intp) * width + (self.x - window.x0)
        unique, place = np.unique(flat, return_inverse=True)
        y, x = np.divmod(unique, width)
        return Pixels(y, x, place)

    def take(self, index: Index | slice) -> Bins:
        """Return the bins with some indices."""
        return Bins(self.r[index], self.y[index], self.x[index])


def occupied_bins(observation: Observation, linear: Mask) -> Bins:
    """Bins of the mask in which the statistic is not linear: those with counts."""
    return _bins(np.nonzero(observation.mask & ~linear))


def masked_bins(observation: Observation, linear: Mask) -> Bins:
    """All bins of the mask."""
    del linear
    return _bins(np.nonzero(observation.mask))


def all_bins(observation: Observation, linear: Mask | None = None) -> Bins:
    """All bins, inside and outside the mask."""
    del linear
    return _bins(np.nonzero(np.ones_like(observation.mask)))


def _bins(index: tuple[Index, ...]) -> Bins:
    r, y, x = index
    return Bins(r.copy(), y.astype(np.int32), x.astype(np.int32))
