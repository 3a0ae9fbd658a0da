"""Profiles of the joint likelihood: some parameters are held, all others are at their optimum.

The points of a profile are independent, and are minimised together: each round evaluates all points
that have not reached their optimum yet.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gmdask.evaluation.joint_likelihood import Objective
from gmdask.evaluation.passes import Pass
from gmdask.optimize.problem import Problem
from gmdask.optimize.status import Tolerances
from gmdask.optimize.trust_region import TrustRegion
from gmdask.sums import times
from gmdask.symmetric import pseudo_inverse

__all__ = ["Crossings", "cross", "hold"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]

TOLERANCES = Tolerances(
    edm=1e-6, near=0.0
)  # an optimum that is only passed through needs no second derivatives
MAX_ROUNDS = 60
LEVEL = 2e-5  # accuracy of a crossing, relative to the rise of the statistic
MAX_CROSSINGS = 30
AT_ONCE = 16  # number of points evaluated in one round
LOWER = 1e-2  # decrease of the statistic that indicates another minimum


def hold(
    objective: Objective, starts: Sequence[Array], held: Index, *, reoptimize: bool = True
) -> list[Pass]:
    """Evaluate at points of a profile.

    Parameters
    ----------
    objective : `Objective`
    starts : sequence of array of shape (N,)
        All parameters: the held ones have the values of the point, the others their start values.
    held : array
        Positions of the held parameters among the shared ones.
    reoptimize : bool
        Whether the others, including local ones, are minimised.

    Returns
    -------
    points : list of `Pass`
    """
    found: list[Pass] = []
    for begin in range(0, len(starts), AT_ONCE):
        first = objective.several(starts[begin : begin + AT_ONCE], profile=reoptimize)
        if not reoptimize:
            found.extend(first)
            continue
        problem = objective.problem()
        searches = [
            TrustRegion(_holding(problem, point, held), point, TOLERANCES) for point in first
        ]
        for _ in range(MAX_ROUNDS):
            asked = [
                (search, proposal)
                for search in searches
                if math.isfinite(search.point.stat) and (proposal := search.propose()) is not None
            ]
            if not asked:
                break
            targets = [
                objective.parameters.with_shared(search.point.values, proposal.target)
                for search, proposal in asked
            ]
            for (search, _), trial in zip(asked, objective.several(targets), strict=True):
                search.take(trial)
        found.extend(search.point for search in searches)
    return found


def _holding(problem: Problem, point: Pass, held: Index) -> Problem:
    """Return the problem with some parameters fixed by limits at their values."""
    lower, upper = problem.lower.copy(), problem.upper.copy()
    lower[held] = upper[held] = point.shared[held]
    return replace(problem, lower=lower, upper=upper)


class Crossings(NamedTuple):
    """Distances along directions at which a profile has risen by given amounts.

    Attributes
    ----------
    distance : array of shape (ray,)
        In units of the directions; NaN if the profile does not rise that much within the limits.
    lower : bool
        Whether a point is lower than the one from which the profile started.
    """

    distance: Array
    lower: bool


class _Ray:
    """One direction: the bracket of its crossing, and the last point of the profile."""

    def __init__(self, point: Pass, farthest: float, first: float) -> None:
        self.point, self.at, self.before = point, min(first, farthest), 0.0
        self.inner, self.outer, self.farthest = 0.0, math.inf, farthest
        self.done, self.crossed = farthest <= 0, False

    def take(self, point: Pass, excess: float, slope: float, rise: float) -> None:
        """Bracket the crossing, and choose the next distance."""
        self.point, self.before = point, self.at
        if abs(excess - rise) < LEVEL * rise:
            self.done = self.crossed = True
            return
        if excess < rise:
            self.inner = self.at
            self.done = self.at >= self.farthest
        else:
            self.outer = self.at
        if self.outer - self.inner < 1e-9 * self.outer:
            self.done = self.crossed = True
        new = math.nan
        if excess > 0 and slope > 0:  # the square root of the rise is nearly linear
            root = math.sqrt(excess)
            new = self.at - (root - math.sqrt(rise)) * 2 * root / slope
        if not self.inner < new < self.outer:
            new = 0.5 * (self.inner + self.outer) if math.isfinite(self.outer) else 2 * self.at
        if not math.isfinite(self.outer):
            new = min(new, 4 * self.at)
        self.at = min(new, self.farthest)


def cross(
    objective: Objective,
    best: Pass,
    held: Index,
    directions: Array,
    rises: Array,
    *,
    reoptimize: bool = True,
) -> Crossings:
    """Find where the profile has risen by given amounts.

    Parameters
    ----------
    objective : `Objective`
    best : `Pass`
        Minimum, with gradient and Hessian.
    held : array of shape (F,)
        Positions of the moved parameters among the shared ones.
    directions : array of shape (ray, F)
    rises : array of shape (ray,)
        Rises of the statistic.
    reoptimize : bool
        Whether all other parameters are minimised.
    """
    follow, curvature = _response(best, held, reoptimize=reoptimize)
    lower, upper = (limit[held] for limit in objective.parameters.limits())
    origin, rays = best.shared[held], []
    for direction, rise in zip(directions, rises, strict=True):
        bend = float(times(times(direction, curvature), direction)) / 2
        limit = np.where(direction > 0, upper, lower) - origin
        moving = direction != 0
        farthest = float(np.min(limit[moving] / direction[moving], initial=np.inf))
        slope = float(best.gradient[held] @ direction)
        first = rise / slope if slope > 0 else 1.0  # for a linear statistic
        rays.append(_Ray(best, farthest, math.sqrt(rise / bend) if bend > 0 else first))
    below = False
    for _ in range(MAX_CROSSINGS):
        going = [k for k, ray in enumerate(rays) if not ray.done]
        if not going:
            break
        starts = []
        for k in going:
            ray, shared = rays[k], rays[k].point.shared.copy()
            shared += times(follow, directions[k] * (ray.at - ray.before))
            low, high = objective.parameters.limits()
            shared = np.clip(shared, low, high)
            shared[held] = np.clip(origin + ray.at * directions[k], lower, upper)
            starts.append(objective.parameters.with_shared(ray.point.values, shared))
        points = hold(objective, starts, held, reoptimize=reoptimize)
        for k, point in zip(going, points, strict=True):
            excess = point.stat - best.stat
            below = below or excess < -LOWER
            rays[k].take(point, excess, float(times(point.gradient[held], directions[k])), rises[k])
    distance = np.array([ray.before if ray.crossed else math.nan for ray in rays])
    return Crossings(distance, below)


def _response(best: Pass, held: Index, *, reoptimize: bool) -> tuple[Array, Array]:
    """Return the response of all shared parameters (S, F) to the held ones, and the curvature (F, F) of the profile."""
    hessian, n = best.hessian, len(best.shared)
    follow = np.zeros((n, len(held)))
    follow[held, np.arange(len(held))] = 1.0
    others = np.setdiff1d(np.arange(n), held)
    inner = hessian[np.ix_(held, held)]
    if not reoptimize or not len(others):
        return follow, inner
    cross_terms = hessian[np.ix_(others, held)]
    block = hessian[np.ix_(others, others)]
    scale = np.sqrt(np.where(np.diag(block) > 0, np.diag(block), 1.0))
    inverse = pseudo_inverse(block / np.outer(scale, scale))
    follow[others] = -times(inverse, cross_terms / scale[:, None]) / scale[:, None]
    return follow, inner + times(cross_terms.T, follow[others])
