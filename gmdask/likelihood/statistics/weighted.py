"""The Poisson likelihood of counts with a weight per bin, as used in Fermi-LAT analyses."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gmdask.likelihood.statistics.base import Statistic, Terms
from gmdask.likelihood.statistics.cash import Cash

__all__ = ["WeightedCash"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


class WeightedCash(Statistic):
    """The statistic of `Cash`, times a weight in each bin.

    Parameters
    ----------
    counts, weights : array
    """

    name = "cash_weighted"
    reads = ("counts", "weights")

    def __init__(self, *data: Array) -> None:
        super().__init__(*data)
        self._cash, self._weights = Cash(data[0]), data[1]

    @property
    def is_bounded(self) -> Mask:
        """Bins with counts and a weight."""
        return self._cash.is_bounded & (self._weights > 0)

    def predicted(self, npred: Array) -> Array:
        """Predicted counts, zero where they are negative; not weighted."""
        return self._cash.predicted(npred)

    def per_bin(self, npred: Array) -> Array:
        """Statistic of each bin."""
        return self._weights * self._cash.per_bin(npred)

    def slopes(self, npred: Array) -> tuple[Array, Array]:
        """First and second derivative of each bin with respect to its predicted counts; 0 if clipped."""
        first, second = self._cash.slopes(npred)
        return self._weights * first, self._weights * second

    def dense(self, npred: Array, rest: float = 0.0) -> Terms:
        """Sum over the bins; see `Statistic.dense`."""
        n_floor = int(np.count_nonzero((self.predicted(npred) == 0) & self.is_bounded))
        return super().dense(npred, rest)._replace(n_floor=n_floor)
