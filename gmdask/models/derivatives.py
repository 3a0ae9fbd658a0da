"""Second derivatives of cheap functions from their analytic first ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["natural_scales", "second_derivatives"]

Array = NDArray[np.float64]
_STEP = 3e-3


def natural_scales(y: Array, dy: Array, values: Array) -> Array:
    """Change of each parameter over which a function changes by about itself.

    Parameters
    ----------
    y : ndarray [...]
        Function.
    dy : ndarray [P, ...]
        Its gradient.
    values : ndarray [P]
        Parameters, whose size is taken where the gradient vanishes.

    Returns
    -------
    ndarray [P]
    """
    size = np.max(np.abs(y), initial=0.0)
    slopes = np.max(np.abs(dy.reshape(len(dy), -1)), axis=1, initial=0.0)
    fallback = np.maximum(np.abs(values), 1e-2)
    usable = (slopes > 0) & (size > 0) & np.isfinite(slopes) & np.isfinite(size)
    scales = np.where(usable, size / np.where(usable, slopes, 1.0), fallback)
    return np.asarray(np.minimum(scales, np.maximum(fallback, 1.0)))


def second_derivatives(gradient: Callable[[Array], Array], values: Array, scales: Array) -> Array:
    """Hessian from fourth-order central differences of a gradient.

    Good to about 1e-10 of the largest element where the gradient is good to 1e-14 and
    ``scales`` are those over which the function changes by about itself.

    Parameters
    ----------
    gradient : callable
        Takes values [P], returns the gradient [P, ...].
    values : ndarray [P]
        Where.
    scales : ndarray [P]
        Positive; steps are 3e-3 of them.

    Returns
    -------
    ndarray [P, P, ...]
        Symmetric in its first two axes.
    """
    rows = []
    for k, scale in enumerate(scales):
        step = np.zeros_like(values)
        step[k] = (values[k] + _STEP * scale) - values[k]
        near = gradient(values + step) - gradient(values - step)
        far = gradient(values + 2 * step) - gradient(values - 2 * step)
        rows.append((8 * near - far) / (12 * step[k]))
    hessian = np.stack(rows)
    return np.asarray(0.5 * (hessian + hessian.swapaxes(0, 1)))
