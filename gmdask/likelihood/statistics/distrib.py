"""Flux points with asymmetric Gaussian errors, and upper limits by the error function."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from gmdask.likelihood.statistics.base import Statistic

__all__ = ["Distrib"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

ROOT = np.sqrt(2.0)
AT_ZERO = float(log_ndtr(-ROOT))  # log of erfc(1) / 2
FAR = -25.0  # below this the slope of log_ndtr is computed from its series


class Distrib(Statistic):
    """Squared deviation in units of the error on its side; for upper limits a complementary error function.

    An upper limit at ``l`` contributes ``2 log(erfc(1 - f / l) / erfc(1))`` at a predicted flux f, as in
    Gammapy: 0 for a predicted flux of 0, 5.1 where f is far above it. Points without the
    required values contribute nothing.

    Parameters
    ----------
    dnde, dnde_err, dnde_errn, dnde_errp : array
        Flux, its error, and lower and upper errors; where one of these is NaN, the symmetric error is used.
    dnde_ul : array
        Upper limits.
    is_ul : array
        Whether the point is an upper limit.
    """

    name = "distrib"
    signed = True
    reads = ("dnde", "dnde_err", "dnde_errn", "dnde_errp", "dnde_ul", "is_ul")

    @property
    def _is_limit(self) -> Mask:
        limit, is_ul = self.data[4:]
        return np.asarray((is_ul != 0) & np.isfinite(limit) & (limit != 0))

    @property
    def is_known(self) -> Mask:
        """Points with a limit if they are limits, else with a flux and any error."""
        flux, error, below, above, _, is_ul = self.data
        some = (error > 0) | (below > 0) | (above > 0)
        return np.asarray(self._is_limit | ((is_ul == 0) & np.isfinite(flux) & some))

    def predicted(self, npred: Array) -> Array:
        """Predicted flux."""
        return npred

    def _deviation(self, npred: Array) -> tuple[Array, Array]:
        """Predicted flux minus flux, and the inverse of the error on this side; 0 where it is unknown."""
        flux, error, below, above, _, is_ul = self.data
        known = (is_ul == 0) & np.isfinite(flux)
        away = np.where(known, npred - np.where(known, flux, 0.0), 0.0)
        scale = np.where(away >= 0, above, below)
        scale = np.where(np.isnan(scale), error, scale)
        known &= scale > 0
        return away, known / np.where(known, scale, 1.0)

    def _limit(self, npred: Array) -> tuple[Mask, Array, Array]:
        """Whether points are limits, the argument of the normal distribution, and its derivative."""
        known = self._is_limit
        rate = known * ROOT / np.where(known, self.data[4], 1.0)
        return known, npred * rate - ROOT, rate

    def per_bin(self, npred: Array) -> Array:
        """Statistic of each point."""
        away, weight = self._deviation(npred)
        known, at, _ = self._limit(npred)
        return np.where(known, 2 * (log_ndtr(at) - AT_ZERO), (away * weight) ** 2)

    def slopes(self, npred: Array) -> tuple[Array, Array]:
        """First and second derivative of each point with respect to the predicted flux."""
        away, weight = self._deviation(npred)
        known, at, rate = self._limit(npred)
        ratio, bend = _slopes_of_log_normal(at)
        first = np.where(known, 2 * ratio * rate, 2 * away * weight * weight)
        second = np.where(known, 2 * bend * rate * rate, 2 * weight * weight)
        return first, second


def _slopes_of_log_normal(x: Array) -> tuple[Array, Array]:
    """First and second derivative of the logarithm of the normal distribution function.

    With ``r = φ / Φ`` they are r and ``-r (x + r)``, which is a sum of similar numbers far below zero: there
    ``x + r`` is computed from the asymptotic series.
    """
    far = x < FAR
    near = np.where(far, 0.0, x)
    ratio = np.exp(-0.5 * near * near - 0.5 * np.log(2 * np.pi) - log_ndtr(near))
    total = near + ratio
    y = -np.where(far, x, FAR)
    z = 1 / (y * y)
    tail = (1 - z * (2 - z * (10 - z * (74 - z * (706 - z * 8162))))) / y  # of r - y
    return np.where(far, y + tail, ratio), -np.where(far, (y + tail) * tail, ratio * total)
