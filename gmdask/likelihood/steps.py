"""Steps to the minimum of a quadratic model within limits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["amplitude_floor", "at_limit", "newton_step"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

FLAT = 1e-10  # eigenvalue, of the Hessian scaled to a unit diagonal, that counts as none
SIGNIFICANCE = 2.0  # in expected errors


def at_limit(values: Array, gradient: Array, lower: Array, upper: Array) -> Mask:
    """Parameters at a limit that the gradient pushes them against."""
    low = (values <= lower) & (gradient > 0)
    high = (values >= upper) & (gradient < 0)
    return low | high


def newton_step(
    x: Array, gradient: Array, hessian: Array, damping: float, lower: Array, upper: Array, held: Mask | None = None
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
        Zero along parameters that nothing depends on. Parameters that reach a limit
        stay there, and the step along the others is found anew.
    """
    scale = np.sqrt(np.abs(np.diag(hessian)))
    fixed = (scale == 0) | at_limit(x, gradient, lower, upper)
    if held is not None:
        fixed |= held
    scale = np.where(scale == 0, 1.0, scale)
    scaled, slope = hessian / np.outer(scale, scale), gradient / scale
    step = np.zeros_like(x)
    for _ in range(len(x)):
        free = ~fixed
        if not free.any():
            break
        right = -(slope + scaled @ (step * scale * fixed))[free]
        step[free] = _solve(scaled[np.ix_(free, free)], right, damping) / scale[free]
        beyond = free & ((x + step < lower) | (x + step > upper))
        if not beyond.any():
            break
        step = np.where(beyond, np.clip(x + step, lower, upper) - x, step)
        fixed |= beyond
    return step


def _solve(matrix: Array, right: Array, damping: float) -> Array:
    values, vectors = np.linalg.eigh(matrix)
    stiffness = np.abs(values) + damping
    usable = stiffness > FLAT
    result: Array = vectors @ np.where(usable, (vectors.T @ right) / np.where(usable, stiffness, 1.0), 0.0)
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
