"""Minimisation over the local parameters of one dataset, where its data are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["at_limit", "minimise_local"]

Array = NDArray[np.float64]

MAX_STEPS = 60
TOLERANCE = 1e-13  # of the expected decrease of the statistic
ROUNDING = 1e-11


def at_limit(values: Array, gradient: Array, lower: Array, upper: Array) -> NDArray[np.bool_]:
    """Parameters at a limit that the gradient pushes them against."""
    low = (values <= lower) & (gradient > 0)
    high = (values >= upper) & (gradient < 0)
    return low | high


def minimise_local(
    function: Callable[[Array], tuple[float, Array, Array]], start: Array, lower: Array, upper: Array
) -> Array:
    """Damped Newton steps within limits, from `start`.

    Parameters
    ----------
    function : callable
        Takes values (L,), returns the statistic, its gradient (L,) and observed Hessian (L, L).
    start, lower, upper : array of shape (L,)
        Start, and limits that may be infinite.

    Returns
    -------
    values : array of shape (L,)
    """
    values = np.clip(start, lower, upper)
    stat, gradient, hessian = function(values)
    damping = 0.0
    for _ in range(MAX_STEPS):
        free = ~at_limit(values, gradient, lower, upper)
        if not free.any():
            break
        step = np.zeros_like(values)
        step[free] = _newton_step(gradient[free], hessian[np.ix_(free, free)], damping)
        trial = np.clip(values + step, lower, upper)
        expected = -gradient @ (trial - values)
        if not expected > TOLERANCE:
            break
        trial_stat, trial_gradient, trial_hessian = function(trial)
        if trial_stat <= stat + ROUNDING * (1 + abs(stat)) * (expected < 1e-6):
            values, stat, gradient, hessian = trial, trial_stat, trial_gradient, trial_hessian
            damping = 0.0 if damping < 1e-3 else damping * 0.1
        elif damping > 1e12:
            break
        else:
            damping = max(damping * 10, 1e-2)
    return values


def _newton_step(gradient: Array, hessian: Array, damping: float) -> Array:
    """Newton step in a metric made positive: eigenvalues by their size, plus damping."""
    scale = np.sqrt(np.abs(np.diag(hessian)))
    scale[scale == 0] = 1.0
    eigenvalues, vectors = np.linalg.eigh(hessian / np.outer(scale, scale))
    eigenvalues = np.maximum(np.abs(eigenvalues), 1e-12) + damping
    step: Array = -(vectors @ ((vectors.T @ (gradient / scale)) / eigenvalues)) / scale
    return step
