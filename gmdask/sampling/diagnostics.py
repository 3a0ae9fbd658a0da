"""Convergence of chains: rank-normalised split R-hat and effective sample sizes.

By Vehtari, Gelman, Simpson, Carpenter, Bürkner 2021, Bayesian Analysis 16, 667; numbers as ArviZ gives them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import rankdata

__all__ = ["ess_bulk", "ess_tail", "r_hat"]

Array = NDArray[np.float64]

TAILS = (0.05, 0.95)


def r_hat(draws: Array) -> float:
    """Return the larger of the R-hat of location and scale, from ranks of split chains.

    Parameters
    ----------
    draws : array of shape (chain, draw)
        At least four draws per chain.
    """
    split = _split(draws)
    folded = np.abs(split - np.median(split))
    return max(_r_hat(_ranks(split)), _r_hat(_ranks(folded)))


def ess_bulk(draws: Array) -> float:
    """Return the effective sample size for the centre of the distribution.

    Parameters
    ----------
    draws : array of shape (chain, draw)
    """
    return _ess(_ranks(_split(draws)))


def ess_tail(draws: Array) -> float:
    """Return the smaller effective sample size of the 5 % and 95 % quantiles.

    Parameters
    ----------
    draws : array of shape (chain, draw)
    """
    return min(_ess(_split((draws <= np.quantile(draws, tail)).astype(float))) for tail in TAILS)


def _split(draws: Array) -> Array:
    """Halves of the chains as chains (2 chain, draw / 2); of an odd number of draws the middle one is left out."""
    half = draws.shape[1] // 2
    return np.concatenate([draws[:, :half], draws[:, -half:]])


def _ranks(draws: Array) -> Array:
    """Normal scores of the ranks among all draws (Blom 1958)."""
    ranks = rankdata(draws, method="average").reshape(draws.shape)
    return np.asarray(ndtri((ranks - 0.375) / (draws.size + 0.25)))


def _r_hat(draws: Array) -> float:
    n = draws.shape[1]
    within = float(draws.var(axis=1, ddof=1).mean())
    between = float(draws.mean(axis=1).var(ddof=1))
    return float(np.sqrt((n - 1) / n + between / within)) if within > 0 else np.nan


def _ess(draws: Array) -> float:
    """Effective sample size by Geyer's initial monotone sequence, over all chains."""
    m, n = draws.shape
    if n < 4 or not np.ptp(draws) > 0:
        return float(m * n)
    covariance = np.array([_autocovariance(chain) for chain in draws])
    within = float(covariance[:, 0].mean()) * n / (n - 1)
    total = within * (n - 1) / n
    if m > 1:
        total += float(draws.mean(axis=1).var(ddof=1))
    rho = 1 - (within - covariance.mean(axis=0)) / total
    rho[0] = 1.0
    pairs = rho[: n - n % 2].reshape(-1, 2).sum(axis=1)
    positive = int(np.argmax(pairs <= 0)) if (pairs <= 0).any() else len(pairs)
    positive = max(positive, 1)
    decreasing = np.minimum.accumulate(pairs[:positive])
    tau = -1 + 2 * float(decreasing.sum())
    if positive < len(pairs):
        tau += max(float(rho[2 * positive]), 0.0)
    return float(m * n / max(tau, 1 / np.log10(m * n)))


def _autocovariance(chain: Array) -> Array:
    """Autocovariance (lag,) of one chain, divided by its length at each lag."""
    n = len(chain)
    spectrum = np.fft.rfft(chain - chain.mean(), 2 * n)
    return np.asarray(np.fft.irfft(spectrum * spectrum.conj())[:n] / n)
