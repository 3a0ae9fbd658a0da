"""A spectrum as an instrument sees it whose energies are wrong by a factor: ``f(E / s) / s``.

For several factors, s is their product. Derivatives by ``u = ln s`` are central differences of fourth order of
the spectrum alone, with relative errors of 1e-9.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["Function", "second_shifted", "shifted"]

Array = NDArray[np.float64]
Function = Callable[[float], Array]

STEP, LONG_STEP = 1e-3, 3e-3  # of u, for first and second derivatives


def shifted(
    value: Function, gradient: Function, scales: Array, *, derivatives: bool
) -> tuple[Array, Array | None]:
    """Return a spectrum (T,) with shifted energies, and its derivatives (P + Q, T) if asked.

    Parameters
    ----------
    value, gradient : callable
        Take u, and return the shifted spectrum (T,) or its derivatives (P, T) by its own parameters.
    scales : array of shape (Q,)
        Factors of the energy.
    derivatives : bool
    """
    u = _logarithm(scales)
    if not derivatives:
        return value(u), None
    return value(u), np.concatenate([gradient(u), _slope(value, u) / scales[:, None]])


def second_shifted(value: Function, gradient: Function, hessian: Function, scales: Array) -> Array:
    """Return the second derivatives (P + Q, P + Q, T) of a spectrum with shifted energies.

    Parameters
    ----------
    value, gradient, scales
        See `shifted`.
    hessian : callable
        Takes u, and returns the second derivatives (P, P, T) of the shifted spectrum by its own parameters.
    """
    u = _logarithm(scales)
    inner, mixed = hessian(u), _slope(gradient, u)[:, None] / scales[:, None]
    steps = np.array([value(u + k * LONG_STEP) for k in (-2, -1, 0, 1, 2)])
    bend = np.tensordot([-1.0, 16.0, -30.0, 16.0, -1.0], steps, 1) / (12 * LONG_STEP**2)
    n, m = len(inner), len(inner) + len(scales)
    whole = np.zeros((m, m, inner.shape[-1]))
    whole[:n, :n], whole[:n, n:], whole[n:, :n] = inner, mixed, mixed.swapaxes(0, 1)
    whole[n:, n:] = bend / np.outer(scales, scales)[..., None]
    whole[n:, n:] -= np.diag(scales**-2.0)[..., None] * _slope(value, u)
    return whole


def _logarithm(scales: Array) -> float:
    return float(np.sum(np.log(scales)))


def _slope(function: Function, u: float) -> Array:
    """Derivative by u."""
    near = function(u + STEP) - function(u - STEP)
    far = function(u + 2 * STEP) - function(u - 2 * STEP)
    return np.asarray((8 * near - far) / (12 * STEP))
