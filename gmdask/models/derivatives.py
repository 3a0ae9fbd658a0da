"""Numerical derivatives of inexpensive functions with respect to finite differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["estimated_scales", "first_derivatives", "natural_scales", "second_derivatives"]

Array = NDArray[np.float64]
_STEP = 3e-3
_CENTRAL: tuple[tuple[int, ...], tuple[float, ...]] = (-2, -1, 1, 2), (1.0, -8.0, 8.0, -1.0)
_FORWARD = (0, 1, 2, 3, 4), (-25.0, 48.0, -36.0, 16.0, -3.0)


def natural_scales(y: Array, dy: Array, values: Array) -> Array:
    """Estimate the change of each parameter over which a function changes by about its own size.

    Parameters
    ----------
    y : ndarray [...]
        Function.
    dy : ndarray [P, ...]
        Its gradient.
    values : ndarray [P]
        Parameter values; their size is used where the gradient vanishes.

    Returns
    -------
    ndarray [P]
    """
    if not len(dy):
        return np.zeros(0)
    size = np.max(np.abs(y), initial=0.0)
    slopes = np.max(np.abs(dy.reshape(len(dy), -1)), axis=1, initial=0.0)
    fallback = np.maximum(np.abs(values), 1e-2)
    usable = (slopes > 0) & (size > 0) & np.isfinite(slopes) & np.isfinite(size)
    scales = np.where(usable, size / np.where(usable, slopes, 1.0), fallback)
    return np.asarray(np.minimum(scales, np.maximum(fallback, 1.0)))


def estimated_scales(
    function: Callable[[Array], Array], values: Array, at: Array, usual: Array
) -> Array:
    """Estimate the change of each parameter over which a function changes by about its own size.

    Parameters
    ----------
    function : callable
        Takes values [P] and returns an array [...].
    values : ndarray [P]
        Point at which to estimate.
    at : ndarray [...]
        Value of the function there.
    usual : ndarray [P]
        Typical size of each parameter, used if it is zero.

    Returns
    -------
    ndarray [P]
    """
    scales = np.where(values != 0, np.abs(values), np.where(usual > 0, usual, 1.0))
    size = float(np.max(np.abs(at), initial=0.0))
    for k, scale in enumerate(scales.tolist()):
        step = np.zeros_like(values)
        step[k] = (values[k] + 1e-6 * scale) - values[k]
        change = np.abs(function(values + step) - function(values - step))
        slope = float(np.max(change, initial=0.0)) / (2 * step[k])
        if slope > 0 and size > 0 and np.isfinite(slope):
            scales[k] = min(scale, max(size / slope, 1e-5 * scale))
    return np.asarray(scales)


def second_derivatives(gradient: Callable[[Array], Array], values: Array, scales: Array) -> Array:
    """Hessian from fourth-order central differences of a gradient.

    Accurate to about 1e-10 of the largest element, if the gradient is accurate to 1e-14 and
    ``scales`` are those over which the function changes by about its own size.

    Parameters
    ----------
    gradient : callable
        Takes values [P] and returns the gradient [P, ...].
    values : ndarray [P]
        Point at which to differentiate.
    scales : ndarray [P]
        Positive; the steps are 3e-3 of these.

    Returns
    -------
    ndarray [P, P, ...]
        Symmetric in its first two axes.
    """
    if not len(values):
        return np.zeros((0, 0, *np.shape(gradient(values))[1:]))
    rows = []
    for k, scale in enumerate(scales):
        step = np.zeros_like(values)
        step[k] = (values[k] + _STEP * scale) - values[k]
        near = gradient(values + step) - gradient(values - step)
        far = gradient(values + 2 * step) - gradient(values - 2 * step)
        rows.append((8 * near - far) / (12 * step[k]))
    hessian = np.stack(rows)
    return np.asarray(0.5 * (hessian + hessian.swapaxes(0, 1)))


def first_derivatives(
    function: Callable[[Array], Array], values: Array, scales: Array, low: Array, high: Array
) -> Array:
    """Gradient from fourth-order differences, one-sided where a limit is too close.

    Parameters
    ----------
    function : callable
        Takes values [P] and returns an array [...].
    values : ndarray [P]
        Point at which to differentiate.
    scales : ndarray [P]
        Positive; the steps are 3e-3 of these.
    low, high : ndarray [P]
        Limits that are not crossed; NaN for none.

    Returns
    -------
    ndarray [P, ...]
    """
    rows = []
    for k, scale in enumerate(scales):
        step = (values[k] + _STEP * scale) - values[k]
        below, above = values[k] - 2 * step < low[k], values[k] + 2 * step > high[k]
        factors, weights = _CENTRAL
        if below != above:
            factors, weights = _FORWARD
            step = step if below else -step
        total = np.zeros(())
        for factor, weight in zip(factors, weights, strict=True):
            shifted = values.copy()
            shifted[k] += factor * step
            total = total + weight * np.asarray(function(shifted), dtype=float)
        rows.append(total / (12 * step))
    return np.stack(rows) if rows else np.zeros((0, *np.shape(function(values))))
