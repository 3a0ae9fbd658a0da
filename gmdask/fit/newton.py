"""A damped Newton method (Levenberg-Marquardt) with limits on the parameters."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from gmdask.fit.kinks import Kinks
from gmdask.fit.problem import End, Minimum, Point, Problem, State
from gmdask.likelihood.steps import moved, newton_step

__all__ = ["away_from_flat_limits", "damped_newton", "edm", "flat"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

TOLERANCE = 1e-5
FIRST_DAMPING = 1e-4
MAX_DAMPING = 1e8
TURNED = 0.25  # slope behind a step, as a share of that before, from which steps are too long
TINY = 1e-300
NEAR = 1.0  # expected decrease below which refused steps are looked at closely
SETTLED = 2e-4  # decrease of the statistic, for each parameter, for which a kink is left alone,
SETTLED_MOST = 2e-2  # and for many
MANY = 50  # parameters from which those with kinks do not keep a fit going
ROUGH = 1e-3  # gain of an evaluation, for each parameter, for which it does not, on average
ROUNDS = 3  # of so many evaluations
STALLED = 10  # evaluations that gain next to nothing
SHARE = 0.1  # of what a step promises, if it is
LITTLE = 3e-2  # decrease of the statistic at most
HIDDEN = 1e-3  # decrease of the statistic that is not worth a second look
MAX_RELEASES = 3  # times that what is held at a kink is let go
PATIENCE = 3  # steps refused in a row before asking whether the response is to blame


P = TypeVar("P", bound=Point)
Evaluate = Callable[[P | None, Array, bool], P]
OnPass = Callable[[P, float, bool], None]
OnAccept = Callable[[State[P]], None]


def edm(
    point: Point,
    lower: Array,
    upper: Array,
    held: Mask | None = None,
    stiffness: Array | float = 0.0,
) -> float:
    """Compute the expected distance to the minimum: the decrease a Newton step promises.

    Parameters
    ----------
    point : `Point`
    lower, upper : array of shape (S,)
    held : boolean array of shape (S,), optional
        Parameters that do not move.
    stiffness : array of shape (S,)
        Curvature besides the Hessian's; see `Kinks`.
    """
    gradient, hessian = _derivatives(point)
    hessian = hessian + np.diag(np.broadcast_to(stiffness, gradient.shape))
    step = newton_step(point.shared, gradient, hessian, 0.0, lower, upper, held)
    return float(-(gradient @ step + 0.5 * step @ hessian @ step))


def flat(point: Point) -> Mask:
    """Parameters (S,) that nothing depends on at a point."""
    return np.asarray(np.diag(_derivatives(point)[1]) == 0)


def away_from_flat_limits(point: Point, lower: Array, upper: Array) -> Array | None:
    """Another start where a fit ended at limits at which the statistic is flat.

    A shape that becomes round no longer feels its eccentricity, nor its angle: there the
    derivatives vanish whether or not the statistic is lower elsewhere.

    Returns
    -------
    start : array of shape (S,) or None
        With those parameters half-way between their limits; None where there are none.
    """
    between = np.isfinite(lower) & np.isfinite(upper)
    stuck = flat(point) & between & ((point.shared <= lower) | (point.shared >= upper))
    if not stuck.any():
        return None
    middle = 0.5 * (np.where(between, lower, 0.0) + np.where(between, upper, 0.0))
    return np.where(stuck, middle, point.shared)


class _Search(Generic[P]):
    """State of a minimisation: the accepted point, damping, and what is held at a kink."""

    def __init__(self, evaluate: Evaluate[P], problem: Problem, on_pass: OnPass[P] | None) -> None:
        self._evaluate, self._problem, self._on_pass = evaluate, problem, on_pass
        self.passes, self.refused, self.releases = 0, 0, 0
        self.damping: Array = np.full(len(problem.lower), FIRST_DAMPING)
        self.held: Mask = np.zeros(len(problem.lower), dtype=bool)
        self.kinks = Kinks.none(len(problem.lower))
        self.point: P
        self.lowest: tuple[float, ...] = ()
        self.distance = float("nan")

    @property
    def state(self) -> State[P]:
        """Where it stands, while no step was refused since the last one accepted."""
        return State(
            self.point, self.passes, self.damping, self.held, self.releases, self.kinks, self.lowest
        )

    def start(self, x: Array | State[P]) -> None:
        """Evaluate the first point, or go on from a state."""
        if isinstance(x, State):
            self.point, self.passes, self.damping = x.point, x.passes, x.damping
            self.held, self.releases, self.kinks = x.held, x.releases, x.kinks
            self.lowest = x.lowest
            self.distance = self.distance_of(self.point)
            return
        start = np.clip(x, self._problem.lower, self._problem.upper)
        self.point = self._evaluate(None, start, False)
        self.passes, self.lowest = 1, (self.point.stat,)
        self.distance = self.distance_of(self.point)
        self._tell(self.point, True)

    def distance_of(self, point: P) -> float:
        """Give the expected distance of a point to the minimum, without what is held."""
        gradient, hessian = _derivatives(point)
        stiffness = self.kinks.stiffness(point.shared, gradient, np.diag(hessian))
        return edm(point, self._problem.lower, self._problem.upper, self.held, stiffness)

    def step(self) -> tuple[Array, float]:
        """Give the next step, and the decrease of the statistic it promises."""
        gradient, hessian = _derivatives(self.point)
        x, curvature = self.point.shared, np.diag(hessian)
        lower, upper = self._problem.around(x, curvature)
        hessian = hessian + np.diag(
            self.kinks.stiffness(x, gradient, curvature) + self.damping * curvature
        )
        step = newton_step(x, gradient, hessian, 0.0, lower, upper, self.held)
        return step, float(-(gradient @ step + 0.5 * step @ hessian @ step))

    def attempt(self, step: Array, *, hold_response: bool = False) -> tuple[P, bool]:
        """Evaluate a step, and take it if it lowers the statistic."""
        lower, upper = self._problem.lower, self._problem.upper
        target = moved(self.point.shared, step, lower, upper)
        trial = self._evaluate(self.point, target, hold_response)
        self.passes += 1
        taken = bool(trial.stat < self.point.stat) and not hold_response
        if not hold_response:
            self._learn(trial)
            self._damp(trial)
        if taken:
            self.point, self.refused = trial, 0
            self.distance = self.distance_of(trial)
        self.lowest = (*self.lowest[-STALLED:], self.point.stat)
        self._tell(trial, taken)
        return trial, taken

    def _learn(self, trial: P) -> None:
        """Learn of kinks from the slopes on both sides."""
        (gradient, hessian), there = _derivatives(self.point), _derivatives(trial)[0]
        step = trial.shared - self.point.shared
        at = np.where(self._problem.kinked, step, 0.0)
        self.kinks = self.kinks.learnt(self.point.shared, at, gradient, hessian @ step, there)

    def _damp(self, trial: P) -> None:
        """Damp blocks by what each gained, from the slopes at both ends, of what it promised.

        Sources hardly know of each other: a bad step of one shall not shorten those of all.
        """
        gradient, hessian = _derivatives(self.point)
        there, step = _derivatives(trial)[0], trial.shared - self.point.shared
        if not np.isfinite(there).all():
            self.damping = np.maximum(10 * self.damping, 1e-2)
            return
        blocks = np.broadcast_to(self._problem.blocks, step.shape)
        n = int(blocks.max(initial=0)) + 1
        falls, rises, promised = (
            np.bincount(blocks, array * step, n)
            for array in (-gradient, there, -(gradient + 0.5 * (hessian @ step)))
        )
        gained = 0.5 * (falls - rises)
        missed = self.point.stat - trial.stat - gained.sum()
        gained += missed * np.abs(gained) / max(float(np.abs(gained).sum()), TINY)
        damping = np.array([self.damping[blocks == b].max(initial=0.0) for b in range(n)])
        for b in range(n):
            if promised[b] > 0:
                turned = rises[b] / falls[b] if n > 1 and min(rises[b], falls[b]) > 0 else 0.0
                damping[b] = _next_damping(damping[b], gained[b] / promised[b], turned)
        self.damping = damping[blocks]

    def gained(self, n: int) -> float:
        """Decrease of the statistic by the last n evaluations; infinite before there are so many."""
        return self.lowest[-1 - n] - self.lowest[-1] if len(self.lowest) > n else math.inf

    def stalled(self) -> bool:
        """Whether evaluations gain next to nothing of what steps promise, again and again.

        Towards infinity the statistic may fall ever more slowly: the index of a source that is not there.
        """
        return self.gained(STALLED) < min(SHARE * self.distance, LITTLE)

    def rough(self) -> bool:
        """Whether, of many parameters, only those with kinks still move, and gain little.

        The rim of a shell crosses centres of pixels everywhere: its slope is rough on the scale of its errors.
        """
        n, kinked = len(self.held), self._problem.kinked
        if n < MANY or not np.any(kinked):
            return False
        rest = edm(self.point, self._problem.lower, self._problem.upper, self.held | kinked)
        return self.gained(ROUNDS) < ROUNDS * ROUGH * n and rest < ROUGH * n

    def as_far_as_it_goes(self) -> End | None:
        """Why further steps are not worth their time, if they are not."""
        if self.rough():
            return End.KINK
        return End.STALLED if self.stalled() else None

    def settled(self) -> Mask:
        """Parameters that are as good as at a kink which is a minimum."""
        around = self.kinks.around(self.point.shared, _derivatives(self.point)[0])
        enough = min(SETTLED * len(around), SETTLED_MOST)
        return np.asarray(around & (self.kinks.decrease() < enough))

    def hold(self, which: Mask) -> None:
        """Leave parameters where they are, and start anew with the others."""
        self.held = which
        self.damping, self.refused = np.full(len(which), FIRST_DAMPING), 0
        self.distance = self.distance_of(self.point)

    def _tell(self, point: P, accepted: bool) -> None:
        if self._on_pass is not None:
            self._on_pass(point, self.distance if accepted else float("nan"), accepted)


def damped_newton(
    evaluate: Evaluate[P],
    start: Array | State[P],
    problem: Problem,
    *,
    tolerance: float = TOLERANCE,
    max_passes: int = 100,
    on_pass: OnPass[P] | None = None,
    on_accept: OnAccept[P] | None = None,
) -> Minimum[P]:
    """Minimise.

    Parameters
    ----------
    evaluate : callable
        Takes the accepted evaluation (None at first), the parameters, and whether to hold the
        response where it was taken for that evaluation; gives a new evaluation with gradient and
        Gauss-Newton Hessian.
    start : array of shape (S,), or `State`
        Where to start, or where an earlier minimisation of the same stood.
    problem : `Problem`
        Limits, and what is known of the parameters.
    tolerance : float
        Expected distance to the minimum at which to stop.
    max_passes : int
        Largest number of evaluations.
    on_pass : callable, optional
        Told every evaluation, its expected distance to the minimum (nan where it
        was not accepted), and whether it was accepted.
    on_accept : callable, optional
        Told the state after every point that was accepted.
    """
    search = _Search(evaluate, problem, on_pass)
    search.start(start)
    told: P | None = start.point if isinstance(start, State) else None
    end: End | None = None
    while end is None:
        if search.point is not told:
            told = search.point
            if on_accept is not None:
                on_accept(search.state)
        settled = search.settled()
        if (settled & ~search.held).any():
            search.hold(search.held | settled)
            continue
        if search.distance < tolerance:
            left = search.held & ~settled
            if left.any() and search.releases < MAX_RELEASES:
                search.releases += 1
                search.hold(settled)
            else:
                end = End.KINK if search.held.any() else End.CONVERGED
            continue
        end = search.as_far_as_it_goes()
        if end is not None:
            continue
        step, expected = search.step()
        if search.damping.max(initial=0.0) > MAX_DAMPING or not expected > 0:
            small = search.distance < HIDDEN or _one_by_one(search.point) < HIDDEN
            end = End.CYCLE if small else End.STUCK
        elif search.passes >= max_passes:
            end = End.MAX_PASSES
        else:
            _, taken = search.attempt(step)
            if not taken:
                end = _after_refusal(search, step, expected, max_passes)
    return Minimum(search.point, search.distance, end)


def _one_by_one(point: Point) -> float:
    """Largest decrease of the statistic that moving one parameter alone promises."""
    gradient, hessian = _derivatives(point)
    curvature = np.diag(hessian)
    return float(np.max(gradient**2 / np.where(curvature > 0, 2 * curvature, np.inf), initial=0.0))


def _after_refusal(search: _Search[P], step: Array, expected: float, max_passes: int) -> End | None:
    """Look for the reason why a step did not lower the statistic."""
    search.refused += 1
    if search.distance < HIDDEN:
        return End.CYCLE
    if search.refused == PATIENCE and expected < NEAR and search.passes < max_passes:
        there, _ = search.attempt(step, hold_response=True)
        if (search.point.stat - there.stat) / expected > 0.25:
            return End.CYCLE
    return None


def _derivatives(point: Point) -> tuple[Array, Array]:
    assert point.gradient is not None
    assert point.hessian is not None
    return point.gradient, point.hessian


def _next_damping(damping: float, gain: float, turned: float) -> float:
    """Damping after a step, by its gain as a share of the promised, and the slope behind it as one of that before."""
    if not gain > 0:
        return max(damping * 10, 1e-2, turned)
    if turned > TURNED:  # the curvature is so much larger than thought
        return max(damping, turned)
    if gain > 0.75:
        return max(damping * 0.1, 1e-12)
    return damping if gain > 0.25 else max(damping * 4, 1e-3)
