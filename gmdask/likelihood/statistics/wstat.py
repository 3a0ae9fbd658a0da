"""The Poisson likelihood of counts with a measured background: the W statistic."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import kl_div

from gmdask.likelihood.statistics.base import Statistic

__all__ = ["WStat"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


class WStat(Statistic):
    """Deviance of on and off counts, at the most likely background for a given signal.

    For ``counts ~ Poisson(signal + α b)`` and ``counts_off ~ Poisson(b)`` it is
    ``-2 log(L / L_saturated)`` at the optimal ``b >= 0``. The predicted counts are those of the
    signal alone. A bin without on or off acceptance contributes 0, as in Gammapy.

    Parameters
    ----------
    counts, counts_off, acceptance, acceptance_off : array
    """

    name = "wstat"
    signed = True
    reads = ("counts", "counts_off", "acceptance", "acceptance_off")

    def __init__(self, *data: Array) -> None:
        super().__init__(*(np.asarray(array, dtype=np.float64) for array in data))

    def _at(self, npred: Array) -> tuple[Array, Mask, Array, Array, Array]:
        """Return α (1 if undefined), whether it is defined, the predicted on and off counts, and their rate.

        With ``x, y = α n_on, α n_off`` and ``m = (1 + α) signal`` the optimal background solves
        ``α (1 + α) b² - (x + y - m) b - n_off signal = 0``. Both counts are computed without
        differences of similar numbers. The rate is the derivative of the on counts with respect to the signal.
        """
        n_on, n_off, acceptance, acceptance_off = self.data
        known = (acceptance > 0) & (acceptance_off > 0)
        alpha = np.where(known, acceptance, 1.0) / np.where(known, acceptance_off, 1.0)
        x, y, m = alpha * n_on, alpha * n_off, (1 + alpha) * npred
        u = y + m - x
        root = np.hypot(u, 2 * np.sqrt(x * y))
        plus, minus = x + y + m, x + y - m
        with np.errstate(invalid="ignore", divide="ignore"):
            on = np.where(plus >= 0, plus + root, 4 * x * m / (plus - root)) / (2 * (1 + alpha))
            off = np.where(minus >= 0, minus + root, 4 * y * m / (root - minus)) / (
                2 * alpha * (1 + alpha)
            )
            low = 4 * x * y / (root * (root - u))
            rate = np.where(u >= 0, 1 + np.where(root > 0, u / root, 1.0), low) / 2
        return alpha, known, np.maximum(on, 0.0), np.maximum(off, 0.0), rate

    def background(self, npred: Array) -> Array:
        """Return the most likely background counts ``α b`` in the on region for a signal."""
        alpha, known, _, off, _ = self._at(npred)
        return np.where(known, alpha * off, 0.0)

    def predicted(self, npred: Array) -> Array:
        """Counts of signal and background."""
        return npred + self.background(npred)

    def spread(self, npred: Array) -> Array:
        """Variance of the counts, at least 1, as the background may be known from a few counts only."""
        return 1.0 + self.predicted(npred)

    def per_bin(self, npred: Array) -> Array:
        """Statistic of each bin."""
        _, known, on, off, _ = self._at(npred)
        n_on, n_off = self.data[:2]
        return np.where(known, 2 * (kl_div(n_on, on) + kl_div(n_off, off)), 0.0)

    def slopes(self, npred: Array) -> tuple[Array, Array]:
        """First and second derivative of each bin with respect to the signal."""
        alpha, known, on, _, rate = self._at(npred)
        n_on, n_off = self.data[:2]
        inside = (
            on > 0
        )  # otherwise the background cancels a negative signal, and only its counts remain
        empty = ~inside & (npred >= 0)
        some, signal = np.where(inside, on, 1.0), np.where(inside | empty, 1.0, npred)
        first = np.where(inside, 2 * (1 - n_on / some), -2 / alpha * (1 + alpha * n_off / signal))
        second = np.where(inside, 2 * n_on / some**2 * rate, 2 * n_off / signal**2)
        return (
            np.where(empty, 2.0, first) * known,
            np.where(empty, 0.0, second) * known,
        )
