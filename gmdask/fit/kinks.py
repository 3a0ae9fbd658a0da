"""Kinks of a statistic: where along a parameter its slope jumps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Kinks"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

LEAST = 0.3  # share of an interval that a step from its end goes at least


@dataclass(frozen=True)
class Kinks:
    """A kink along each parameter, and between which values it lies.

    Along a parameter with a kink the Hessian of either side does not know of the other: a Newton step
    goes to and fro across it. The slopes at both ends of an interval around it tell how large a
    step may be; every evaluation inside makes the interval narrower.

    Attributes
    ----------
    lower, upper : array of shape (S,)
        The interval.
    jump : array of shape (S,)
        By how much the slope is larger at its upper end, besides what the Hessian says; 0 where no
        kink is known.
    """

    lower: Array
    upper: Array
    jump: Array

    @classmethod
    def none(cls, n: int) -> Kinks:
        """No kink along any of some parameters."""
        return cls(np.zeros(n), np.zeros(n), np.zeros(n))

    def around(self, x: Array, gradient: Array) -> Mask:
        """Where a minimum along the parameter lies at its kink: the slope turns in the interval of a point."""
        at_lower, at_upper = x == self.lower, x == self.upper
        turns = np.where(at_lower, gradient <= 0, gradient - self.jump <= 0)
        turns &= np.where(at_upper, gradient >= 0, gradient + self.jump >= 0)
        return (self.jump > 0) & (self.lower <= x) & (x <= self.upper) & turns

    def stiffness(self, x: Array, gradient: Array, curvature: Array) -> Array:
        """Curvature (S,) besides the Hessian's that brings a step to where the slope vanishes.

        From outside, it leads into the middle of the interval; inside, over a share of it at least, or the same
        end would come closer for ever.
        """
        width = np.where(self.jump > 0, self.upper - self.lower, 1.0)
        way = 0.5 * (self.lower + self.upper) - x
        ahead = (self.jump > 0) & ((x < self.lower) | (x > self.upper)) & (gradient * way < 0)
        to_middle = np.abs(gradient) / np.where(ahead, np.abs(way), 1.0) - curvature
        least = np.abs(gradient) / (LEAST * width) - curvature
        inside = np.where(self.around(x, gradient), np.clip(least, 0.0, self.jump / width), 0.0)
        return np.where(ahead, np.maximum(to_middle, 0.0), inside)

    def decrease(self) -> Array:
        """Most (S,) that the statistic may be lower within the interval than at its ends."""
        return 0.25 * self.jump * (self.upper - self.lower)

    def learnt(self, x: Array, step: Array, gradient: Array, smooth: Array, there: Array) -> Kinks:
        """With what an evaluation tells.

        Parameters
        ----------
        x, step : array of shape (S,)
            Where it was before, and by how much the evaluation is from there; 0 along parameters that have
            no kinks.
        gradient : array of shape (S,)
            Before.
        smooth : array of shape (S,)
            Change of the gradient by the Hessian.
        there : array of shape (S,)
            Gradient of the evaluation.
        """
        if not np.isfinite(there).all():
            return self
        new, up = x + step, step > 0
        excess = np.where(up, 1.0, -1.0) * (there - gradient - smooth)
        known = (self.jump > 0) & (self.lower <= new) & (new <= self.upper) & (step != 0)
        crossed = np.where(known, excess > 0.5 * self.jump, (gradient * there < 0) & (excess > 0))
        crossed &= step != 0
        lower, upper = self.lower.copy(), self.upper.copy()
        beyond = known & ~crossed  # between the evaluation and the end ahead
        lower[beyond & up], upper[beyond & ~up] = new[beyond & up], new[beyond & ~up]
        first, last = np.minimum(x, new), np.maximum(x, new)
        lower[crossed] = np.where(known, np.maximum(first, lower), first)[crossed]
        upper[crossed] = np.where(known, np.minimum(last, upper), last)[crossed]
        jump = np.where(crossed, excess, self.jump)
        return Kinks(lower, upper, np.where(upper > lower, jump, 0.0))
