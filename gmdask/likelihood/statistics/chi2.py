"""Flux points with symmetric Gaussian errors; upper limits are ignored."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gmdask.likelihood.statistics.base import Statistic

__all__ = ["Chi2"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Chi2(Statistic):
    """``((flux - predicted flux) / error)²`` of each point that is not an upper limit, as in Gammapy.

    Parameters
    ----------
    dnde, dnde_err : array
        Flux and its error; for asymmetric errors their mean.
    is_ul : array
        Whether the point is an upper limit.
    """

    name = "chi2"
    signed = True
    reads = ("dnde", "dnde_err", "is_ul")

    @property
    def is_known(self) -> Mask:
        """Points that have a flux and an error and are not upper limits."""
        flux, error, is_ul = self.data
        return np.asarray(np.isfinite(flux) & np.isfinite(error) & (error > 0) & (is_ul == 0))

    def predicted(self, npred: Array) -> Array:
        """Predicted flux."""
        return npred

    def _weights(self) -> tuple[Array, Array]:
        """Fluxes and inverse errors, 0 where they are unknown."""
        known = self.is_known
        return np.where(known, self.data[0], 0.0), known / np.where(known, self.data[1], 1.0)

    def per_bin(self, npred: Array) -> Array:
        """Statistic of each point."""
        flux, weight = self._weights()
        return ((flux - npred) * weight) ** 2

    def slopes(self, npred: Array) -> tuple[Array, Array]:
        """First and second derivative of each point with respect to the predicted flux."""
        flux, weight = self._weights()
        return -2 * (flux - npred) * weight * weight, 2 * weight * weight
