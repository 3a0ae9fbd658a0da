"""The minimisation of a fit over all data, with its limits and callbacks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gmdask.evaluation.joint_likelihood import Objective, OutOfTimeError
from gmdask.evaluation.passes import Pass
from gmdask.events import FitPass
from gmdask.fit.checkpoint import Stage
from gmdask.fit.minuit import migrad
from gmdask.optimize.minimise import minimise
from gmdask.optimize.problem import Minimum, State, edm
from gmdask.optimize.status import Status
from gmdask.optimize.trust_region import TOLERANCES, TrustRegion

__all__ = ["Minimisation"]

Array = NDArray[np.float64]


class Minimisation:
    """One minimisation, which always knows its best point.

    Parameters
    ----------
    objective : `Objective`
    backend : {"newton", "minuit"}
    max_passes : int
        Largest number of evaluations.
    seconds : float
        Time after which no further evaluation is started.
    on_pass : callable
        Receives every evaluation.
    on_accept : callable
        Receives the stage at every accepted point.
    stage : `Stage`, optional
        Stage of an earlier minimisation to continue from.

    Attributes
    ----------
    stage : `Stage` or None
        The last accepted point, with all that is needed to continue from it.
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
        """Minimise, until the time limit."""
        self._objective.end_time = self._end_time
        try:
            return self._migrad() if self._backend == "minuit" else self._newton()
        except OutOfTimeError:
            return self.best(Status.TIME_LIMIT)
        finally:
            self._objective.end_time = math.inf

    def best(self, status: Status) -> Minimum[Pass]:
        """Return the best point accepted so far."""
        assert self.stage is not None
        point = self.stage.search.point
        nothing: NDArray[np.bool_] = np.zeros(len(point.shared), dtype=bool)
        return Minimum(point, edm(point, *self._objective.parameters.limits()), status, nothing)

    def _migrad(self) -> Minimum[Pass]:
        problem = self._objective.problem()
        return migrad(
            self._objective,
            self.stage.search.point if self.stage is not None else None,
            tolerance=TOLERANCES.edm,
            max_passes=self._max_passes,
            on_pass=self._report_pass,
            on_accept=lambda point: self._accept(TrustRegion(problem, point).state),
        )

    def _newton(self) -> Minimum[Pass]:
        objective = self._objective

        def evaluate(accepted: Pass | None, shared: Array, order: int) -> Pass:
            values = objective.parameters.start if accepted is None else accepted.values
            return objective(objective.parameters.with_shared(values, shared), order=order)

        return minimise(
            evaluate,
            objective.parameters.beginning() if self.stage is None else self.stage.search,
            objective.problem(),
            more=lambda: objective.passes < self._max_passes,
            on_pass=self._report_pass,
            on_accept=self._accept,
        )

    def _report_pass(self, point: Pass, distance: float, accepted: bool) -> None:
        self._best = min(self._best, point.stat)
        self._on_pass(FitPass(self._objective.passes, point.stat, self._best, distance, accepted))

    def _accept(self, search: State[Pass]) -> None:
        self.stage = Stage(self._objective.passes, search)
        self._on_accept(self.stage)
