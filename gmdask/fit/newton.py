"""A damped Newton method (Levenberg-Marquardt) with limits on the parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from gmdask.likelihood.steps import amplitude_floor, newton_step

__all__ = ["End", "Minimum", "Point", "away_from_flat_limits", "damped_newton", "edm"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

TOLERANCE = 1e-5
FIRST_DAMPING = 1e-4
MAX_DAMPING = 1e8
NEAR = 1.0  # expected decrease below which a refused step is looked at closely
KINK_DECREASE = 1e-2  # decrease of the statistic worth an evaluation between two others
HIDDEN = 1e-3  # decrease of the statistic that is not worth a second look
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


@dataclass(frozen=True)
class Minimum(Generic[P]):
    """Where a minimisation ended, and why."""

    point: P
    edm: float
    end: End


def edm(
    x: Array, gradient: Array, hessian: Array, lower: Array, upper: Array, held: Mask | None = None
) -> float:
    """Compute the expected distance to the minimum: the decrease a Newton step promises."""
    step = newton_step(x, gradient, hessian, 0.0, lower, upper, held)
    return float(-(gradient @ step + 0.5 * step @ hessian @ step))


def away_from_flat_limits(point: Point, lower: Array, upper: Array) -> Array | None:
    """Another start where a fit ended at limits at which the statistic is flat.

    A shape that becomes round no longer feels its eccentricity, nor its angle: there the
    derivatives vanish whether or not the statistic is lower elsewhere.

    Returns
    -------
    start : array of shape (S,) or None
        With those parameters half-way between their limits; None where there are none.
    """
    assert point.hessian is not None
    between = np.isfinite(lower) & np.isfinite(upper)
    flat = (
        (np.diag(point.hessian) == 0)
        & between
        & ((point.shared <= lower) | (point.shared >= upper))
    )
    if not flat.any():
        return None
    middle = np.where(
        between, 0.5 * (np.where(between, lower, 0.0) + np.where(between, upper, 0.0)), 0.0
    )
    return np.where(flat, middle, point.shared)


def damped_newton(
    evaluate: Callable[[P | None, Array, bool], P],
    start: Array,
    lower: Array,
    upper: Array,
    *,
    amplitudes: Mask | None = None,
    tolerance: float = TOLERANCE,
    max_passes: int = 100,
    on_pass: Callable[[P, float, bool], None] | None = None,
) -> Minimum[P]:
    """Minimise.

    Parameters
    ----------
    evaluate : callable
        Takes the accepted evaluation (None at first), the parameters, and whether to hold the
        response where it was taken for that evaluation; gives a new evaluation with gradient and
        Gauss-Newton Hessian.
    start, lower, upper : array of shape (S,)
    amplitudes : boolean array of shape (S,), optional
        Parameters that scale: while one is significant, a step lowers it by a factor of ten
        at most, and never through zero.
    tolerance : float
        Expected distance to the minimum at which to stop.
    max_passes : int
        Largest number of evaluations.
    on_pass : callable, optional
        Told every evaluation, its expected distance to the minimum (nan where it
        was not accepted), and whether it was accepted.
    """
    point = evaluate(None, np.clip(start, lower, upper), False)
    held = np.zeros(len(start), dtype=bool)
    damping, passes, refused = FIRST_DAMPING, 1, 0
    distance = _edm_of(point, lower, upper, held)
    _tell(on_pass, point, distance, True)

    def attempt(step: Array, hold: bool = False) -> tuple[P, bool]:
        """Evaluate a step; whether it lowers the statistic, and may be taken."""
        nonlocal passes
        trial = evaluate(point, point.shared + step, hold)
        passes += 1
        lower_there = bool(trial.stat < point.stat) and not hold
        _tell(
            on_pass,
            trial,
            _edm_of(trial, lower, upper, held) if lower_there else float("nan"),
            lower_there,
        )
        return trial, lower_there

    while distance >= tolerance:
        gradient, hessian = _derivatives(point)
        step = newton_step(
            point.shared, gradient, hessian, damping, _floor(point, amplitudes, lower), upper, held
        )
        expected = float(-(gradient @ step + 0.5 * step @ hessian @ step))
        if damping > MAX_DAMPING or not expected > 0:
            return Minimum(point, distance, End.CYCLE if distance < HIDDEN else End.STUCK)
        if passes >= max_passes:
            return Minimum(point, distance, End.MAX_PASSES)
        trial, accepted = attempt(step)
        damping = _next_damping(damping, (point.stat - trial.stat) / expected)
        if not accepted and expected < NEAR and passes < max_passes:
            between = _between(point, trial, step)
            if between is not None and between.decrease > KINK_DECREASE:
                trial, accepted = attempt(between.step)
            if not accepted and between is not None and between.turned.any():
                held |= between.turned
                damping, refused = FIRST_DAMPING, 0
                distance = _edm_of(point, lower, upper, held)
                continue
        if accepted:
            point, refused = trial, 0
            distance = _edm_of(point, lower, upper, held)
            continue
        refused += 1
        if distance < HIDDEN:
            return Minimum(point, distance, End.CYCLE)
        if refused == PATIENCE and expected < NEAR and passes < max_passes:
            there, _ = attempt(step, hold=True)
            if (point.stat - there.stat) / expected > 0.25:
                return Minimum(point, distance, End.CYCLE)
    return Minimum(point, distance, End.KINK if held.any() else End.CONVERGED)


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


def _floor(point: Point, amplitudes: Mask | None, lower: Array) -> Array:
    """Lower limits for one step."""
    if amplitudes is None:
        return lower
    return amplitude_floor(point.shared, np.diag(_derivatives(point)[1]), amplitudes, lower)


def _edm_of(point: Point, lower: Array, upper: Array, held: Mask) -> float:
    return edm(point.shared, *_derivatives(point), lower, upper, held)


def _next_damping(damping: float, gain: float) -> float:
    if gain <= 0:
        return max(damping * 10, 1e-2)
    if gain > 0.75:
        return max(damping * 0.1, 1e-12)
    return damping if gain > 0.25 else max(damping * 4, 1e-3)


def _tell(
    on_pass: Callable[[P, float, bool], None] | None, point: P, distance: float, accepted: bool
) -> None:
    if on_pass is not None:
        on_pass(point, distance, accepted)
