"""MINUIT through iminuit: as minimiser, and as the judge of a minimum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from iminuit import Minuit
from numpy.typing import NDArray

from gmdask.fit.newton import End, Minimum, edm
from gmdask.fit.objective import Objective, Pass

__all__ = ["Verdict", "judge", "migrad"]

Array = NDArray[np.float64]

MAX_ROUNDS = 10


@dataclass(frozen=True)
class Verdict:
    """What MIGRAD says of a point, with the response held where it is.

    Attributes
    ----------
    valid : bool
        Whether it finds a valid minimum there.
    edm : float
        Its estimated distance to it.
    """

    valid: bool
    edm: float


class _Scaled:
    """The objective around a point, in units of the expected errors, less its value there.

    Subtracting the value gives Minuit numbers it can use: near 1e8 the statistic loses the
    digits it needs. Every point is evaluated once.
    """

    def __init__(
        self, objective: Objective, point: Pass, on_pass: Callable[[Pass], None] | None = None
    ) -> None:
        assert point.hessian is not None
        self._objective, self._point, self._on_pass = objective, point, on_pass
        diagonal = np.diag(point.hessian)
        self.scale = np.sqrt(2 / np.where(diagonal > 0, diagonal, 2.0))
        self.best = point
        self._kept: dict[bytes, Pass] = {np.zeros(len(self.scale)).tobytes(): point}

    def at(self, u: Array) -> Pass:
        key = (np.asarray(u, dtype=float) + 0.0).tobytes()
        if key not in self._kept:
            shared = self._point.shared + u * self.scale
            values = self._objective.with_shared(self.best.values, shared)
            found = self._objective(values, anchor=self._point.values)
            self._kept[key] = found
            if self._on_pass is not None:
                self._on_pass(found)
            if found.stat < self.best.stat:
                self.best = found
        return self._kept[key]

    def value(self, u: Array) -> float:
        return self.at(u).stat - self._point.stat

    def gradient(self, u: Array) -> Array:
        gradient = self.at(u).gradient
        assert gradient is not None
        return gradient * self.scale

    def hessian(self, u: Array) -> Array:
        hessian = self.at(u).hessian
        assert hessian is not None
        return np.asarray(hessian * np.outer(self.scale, self.scale))

    def minuit(self) -> Minuit:
        """Minuit at the point, with limits."""
        n = len(self.scale)
        minuit = Minuit(self.value, np.zeros(n), grad=self.gradient, hessian=self.hessian)
        lower, upper = self._objective.limits()
        minuit.limits = list(zip((lower - self._point.shared) / self.scale,
                                 (upper - self._point.shared) / self.scale, strict=True))  # fmt: skip
        minuit.errors = np.ones(n)
        minuit.errordef = Minuit.LEAST_SQUARES
        minuit.print_level = 0
        return minuit


def judge(objective: Objective, point: Pass) -> Verdict:
    """Ask MIGRAD whether a point is a minimum, with the response taken there.

    Parameters
    ----------
    objective : `Objective`
    point : `Pass`
        With gradient and Hessian.
    """
    if not len(objective.shared):
        return Verdict(valid=True, edm=0.0)
    minuit = _Scaled(objective, point).minuit()
    minuit.strategy = 0
    minuit.migrad(ncall=20)
    assert minuit.fmin is not None
    return Verdict(bool(minuit.fmin.is_valid), float(minuit.fmin.edm))


def migrad(
    objective: Objective,
    *,
    tolerance: float,
    max_passes: int,
    on_pass: Callable[[Pass, float, bool], None],
) -> Minimum[Pass]:
    """Minimise with MIGRAD, taking the response anew until it stays.

    Parameters
    ----------
    objective : `Objective`
    tolerance : float
        Expected distance to the minimum, with a fresh response, at which to stop.
    max_passes : int
        Largest number of evaluations.
    on_pass : callable
        Told every evaluation; see `damped_newton`.
    """
    lower, upper = objective.limits()

    def distance(point: Pass) -> float:
        assert point.gradient is not None
        assert point.hessian is not None
        return edm(point.shared, point.gradient, point.hessian, lower, upper)

    point = objective(
        objective.with_shared(
            objective.start, np.clip(objective.start[objective.shared], lower, upper)
        )
    )
    on_pass(point, distance(point), True)
    for _ in range(MAX_ROUNDS):
        if distance(point) < tolerance:
            return Minimum(point, distance(point), End.CONVERGED)
        if objective.passes >= max_passes:
            return Minimum(point, distance(point), End.MAX_PASSES)
        scaled = _Scaled(objective, point, lambda p: on_pass(p, float("nan"), False))
        scaled.minuit().migrad(ncall=max(max_passes - objective.passes, 1))
        fresh = objective(scaled.best.values)
        on_pass(fresh, distance(fresh), fresh.stat < point.stat)
        if fresh.stat >= point.stat:
            return Minimum(point, distance(point), End.CYCLE)
        point = fresh
    return Minimum(point, distance(point), End.CYCLE)
