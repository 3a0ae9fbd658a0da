"""A trust-region Newton method with limits, in which each block of parameters has its own radius.

It proposes where to evaluate and is given the result (ask and tell), so that the caller may evaluate in one
process, on a cluster, or at many points at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from gmdask.optimize.model import Model
from gmdask.optimize.problem import Minimum, P, Problem, Proposal, State
from gmdask.optimize.status import Status, Tolerances
from gmdask.sums import times

__all__ = ["TrustRegion", "minimise"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

FAR = 1e100  # radius as long as no step was too long
TOLERANCES = Tolerances()
TINY = 1e-300


class TrustRegion(Generic[P]):
    """Search for a minimum.

    Parameters
    ----------
    problem : `Problem`
    start : `Point` or `State`
        First evaluation, within the limits; or the state of an earlier search to continue.
    tolerances : `Tolerances`

    Attributes
    ----------
    point : `Point`
        The best evaluation.
    status : `Status` or None
        Reason why the search ended; None while it continues.
    concerned : boolean array of shape (S,)
        Parameters that caused this status.

    Notes
    -----
    Bounds on steps are boxes, so that limits and trust region form one convex problem (`newton_step`).
    In each block the length of a step is measured by the largest curvature so far: where the
    statistic becomes flat, as towards an infinite index, steps do not become longer. A step is assessed block
    by block, from the slopes at both of its ends: sources are nearly independent, and a bad step of one
    does not shorten the steps of all.
    does not shorten those of all.

    The Hessian is the Gauss-Newton one far from the minimum, and the observed one near it; blocks in which
    the latter is not positive definite use the Gauss-Newton one. At the end the observed Hessian
    must be positive: a saddle point is left along its negative curvature. A block whose Newton steps do
    not become shorter, although their expected decrease is negligible, has no minimum at finite values: its
    parameters are no longer moved.
    """

    def __init__(
        self, problem: Problem, start: P | State[P], tolerances: Tolerances = TOLERANCES
    ) -> None:
        self._problem, self._tolerances = problem, tolerances
        self._blocks = np.broadcast_to(problem.blocks, problem.lower.shape)
        n = self._n_blocks = int(self._blocks.max(initial=-1)) + 1
        self.status: Status | None = None
        self.concerned: Mask = np.zeros(len(problem.lower), dtype=bool)
        self._unconfirmed = False
        self.point: P
        if isinstance(start, State):
            self.point, self._scale, self._radius = start.point, start.scale, start.radius
            self._length, self._expected = start.length, start.expected
            self._slow = start.slow
            self._drift, self._kicks, self._held = start.drift, start.kicks, start.held
            self._model = Model(problem, self.point, self._held)
            return
        self._scale = np.zeros(len(problem.lower))
        self._radius = np.full(n, FAR)
        self._length, self._expected = np.full(n, FAR), np.zeros(n)
        self._drift, self._slow = np.zeros(n, dtype=np.intp), np.zeros(n, dtype=np.intp)
        self._kicks, self._held = np.zeros(n, dtype=np.intp), self.concerned
        self._arrive(start)

    @property
    def state(self) -> State[P]:
        """State of the search, valid as long as no step was rejected since the last accepted one."""
        return State(
            self.point, self._scale, self._radius, self._length, self._expected, self._drift,
            self._slow, self._kicks, self._held,
        )  # fmt: skip

    @property
    def edm(self) -> float:
        """Expected distance to the minimum, without held parameters."""
        return self._model.edm

    # --- ask ---------------------------------------------------------------------------

    def propose(self) -> Proposal | None:
        """Return where to evaluate next; None once the search has ended."""
        while self.status is None:
            drifting = (self._drift >= self._tolerances.drifts) | self._keeping_others()
            found = None
            if self.edm < self._tolerances.edm:
                found = self._last()
            elif drifting.any():
                self._hold(drifting)
            else:
                found = self._next()
            if found is not None:
                return found
        return None

    def _last(self) -> Proposal | None:
        """Return what remains to be evaluated near a minimum: None if nothing, or if more was held."""
        model, tolerances = self._model, self._tolerances
        if not self._free().any():
            self._end()
            return None
        if self.point.observed is None and tolerances.near > 0:
            if self._unconfirmed:
                return Proposal(self.point.shared, 2)
            return self._step(model.newton)
        if (self._drift == 1).any() and not self._unconfirmed:
            return self._step(self._bounded())
        rough = self._problem.rough
        left = model.saddle & (self._kicks < (1 if rough else tolerances.kicks))
        done = (self._drift > 1) | (model.saddle & ~left & (not rough))
        if done.any():
            self._hold(done)
        elif left.any():
            lower, upper = self._bounds()
            self._kicks = self._kicks + left
            return self._step(model.kick(lower, upper), kick=True)
        else:
            self._end()
        return None

    def _keeping_others(self) -> Mask:
        """Blocks that have been near a minimum for long without reaching it, while all others have."""
        slow = (self._slow >= self._tolerances.patience) & (self._model.expected > 0)
        others = self._model.expected[~slow]
        waiting = len(others) > 0 and float(others.sum()) < self._tolerances.edm
        return slow & waiting

    def _next(self) -> Proposal | None:
        """Return the next step, if a decrease is expected from it."""
        step = self._bounded()
        promised = self._model.promised(step).sum()
        tolerances, rough = self._tolerances, self._problem.rough
        least = tolerances.edm * (1.0 if rough else 0.1)
        if promised > least:
            near = tolerances.near * max(1.0, 0.1 * self._n_blocks)
            return self._step(step, order=2 if promised < near else 1)
        if rough:
            self.status = Status.CONVERGED
        else:
            stuck = self._model.expected > tolerances.edm / self._n_blocks
            self._hold(stuck if stuck.any() else np.ones(self._n_blocks, dtype=bool))
        return None

    def _bounded(self) -> Array:
        return self._model.step(*self._bounds())

    def _step(self, step: Array, order: int = 2, *, kick: bool = False) -> Proposal:
        self._tried, self._promised = step, self._model.promised(step, kick=kick)
        return Proposal(self._model.values(step), order)

    def _bounds(self) -> tuple[Array, Array]:
        """Lower and upper bounds of one step, in its coordinates."""
        x, problem = self.point.shared, self._problem
        known = self._scale > 0
        width = np.where(
            known, self._radius[self._blocks] / np.where(known, self._scale, 1.0), np.inf
        )
        lower, upper = self._model.limits
        if problem.reach is not None:
            lower, upper = self._model.reached(problem.reach(x))
        return np.maximum(lower, x - width), np.minimum(upper, x + width)

    def _free(self) -> Mask:
        return ~self._held & (self._problem.lower < self._problem.upper)

    def _hold(self, blocks: Mask) -> None:
        """Hold the parameters of some blocks at their values."""
        self._held = self._held | blocks[self._blocks]
        self._drift = np.where(blocks, 0, self._drift)
        self._model = Model(self._problem, self.point, self._held)

    def _end(self) -> None:
        x, problem = self.point.shared, self._problem
        self.concerned, self.status = self._held, Status.STALLED
        if not self._held.any():
            self.concerned = (x <= problem.lower) | (x >= problem.upper)
            self.status = Status.AT_LIMITS if self.concerned.any() else Status.CONVERGED

    # --- tell --------------------------------------------------------------------------

    def take(self, trial: P) -> bool:
        """Process the evaluation at the proposed point; return whether it is accepted."""
        if np.array_equal(trial.shared, self.point.shared):
            self._unconfirmed = False
            self._arrive(trial)
            return True
        promised, slack = float(self._promised.sum()), 0.0
        if last := promised < self._tolerances.edm:
            slack = self._tolerances.rounding * (1 + abs(self.point.stat))
        gained = self.point.stat - trial.stat
        accepted = bool(gained > 0 or (last and gained >= -slack))
        if accepted and not last and gained < self._tolerances.least * promised:
            # beyond the minimum, and hardly lower: a shorter step is lower
            accepted = float(times(trial.gradient, trial.shared - self.point.shared)) < 0
        self._judge(trial, self._promised, accepted=accepted)
        self._unconfirmed = last and not accepted
        if accepted:
            self._arrive(trial)
        return accepted

    def _judge(self, trial: P, promised: Array, *, accepted: bool) -> None:
        """Shorten or lengthen the next step of each block by its actual relative to its expected decrease."""
        tolerances, step = self._tolerances, self._tried
        size = self._largest(np.abs(step) * self._scale)
        there = trial.gradient
        if not (np.isfinite(trial.stat) and np.isfinite(there).all()):
            self._radius = np.where(size > 0, 0.1 * size, self._radius)
            return
        falls = self._sum(-self.point.gradient * step)
        rises = self._sum(self._model.slope(there, trial.shared) * step)
        gained = 0.5 * (falls - rises)
        missed = self.point.stat - trial.stat - gained.sum()
        blamed = np.abs(gained) * (self._lost(trial) if missed < 0 else 1.0)
        gained = gained + missed * blamed / max(float(blamed.sum()), TINY)
        significant = promised > max(1e-3 * tolerances.edm, 1e-3 * promised.sum() / self._n_blocks)
        ratio = np.where(significant, gained / np.where(significant, promised, 1.0), 1.0)
        poor, good = significant & (ratio < tolerances.poor), ratio > tolerances.good
        if not accepted:  # no step may be longer than a bad one from the same point
            poor |= significant & self._lost(trial)
            poor, good = (poor if poor.any() else significant), np.zeros_like(good)
        most = np.where(gained < -10 * promised, tolerances.shrink, 0.5)
        shorter = np.minimum(_shorter(falls, rises, gained, tolerances.shrink), most) * size
        self._radius = np.where(
            poor, shorter, np.where(good, np.maximum(self._radius, tolerances.grow * size), self._radius)
        )  # fmt: skip

    def _lost(self, trial: P) -> Mask:
        """Blocks whose parts of the data fit worse at a trial point."""
        touches = self._problem.touches
        if touches is None:
            return np.ones(self._n_blocks, dtype=bool)
        return times(trial.stats - self.point.stats, touches.astype(np.float64)) > 0

    def _arrive(self, point: P) -> None:
        """Move to an evaluation, and check whether blocks come closer to their minimum."""
        tolerances = self._tolerances
        self.point = point
        curvature = np.diag(point.hessian)
        if point.observed is not None:
            curvature = np.maximum(curvature, np.abs(np.diag(point.observed)))
        self._scale = np.maximum(self._scale, np.sqrt(np.maximum(curvature, 0.0)))
        self._model = Model(self._problem, point, self._held)
        expected, before = self._model.expected, self._expected
        length = self._largest(np.abs(self._model.newton) * self._scale)
        if point.observed is not None:
            away = (length > tolerances.still) & (expected < tolerances.drift)
            away &= length > tolerances.contraction * self._length
            away &= expected * self._length**2 < tolerances.contraction * before * length**2
            self._drift = np.where(away, self._drift + 1, 0)
            near = (expected > tolerances.edm) & (expected < 4 * tolerances.near)
            crawls = self._model.promised(self._bounded()) < tolerances.poor * expected
            self._slow = np.where(near, self._slow + 1 + 2 * crawls, 0)
        self._length, self._expected = length, expected

    def _sum(self, values: Array) -> Array:
        result: Array = np.bincount(self._blocks, values, self._n_blocks).astype(np.float64)
        return result

    def _largest(self, values: Array) -> Array:
        result = np.zeros(self._n_blocks)
        np.maximum.at(result, self._blocks, values)
        return result


def _shorter(falls: Array, rises: Array, gained: Array, shrink: float) -> Array:
    """Fractions of steps at which cubic polynomials, from slopes and decreases, are lowest; one tenth to a half."""
    middle = 3 * gained - falls + rises
    root = np.sqrt(np.maximum(middle**2 + falls * rises, 0.0))
    below = rises + falls + 2 * root
    lowest = 1 - (rises + root - middle) / np.where(below > 0, below, 1.0)
    return np.clip(np.where((below > 0) & (falls > 0), lowest, shrink), 0.1, 0.5)


Evaluate = Callable[[P | None, Array, int], P]
OnPass = Callable[[P, float, bool], None]
OnAccept = Callable[[State[P]], None]


def minimise(
    evaluate: Evaluate[P],
    start: Array | State[P],
    problem: Problem,
    *,
    tolerances: Tolerances = TOLERANCES,
    more: Callable[[], bool] | None = None,
    on_pass: OnPass[P] | None = None,
    on_accept: OnAccept[P] | None = None,
) -> Minimum[P]:
    """Minimise with a function that evaluates points one by one.

    Parameters
    ----------
    evaluate : callable
        Takes the best evaluation (None at first), the parameters, and the order of derivatives;
        returns an evaluation with gradient and Gauss-Newton Hessian, and for order 2 the observed one.
    start : array of shape (S,), or `State`
        Start values, or the state of an earlier minimisation to continue.
    problem : `Problem`
    tolerances : `Tolerances`
    more : callable, optional
        Whether another evaluation may be made.
    on_pass : callable, optional
        Receives every evaluation, its expected distance to the minimum (NaN if it was not accepted), and
        whether it was accepted.
    on_accept : callable, optional
        Receives the state after every accepted point.
    """

    def report(point: P, *, accepted: bool) -> None:
        if on_pass is not None:
            on_pass(point, search.edm if accepted else float("nan"), accepted)
        if accepted and on_accept is not None:
            on_accept(search.state)

    if isinstance(start, State):
        search = TrustRegion(problem, start, tolerances)
    else:
        first = evaluate(None, np.clip(start, problem.lower, problem.upper), 1)
        search = TrustRegion(problem, first, tolerances)
        report(first, accepted=True)
    while (proposal := search.propose()) is not None:
        if more is not None and not more():
            search.status = Status.MAX_PASSES
            break
        trial = evaluate(search.point, *proposal)
        report(trial, accepted=search.take(trial))
    assert search.status is not None
    return Minimum(search.point, search.edm, search.status, search.concerned)
