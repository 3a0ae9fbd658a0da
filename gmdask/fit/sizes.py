"""Sizes of sources that may be zero: one-sided errors, and upper limits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gmdask.evaluation.joint_likelihood import Objective, Pass
from gmdask.sums import times
from gmdask.symmetric import pseudo_inverse

__all__ = ["SizeErrors", "one_sided", "unresolved", "upper_limits"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

AT_ZERO = 0.02  # size, in its error by the curvature, that cannot be told from 0
FIRST = 0.05  # deg, of the first trial where the curvature tells nothing
RISE = 4.0  # of the statistic, at the upper limit: 95 % on one side and more
FAR = 1.5  # factor between trial and limit beyond which there is another trial
TRIALS = 4


@dataclass(frozen=True)
class SizeErrors:
    """Of sizes that cannot be told from 0.

    Attributes
    ----------
    error : array of shape (U,)
        Where the profile of the statistic has risen by 1.
    upper_limit : array of shape (U,)
        Where it has risen by 4.
    """

    error: Array
    upper_limit: Array


def one_sided(values: Array, errors: Array) -> Array:
    """Errors of sizes (S,) whose interval reaches zero, from those by the curvature at the minimum.

    The statistic is even in a size ``s``: around its minimum ``(s² - m²)² / (2 m e)²``, with the error
    ``e`` by the curvature at ``m``. Where ``e`` is larger than half of ``m``, the parabola in ``s`` says
    nothing, and the rise by 1 is upwards of ``m`` only.
    """
    one = np.sqrt(values**2 + 2 * np.abs(values) * errors) - np.abs(values)
    return np.where(errors > 0.5 * np.abs(values), one, errors)


def unresolved(objective: Objective, point: Pass) -> Mask:
    """Which shared parameters (S,) are sizes that cannot be told from 0 at a minimum."""
    assert point.observed is not None
    curvature = np.diag(point.observed)
    near = point.shared**2 * curvature < 2 * AT_ZERO**2
    return objective.sizes() & near


def upper_limits(objective: Objective, point: Pass, sizes: Mask) -> SizeErrors:
    """Find how far sizes may be from 0, all in the same few passes.

    Along a size ``s`` the profile of the statistic is ``a s² + b s⁴``; ``a`` is known from the curvature at
    0, ``b`` from the slope of the profile at a trial, which comes to be near the limit.

    Parameters
    ----------
    objective : `Objective`
    point : `Pass`
        A minimum, of order 2.
    sizes : boolean array of shape (S,)
    """
    assert point.observed is not None
    a = np.maximum(0.5 * np.diag(point.observed)[sizes], 0.0)
    first = FIRST * objective.degrees()[sizes]
    trial = np.minimum(np.sqrt(RISE / np.where(a > 0, a, 1e-300)), first)
    for _ in range(TRIALS):
        shared = point.shared.copy()
        shared[sizes] = trial
        slope = _profile_slope(objective(objective.with_shared(point.values, shared)), sizes)
        b = np.maximum((slope - 2 * a * trial) / (4 * trial**3), 0.0)
        limit = _where(a, b, RISE)
        limit = np.clip(limit, 0.1 * trial, 10 * trial)
        done = np.maximum(limit / trial, trial / limit) < FAR
        if done.all():
            break
        trial = np.where(done, trial, limit)
    return SizeErrors(np.minimum(_where(a, b, 1.0), limit), limit)


def _where(a: Array, b: Array, rise: float) -> Array:
    """Where ``a s² + b s⁴`` is as large as a rise; infinite where it never is."""
    root = a + np.sqrt(a**2 + 4 * b * rise)
    return np.sqrt(np.where(root > 0, 2 * rise / np.where(root > 0, root, 1.0), np.inf))


def _profile_slope(trial: Pass, sizes: Mask) -> Array:
    """Slope along sizes with all other shared parameters at their optimum, by the Gauss-Newton Hessian."""
    assert trial.gradient is not None
    assert trial.hessian is not None
    others = ~sizes & (np.diag(trial.hessian) > 0)
    scale = np.sqrt(np.diag(trial.hessian)[others])
    inner = trial.hessian[np.ix_(others, others)] / np.outer(scale, scale)
    follow = times(pseudo_inverse(inner, 1e-10), trial.gradient[others] / scale)
    across = trial.hessian[np.ix_(sizes, others)] / scale
    return np.asarray(trial.gradient[sizes] - times(across, follow))
