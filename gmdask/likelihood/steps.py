"""Steps to the minimum of a quadratic model within limits."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["amplitude_floor", "at_limit", "moved", "newton_step"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

FLAT = 1e-10  # eigenvalue, of the Hessian scaled to a unit diagonal, that counts as none
SIGNIFICANCE = 0.1  # in expected errors: below it, an amplitude may go through zero


def at_limit(values: Array, gradient: Array, lower: Array, upper: Array) -> Mask:
    """Parameters at a limit that the gradient pushes them against."""
    low = (values <= lower) & (gradient > 0)
    high = (values >= upper) & (gradient < 0)
    return low | high


def newton_step(
    x: Array,
    gradient: Array,
    hessian: Array,
    damping: float,
    lower: Array,
    upper: Array,
    held: Mask | None = None,
) -> Array:
    """Step to the minimum of a damped quadratic model within limits.

    Parameters
    ----------
    x, gradient : array of shape (S,)
    hessian : array of shape (S, S)
        Where it is not positive, its eigenvalues are taken by their size, so that the step goes
        down whatever it is.
    damping : float
        Added to the Hessian scaled to a unit diagonal.
    lower, upper : array of shape (S,)
    held : boolean array of shape (S,), optional
        Parameters not to move.

    Returns
    -------
    step : array of shape (S,)
        Zero along parameters that nothing depends on.

    Notes
    -----
    An active set method: the step goes towards the minimum of the free parameters until one
    meets a limit, which holds that one while the others go on; at the end a parameter is
    let go of a limit the slope pulls it away from. Every leg lowers the quadratic model.
    """
    if held is None and 1 <= len(x) <= 2:
        inside = _plain_step(x, gradient, hessian, damping, lower, upper)
        if inside is not None:
            return inside
    scale = np.sqrt(np.abs(np.diag(hessian)))
    never = scale == 0 if held is None else (scale == 0) | held
    scale = np.where(scale == 0, 1.0, scale)
    matrix = _positive(hessian / np.outer(scale, scale), damping)
    low, high = (lower - x) * scale, (upper - x) * scale
    step = np.zeros_like(x)
    slope = gradient / scale
    fixed = never | at_limit(step, slope, low, high)
    for _ in range(10 * len(x) + 1):
        free = ~fixed
        target = step.copy()
        if free.any():
            right = -(slope + matrix[:, fixed] @ step[fixed])[free]
            target[free] = _solve(matrix[np.ix_(free, free)], right)
        met = free & ((target < low) | (target > high))
        if met.any():
            limit = np.where(target < low, low, high)
            share = np.where(met, (limit - step) / np.where(met, target - step, 1.0), np.inf)
            first = int(np.argmin(share))
            step = step + min(max(share[first], 0.0), 1.0) * (target - step)
            step[first] = limit[first]
            fixed[first] = True
            continue
        step = target
        pull = slope + matrix @ step
        away = fixed & ~never & ~at_limit(step, pull, low, high)
        if not away.any():
            break
        fixed[int(np.argmax(np.where(away, np.abs(pull), -1.0)))] = False
    return np.clip(step / scale, lower - x, upper - x)


def _plain_step(
    x: Array, gradient: Array, hessian: Array, damping: float, lower: Array, upper: Array
) -> Array | None:
    """Step of one or two parameters where the Hessian is positive and no limit is met, else None."""
    curvature = [float(hessian[i, i]) for i in range(len(x))]
    if not all(c > 0 for c in curvature):
        return None
    scale = [math.sqrt(c) for c in curvature]
    slope = [float(g) / s for g, s in zip(gradient, scale, strict=True)]
    own = 1.0 + damping
    if len(x) == 1:
        step = [-slope[0] / own / scale[0]]
    else:
        mixed = float(hessian[0, 1]) / (scale[0] * scale[1])
        if not abs(mixed) < 1 - FLAT:
            return None
        determinant = (own - mixed) * (own + mixed)
        step = [
            (mixed * slope[1] - own * slope[0]) / determinant / scale[0],
            (mixed * slope[0] - own * slope[1]) / determinant / scale[1],
        ]
    result, target = np.array(step), x + step
    return result if bool(((lower < target) & (target < upper)).all()) else None


def moved(x: Array, step: Array, lower: Array, upper: Array) -> Array:
    """Values after a step; those that reach a limit are exactly there."""
    at_upper = np.where(step >= upper - x, upper, x + step)
    return np.where(step <= lower - x, lower, at_upper)


def _positive(matrix: Array, damping: float) -> Array:
    """Matrix with its eigenvalues by their size, plus damping."""
    values, vectors = np.linalg.eigh(matrix)
    if values.min(initial=0.0) < 0:
        matrix = (vectors * np.abs(values)) @ vectors.T
    return matrix + damping * np.eye(len(matrix))


def _solve(matrix: Array, right: Array) -> Array:
    """Solve, leaving out directions along which the matrix is flat."""
    values, vectors = np.linalg.eigh(matrix)
    usable = values > FLAT
    result: Array = vectors @ np.where(
        usable, (vectors.T @ right) / np.where(usable, values, 1.0), 0.0
    )
    return result


def amplitude_floor(x: Array, curvature: Array, amplitudes: Mask, lower: Array) -> Array:
    """Lower limits (S,) for one step: a significant amplitude falls by a factor of ten at most.

    Parameters
    ----------
    x, curvature : array of shape (S,)
        Values, and the diagonal of the Hessian of the statistic.
    amplitudes : boolean array of shape (S,)
        Parameters that scale.
    lower : array of shape (S,)
        Their limits.
    """
    significant = amplitudes & (x > 0) & (x * x * curvature > 2 * SIGNIFICANCE**2)
    return np.where(significant, np.maximum(lower, 0.1 * x), lower)
