"""Bessel functions of even order, compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import j0, j1

from gmdask.compiling import compiled

__all__ = ["even_bessel"]

Array = NDArray[np.float64]


@compiled
def _upward(z: float, low: float, high: float, out: Array) -> None:
    """J_2, J_4, … from J_0 and J_1, for arguments above the orders."""
    for order in range(1, 2 * len(out) - 2):
        low, high = high, 2 * order / z * high - low
        if order % 2 == 1:
            out[(order + 1) // 2] = high


@compiled
def _downward(z: float, out: Array) -> None:
    """J_0, J_2, J_4, … by Miller's algorithm, from an order at which they are negligible."""
    top = 2 * len(out)
    high, low, total = 0.0, 1e-300, 0.0
    for order in range(top + 2 * (int(np.sqrt(40.0 * top)) // 2) + 10, 0, -1):
        # low is J_order and high J_(order + 1), up to a common factor
        if order % 2 == 0:
            total += 2 * low
            if order // 2 < len(out):
                out[order // 2] = low
        high, low = low, 2 * order / z * low - high
        if abs(low) > 1e200:
            low, high, total = low * 1e-250, high * 1e-250, total * 1e-250
            out *= 1e-250
    out[0] = low
    out /= total + low


@compiled
def _even_orders(x: Array, first: Array, second: Array, out: Array) -> None:
    """Fill J_0, J_2, J_4, … (n, M) from J_0 and J_1, by the recurrence that is stable."""
    for i in range(len(x)):
        if x[i] > 2 * out.shape[1]:
            _upward(x[i], first[i], second[i], out[i])
        elif x[i] > 1e-8:
            _downward(x[i], out[i])
        out[i, 0] = first[i]


def even_bessel(x: Array, n_orders: int) -> Array:
    """Bessel functions J_0, J_2, … of the first kind.

    Parameters
    ----------
    x : array
        Arguments, which must not be negative.
    n_orders : int
        Number of even orders.

    Returns
    -------
    values : array of shape (n_orders, ...)
    """
    flat = np.ascontiguousarray(x.ravel())
    if n_orders == 1:
        return np.asarray(j0(flat)).reshape(1, *x.shape)
    out = np.zeros((len(flat), n_orders))
    _even_orders(flat, j0(flat), j1(flat), out)
    return np.ascontiguousarray(out.T).reshape(n_orders, *x.shape)
