"""Many one-dimensional minimisations of a convex likelihood, solved together.

Each pass evaluates all of them, since the number of passes determines the cost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Minima", "crossings", "minimise"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Function = Callable[[Array], tuple[Array, Array, Array]]

MAX_PASSES = 200
CLOSE = 1e-7  # accuracy, in expected errors
LEVEL = 1e-9  # accuracy, relative to the required rise of the statistic


class Minima(NamedTuple):
    """Minima of functions, each of shape (problem,).

    Attributes
    ----------
    x, stat, second : array
        Position, value and second derivative.
    success : boolean array
        Whether the slope vanishes.
    """

    x: Array
    stat: Array
    second: Array
    success: Mask


def minimise(function: Function, lower: Array, start: Array, moves: Mask) -> Minima:
    """Minimise convex functions above a lower limit.

    Newton steps on the slope, within a bracket that is halved if they fail: across jumps of the slope,
    and next to the limit, where the value may be infinite.

    Parameters
    ----------
    function : callable
        Takes x (problem, 1), and returns value, slope and second derivative of the same shape.
    lower : array of shape (problem,)
    start : array of shape (problem,)
        Start values above the limit.
    moves : boolean array of shape (problem,)
        Problems to solve; the others stay at the start.
    """
    low, high = lower.copy(), np.full(len(lower), np.inf)
    x, before = start.copy(), np.full(len(lower), np.inf)
    done = ~moves
    for _ in range(MAX_PASSES):
        stat, slope, second = (values[:, 0] for values in function(x[:, None]))
        scale = np.sqrt(np.where(second > 0, second, 1.0) / 2)
        low, high = np.where(slope < 0, x, low), np.where(slope > 0, x, high)
        step = np.where(second > 0, -slope / np.where(second > 0, second, 1.0), np.nan)
        small = np.abs(step) * scale < CLOSE
        narrow = (high - low) < np.maximum(CLOSE / scale, 1e-14 * np.abs(x))
        done = done | small | (slope == 0) | narrow
        if done.all():
            break
        target = _inside(x + step, low, high, np.abs(slope) > 0.5 * before, x - lower)
        before = np.abs(slope)
        x = np.where(done, x, target)
    return Minima(x, stat, second, moves & (small | narrow | (slope == 0)))


def _inside(target: Array, low: Array, high: Array, slow: Mask, width: Array) -> Array:
    """Limit targets to their brackets; halfway if they are outside, or convergence is too slow."""
    bounded = np.isfinite(high)
    outside = ~((target > low) & (target < high))
    half = np.where(bounded, 0.5 * (low + np.where(bounded, high, 0.0)), low + 2 * width)
    return np.where(outside | (slow & bounded), half, target)


def crossings(
    function: Function, minima: Minima, slope: Array, levels: Array, sides: Array, lower: Array
) -> Array:
    """Find where functions have risen by given levels, on one side of the minimum each.

    Parameters
    ----------
    function : callable
        As for `minimise`, for x of shape (problem, K).
    minima : `Minima`
    slope : array of shape (problem,)
        Slope at the minimum: positive if that is at a limit.
    levels, sides : array of shape (K,)
        Rise of the value, and +1 or -1.
    lower : array of shape (problem,)
        Lower limit.

    Returns
    -------
    x : array of shape (problem, K)
        NaN if the value does not rise that much above the limit.
    """
    best, wall = minima.x[:, None], np.where(sides < 0, lower[:, None], np.inf)
    curved = minima.second[:, None] > 0
    curvature = np.where(curved, minima.second[:, None], 1.0)
    rising = np.where(slope > 0, slope, 1.0)[:, None]
    width = np.where(curved, np.sqrt(2 * levels / curvature), levels / rising)
    inner, outer = np.broadcast_to(best, width.shape).copy(), wall.copy()
    x = best + sides * width
    x = np.where((sides < 0) & (x <= wall), 0.5 * (best + wall), x)
    done = ~np.isfinite(x)
    target = minima.stat[:, None] + levels
    found = np.zeros(x.shape, dtype=bool)
    for _ in range(MAX_PASSES):
        stat, first, _ = function(x)
        excess = stat - target
        inner, outer = np.where(excess < 0, x, inner), np.where(excess >= 0, x, outer)
        close = np.abs(excess) < LEVEL * levels + 1e-14 * np.abs(stat)
        narrow = np.abs(outer - inner) < CLOSE * width
        found = done & found | ~done & (close | narrow & (outer != wall))
        done = done | close | narrow
        if done.all():
            break
        step = x - excess / np.where(first == 0, np.nan, first)
        out = ~((sides * step > sides * inner) & (sides * step < sides * outer))
        bounded = np.isfinite(outer)
        half = np.where(
            bounded, 0.5 * (inner + np.where(bounded, outer, 0.0)), best + 2 * (x - best)
        )
        x = np.where(done, x, np.where(out, half, step))
    return np.where(found, x, np.nan)
