"""Minimisation with MINUIT, through iminuit."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from iminuit import Minuit
from numpy.typing import NDArray

from gmdask.evaluation.joint_likelihood import Objective
from gmdask.evaluation.passes import Pass
from gmdask.optimize.problem import Minimum, edm
from gmdask.optimize.quadratic import at_limit
from gmdask.optimize.status import Status

__all__ = ["migrad"]

Array = NDArray[np.float64]

NEAR = 1e-3  # expected distance to the minimum below which an unsuccessful step ends the search
HUGE = 1e30  # replaces a statistic that is not finite


class _OutOfPassesError(Exception):
    """MIGRAD requests more evaluations than allowed."""


class _Scaled:
    """The objective around a point, in units of the expected errors, and relative to its value there.

    The value is subtracted because near 1e8 the statistic lacks the digits that MINUIT needs. Every point is
    evaluated once.
    """

    def __init__(
        self,
        objective: Objective,
        point: Pass,
        max_passes: int,
        on_pass: Callable[[Pass], None] | None = None,
    ) -> None:
        self._max_passes = max_passes
        self._objective, self._point, self._on_pass = objective, point, on_pass
        diagonal = np.diag(point.hessian)
        self.scale = np.sqrt(2 / np.where(diagonal > 0, diagonal, 2.0))
        lower, upper = objective.parameters.limits()
        self._low, self._high = (
            (lower - point.shared) / self.scale,
            (upper - point.shared) / self.scale,
        )
        self.best = point
        self._kept: dict[bytes, Pass] = {np.zeros(len(self.scale)).tobytes(): point}

    def at(self, u: Array) -> Pass:
        """Evaluate at a point within limits."""
        key = (np.asarray(u, dtype=float) + 0.0).tobytes()
        if key not in self._kept:
            if self._objective.passes >= self._max_passes:
                raise _OutOfPassesError
            shared = self._point.shared + u * self.scale
            values = self._objective.parameters.with_shared(self.best.values, shared)
            found = self._objective(values, anchor=self._point.values)
            self._kept[key] = found
            if self._on_pass is not None:
                self._on_pass(found)
            if found.stat < self.best.stat:
                self.best = found
        return self._kept[key]

    def _continued(self, u: Array) -> tuple[float, Array, Array]:
        """Return value, gradient and Hessian; beyond a limit, those of the quadratic model at the limit.

        MINUIT's own transformation of limited parameters makes much too large steps if a parameter has
        a limit on one side only.
        """
        inside = np.clip(u, self._low, self._high)
        found = self.at(inside)
        if not math.isfinite(found.stat):
            return HUGE, np.zeros(len(u)), np.zeros((len(u), len(u)))
        gradient = found.gradient * self.scale
        hessian = found.hessian * np.outer(self.scale, self.scale)
        beyond = u - inside
        value = found.stat - self._point.stat + gradient @ beyond + 0.5 * beyond @ hessian @ beyond
        return float(value), gradient + hessian @ beyond, hessian

    def minuit(self) -> Minuit:
        """Create a Minuit object at the point; parameters that are pushed against a limit are fixed."""
        n = len(self.scale)
        minuit = Minuit(
            lambda u: self._continued(u)[0],
            np.zeros(n),
            grad=lambda u: self._continued(u)[1],
            hessian=lambda u: self._continued(u)[2],
        )
        at = at_limit(np.zeros(n), self._point.gradient, self._low, self._high)
        minuit.fixed = list(at)
        minuit.errors = np.ones(n)
        minuit.errordef = Minuit.LEAST_SQUARES
        minuit.print_level = 0
        return minuit


def migrad(
    objective: Objective,
    point: Pass | None = None,
    *,
    tolerance: float,
    max_passes: int,
    on_pass: Callable[[Pass, float, bool], None],
    on_accept: Callable[[Pass], None],
) -> Minimum[Pass]:
    """Minimise with MIGRAD, and repeat with an updated response until it does not change.

    Parameters
    ----------
    objective : `Objective`
    point : `Pass`, optional
        Accepted point to continue from.
    tolerance : float
        Expected distance to the minimum, with an updated response, at which to stop.
    max_passes : int
        Largest number of evaluations.
    on_pass : callable
        Receives every evaluation; see `gmdask.optimize.trust_region.minimise`.
    on_accept : callable
        Receives every accepted point, with an updated response.
    """
    problem = objective.problem()
    lower, upper = problem.lower, problem.upper

    def distance(point: Pass) -> float:
        return edm(point, lower, upper)

    def ended(point: Pass, status: Status) -> Minimum[Pass]:
        return Minimum(point, distance(point), status, np.zeros(len(lower), dtype=bool))

    if point is None:
        start = np.clip(objective.parameters.start[objective.parameters.shared], lower, upper)
        point = objective(objective.parameters.with_shared(objective.parameters.start, start))
        on_pass(point, distance(point), True)
        on_accept(point)
    while distance(point) >= tolerance:
        if objective.passes + 1 >= max_passes:
            return ended(point, Status.MAX_PASSES)
        scaled = _Scaled(objective, point, max_passes - 1, lambda p: on_pass(p, math.nan, False))
        complete = True
        try:
            scaled.minuit().migrad()
        except _OutOfPassesError:
            complete = False
        fresh = objective(scaled.best.values)
        on_pass(fresh, distance(fresh), fresh.stat < point.stat)
        if fresh.stat >= point.stat:
            if not complete:
                return ended(point, Status.MAX_PASSES)
            near = problem.rough or distance(point) < NEAR
            return ended(point, Status.CONVERGED if near else Status.STALLED)
        point = fresh
        if complete:  # with more passes, it would have reached another point
            on_accept(point)
    return ended(point, Status.CONVERGED)
