"""Excess, significance, errors and limits of counts above a background, in closed form or by bisection."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import kl_div, lambertw

from gmdask.likelihood.statistics.wstat import WStat

__all__ = [
    "error_down",
    "error_up",
    "excess_of_significance",
    "on_off_excess",
    "significance_squared",
]

Array = NDArray[np.float64]

STEPS = 200  # of the bisection, which ends at the precision of numbers
DOUBLINGS = 60


def significance_squared(n_on: Array, n_bkg: Array) -> Array:
    """Difference of Cash's statistic between a known background and the counts: Li & Ma's TS for a known background.

    Parameters
    ----------
    n_on, n_bkg : array
        Counts, and those expected without a source; infinite if there are counts and none are expected.
    """
    found: Array = np.maximum(2 * kl_div(n_on, n_bkg), 0.0)
    return found


def error_down(n_on: Array, n_sigma: float) -> Array:
    """Distance below the excess at which Cash's statistic has risen by ``n_sigma²``.

    Parameters
    ----------
    n_on : array
        Counts.
    n_sigma : float
    """
    return _to_rise(n_on, n_sigma, 0, 0.0)


def error_up(n_on: Array, n_sigma: float) -> Array:
    """Distance above the excess at which Cash's statistic has risen by ``n_sigma²``.

    Parameters
    ----------
    n_on : array
        Counts.
    n_sigma : float
    """
    return _to_rise(n_on, n_sigma, -1, n_sigma**2 / 2)


def _to_rise(n_on: Array, n_sigma: float, branch: int, empty: float) -> Array:
    """Solve ``m - n log m = n - n log n + n_sigma² / 2`` by Lambert's function; returns the distance from n."""
    counted = n_on > 0
    on = np.where(counted, n_on, 1.0)
    found = on * (lambertw(-np.exp(-(n_sigma**2) / (2 * on) - 1), branch).real + 1)
    return np.where(counted, np.abs(found), empty)


def excess_of_significance(n_bkg: Array, n_sigma: float) -> Array:
    """Excess over a known background that has a given significance; NaN without background.

    Parameters
    ----------
    n_bkg : array
        Expected background counts.
    n_sigma : float
    """
    known = n_bkg > 0
    bkg = np.where(known, n_bkg, 1.0)
    found = bkg * (np.exp(lambertw((n_sigma**2 / (2 * bkg) - 1) / np.e, 0).real + 1) - 1)
    return np.where(known, found, np.nan)


def on_off_excess(n_off: Array, alpha: Array, n_sigma: float) -> Array:
    """Excess over the background of off counts that has a given significance (Li & Ma 1983, eq. 17).

    Parameters
    ----------
    n_off, alpha : array
        Off counts, and the acceptance of the on region relative to theirs; NaN where that is not positive.
    n_sigma : float
    """
    known = alpha > 0
    off, ratio = np.where(known, n_off, 1.0), np.where(known, alpha, 1.0)
    bkg = off * ratio

    def ts(excess: Array) -> Array:
        statistic = WStat(bkg + excess, off, ratio, np.ones_like(off))
        rise: Array = statistic.per_bin(np.zeros_like(off)) - statistic.per_bin(excess)
        return rise

    low, high = np.zeros_like(bkg), n_sigma * np.sqrt(bkg) + n_sigma**2
    for _ in range(DOUBLINGS):
        short = ts(high) < n_sigma**2
        if not short.any():
            break
        high = np.where(short, 2 * high, high)
    for _ in range(STEPS):
        middle = 0.5 * (low + high)
        above = ts(middle) > n_sigma**2
        low, high = np.where(above, low, middle), np.where(above, middle, high)
        if (high - low <= 1e-13 * high).all():
            break
    return np.where(known, 0.5 * (low + high), np.nan)
