"""Algebra of the arrow-shaped Hessian of shared parameters and one dataset's local ones.

The Hessian of all parameters is block diagonal in the local parameters of the datasets, with
a border of shared ones. Local parameters are eliminated on the worker that holds their dataset.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gmdask.sums import times
from gmdask.symmetric import pseudo_inverse

__all__ = ["LocalBlock", "eliminate", "local_block", "local_covariance"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


class LocalBlock(NamedTuple):
    """Data from which the covariance of one dataset's local parameters is recovered.

    Attributes
    ----------
    inverse : array of shape (L, L)
        Inverse of the local Hessian; zero for parameters at a limit.
    slope : array of shape (L, S)
        ``H_LL⁻¹ H_LS``: the response of the local optimum to the shared parameters, with
        reversed sign.
    """

    inverse: Array
    slope: Array


def local_block(hessian: Array, local: Mask, active: Mask) -> LocalBlock:
    """Return the local part of one dataset's Hessian.

    Parameters
    ----------
    hessian : array of shape (P, P)
    local : boolean array of shape (P,)
        Which of the P parameters are local.
    active : boolean array of shape (P,)
        Whether a parameter is free to move: a local one at a limit is not.

    Notes
    -----
    It is NaN where the local Hessian is not finite.
    """
    n_local = int(np.count_nonzero(local))
    inside = active[local]
    inverse = np.zeros((n_local, n_local))
    if inside.any():
        free = np.flatnonzero(local & active)
        own = hessian[free[:, None], free]
        inverse[np.ix_(inside, inside)] = pseudo_inverse(own) if np.isfinite(own).all() else np.nan
    slope = times(inverse, hessian[np.ix_(local, ~local)])
    return LocalBlock(inverse, slope)


def eliminate(
    gradient: Array, hessian: Array, local: Mask, block: LocalBlock
) -> tuple[Array, Array]:
    """Gradient (S,) and Hessian (S, S) of the profile likelihood: the Schur complement."""
    shared = ~local
    profile = hessian[np.ix_(shared, shared)] - times(hessian[np.ix_(shared, local)], block.slope)
    return gradient[shared] - times(block.slope.T, gradient[local]), 0.5 * (profile + profile.T)


def local_covariance(block: LocalBlock, shared: Array) -> Array:
    """Covariance (L, L) of local parameters.

    Parameters
    ----------
    block : `LocalBlock`
        Block of the Hessian of the statistic -2 log L.
    shared : array of shape (S, S)
        Covariance of the shared parameters.
    """
    result: Array = 2 * block.inverse + times(times(block.slope, shared), block.slope.T)
    return result
