"""The bins a dataset's likelihood is evaluated in."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gmdask.geometry import Window
from gmdask.likelihood.response import Observation

__all__ = ["Bins", "all_bins", "masked_bins", "occupied_bins"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]


class Bins(NamedTuple):
    """A list of bins of one dataset.

    Attributes
    ----------
    r, y, x : array of shape (bin,)
        Reconstructed energy, row and column.
    """

    r: Index
    y: Index
    x: Index

    def within(self, window: Window) -> Index:
        """Positions in the list of the bins inside a window."""
        inside = (
            (self.y >= window.y0)
            & (self.y < window.y1)
            & (self.x >= window.x0)
            & (self.x < window.x1)
        )
        return np.flatnonzero(inside)

    def take(self, index: Index) -> Bins:
        """The bins at some positions of the list."""
        return Bins(self.r[index], self.y[index], self.x[index])


def occupied_bins(observation: Observation) -> Bins:
    """Bins of the mask that hold counts."""
    return Bins(*np.nonzero(observation.mask & (observation.counts > 0)))


def masked_bins(observation: Observation) -> Bins:
    """All bins of the mask."""
    return Bins(*np.nonzero(observation.mask))


def all_bins(observation: Observation) -> Bins:
    """All bins, in and outside the mask."""
    return Bins(*(np.ravel(index) for index in np.indices(observation.mask.shape)))
