"""Coordinates of steps, in which the statistic is nearly quadratic."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Coordinates", "Kinds", "Turn"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

LEAST, MOST = 0.125, 8.0  # range of the factor on an amplitude in one step
FLATTEST = 1 / 3  # smallest curvature in the cube root, relative to that in the amplitude
ROUND = 1e-3  # smallest eccentricity of a shape with a free angle, which is undefined at 0
MOVE = 0.3  # largest change of a component of the squared eccentricity in one step
CARTESIAN = 0.5  # largest squared eccentricity whose components are used as coordinates


class Turn(NamedTuple):
    """An eccentricity ``e`` and the orientation angle of the shape, among the parameters.

    Attributes
    ----------
    e, angle : int
        Their positions.
    radians : float
        Unit of the angle.
    """

    e: int
    angle: int
    radians: float


class Kinds(NamedTuple):
    """Known dependences of the statistic on each of S parameters.

    Attributes
    ----------
    amplitudes : boolean array of shape (S,), or False
        Parameters that scale a positive prediction.
    even : boolean array of shape (S,), or False
        Non-negative parameters on whose square the statistic depends smoothly: sizes of shapes.
    turns : tuple of `Turn`
        Those among `even` that have an angle.
    """

    amplitudes: Mask | bool = False
    even: Mask | bool = False
    turns: tuple[Turn, ...] = ()


class Coordinates:
    """Coordinates of a step, in units of the parameters at its start.

    ``S a - N log a`` has no third derivative with respect to ``a^(1/3)`` at its minimum, and Newton's method
    converges in it in a few steps from anywhere, whereas in the amplitude ``a`` it could at most double it, or would
    step below zero. A size ``s`` that is hardly resolved enters the prediction as ``s²``: in ``s²`` the
    statistic is a parabola, whether its minimum is above 0 or not, whereas in ``s`` it has a saddle point at 0. The
    same is true of the components ``e² cos 2φ`` and ``e² sin 2φ`` of a slightly elongated shape, whereas in ``e``
    and ``φ`` the round shape is a saddle point with an undefined angle.

    Parameters
    ----------
    x : array of shape (S,)
        Start of the step.
    curvature : array of shape (S,)
        Diagonal of the Hessian of the statistic.
    kinds : `Kinds`
    lower, upper : array of shape (S,)
        Limits of the parameters.
    held : boolean array of shape (S,)
        Parameters that do not move.
    """

    def __init__(
        self, x: Array, curvature: Array, kinds: Kinds, lower: Array, upper: Array, held: Mask
    ) -> None:
        self._x, self._upper = x, upper
        self._root: Mask = kinds.amplitudes & (x > 0) & (x * x * curvature > 2)
        self._square: Mask = kinds.even & (x > 0)
        self._turns, self._paired = [], np.zeros(len(x), dtype=bool)
        self._lowest = lower
        for turn in kinds.turns:
            e, angle, _ = turn
            around = not (held[e] or held[angle]) and np.isinf([lower[angle], upper[angle]]).all()
            if not around or x[e] <= 0 or lower[e] > 0:
                continue
            if x[e] ** 2 <= CARTESIAN * upper[e] ** 2:
                self._turns.append(turn)
                self._paired[[e, angle]] = True
            else:  # a round shape is outside of the coordinates of an eccentricity and an angle
                self._lowest = self._lowest.copy()
                self._lowest[e] = 0.5 * x[e]

    def amplitudes_bend(self, gradient: Array, curvature: Array) -> Array:
        """Additional diagonal (S,) of any Hessian from the curvature of amplitudes' coordinates."""
        bend = 2 / 3 * gradient / np.where(self._root, self._x, 1.0)
        return np.where(self._root, np.maximum(bend, (FLATTEST - 1) * curvature), 0.0)

    def sizes_bend(self, gradient: Array) -> Array:
        """Additional observed Hessian (S, S) from the curvature of sizes, eccentricities and their angles."""
        x = np.where(self._square, self._x, 1.0)
        bend = np.diag(np.where(self._square, -gradient / x, 0.0))
        for e, angle, radians in self._turns:
            bend[angle, angle] = 2 * x[e] * radians**2 * gradient[e]
            bend[e, angle] = bend[angle, e] = -2 * gradient[angle] / x[e]
        return bend

    def limits(self, lower: Array, upper: Array) -> tuple[Array, Array]:
        """Convert limits (S,) to these coordinates, as values at which a straight step would end."""
        lower = np.maximum(lower, self._lowest)
        x = np.where(self._root, self._x, 1.0)
        low = self._x + 3 * x * (np.cbrt(np.clip(lower / x, LEAST, 1.0)) - 1)
        high = self._x + 3 * x * (np.cbrt(np.clip(upper / x, 1.0, MOST)) - 1)
        low, high = np.where(self._root, low, lower), np.where(self._root, high, upper)
        x = np.where(self._square, self._x, 1.0)
        squared = [
            x + 0.5 * x * ((bound / x) ** 2 - 1) for bound in (np.maximum(lower, 0.0), upper)
        ]
        low, high = (
            np.where(self._square, squared[0], low),
            np.where(self._square, squared[1], high),
        )
        for e, angle, radians in self._turns:
            most = 0.5 * MOVE / x[e]
            low[e], high[e] = x[e] - most, x[e] + most
            most /= radians * x[e]
            low[angle], high[angle] = self._x[angle] - most, self._x[angle] + most
        return low, high

    def values(self, step: Array) -> Array:
        """Return the parameters (S,) after a step, exactly at the limits that it reaches."""
        lower, upper = self._lowest, self._upper
        low, high = self.limits(lower, upper)
        x = np.where(self._root, self._x, 1.0)
        cubed = np.clip(x * (1 + step / (3 * x)) ** 3, lower, upper)
        found = np.where(self._root, cubed, self._x + step)
        x = np.where(self._square, self._x, 1.0)
        root = x * np.sqrt(np.maximum(1 + 2 * step / x, 0.0))
        found = np.where(self._square, np.clip(root, lower, upper), found)
        at_lower = (step <= low - self._x) & ~(self._root & (lower < LEAST * self._x))
        at_upper = (step >= high - self._x) & ~(self._root & (upper > MOST * self._x))
        found = np.where(at_lower & ~self._paired, lower, found)
        found = np.where(at_upper & ~self._paired, upper, found)
        for e, angle, radians in self._turns:
            ratio = 1 + 2 * step[e] / x[e] + 2j * radians * step[angle]
            found[e] = np.clip(x[e] * np.sqrt(abs(ratio)), ROUND, upper[e])
            found[angle] = self._x[angle] + np.angle(ratio) / (2 * radians)
        return found

    def slope(self, gradient: Array, values: Array) -> Array:
        """Return the gradient (S,) at other values with respect to these coordinates."""
        ratio = np.where(self._root, values / np.where(self._root, self._x, 1.0), 1.0)
        result: Array = gradient * np.cbrt(ratio) ** 2
        away = self._square & (values > 0)
        result = np.where(away, gradient * self._x / np.where(away, values, 1.0), result)
        for e, angle, radians in self._turns:
            x, turned = self._x[e], 2 * radians * (values[angle] - self._x[angle])
            inverse = (x / values[e]) ** 2 * np.exp(-1j * turned)
            along, across = inverse.real, inverse.imag
            by_e, by_angle = gradient[e], gradient[angle]
            result[e] = values[e] / x * along * by_e + across / (radians * x) * by_angle
            result[angle] = -values[e] * radians * across * by_e + along * by_angle
        return result
