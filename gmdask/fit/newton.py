"""A damped Newton method (Levenberg-Marquardt) with limits on the parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from gmdask.likelihood.steps import amplitude_floor, moved, newton_step

__all__ = [
    "End",
    "Minimum",
    "Point",
    "Problem",
    "State",
    "away_from_flat_limits",
    "damped_newton",
    "edm",
]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

TOLERANCE = 1e-5
FIRST_DAMPING = 1e-4
MAX_DAMPING = 1e8
NEAR = 1.0  # expected decrease below which a refused step is looked at closely
KINK_DECREASE = 5e-3  # decrease of the statistic worth an evaluation between two others
HIDDEN = 1e-3  # decrease of the statistic that is not worth a second look
MAX_RELEASES = 3  # times that what is held at a kink is tried again
PATIENCE = 3  # steps refused in a row before asking whether the response is to blame


class Point(Protocol):
    """What the method needs to know of an evaluation."""

    @property
    def shared(self) -> Array:
        """Parameters (S,)."""

    @property
    def stat(self) -> float:
        """Statistic."""

    @property
    def gradient(self) -> Array | None:
        """Gradient (S,)."""

    @property
    def hessian(self) -> Array | None:
        """Hessian (S, S), positive semidefinite."""


P = TypeVar("P", bound=Point)


class End(Enum):
    """Why a minimisation ended."""

    CONVERGED = "converged"
    KINK = (
        "converged at a kink of the statistic, where a point source crosses the centres of pixels"
    )
    CYCLE = (
        "the response changes with the position as much as the statistic does: lowest value kept"
    )
    STUCK = "no step lowers the statistic although the gradient does not vanish"
    MAX_PASSES = "stopped at the largest number of passes"
    TIME_LIMIT = "stopped at the time limit: best point kept"
    INTERRUPTED = "interrupted: best point kept"


@dataclass(frozen=True)
class Minimum(Generic[P]):
    """Where a minimisation ended, and why."""

    point: P
    edm: float
    end: End


@dataclass(frozen=True)
class State(Generic[P]):
    """Where a minimisation stands after a point was accepted: all it needs to go on.

    Attributes
    ----------
    point : `Point`
        The accepted evaluation.
    passes : int
        Evaluations so far, refused ones included.
    damping : float
        Of the next step.
    held : boolean array of shape (S,)
        Parameters left where they are, at a kink.
    releases : int
        Times that what is held was tried again.
    stiff : array of shape (S,)
        Curvature of the kinks that the last step went across.
    """

    point: P
    passes: int
    damping: float
    held: Mask
    releases: int
    stiff: Array


@dataclass(frozen=True)
class Problem:
    """What is known of the parameters of a minimisation.

    Attributes
    ----------
    lower, upper : array of shape (S,)
        Limits, infinite where there are none.
    amplitudes : boolean array of shape (S,), or None
        Parameters that scale: while one is significant, a step lowers it by a factor of ten at
        most, and never through zero.
    kinked : boolean array of shape (S,), or False
        Parameters along which the slope may jump.
    reach : callable, or None
        Gives the largest changes (S,) in one step at some values.
    """

    lower: Array
    upper: Array
    amplitudes: Mask | None = None
    kinked: Mask | bool = False
    reach: Callable[[Array], Array] | None = None


Evaluate = Callable[[P | None, Array, bool], P]
OnPass = Callable[[P, float, bool], None]
OnAccept = Callable[[State[P]], None]


def edm(point: Point, lower: Array, upper: Array, held: Mask | None = None) -> float:
    """Compute the expected distance to the minimum: the decrease a Newton step promises."""
    gradient, hessian = _derivatives(point)
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
        self.passes, self.damping, self.refused, self.releases = 0, FIRST_DAMPING, 0, 0
        self.held: Mask = np.zeros(len(problem.lower), dtype=bool)
        self.stiff: Array = np.zeros(len(problem.lower))
        self.point: P
        self.distance = float("nan")

    @property
    def state(self) -> State[P]:
        """Where it stands, while no step was refused since the last one accepted."""
        return State(self.point, self.passes, self.damping, self.held, self.releases, self.stiff)

    def start(self, x: Array | State[P]) -> None:
        """Evaluate the first point, or go on from a state."""
        if isinstance(x, State):
            self.point, self.passes, self.damping = x.point, x.passes, x.damping
            self.held, self.releases, self.stiff = x.held, x.releases, x.stiff
            self.distance = self.distance_of(self.point)
            return
        start = np.clip(x, self._problem.lower, self._problem.upper)
        self.point = self._evaluate(None, start, False)
        self.passes = 1
        self.distance = self.distance_of(self.point)
        self._tell(self.point, True)

    def distance_of(self, point: P) -> float:
        """Give the expected distance of a point to the minimum, without what is held."""
        return edm(point, self._problem.lower, self._problem.upper, self.held)

    def step(self) -> tuple[Array, float]:
        """Give the next step, and the decrease of the statistic it promises."""
        gradient, hessian = _derivatives(self.point)
        lower, upper = self._problem.lower, self._problem.upper
        x, amplitudes = self.point.shared, self._problem.amplitudes
        if self._problem.reach is not None:
            reach = self._problem.reach(x)
            lower, upper = np.maximum(lower, x - reach), np.minimum(upper, x + reach)
        if amplitudes is not None:
            lower = amplitude_floor(x, np.diag(hessian), amplitudes, lower)
        hessian = hessian + np.diag(self.stiff)
        step = newton_step(x, gradient, hessian, self.damping, lower, upper, self.held)
        return step, float(-(gradient @ step + 0.5 * step @ hessian @ step))

    def attempt(self, step: Array, *, hold_response: bool = False) -> tuple[P, bool]:
        """Evaluate a step, and take it if it lowers the statistic."""
        lower, upper = self._problem.lower, self._problem.upper
        target = moved(self.point.shared, step, lower, upper)
        trial = self._evaluate(self.point, target, hold_response)
        self.passes += 1
        taken = bool(trial.stat < self.point.stat) and not hold_response
        if not hold_response:
            self._stiffen(trial, step)
        if taken:
            self.point, self.refused = trial, 0
            self.distance = self.distance_of(trial)
        self._tell(trial, taken)
        return trial, taken

    def _stiffen(self, trial: P, step: Array) -> None:
        """Learn the curvature of kinks that a step went across, from the slopes on both sides.

        Without it, steps go to and fro across a minimum at a kink, since the Hessian of either side
        does not know of the other.
        """
        (g0, hessian), g1 = _derivatives(self.point), _derivatives(trial)[0]
        moving = (step != 0) & self._problem.kinked & np.isfinite(g1)
        excess = (g1 - g0 - hessian @ step) / np.where(moving, step, 1.0)
        self.stiff = np.where(moving & (g0 * g1 < 0), np.maximum(excess, 0.0), 0.0)

    def hold(self, which: Mask) -> None:
        """Leave parameters where they are, and start anew with the others."""
        self.held = which
        self.damping, self.refused = FIRST_DAMPING, 0
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
        if search.distance < tolerance:
            if search.held.any() and search.releases < MAX_RELEASES and search.passes < max_passes:
                search.releases += 1
                end = _release(search)
            else:
                end = End.KINK if search.held.any() else End.CONVERGED
            continue
        step, expected = search.step()
        if search.damping > MAX_DAMPING or not expected > 0:
            small = search.distance < HIDDEN or _one_by_one(search.point) < HIDDEN
            end = End.CYCLE if small else End.STUCK
        elif search.passes >= max_passes:
            end = End.MAX_PASSES
        else:
            before = search.point
            trial, taken = search.attempt(step)
            # a step that went across a kink is made shorter by what it showed, at first
            if taken or search.refused or not search.stiff.any():
                gain = (before.stat - trial.stat) / expected
                search.damping = _next_damping(search.damping, gain)
            if not taken:
                end = _after_refusal(search, trial, step, expected, problem, max_passes)
    return Minimum(search.point, search.distance, end)


def _one_by_one(point: Point) -> float:
    """Largest decrease of the statistic that moving one parameter alone promises."""
    gradient, hessian = _derivatives(point)
    curvature = np.diag(hessian)
    return float(np.max(gradient**2 / np.where(curvature > 0, 2 * curvature, np.inf), initial=0.0))


def _release(search: _Search[P]) -> End | None:
    """Try whether what is held at a kink moves now that the others are at their places."""
    kept = search.held
    search.hold(np.zeros_like(kept))
    step, expected = search.step()
    if expected > 0 and search.attempt(step)[1]:
        return None
    search.hold(kept)
    return End.KINK


def _after_refusal(
    search: _Search[P], trial: P, step: Array, expected: float, problem: Problem, max_passes: int
) -> End | None:
    """Look for the reason why a step did not lower the statistic."""
    near = expected < NEAR and search.passes < max_passes
    between = _between(search.point, trial, step) if near else None
    if between is not None:
        if between.decrease > KINK_DECREASE and search.attempt(between.step)[1]:
            return None
        turned = between.turned & problem.kinked
        if turned.any():
            search.hold(search.held | turned)
            return None
    search.refused += 1
    if search.distance < HIDDEN:
        return End.CYCLE
    if search.refused == PATIENCE and near and search.passes < max_passes:
        there, _ = search.attempt(step, hold_response=True)
        if (search.point.stat - there.stat) / expected > 0.25:
            return End.CYCLE
    return None


@dataclass(frozen=True)
class _Between:
    """What two evaluations say of the statistic between them, where it turns.

    Attributes
    ----------
    step : array
        To where the slope along the line vanishes, by interpolation.
    decrease : float
        Most that the statistic can fall on the line, if it is convex.
    turned : boolean array
        Parameters whose slope changed sign.
    """

    step: Array
    decrease: float
    turned: Mask


def _between(point: Point, trial: Point, step: Array) -> _Between | None:
    """Look between a point and a refused trial; None if the slope does not turn."""
    g0, g1 = _derivatives(point)[0], _derivatives(trial)[0]
    if not (np.isfinite(trial.stat) and np.isfinite(g1).all()):
        return None
    d0, d1 = float(g0 @ step), float(g1 @ step)
    if not d0 < 0 < d1:
        return None
    crossing = (trial.stat - d1 - point.stat) / (d0 - d1)  # of the two tangents
    decrease = -d0 * min(max(crossing, 0.0), 1.0)
    return _Between(step * (d0 / (d0 - d1)), decrease, (g0 * g1 < 0) & (step != 0))


def _derivatives(point: Point) -> tuple[Array, Array]:
    assert point.gradient is not None
    assert point.hessian is not None
    return point.gradient, point.hessian


def _next_damping(damping: float, gain: float) -> float:
    if not gain > 0:
        return max(damping * 10, 1e-2)
    if gain > 0.75:
        return max(damping * 0.1, 1e-12)
    return damping if gain > 0.25 else max(damping * 4, 1e-3)
