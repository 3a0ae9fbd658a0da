"""The quadratic model of a statistic around a point, and its properties for blocks of parameters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gmdask.optimize.coordinates import Coordinates
from gmdask.optimize.problem import Point, Problem
from gmdask.optimize.quadratic import at_limit, linear_to_limit, newton_step
from gmdask.sums import times
from gmdask.symmetric import cholesky, eigh, from_eigen

__all__ = ["Model"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

FLAT = 1e-10  # eigenvalue, of the observed Hessian scaled to a unit diagonal, that counts as none
NEGATIVE = -1e-6  # and one that is a saddle's
LEAST = 1e-6  # least eigenvalue, likewise, with which a step is taken
DOWN = 0.25  # share of a negative curvature, without its sign, with which a step is taken


class Model:
    """Quadratic model at a point.

    Parameters
    ----------
    problem : `Problem`
    point : `Point`
    held : boolean array of shape (S,)
        Parameters that do not move.
    second : array of shape (S, S), optional
        What the observed Hessian has besides the Gauss-Newton one, from an earlier point, for one at which
        it was not evaluated.

    Attributes
    ----------
    newton : array of shape (S,)
        Step to the minimum within the limits.
    expected : array of shape (block,)
        Expected decrease of the statistic by that step, for each block.
    saddle : boolean array of shape (block,)
        Blocks along which the observed Hessian has negative curvature.
    limits : tuple of array of shape (S,)
        Limits of values in the coordinates of steps.
    """

    def __init__(
        self, problem: Problem, point: Point, held: Mask, second: Array | None = None
    ) -> None:
        self._problem, self._point, self._held = problem, point, held
        self._gradient, hessian = point.gradient, point.hessian
        self._blocks = np.broadcast_to(problem.blocks, problem.lower.shape)
        self._n = int(self._blocks.max(initial=-1)) + 1
        self.saddle: Mask = np.zeros(self._n, dtype=bool)
        self._down = np.zeros(len(held))
        x, upper = point.shared, problem.upper
        to_limit = x, self._gradient, hessian, problem.kinds.amplitudes, problem.lower
        hessian, lower = linear_to_limit(*to_limit)
        self._coordinates = Coordinates(x, np.diag(hessian), problem.kinds, lower, upper, held)
        self._observed = hessian
        observed = point.observed
        if observed is None and second is not None:
            observed = to_limit[2] + second
        if observed is not None:
            self._observed = observed + self._coordinates.sizes_bend(self._gradient)
            hessian = self._near(to_limit[2], self._observed)
            hessian, _ = linear_to_limit(*to_limit[:2], hessian, *to_limit[3:])
        bend = self._coordinates.amplitudes_bend(self._gradient, np.diag(hessian))
        self._hessian = hessian + np.diag(bend)
        self.limits = self._coordinates.limits(lower, upper)
        self.newton = self.step(*self.limits)
        self.expected = self.promised(self.newton)

    def _sums(self, values: Array) -> Array:
        result: Array = np.bincount(self._blocks, values, self._n).astype(np.float64)
        return result

    @property
    def edm(self) -> float:
        """Expected distance to the minimum: the expected decrease by the Newton step."""
        return float(self.expected.sum())

    # --- second derivatives ------------------------------------------------------------

    def _near(self, gauss_newton: Array, observed: Array) -> Array:
        """The observed Hessian, with positive eigenvalues within each block.

        A valley that is nearly flat, or curved the other way, is walked along as far as the trust region
        goes; the Gauss-Newton Hessian, which knows nothing of it, would go in small steps. From a saddle point the
        absolute value of a negative eigenvalue would no more than double the distance in each step: a quarter
        of it makes it five times as far.
        """
        point, problem = self._point, self._problem
        free = ~self._held & ~at_limit(point.shared, self._gradient, problem.lower, problem.upper)
        diagonal = np.maximum(np.diag(gauss_newton), np.abs(np.diag(observed)))
        scale, free = np.sqrt(np.where(diagonal > 0, diagonal, 1.0)), free & (diagonal > 0)
        mixed = observed.copy()
        for block in range(self._n):
            own = np.flatnonzero(free & (self._blocks == block))
            if not len(own):
                continue
            scaled = observed[np.ix_(own, own)] / np.outer(scale[own], scale[own])
            values, vectors = eigh(scaled)
            if values[0] <= LEAST:
                steep = np.where(values < 0, -DOWN * values, values)
                positive = from_eigen(np.maximum(steep, LEAST), vectors)
                mixed[np.ix_(own, own)] = positive * np.outer(scale[own], scale[own])
            if values[0] < NEGATIVE:
                self.saddle[block] = True
                self._down[own] = vectors[:, 0] / scale[own] * np.sqrt(2 / -values[0])
        usable = np.flatnonzero(free & (np.diag(mixed) > 0))
        inner = mixed[np.ix_(usable, usable)] / np.outer(scale[usable], scale[usable])
        return gauss_newton if cholesky(inner) is None else mixed

    def kick(self, lower: Array, upper: Array) -> Array:
        """Step away from a saddle point along its negative curvature, and the Newton step elsewhere.

        Its length is such that the statistic is expected to decrease by 1, within bounds.
        """
        x, step = self._point.shared, self.newton.copy()
        for block in np.flatnonzero(self.saddle):
            own = self._blocks == block
            down, low, high = self._down[own], (lower - x)[own], (upper - x)[own]
            moves = down != 0
            both = [side * down[moves] for side in (1.0, -1.0)]
            room = [
                float(np.min(np.where(way > 0, high[moves], low[moves]) / way, initial=1.0))
                for way in both
            ]
            uphill = float(times(self._gradient[own], down)) > 0
            side = int(uphill) if min(room) > 0 else int(np.argmax(room))
            step[own] = (1.0, -1.0)[side] * room[side] * down
        return step

    # --- steps -------------------------------------------------------------------------

    def step(self, lower: Array, upper: Array) -> Array:
        """Step to the minimum within bounds, all in the coordinates of steps."""
        x = self._point.shared
        return newton_step(x, self._gradient, self._hessian, lower, upper, self._held)

    def reached(self, width: Array) -> tuple[Array, Array]:
        """Limits in the coordinates of steps, at most some widths away from the point."""
        x, (lower, upper) = self._point.shared, self.limits
        low, high = self._coordinates.limits(x - width, x + width)
        return np.maximum(lower, low), np.minimum(upper, high)

    def promised(self, step: Array, *, kick: bool = False) -> Array:
        """Expected decrease of the statistic (block,) by a step."""
        hessian = self._observed if kick else self._hessian
        return self._sums(-(self._gradient + 0.5 * times(hessian, step)) * step)

    def values(self, step: Array) -> Array:
        """Return the parameters after a step, exactly at the limits that it reaches."""
        return self._coordinates.values(step)

    def slope(self, gradient: Array, values: Array) -> Array:
        """Return the gradient at other values with respect to the coordinates of steps."""
        return self._coordinates.slope(gradient, values)
