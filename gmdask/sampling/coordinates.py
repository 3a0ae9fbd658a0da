"""Coordinates of the sampler: without limits, and white around the minimum."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gmdask.errors import InputError
from gmdask.sums import times
from gmdask.symmetric import eigh

__all__ = ["Coordinates"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

NEAR = 10.0  # errors from a limit within which a parameter is transformed; farther away nothing gets there
FLAT = 1e-10  # eigenvalue of a Hessian scaled to unit diagonal that counts as zero


class Coordinates:
    """Map between parameters x and coordinates z in which the posterior is nearly a unit normal distribution.

    Parameters with a limit nearby become logarithms of the distance to it, or logits between two, as in Stan;
    then the eigenvectors of the Hessian make them white.

    Parameters
    ----------
    start : array of shape (n,)
        Parameters at the maximum of the posterior.
    lower, upper : array of shape (n,)
        Limits, infinite for none.
    gradient : array of shape (n,)
        Derivatives of the statistic there, which do not vanish at limits.
    hessians : sequence of array of shape (n, n)
        Hessians of the statistic there; the first that is positive definite is used.
    names : sequence of str
        Names for messages.

    Raises
    ------
    InputError
        If the data, limits and priors do not constrain the parameters: there is no posterior. It names one.
    """

    def __init__(
        self,
        start: Array,
        lower: Array,
        upper: Array,
        gradient: Array,
        hessians: Sequence[Array],
        names: Sequence[str],
    ) -> None:
        bounded = np.isfinite(lower) | np.isfinite(upper)
        width = 1 / np.sqrt(np.maximum(_precision(hessians[-1], gradient, bounded), 1e-300))
        self._low = np.isfinite(lower) & (start - lower < NEAR * width)
        self._high = np.isfinite(upper) & (upper - start < NEAR * width)
        both = np.isfinite(lower) & np.isfinite(upper) & (self._low | self._high)
        self._low |= both
        self._high |= both
        self._lower = np.where(self._low, lower, 0.0)
        self._upper = np.where(self._high, upper, 1.0)
        room = np.where(both, 0.25 * (upper - lower), np.inf)
        least = np.where(self._low, lower + np.minimum(width, room), -np.inf)
        most = np.where(self._high, upper - np.minimum(width, room), np.inf)
        self.centre: Array = self._free(np.clip(start, least, most))
        slope = self._bounded(self.centre)[1]
        self._back = _whitening(
            [
                _with_limits(hessian, gradient, self._low | self._high) * np.outer(slope, slope)
                for hessian in hessians
            ],
            names,
        )

    def _free(self, x: Array) -> Array:
        """Coordinates (n,) without limits of parameters (n,) within them."""
        low, high = self._low, self._high
        below = np.where(low, x - self._lower, 1.0)
        above = np.where(high, self._upper - x, 1.0)
        return np.where(low, np.log(below), 0.0) - np.where(high, np.log(above), 0.0) + np.where(
            low | high, 0.0, x
        )  # fmt: skip

    def _bounded(self, u: Array) -> tuple[Array, Array, float, Array]:
        """Parameters at coordinates without limits, their derivatives, and the log of the volume with its gradient."""
        low, high = self._low & ~self._high, self._high & ~self._low
        both = self._low & self._high
        grown = np.exp(np.where(low, u, 0.0) - np.where(high, u, 0.0))
        share = 1 / (1 + np.exp(-np.where(both, u, 0.0)))
        span = self._upper - self._lower
        x = np.where(low, self._lower + grown, np.where(high, self._upper - grown, u))
        x = np.where(both, self._lower + span * share, x)
        slope = np.where(low | high, grown, 1.0)
        slope = np.where(both, span * share * (1 - share), slope)
        bend = np.where(low, 1.0, np.where(high, -1.0, 0.0)) + np.where(both, 1 - 2 * share, 0.0)
        return x, slope, float(np.sum(np.log(slope))), bend

    def parameters(self, z: Array) -> Array:
        """Parameters (n,) at white coordinates (n,)."""
        return self._bounded(self.centre + times(self._back, z))[0]

    def density(self, z: Array, value: float, gradient: Array) -> tuple[float, Array]:
        """Convert a log density and its gradient by the parameters to those by white coordinates.

        Parameters
        ----------
        z : array of shape (n,)
        value : float
        gradient : array of shape (n,)
        """
        _, slope, volume, bend = self._bounded(self.centre + times(self._back, z))
        return value + volume, times(self._back.T, gradient * slope + bend)


def _precision(hessian: Array, gradient: Array, bounded: Mask) -> Array:
    """Inverse squares (n,) of errors with all others fixed, or of the scale by which the density falls at a limit."""
    falls = np.where(bounded, np.square(0.5 * gradient), 0.0)
    return np.asarray(np.maximum(0.5 * np.diag(hessian), falls))


def _with_limits(hessian: Array, gradient: Array, limited: Mask) -> Array:
    """Precision matrix, with the scale at limits on its diagonal."""
    result = 0.5 * hessian
    np.fill_diagonal(
        result, np.where(limited, _precision(hessian, gradient, limited), np.diag(result))
    )
    return result


def _whitening(precisions: Sequence[Array], names: Sequence[str]) -> Array:
    """Matrix W with ``W Wᵀ = P⁻¹``, of the first matrix P that is positive definite."""
    for precision in precisions:
        scale = np.sqrt(np.maximum(np.diag(precision), 0.0))
        if not (scale > 0).all():
            worst = int(np.argmin(scale))
            continue
        values, vectors = eigh(precision / np.outer(scale, scale))
        worst = int(np.argmax(np.abs(vectors[:, 0])))
        if values[0] > FLAT:
            return np.asarray(vectors / np.sqrt(values) / scale[:, None])
    msg = (
        f"the data do not constrain {names[worst]}, so that there is no posterior: freeze it, "
        "or give it a prior or limits"
    )
    raise InputError(msg)
