"""Steps of parameters that scale a positive prediction, taken in their cube root."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["CubeRoot"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

LEAST, MOST = 0.125, 8.0  # factor in one step
FLATTEST = 1 / 3  # curvature in the cube root, of that in the amplitude: where all is far below


class CubeRoot(NamedTuple):
    """Coordinates of a step: the cube root along significant amplitudes, else the parameters.

    ``S a - N log a`` has no third derivative by ``a^(1/3)`` at its minimum, and Newton's method converges in
    a few steps from anywhere in it, where in ``a`` it would double at most, or step below zero. Steps
    are in units of the parameters at their beginning.

    Attributes
    ----------
    x : array of shape (S,)
        Where the step begins.
    on : boolean array of shape (S,)
        Amplitudes that are larger than their expected error.
    """

    x: Array
    on: Mask

    @classmethod
    def at(cls, x: Array, curvature: Array, amplitudes: Mask | bool) -> CubeRoot:
        """Coordinates at a point.

        Parameters
        ----------
        x, curvature : array of shape (S,)
            Values, and the diagonal of the Hessian of the statistic.
        amplitudes : boolean array of shape (S,), or bool
        """
        return cls(x, amplitudes & (x > 0) & (x * x * curvature > 2))

    def curvature(self, gradient: Array, curvature: Array) -> Array:
        """What the diagonal (S,) of the Hessian has besides in these coordinates."""
        bend = 2 / 3 * gradient / np.where(self.on, self.x, 1.0)
        return np.where(self.on, np.maximum(bend, (FLATTEST - 1) * curvature), 0.0)

    def limits(self, lower: Array, upper: Array) -> tuple[Array, Array]:
        """Limits of values in these coordinates, as values at which a straight step would end."""
        if not self.on.any():
            return lower, upper
        x = np.where(self.on, self.x, 1.0)
        low = self.x + 3 * x * (np.cbrt(np.maximum(lower / x, LEAST)) - 1)
        high = self.x + 3 * x * (np.cbrt(np.minimum(upper / x, MOST)) - 1)
        return np.where(self.on, low, lower), np.where(self.on, high, upper)

    def values(self, step: Array, lower: Array, upper: Array) -> Array:
        """Values (S,) after a step, exactly at the limits that it reaches."""
        x, (low, high) = np.where(self.on, self.x, 1.0), self.limits(lower, upper)
        cubed = np.clip(x * (1 + step / (3 * x)) ** 3, lower, upper)
        found = np.where(self.on, cubed, self.x + step)
        at_lower = (step <= low - self.x) & ~(self.on & (lower < LEAST * x))
        at_upper = (step >= high - self.x) & ~(self.on & (upper > MOST * x))
        return np.where(at_lower, lower, np.where(at_upper, upper, found))

    def slope(self, gradient: Array, values: Array) -> Array:
        """Gradient (S,) at other values, by these coordinates."""
        ratio = np.where(self.on, values / np.where(self.on, self.x, 1.0), 1.0)
        result: Array = gradient * np.cbrt(ratio) ** 2
        return result
