"""The Poisson likelihood (Cash 1979) with its derivatives by the predicted counts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gmdask.sums import times

__all__ = ["TRUNCATION", "CashTerms", "cash_dense", "cash_occupied", "cash_per_bin", "cash_slopes"]

Array = NDArray[np.float64]

NOTHING: Array = np.zeros(0)

TRUNCATION = 1e-25  # as in Gammapy's stats/fit_statistics.py


class CashTerms(NamedTuple):
    """Value of the statistic and its derivatives.

    Attributes
    ----------
    stat : float
        ``2 Σ_mask (npred - n log npred)``.
    first : array of shape (bin,)
        Derivative of the part that is summed over the bins, by npred.
    second : array of shape (bin,)
        Second derivative, ``2 n / npred²``.
    first_sum : float
        Derivative by the masked sum of npred.
    n_floor : int
        Bins with counts where no component reaches; each count costs
        ``-2 log 1e-25`` = 115.13 and has no gradient.
    """

    stat: float
    first: Array
    second: Array
    first_sum: float
    n_floor: int


def cash_occupied(
    npred: Array, counts: Array, total: float, *, derivatives: bool = True
) -> CashTerms:
    """Statistic from the bins that hold counts and the masked sum of npred.

    Exact where npred is nowhere negative in the mask.

    Parameters
    ----------
    npred, counts : array of shape (bin,)
        In the bins of the mask with counts.
    total : float
        Sum of npred over all bins of the mask.
    derivatives : bool
        Whether derivatives are needed; they may be empty otherwise.
    """
    if npred.min(initial=np.inf) > TRUNCATION:
        stat = float(2 * (total - times(counts, np.log(npred))))
        if not derivatives:
            return CashTerms(stat, NOTHING, NOTHING, 2.0, 0)
        ratio = counts / npred
        return CashTerms(stat, -2 * ratio, 2 * ratio / npred, 2.0, 0)
    floor = npred <= TRUNCATION
    safe = np.where(floor, 1.0, npred)
    stat = float(2 * (total - times(counts, np.log(np.where(floor, TRUNCATION, npred)))))
    first = np.where(floor, 0.0, -2 * counts / safe)
    second = np.where(floor, 0.0, 2 * counts / safe**2)
    return CashTerms(stat, first, second, 2.0, int(np.count_nonzero(floor)))


def cash_dense(npred: Array, counts: Array) -> CashTerms:
    """Statistic from all bins of the mask, clipped at zero as Gammapy does.

    Parameters
    ----------
    npred, counts : array of shape (bin,)
        In all bins of the mask.
    """
    floor = npred <= TRUNCATION
    stat = 2 * (
        np.sum(np.where(floor, TRUNCATION, npred))
        - times(counts, np.log(np.where(floor, TRUNCATION, npred)))
    )
    first, second = cash_slopes(npred, counts)
    return CashTerms(float(stat), first, second, 0.0, int(np.count_nonzero(floor & (counts > 0))))


def cash_slopes(npred: Array, counts: Array) -> tuple[Array, Array]:
    """Derivatives of the statistic of each bin by npred; 0 where it is clipped.

    Parameters
    ----------
    npred, counts : array of shape (bin,)

    Returns
    -------
    first, second : array of shape (bin,)
    """
    floor = npred <= TRUNCATION
    safe = np.where(floor, 1.0, npred)
    ratio = counts / safe
    return np.where(floor, 0.0, 2 * (1 - ratio)), np.where(floor, 0.0, 2 * ratio / safe)


def cash_per_bin(npred: Array, counts: Array) -> Array:
    """Statistic of each bin.

    Parameters
    ----------
    npred, counts : array
        Of one shape; below the truncation npred counts as that, as in Gammapy.
    """
    at_least = np.where(npred > TRUNCATION, npred, TRUNCATION)
    result: Array = 2 * (at_least - np.asarray(counts, dtype=np.float64) * np.log(at_least))
    return result
