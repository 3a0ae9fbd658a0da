"""The minimisation of a fit over all data: its stages, its limits, and what is told of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gmdask.events import FitPass
from gmdask.fit.checkpoint import Stage
from gmdask.fit.kinks import Kinks
from gmdask.fit.minuit import migrad
from gmdask.fit.newton import TOLERANCE, away_from_flat_limits, damped_newton, edm, flat
from gmdask.fit.objective import Objective, OutOfTimeError, Pass
from gmdask.fit.problem import End, Minimum, State

__all__ = ["Minimisation"]

Array = NDArray[np.float64]

TURNS = 4  # angles tried, over half a round, where a shape became round


class Minimisation:
    """One minimisation, which knows the best point at any moment.

    Parameters
    ----------
    objective : `Objective`
    backend : {"newton", "minuit"}
    max_passes : int
        Largest number of evaluations.
    seconds : float
        Time after which no further evaluation is begun.
    on_pass : callable
        Told every evaluation.
    on_accept : callable
        Told the stage at every accepted point.
    stage : `Stage`, optional
        Where an earlier minimisation of the same stood.

    Attributes
    ----------
    stage : `Stage` or None
        The last accepted point, and all that is needed to go on from it.
    """

    def __init__(
        self,
        objective: Objective,
        backend: str,
        *,
        max_passes: int,
        seconds: float,
        on_pass: Callable[[FitPass], None],
        on_accept: Callable[[Stage], None],
        stage: Stage | None = None,
    ) -> None:
        self._objective, self._backend, self._max_passes = objective, backend, max_passes
        self._end_time = time.monotonic() + seconds
        self._on_pass, self._on_accept = on_pass, on_accept
        self.stage = stage
        self._best = math.inf if stage is None else stage.search.point.stat
        if stage is not None:
            objective.passes = stage.passes

    def run(self) -> Minimum[Pass]:
        """Minimise, as far as time allows."""
        self._objective.end_time = self._end_time
        try:
            return self._migrad() if self._backend == "minuit" else self._newton()
        except OutOfTimeError:
            return self.best(End.TIME_LIMIT)
        finally:
            self._objective.end_time = math.inf

    def best(self, end: End) -> Minimum[Pass]:
        """The best point accepted so far."""
        assert self.stage is not None
        point, earlier = self.stage.search.point, self.stage.earlier
        if earlier is not None and earlier.point.stat <= point.stat:
            point = earlier.point
        return Minimum(point, edm(point, *self._objective.limits()), end)

    def _migrad(self) -> Minimum[Pass]:
        return migrad(
            self._objective,
            self.stage.search.point if self.stage is not None else None,
            tolerance=TOLERANCE,
            max_passes=self._max_passes,
            on_pass=self._told,
            on_accept=lambda point: self._accept(_state_of(point), None),
        )

    def _newton(self) -> Minimum[Pass]:
        objective, earlier = self._objective, None if self.stage is None else self.stage.earlier
        if earlier is None:
            start = objective.start[objective.shared] if self.stage is None else self.stage.search
            earlier = self._search(start, None)
            elsewhere = away_from_flat_limits(earlier.point, *objective.limits())
            if elsewhere is None or objective.passes + TURNS >= self._max_passes:
                return earlier
            again = self._search(self._best_turn(earlier.point, elsewhere), earlier)
        else:
            assert self.stage is not None
            again = self._search(self.stage.search, earlier)
        return again if again.point.stat < earlier.point.stat else earlier

    def _search(self, start: Array | State[Pass], earlier: Minimum[Pass] | None) -> Minimum[Pass]:
        objective = self._objective

        def evaluate(accepted: Pass | None, shared: Array, hold: bool) -> Pass:
            values = objective.start if accepted is None else accepted.values
            anchor = values if hold else None
            return objective(objective.with_shared(values, shared), anchor=anchor)

        before = objective.passes - (start.passes if isinstance(start, State) else 0)
        return damped_newton(
            evaluate,
            start,
            objective.problem(),
            tolerance=TOLERANCE,
            max_passes=max(self._max_passes - before, 1),
            on_pass=self._told,
            on_accept=lambda state: self._accept(state, earlier),
        )

    def _best_turn(self, point: Pass, start: Array) -> Array:
        """Give a start with the angle, of some, at which the statistic is lowest.

        Where a shape is round, its angle is any.
        """
        objective, found = self._objective, []
        for turn in range(TURNS):
            shared = objective.turned(start, flat(point), turn / (2 * TURNS))
            found.append(objective(objective.with_shared(point.values, shared)))
            self._told(found[-1], math.nan, False)
        return min(found, key=lambda trial: trial.stat).shared

    def _told(self, point: Pass, distance: float, accepted: bool) -> None:
        self._best = min(self._best, point.stat)
        self._on_pass(FitPass(self._objective.passes, point.stat, self._best, distance, accepted))

    def _accept(self, search: State[Pass], earlier: Minimum[Pass] | None) -> None:
        self.stage = Stage(self._objective.passes, search, earlier)
        self._on_accept(self.stage)


def _state_of(point: Pass) -> State[Pass]:
    """State of a minimiser that goes on from its point alone."""
    n = len(point.shared)
    return State(point, 0, np.zeros(n), np.zeros(n, dtype=bool), 0, Kinks.none(n), ())
