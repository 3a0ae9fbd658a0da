"""Steps to the minimum of a quadratic model within limits."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from gmdask.sums import times
from gmdask.symmetric import cholesky, eigh, from_eigen, solve_factored

__all__ = ["at_limit", "decrease", "linear_to_limit", "moved", "newton_step"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

FLAT = 1e-10  # eigenvalue, of the Hessian scaled to unit diagonal, that counts as zero
STIFF = 10.0 ** np.arange(0, 13, 3)  # added curvature, in units of that of one parameter alone
FIRST = 10  # iterations in which all parameters may leave limits together; later, one at a time


def at_limit(values: Array, gradient: Array, lower: Array, upper: Array) -> Mask:
    """Parameters at a limit against which the gradient pushes them."""
    low = (values <= lower) & (gradient > 0)
    high = (values >= upper) & (gradient < 0)
    return low | high


def moved(x: Array, step: Array, lower: Array, upper: Array) -> Array:
    """Return the values after a step; those that reach a limit are set exactly to it."""
    at_upper = np.where(step >= upper - x, upper, x + step)
    return np.where(step <= lower - x, lower, at_upper)


def decrease(gradient: Array, hessian: Array, step: Array) -> float:
    """Return the decrease of the quadratic model by a step."""
    return float(-(times(gradient, step) + 0.5 * times(times(step, hessian), step)))


def linear_to_limit(
    x: Array, gradient: Array, hessian: Array, amplitudes: Mask | bool, lower: Array
) -> tuple[Array, Array]:
    """Return a Hessian and lower limits with which amplitudes decrease along which the statistic is linear.

    If no bin that an amplitude contributes to has counts, Newton's method would not move it. With
    the curvature that is set here, a step leads to its lower limit, or to zero if it has none.

    Parameters
    ----------
    x, gradient : array of shape (S,)
    hessian : array of shape (S, S)
    amplitudes : boolean array of shape (S,), or bool
        Parameters that scale a positive prediction.
    lower : array of shape (S,)
        Lower limits of the parameters.
    """
    lowest = np.where(np.isfinite(lower), lower, 0.0)
    linear = amplitudes & (np.diag(hessian) == 0) & (gradient > 0) & (x > lowest)
    if not linear.any():
        return hessian, lower
    beyond = 2 * np.where(
        linear, x - lowest, 1.0
    )  # curvature for a step that ends exactly at the limit
    curved = hessian + np.diag(np.where(linear, gradient / beyond, 0.0))
    return curved, np.where(linear, lowest, lower)


def newton_step(
    x: Array,
    gradient: Array,
    hessian: Array,
    lower: Array,
    upper: Array,
    held: Mask | None = None,
) -> Array:
    """Step to the minimum of a quadratic model within limits.

    Parameters
    ----------
    x, gradient : array of shape (S,)
    hessian : array of shape (S, S)
        If it is not positive definite along the parameters that may move at first, its eigenvalues are
        replaced by their absolute values, so that the step goes downhill.
    lower, upper : array of shape (S,)
    held : boolean array of shape (S,), optional
        Parameters that are fixed.

    Returns
    -------
    step : array of shape (S,)
        Zero along parameters without any effect.

    Notes
    -----
    A projected Newton method with an active set: parameters at a limit against which the slope pushes them
    are fixed, and the others move to the minimum of their face. Those that meet a limit on the way stay
    there if that lowers the model enough; otherwise only the first one does. At the minimum of a face,
    parameters that the slope pulls away from their limit are released.
    """
    if held is None and 1 <= len(x) <= 2:
        inside = _plain_step(x, gradient, hessian, lower, upper)
        if inside is not None:
            return inside
    scale = np.sqrt(np.abs(np.diag(hessian)))
    never = scale == 0 if held is None else (scale == 0) | held
    scale = np.where(scale == 0, 1.0, scale)
    low, high, slope = (lower - x) * scale, (upper - x) * scale, gradient / scale
    step, pull = np.zeros_like(x), slope
    fixed = never | at_limit(step, pull, low, high)
    matrix = _positive(hessian / np.outer(scale, scale), fixed)
    for number in range(10 * len(x) + 10):
        free = ~fixed
        move = np.zeros_like(x)
        if free.any():
            move[free] = _solve(matrix[np.ix_(free, free)], -pull[free])
        target = step + move
        projected = np.clip(target, low, high)
        met = projected != target
        if met.any():
            change = projected - step
            if -decrease(pull, matrix, change) >= 0.01 * times(pull, move):
                projected, met = _to_first_limit(step, move, projected, met)
        fixed, step = fixed | met, projected
        pull = slope + times(matrix, step)
        if met.any():
            continue
        away = fixed & ~never & ~at_limit(step, pull, low, high)
        if not away.any():
            break
        if number > FIRST:
            away &= np.abs(pull) == np.abs(np.where(away, pull, 0.0)).max()
        fixed = fixed & ~away
    inside = np.where(step <= low, lower - x, step / scale)
    return np.clip(np.where(step >= high, upper - x, inside), lower - x, upper - x)


def _to_first_limit(step: Array, move: Array, projected: Array, met: Mask) -> tuple[Array, Mask]:
    """Return the end of a move at the first limit that is met, and the parameter that met it."""
    fraction = np.where(met, (projected - step) / np.where(met, move, 1.0), np.inf)
    first = int(np.argmin(fraction))
    target: Array = step + max(fraction[first], 0.0) * move
    target[first] = projected[first]
    return target, np.arange(len(step)) == first


def _plain_step(
    x: Array, gradient: Array, hessian: Array, lower: Array, upper: Array
) -> Array | None:
    """Step of one or two parameters if the Hessian is positive and no limit is met, else None."""
    curvature = [float(hessian[i, i]) for i in range(len(x))]
    if not all(c > 0 for c in curvature):
        return None
    scale = [math.sqrt(c) for c in curvature]
    slope = [float(g) / s for g, s in zip(gradient, scale, strict=True)]
    if len(x) == 1:
        step = [-slope[0] / scale[0]]
    else:
        mixed = float(hessian[0, 1]) / (scale[0] * scale[1])
        if not abs(mixed) < 1 - FLAT:
            return None
        determinant = (1.0 - mixed) * (1.0 + mixed)
        step = [
            (mixed * slope[1] - slope[0]) / determinant / scale[0],
            (mixed * slope[0] - slope[1]) / determinant / scale[1],
        ]
    result, target = np.array(step), x + step
    return result if bool(((lower < target) & (target < upper)).all()) else None


def _positive(matrix: Array, fixed: Mask) -> Array:
    """Make a matrix positive: stiffer along fixed parameters if that suffices, else by absolute eigenvalues."""
    shift = FLAT * np.eye(len(matrix))
    if cholesky(matrix + shift) is not None:
        return matrix
    free = np.flatnonzero(~fixed)
    if len(free) < len(matrix) and cholesky((matrix + shift)[np.ix_(free, free)]) is not None:
        for stiffness in STIFF:
            stiff: Array = matrix + np.diag(np.where(fixed, stiffness, 0.0))
            if cholesky(stiff + shift) is not None:
                return stiff
    values, vectors = eigh(matrix)
    return from_eigen(np.abs(values), vectors)


def _solve(matrix: Array, right: Array) -> Array:
    """Solve a linear system, without the directions along which the matrix is flat."""
    factor = cholesky(matrix)
    if factor is not None and np.diag(factor).min() ** 2 > FLAT:
        return solve_factored(factor, right)
    values, vectors = eigh(matrix)
    usable = values > FLAT
    along = np.where(usable, times(vectors.T, right) / np.where(usable, values, 1.0), 0.0)
    return times(vectors, along)
