"""Sizes of sources that may be zero: one-sided errors, and upper limits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gmdask.evaluation.joint_likelihood import Objective
from gmdask.evaluation.passes import Pass, SecondOrderPass
from gmdask.sums import times
from gmdask.symmetric import pseudo_inverse

__all__ = ["SizeErrors", "at_zero", "compatible", "one_sided", "upper_limits"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

AT_ZERO = 0.02  # a size below this fraction of its error counts as 0
FIRST = 0.05  # deg; first trial value if the curvature gives none
RISE = 4.0  # of the statistic at the upper limit: at least 95 % one-sided
FAR = 1.1  # a trial that differs from the limit by more than this factor is repeated
TRIALS = 4


@dataclass(frozen=True)
class SizeErrors:
    """Errors of sizes that are compatible with 0; infinite if the statistic does not rise enough.

    Attributes
    ----------
    error : array of shape (U,)
        Where the profile of the statistic has risen by 1, above its minimum.
    upper_limit : array of shape (U,)
        Where it has risen by 4.
    """

    error: Array
    upper_limit: Array


def one_sided(values: Array, errors: Array) -> Array:
    """Errors of sizes (S,) whose interval reaches zero, from those from the curvature at the minimum.

    The statistic is even in a size ``s``: around its minimum it is ``(s² - m²)² / (2 m e)²``, with the error
    ``e`` from the curvature at ``m``. If ``e`` is larger than half of ``m``, the parabola in ``s`` is not
    valid, and the statistic rises by 1 only above ``m``.
    """
    one = np.sqrt(values**2 + 2 * np.abs(values) * errors) - np.abs(values)
    return np.where(errors > 0.5 * np.abs(values), one, errors)


def at_zero(objective: Objective, point: SecondOrderPass) -> Mask:
    """Shared parameters (S,) that are sizes compatible with exactly 0, and affect the statistic."""
    curvature = np.diag(point.observed)
    even = (
        objective.parameters.even
        & (point.shared**2 * curvature < 2 * AT_ZERO**2)
        & (curvature != 0)
    )
    other = ~objective.parameters.even & (point.shared <= 0) & (point.gradient > 0)
    return np.asarray(objective.parameters.sizes & (even | other))


def compatible(objective: Objective, point: Pass, errors: Array) -> Mask:
    """Shared parameters (S,) that are sizes above 0 whose interval of one error includes 0.

    Parameters
    ----------
    objective : `Objective`
    point : `Pass`
    errors : array of shape (S,)
        Errors from the curvature; 0 for none.
    """
    reach = np.where(objective.parameters.even, 2.0, 1.0) * errors
    return np.asarray(objective.parameters.sizes & (point.shared > 0) & (reach > point.shared))


def upper_limits(
    objective: Objective, point: SecondOrderPass, sizes: Mask, errors: Array
) -> SizeErrors:
    """Find upper limits of sizes, all in the same few passes; no two of them belong to one shape.

    The profile of the statistic is a parabola ``a (t - m) + b (t - m)²`` in the square ``t`` of an even
    size, or in another size itself. One of the two is known at the minimum ``m``: the slope for a
    minimum at 0, otherwise the curvature. ``b`` then follows from the slope of the profile at a trial
    value, which is moved close to the limit.

    Parameters
    ----------
    objective : `Objective`
    point : `SecondOrderPass`
        A minimum.
    sizes : boolean array of shape (S,)
    errors : array of shape (S,)
        Errors from the curvature, for sizes that are not at 0.
    """
    even, least = objective.parameters.even[sizes], point.shared[sizes]
    inside = errors[sizes] > 0
    least = np.where(inside, least, 0.0)
    slope = np.where(even, 0.5 * np.diag(point.observed)[sizes], point.gradient[sizes])
    a = np.where(inside, 0.0, np.maximum(slope, 0.0))
    width = np.where(even, 2 * least, 1.0) * errors[sizes]
    b = np.where(inside, 1 / np.where(inside, width, 1.0) ** 2, 0.0)
    first = FIRST * objective.parameters.degrees()[sizes]
    trial = np.minimum(_where(a, b, RISE, least, even), 3 * least + first)
    for _ in range(TRIALS):
        shared = point.shared.copy()
        shared[sizes] = trial
        found = _profile_slope(
            objective(objective.parameters.with_shared(point.values, shared)), sizes
        )
        found = found / np.where(even, 2 * trial, 1.0)
        away = np.where(even, trial**2 - least**2, trial - least)
        b = np.maximum((found - a) / (2 * away), 0.0)
        nothing = (a == 0) & (b == 0)
        limit = np.clip(_where(a, b, RISE, least, even), 0.1 * trial, 10 * trial)
        done = nothing | (np.maximum(limit / trial, trial / limit) < FAR)
        if done.all():
            break
        trial = np.where(done, trial, limit)
    error = np.minimum(_where(a, b, 1.0, least, even), limit) - least
    return SizeErrors(np.where(nothing, np.inf, error), np.where(nothing, np.inf, limit))


def _where(a: Array, b: Array, rise: float, least: Array, even: Mask) -> Array:
    """Size at which ``a t + b t²`` above the minimum equals a rise; infinite if it never does."""
    root = a + np.sqrt(a**2 + 4 * b * rise)
    t = np.where(root > 0, 2 * rise / np.where(root > 0, root, 1.0), np.inf)
    return np.where(even, np.sqrt(least**2 + t), least + t)


def _profile_slope(trial: Pass, sizes: Mask) -> Array:
    """Slope along sizes with all other shared parameters at their optimum, from the Gauss-Newton Hessian."""
    others = ~sizes & (np.diag(trial.hessian) > 0)
    scale = np.sqrt(np.diag(trial.hessian)[others])
    inner = trial.hessian[np.ix_(others, others)] / np.outer(scale, scale)
    follow = times(pseudo_inverse(inner, 1e-10), trial.gradient[others] / scale)
    across = trial.hessian[np.ix_(sizes, others)] / scale
    return np.asarray(trial.gradient[sizes] - times(across, follow))
