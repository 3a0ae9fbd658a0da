"""The Poisson likelihood of counts with a known background (Cash 1979)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gmdask.likelihood.statistics.base import NOTHING, TRUNCATION, Statistic, Terms
from gmdask.sums import times

__all__ = ["Cash"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Cash(Statistic):
    """``2 (npred - n log npred)`` for n counts, without the term in n alone, as in Gammapy.

    A bin with counts but without predicted counts adds ``-2 log 1e-25`` = 115.13 per count, and has no
    gradient.

    Parameters
    ----------
    counts : array
    """

    name = "cash"
    reads = ("counts",)
    linear = True

    @property
    def is_linear(self) -> Mask:
        """Bins without counts."""
        return self.data[0] <= 0

    @property
    def is_bounded(self) -> Mask:
        """Bins with counts."""
        return self.data[0] > 0

    def predicted(self, npred: Array) -> Array:
        """Predicted counts, zero where they are negative."""
        return np.where(npred <= TRUNCATION, 0.0, npred)

    def per_bin(self, npred: Array) -> Array:
        """Statistic of each bin; npred below the truncation is replaced by it, as in Gammapy."""
        at_least = np.where(npred > TRUNCATION, npred, TRUNCATION)
        counts = np.asarray(self.data[0], dtype=np.float64)
        result: Array = 2 * (at_least - counts * np.log(at_least))
        return result

    def slopes(self, npred: Array) -> tuple[Array, Array]:
        """First and second derivative of each bin with respect to its predicted counts; 0 if clipped."""
        floor = npred <= TRUNCATION
        safe = np.where(floor, 1.0, npred)
        ratio = self.data[0] / safe
        return np.where(floor, 0.0, 2 * (1 - ratio)), np.where(floor, 0.0, 2 * ratio / safe)

    def dense(self, npred: Array, rest: float = 0.0) -> Terms:
        """Sum over the bins, clipped at zero as Gammapy does; see `Statistic.dense`."""
        counts, floor = self.data[0], npred <= TRUNCATION
        at_least = np.where(floor, TRUNCATION, npred)
        stat = 2 * (rest + np.sum(at_least) - times(counts, np.log(at_least)))
        n_floor = int(np.count_nonzero(floor & (counts > 0)))
        return Terms(float(stat), *self.slopes(npred), 0.0, n_floor)

    def sparse(self, npred: Array, total: float, *, derivatives: bool = True) -> Terms:
        """Sum over all bins, of which those without counts are left out; see `Statistic.sparse`."""
        counts = self.data[0]
        if npred.min(initial=np.inf) > TRUNCATION:
            stat = float(2 * (total - times(counts, np.log(npred))))
            if not derivatives:
                return Terms(stat, NOTHING, NOTHING, 2.0, 0)
            ratio = counts / npred
            return Terms(stat, -2 * ratio, 2 * ratio / npred, 2.0, 0)
        floor = npred <= TRUNCATION
        safe = np.where(floor, 1.0, npred)
        stat = float(2 * (total - times(counts, np.log(np.where(floor, TRUNCATION, npred)))))
        first = np.where(floor, 0.0, -2 * counts / safe)
        second = np.where(floor, 0.0, 2 * counts / safe**2)
        return Terms(stat, first, second, 2.0, int(np.count_nonzero(floor)))
