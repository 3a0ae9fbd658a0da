"""Minimisation over one or a few parameters whose evaluation is inexpensive."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gmdask.optimize.coordinates import Coordinates, Kinds
from gmdask.optimize.quadratic import decrease, linear_to_limit, moved, newton_step
from gmdask.optimize.status import Tolerances

__all__ = ["minimise_bounded"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

TOLERANCES = Tolerances(edm=1e-13, rounding=1e-12)
LAST = 1e-8  # a free step with a smaller expected decrease is not evaluated: the next would be its square
FAR = 1e-2  # for a larger expected decrease, amplitudes step in their cube root
MAX_STEPS = 200
NARROW = 1e-12  # radius at which a step is lost in rounding


def minimise_bounded(
    function: Callable[[Array], tuple[float, Array, Array]],
    start: Array,
    lower: Array,
    upper: Array,
    amplitudes: Mask | None = None,
) -> Array:
    """Minimise by Newton steps within limits and a trust region.

    Parameters
    ----------
    function : callable
        Takes values (L,), and returns the statistic, its gradient (L,) and observed Hessian (L, L).
    start, lower, upper : array of shape (L,)
        Start, and limits that may be infinite.
    amplitudes : boolean array of shape (L,), optional
        Parameters that scale a positive prediction; see `Problem`. One that is not positive starts
        at 1, since at zero, in bins with counts but no prediction, the statistic has no slope.

    Returns
    -------
    values : array of shape (L,)
    """
    amplitudes = np.zeros(len(start), dtype=bool) if amplitudes is None else amplitudes
    values = np.clip(np.where(amplitudes & (start <= 0), 1.0, start), lower, upper)
    stat, gradient, hessian = function(values)
    radius = np.inf
    for _ in range(MAX_STEPS):
        hessian, _ = linear_to_limit(values, gradient, hessian, amplitudes, lower)
        step = newton_step(values, gradient, hessian, lower, upper)
        expected = decrease(gradient, hessian, step)
        if expected <= TOLERANCES.edm:
            break
        trial = moved(values, step, lower, upper)
        if expected <= LAST and radius == np.inf:
            return trial
        if expected > FAR or radius < np.inf:
            step, trial, expected = _bounded(
                values, gradient, hessian, radius, lower, upper, amplitudes
            )
        found, slope, curvature = function(trial)
        slack = TOLERANCES.rounding * (1 + abs(stat)) if expected < 1e-6 else 0.0
        size = float(np.max(np.abs(step) * np.sqrt(np.abs(np.diag(hessian)))))
        if np.isfinite(found) and found <= stat + slack and np.isfinite(curvature).all():
            gain = stat - found + slack
            values, stat, gradient, hessian = trial, found, slope, curvature
            if gain > TOLERANCES.good * expected:
                radius = np.inf
            elif gain < TOLERANCES.poor * expected:
                radius = 0.5 * size
        else:
            radius = TOLERANCES.shrink * size
            if radius < NARROW:
                break
    return values


def _bounded(
    values: Array,
    gradient: Array,
    hessian: Array,
    radius: float,
    lower: Array,
    upper: Array,
    amplitudes: Mask,
) -> tuple[Array, Array, float]:
    """Step within a radius, for amplitudes in the cube root: step, values after it, and expected decrease."""
    curvature = np.diag(hessian)
    nothing = np.zeros(len(values), dtype=bool)
    roots = Coordinates(values, curvature, Kinds(amplitudes), lower, upper, nothing)
    curved = hessian + np.diag(roots.amplitudes_bend(gradient, curvature))
    width = radius / np.sqrt(np.where(curvature == 0, 1.0, np.abs(curvature)))
    low, high = roots.limits(lower, upper)
    low, high = np.maximum(low, values - width), np.minimum(high, values + width)
    step = newton_step(values, gradient, curved, low, high)
    return step, roots.values(step), decrease(gradient, curved, step)
