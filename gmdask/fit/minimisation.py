"""The minimisation of a fit over all data: its stages, its limits, and what is told of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gmdask.evaluation.joint_likelihood import Objective, OutOfTimeError, Pass
from gmdask.events import FitPass
from gmdask.fit.checkpoint import Stage
from gmdask.fit.minuit import migrad
from gmdask.optimize.problem import Minimum, State, edm
from gmdask.optimize.status import Status
from gmdask.optimize.trust_region import TOLERANCES, TrustRegion, minimise

__all__ = ["Minimisation"]

Array = NDArray[np.float64]

TURNS = 4  # angles tried, over half a round, where a shape became round
LEVEL = 1e-3  # change of the statistic between the limits, by the slope, that counts as none
AWAY = 0.2  # fraction of the way between the limits at which they are tried


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
        Gets every evaluation.
    on_accept : callable
        Gets the stage at every accepted point.
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
            return self.best(Status.TIME_LIMIT)
        finally:
            self._objective.end_time = math.inf

    def best(self, status: Status) -> Minimum[Pass]:
        """The best point accepted so far."""
        assert self.stage is not None
        point = self.stage.search.point
        nothing: NDArray[np.bool_] = np.zeros(len(point.shared), dtype=bool)
        return Minimum(point, edm(point, *self._objective.limits()), status, nothing)

    def _migrad(self) -> Minimum[Pass]:
        problem = self._objective.problem()
        return migrad(
            self._objective,
            self.stage.search.point if self.stage is not None else None,
            tolerance=TOLERANCES.edm,
            max_passes=self._max_passes,
            on_pass=self._told,
            on_accept=lambda point: self._accept(TrustRegion(problem, point).state),
        )

    def _newton(self) -> Minimum[Pass]:
        objective = self._objective
        start = objective.start[objective.shared] if self.stage is None else self.stage.search
        found = self._search(start)
        while found.status.success and objective.passes + TURNS < self._max_passes:
            elongated = self._elongated(found.point)
            if elongated is None:
                break
            state = TrustRegion(objective.problem(), elongated).state
            self._accept(state)
            found = self._search(state)
        return found

    def _search(self, start: Array | State[Pass]) -> Minimum[Pass]:
        objective = self._objective

        def evaluate(accepted: Pass | None, shared: Array, order: int) -> Pass:
            values = objective.start if accepted is None else accepted.values
            return objective(objective.with_shared(values, shared), order=order)

        return minimise(
            evaluate,
            start,
            objective.problem(),
            more=lambda: objective.passes < self._max_passes,
            on_pass=self._told,
            on_accept=self._accept,
        )

    def _elongated(self, point: Pass) -> Pass | None:
        """A lower point, with other angles, where the search ended at round shapes.

        There the statistic depends on no angle, and its slope by the eccentricity vanishes whether or
        not it falls along another one.
        """
        objective = self._objective
        assert point.gradient is not None
        lower, upper = objective.limits()
        turns, blocks = objective.flat_angles(point), np.asarray(objective.problem().blocks)
        at = np.isin(blocks, blocks[turns]) & np.isfinite(lower) & np.isfinite(upper)
        at &= (point.shared <= lower) | (point.shared >= upper)
        at &= np.abs(point.gradient) * np.where(at, upper - lower, 0.0) < LEVEL
        if not at.any():
            return None
        inward = np.where(point.shared <= lower, AWAY, 1 - AWAY)
        away = np.where(at, lower + inward * np.where(at, upper - lower, 0.0), point.shared)
        tried = []
        for turn in range(TURNS):
            shared = objective.turned(away, turns, turn / (2 * TURNS))
            tried.append(objective(objective.with_shared(point.values, shared)))
            self._told(tried[-1], math.nan, False)
        best = min(tried, key=lambda trial: trial.stat)
        return best if best.stat < point.stat else None

    def _told(self, point: Pass, distance: float, accepted: bool) -> None:
        self._best = min(self._best, point.stat)
        self._on_pass(FitPass(self._objective.passes, point.stat, self._best, distance, accepted))

    def _accept(self, search: State[Pass]) -> None:
        self.stage = Stage(self._objective.passes, search)
        self._on_accept(self.stage)
