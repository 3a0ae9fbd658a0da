"""Minimisation over the local parameters of one dataset, where its data are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gmdask.likelihood.steps import amplitude_floor, moved, newton_step

__all__ = ["minimise_local"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

MAX_STEPS = 200
TOLERANCE = 1e-13  # of the expected decrease of the statistic
LAST = 1e-8  # expected decrease of a free step that needs no look at where it leads: the next would be its square
ROUNDING = 1e-12  # of the statistic
MAX_DAMPING = 1e12


def minimise_local(
    function: Callable[[Array], tuple[float, Array, Array]],
    start: Array,
    lower: Array,
    upper: Array,
    amplitudes: Mask | None = None,
) -> Array:
    """Damped Newton steps within limits, from `start`.

    Parameters
    ----------
    function : callable
        Takes values (L,), returns the statistic, its gradient (L,) and observed Hessian (L, L).
    start, lower, upper : array of shape (L,)
        Start, and limits that may be infinite.
    amplitudes : boolean array of shape (L,), optional
        Parameters that scale: while one is significant, a step lowers it by a factor of ten
        at most. One that is not positive starts from 1, since at zero, where bins hold
        counts that nothing reaches, the statistic has no slope.

    Returns
    -------
    values : array of shape (L,)
    """
    amplitudes = np.zeros(len(start), dtype=bool) if amplitudes is None else amplitudes
    values = np.clip(np.where(amplitudes & (start <= 0), 1.0, start), lower, upper)
    stat, gradient, hessian = function(values)
    damping = 0.0
    for _ in range(MAX_STEPS):
        floor = amplitude_floor(values, np.diag(hessian), amplitudes, lower)
        step = newton_step(values, gradient, hessian, damping, floor, upper)
        expected = float(-gradient @ step)
        if expected <= TOLERANCE or damping > MAX_DAMPING:
            break
        trial = moved(values, step, lower, upper)
        if expected <= LAST and damping == 0:
            return trial
        trial_stat, trial_gradient, trial_hessian = function(trial)
        slack = ROUNDING * (1 + abs(stat)) if expected < 1e-6 else 0.0
        if (
            np.isfinite(trial_stat)
            and trial_stat <= stat + slack
            and np.isfinite(trial_hessian).all()
        ):
            values, stat, gradient, hessian = trial, trial_stat, trial_gradient, trial_hessian
            damping = 0.0 if damping < 1e-3 else damping * 0.1
        else:
            damping = max(damping * 10, 1e-2)
    return values
