"""Flux points with a scan of the likelihood, which is interpolated."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline

from gmdask.likelihood.statistics.base import Statistic

__all__ = ["N_SCAN", "Profile"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

N_SCAN = 3  # smallest number of values of a scan, which is interpolated by parabolas


class Profile(Statistic):
    """Rise of the statistic above its minimum, by a quadratic spline through the scan of each point.

    The first and last parabola are extrapolated. Points with an incomplete scan are ignored. Both
    as in Gammapy, with its default interpolation.

    Parameters
    ----------
    dnde_ref : array of shape (...)
        Flux at a norm of 1.
    norm_scan, stat_scan : array of shape (..., scan)
        Norms in increasing order, and the statistic there.
    stat : array of shape (...)
        Lowest value of the statistic.
    """

    name = "profile"
    signed = True
    reads = ("dnde_ref", "norm_scan", "stat_scan", "stat")

    @property
    def is_known(self) -> Mask:
        """Points with a complete scan."""
        _, norms, scan, least = self.data
        whole = np.isfinite(norms).all(axis=-1) & np.isfinite(scan).all(axis=-1)
        return np.asarray(whole & np.isfinite(least))

    def predicted(self, npred: Array) -> Array:
        """Predicted flux."""
        return npred

    @cached_property
    def _pieces(self) -> tuple[Array, Array]:
        """Inner knots (point, K - 1) and coefficients (3, point, K) of the parabolas of each point."""
        _, norms, scan, least = self.data
        n_points, n_pieces = len(norms), norms.shape[-1] - 2
        knots = np.zeros((n_points, n_pieces + 1))
        coefficients = np.zeros((3, n_points, n_pieces))
        for nodes in np.unique(norms[self.is_known], axis=0):  # usually the same for all points
            same = np.flatnonzero(self.is_known & (norms == nodes).all(axis=-1))
            rise = np.abs(scan[same] - least[same, None])
            spline = make_interp_spline(nodes, rise.T, k=2)
            knots[same] = ends = np.unique(spline.t)
            for power, factorial in enumerate((2.0, 1.0, 1.0)):  # highest first
                coefficients[power, same] = spline(ends[:-1], nu=2 - power).T / factorial
        return knots, coefficients

    def _at(self, npred: Array) -> tuple[Array, Array, Array, Array]:
        """Distance in norm from the knot below, and the coefficients there."""
        knots, coefficients = self._pieces
        norm = npred / self.data[0]
        piece = (norm[:, None] >= knots[:, 1:-1]).sum(axis=1)
        points = np.arange(len(norm))
        square, slope, value = coefficients[:, points, piece]
        return norm - knots[points, piece], square, slope, value

    def per_bin(self, npred: Array) -> Array:
        """Statistic of each point."""
        x, square, slope, value = self._at(npred)
        return (square * x + slope) * x + value

    def slopes(self, npred: Array) -> tuple[Array, Array]:
        """First and second derivative of each point with respect to the predicted flux."""
        x, square, slope, _ = self._at(npred)
        reference = self.data[0]
        return (2 * square * x + slope) / reference, 2 * square / reference**2
