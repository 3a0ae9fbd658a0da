"""A trust-region Newton method with limits, in which each block of parameters has its own radius.

It proposes where to evaluate and is given the result (ask and tell), so that the caller may evaluate in one
process, on a cluster, or at many points at once.
"""

from __future__ import annotations

import math
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from gmdask.optimize.model import Model
from gmdask.optimize.problem import P, Pieces, Point, Problem, Proposal, State
from gmdask.optimize.status import Status, Tolerances
from gmdask.sums import times

__all__ = ["TOLERANCES", "TrustRegion"]

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

    The Hessian is the Gauss-Newton one far from the minimum, and the observed one near it, of whose
    eigenvalues within a block the absolute values are taken. What second derivatives add is kept for
    points at which they are not evaluated; at the end they are, and must be positive: a saddle point is left
    along its negative curvature.

    Where a step is refused, blocks that gained go on from its end, and only the others go back. A block
    whose Newton steps do not grow shorter, although they promise next to nothing, has no minimum at finite
    values: it is left where it is. So is all but the amplitude of a source that cannot be told from none.
    """

    def __init__(
        self, problem: Problem, start: P | State[P], tolerances: Tolerances = TOLERANCES
    ) -> None:
        self._problem, self._tolerances = problem, tolerances
        self._blocks = np.broadcast_to(problem.blocks, problem.lower.shape)
        n = self._n_blocks = int(self._blocks.max(initial=-1)) + 1
        self._edm = tolerances.edm * max(1.0, 0.1 * n)
        self.status: Status | None = None
        self.concerned: Mask = np.zeros(len(problem.lower), dtype=bool)
        self._unconfirmed, self._refused = False, 0
        self.point: P
        if isinstance(start, State):
            self.point, self._scale, self._radius = start.point, start.scale, start.radius
            self._length, self._expected = start.length, start.expected
            self._slow = start.slow
            self._drift, self._kicks, self._held = start.drift, start.kicks, start.held
            self._second, self._rate, self._unseen = start.second, start.rate, start.unseen
            self._stand(self.point)
            return
        self._second, self._rate = None, 1.0
        self._unseen = np.zeros(n, dtype=np.intp)
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
            self._slow, self._kicks, self._held, self._second, self._rate,
            self._unseen,
        )  # fmt: skip

    @property
    def edm(self) -> float:
        """Expected distance to the minimum, without held parameters."""
        return self._model.edm

    # --- ask ---------------------------------------------------------------------------

    def propose(self) -> Proposal | None:
        """Return where to evaluate next; None once the search has ended."""
        while self.status is None:
            self._hold_shapes()
            drifting = (self._drift >= self._tolerances.drifts) | self._keeping_others()
            found = None
            if self.edm < self._edm:
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
        """Blocks that have been near a minimum for long without coming to it, while all others are there, or nearly."""
        slow = (self._slow >= self._tolerances.patience) & (self._model.expected > 0)
        slow &= ~self._seen(self._tolerances.clearly)
        others = self._model.expected[~slow]
        waiting = len(others) > 0 and float(others.sum()) < self._tolerances.drift
        return slow & waiting

    def _next(self) -> Proposal | None:
        """Return the next step, if a decrease is expected from it."""
        step = self._bounded()
        promised = self._model.promised(step).sum()
        rough = self._problem.rough
        least = self._edm * (1.0 if rough else 0.1)
        if promised > least:
            return self._step(step, order=self._order(promised))
        if rough:
            self.status = Status.CONVERGED
        else:
            stuck = self._model.expected > self._edm / self._n_blocks
            self._hold(stuck if stuck.any() else np.ones(self._n_blocks, dtype=bool))
        return None

    def _order(self, promised: float) -> int:
        """Order of derivatives at the end of a step.

        Second derivatives cost most of a pass. They are needed where the Gauss-Newton Hessian no longer
        does, and what they add to it holds on until steps gain less than they should; and at the end.
        """
        tolerances = self._tolerances
        if promised > tolerances.near * math.sqrt(max(1.0, 0.1 * self._n_blocks)):
            return 1
        if self._second is None or self._refused or self._rate >= 1:
            return 2
        rate = self._rate ** (0.5 if self.point.observed is None else 2.0)
        passes = math.log(promised / self._edm) / -math.log(max(rate, TINY))
        return 1 if 1 < passes < tolerances.stale else 2

    def _bounded(self) -> Array:
        return self._model.step(*self._bounds())

    def _step(self, step: Array, order: int = 2, *, kick: bool = False) -> Proposal:
        self._tried, self._promised = step, self._model.promised(step, kick=kick)
        return Proposal(self._model.values(step), order)

    def _bounds(self) -> tuple[Array, Array]:
        """Lower and upper values of one step, in its coordinates."""
        x, problem = self._base.shared, self._problem
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
        self._stand(self._base)

    def _hold_shapes(self) -> None:
        """Leave all but the amplitude where it is of sources that are not seen, and do not converge.

        Without a flux, nothing has a place, a size or an index: these would go from one fluctuation of the
        counts to the next.
        """
        tolerances, amplitudes = self._tolerances, self._problem.kinds.amplitudes
        lost = (self._unseen >= tolerances.unseen) & (self._model.expected > tolerances.edm)
        more = lost[self._blocks] & ~amplitudes & self._free()
        if more.any():
            self._held = self._held | more
            self._stand(self._base)

    def _stand(self, base: Point) -> None:
        """Take the next step from there."""
        self._base = base
        self._model = Model(self._problem, base, self._held, self._second)

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
        if last := promised < self._edm:
            slack = self._tolerances.rounding * (1 + abs(self.point.stat))
        gained = self.point.stat - trial.stat
        accepted = bool(gained > 0 or (last and gained >= -slack))
        accepted = accepted and not _more_floors(self.point, trial)
        if accepted and not last and gained < self._tolerances.least * promised:
            # beyond the minimum, and hardly lower: a shorter step is lower
            accepted = float(times(trial.gradient, trial.shared - self.point.shared)) < 0
        better = self._judge(trial, self._promised, accepted=accepted)
        self._unconfirmed = last and not accepted
        if accepted:
            self._arrive(trial)
            return True
        self._refused += 1
        keep = better.any() and not last and self._refused <= self._tolerances.pieces
        self._stand(Pieces(self._base, trial, better[self._blocks]) if keep else self.point)
        return False

    def _judge(self, trial: P, promised: Array, *, accepted: bool) -> Mask:
        """Shorten or lengthen the next step of each block by what it gained of what it promised.

        Returns
        -------
        better : boolean array of shape (block,)
            Blocks that gained, though others may have lost more.
        """
        tolerances, step, base = self._tolerances, self._tried, self._base
        size = self._largest(np.abs(step) * self._scale)
        there = trial.gradient
        if not (np.isfinite(trial.stat) and np.isfinite(there).all()):
            self._radius = np.where(size > 0, 0.1 * size, self._radius)
            return np.zeros(self._n_blocks, dtype=bool)
        falls = self._sum(-base.gradient * step)
        rises = self._sum(self._model.slope(there, trial.shared) * step)
        gained = 0.5 * (falls - rises)
        significant = promised > max(1e-3 * tolerances.edm, 1e-3 * promised.sum() / self._n_blocks)
        emptied = self._emptied(trial)
        gained = np.where(emptied, np.minimum(gained, -100 * promised), gained)
        missed = base.stat - trial.stat - gained.sum()
        blamed = np.abs(gained)
        if emptied.any():
            missed = 0.0
        elif missed < 0:
            bad = significant & (gained < tolerances.poor * promised)
            blamed = blamed * (bad if bad.any() else self._lost(trial))
        gained = gained + missed * blamed / max(float(blamed.sum()), TINY)
        ratio = np.where(significant, gained / np.where(significant, promised, 1.0), 1.0)
        poor, good = significant & (ratio < tolerances.poor), ratio > tolerances.good
        better = significant & ~poor
        if not accepted:  # no step may be longer than one from the same point that was not good
            if not poor.any():
                lost = significant & self._lost(trial)
                poor, better = (lost if lost.any() else significant), np.zeros_like(significant)
            good = np.zeros_like(good)
        most = np.where(gained < -10 * promised, tolerances.shrink, 0.5)
        shorter = np.minimum(_shorter(falls, rises, gained, tolerances.shrink), most) * size
        self._radius = np.where(
            poor, shorter, np.where(good, np.maximum(self._radius, tolerances.grow * size), self._radius)
        )  # fmt: skip
        return np.asarray(better)

    def _emptied(self, trial: P) -> Mask:
        """Blocks whose amplitude fell below zero where bins with counts are left without a prediction.

        There the statistic is flat at a high value, so that slopes say nothing of who is to blame.
        """
        before, floors = self._base.floors, trial.floors
        if before is None or floors is None or not (floors > before).any():
            return np.zeros(self._n_blocks, dtype=bool)
        fell = (
            self._problem.kinds.amplitudes
            & (trial.shared <= 0)
            & (trial.shared < self._base.shared)
        )
        return np.asarray(self._sum(np.asarray(fell, dtype=np.float64)) > 0)

    def _lost(self, trial: P) -> Mask:
        """Blocks whose parts of the data fit worse at a trial point."""
        touches = self._problem.touches
        if touches is None:
            return np.ones(self._n_blocks, dtype=bool)
        return times(trial.stats - self._base.stats, touches.astype(np.float64)) > 0

    def _arrive(self, point: P) -> None:
        """Move to an evaluation, and check whether blocks come closer to their minimum."""
        tolerances = self._tolerances
        self.point, self._refused = point, 0
        curvature = np.diag(point.hessian)
        if point.observed is not None:
            curvature = np.maximum(curvature, np.abs(np.diag(point.observed)))
            self._second = point.observed - point.hessian
        self._scale = np.maximum(self._scale, np.sqrt(np.maximum(curvature, 0.0)))
        self._stand(point)
        expected, before = self._model.expected, self._expected
        total = float(before.sum())
        self._rate = float(expected.sum()) / total if total > 0 else 1.0
        length = self._largest(np.abs(self._model.newton) * self._scale)
        if self._second is not None:
            away = (length > tolerances.still) & (expected < tolerances.drift)
            away &= length > tolerances.contraction * self._length
            away &= expected * self._length**2 < tolerances.contraction * before * length**2
            self._drift = np.where(away, self._drift + 1, 0)
            near = (expected > tolerances.edm) & (expected < 4 * tolerances.near)
            near &= expected > tolerances.poor * before
            crawls = self._model.promised(self._bounded()) < tolerances.poor * expected
            little = expected < tolerances.drift
            self._slow = np.where(near, self._slow + 1 + little + 2 * crawls, 0)
        self._length, self._expected = length, expected
        self._unseen = np.where(self._seen(tolerances.seen), 0, self._unseen + 1)

    def _seen(self, errors: float) -> Mask:
        """Blocks without amplitudes, or with one that is above zero by more than some errors, all else fixed."""
        slope, curvature = self.point.gradient, np.diag(self.point.hessian)
        scale = np.sqrt(np.where(curvature > 0, 0.5 * curvature, 1.0))
        now = self.point.shared * scale
        best = np.maximum(now, now - 0.5 * slope / scale)
        amplitudes = np.broadcast_to(self._problem.kinds.amplitudes, best.shape)
        largest = self._largest(np.where(amplitudes, best, 0.0))
        none = self._sum(amplitudes.astype(np.float64)) == 0
        return np.asarray(none | (largest > errors))

    def _sum(self, values: Array) -> Array:
        result: Array = np.bincount(self._blocks, values, self._n_blocks).astype(np.float64)
        return result

    def _largest(self, values: Array) -> Array:
        result = np.zeros(self._n_blocks)
        np.maximum.at(result, self._blocks, values)
        return result


def _more_floors(point: Point, trial: Point) -> bool:
    """Whether a trial point leaves more bins with counts without a prediction.

    But for its floor the statistic would be infinite there, and with the floor it is flat: a search would end.
    """
    before, after = point.floors, trial.floors
    return before is not None and after is not None and int(after.sum()) > int(before.sum())


def _shorter(falls: Array, rises: Array, gained: Array, shrink: float) -> Array:
    """Fractions of steps at which cubic polynomials, from slopes and decreases, are lowest; one tenth to a half."""
    middle = 3 * gained - falls + rises
    root = np.sqrt(np.maximum(middle**2 + falls * rises, 0.0))
    below = rises + falls + 2 * root
    lowest = 1 - (rises + root - middle) / np.where(below > 0, below, 1.0)
    return np.clip(np.where((below > 0) & (falls > 0), lowest, shrink), 0.1, 0.5)
