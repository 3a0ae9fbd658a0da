"""The joint fit of global models to datasets."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from distributed import Client
from numpy.typing import NDArray

from gmdask.datasets import Datasets
from gmdask.errors import FitError, InputError
from gmdask.events import CompileEnd, FitEnd, FitPass, Listener
from gmdask.fit.minuit import Verdict, judge, migrad
from gmdask.fit.newton import (
    TOLERANCE,
    End,
    Minimum,
    away_from_flat_limits,
    damped_newton,
    edm,
    flat,
)
from gmdask.fit.objective import Objective, Pass
from gmdask.fit.result import FitResult
from gmdask.fit.uncertainty import Uncertainty, uncertainty
from gmdask.models import Covariance, Models, Parameters

__all__ = ["Fit"]

Array = NDArray[np.float64]

BACKENDS = ("newton", "minuit")
NAMES_SHOWN = 5
TURNS = 4  # angles tried, over half a round, where a shape became round


class Fit:
    """Joint fit of global models to datasets, here or on a cluster.

    Parameters
    ----------
    datasets : `Datasets`
        They get copies of the models, and follow the fitted values.
    client : `distributed.Client`, optional
        Cluster to evaluate on; by default this process. Numbers are the same to the last bit.
    backend : {"newton", "minuit"}
        A damped Newton method, or MIGRAD with the exact gradient and Hessian.
    max_passes : int
        Largest number of evaluations over all data.
    on_event : callable, optional
        Gets the events of the fit; see `gmdask.events`.

    Notes
    -----
    Every pass takes PSF, energy dispersion and pixels at its own parameters, so that a value never
    depends on the path taken. Steps are made with the Gauss-Newton Hessian; errors come from the
    observed one.
    """

    def __init__(
        self,
        datasets: Datasets,
        client: Client | None = None,
        *,
        backend: str = "newton",
        max_passes: int = 100,
        on_event: Listener | None = None,
    ) -> None:
        if backend not in BACKENDS:
            msg = f"backend {backend!r} is not one of {BACKENDS}"
            raise InputError(msg)
        if max_passes < 1:
            msg = f"max_passes is {max_passes}, expected at least 1"
            raise InputError(msg)
        self.datasets, self.client, self.backend = datasets, client, backend
        self._max_passes, self._on_event = max_passes, on_event

    def run(self, models: Models) -> FitResult:
        """Optimize, then compute the covariance.

        Parameters
        ----------
        models : `Models`
            The global models, which get the fitted values, errors and covariance.

        Returns
        -------
        result : `FitResult`
        """
        return self._fit(models, minimise=True, errors=True)

    def optimize(self, models: Models) -> FitResult:
        """Find the minimum; errors are left as they are.

        Parameters
        ----------
        models : `Models`
            The global models, which get the fitted values.
        """
        return self._fit(models, minimise=True, errors=False)

    def covariance(self, models: Models) -> FitResult:
        """Compute the covariance at the present values.

        Parameters
        ----------
        models : `Models`
            The global models, which get errors and covariance.
        """
        return self._fit(models, minimise=False, errors=True)

    # --- steps -------------------------------------------------------------------------

    def _fit(self, models: Models, *, minimise: bool, errors: bool) -> FitResult:
        _check_global(models)
        clock = _Clock(self.client)
        if not len(self.datasets):
            msg = "there are no datasets to fit"
            raise FitError(msg)
        self.datasets.follow(models)
        objective = Objective(self.datasets, models, self.client)
        try:
            self._send(CompileEnd(len(self.datasets), objective.n_groups))
            minimum = self._minimise(objective) if minimise else self._stay(objective)
            passes = objective.passes if minimise else 0
            verdict, found = None, None
            if errors:
                if minimise and minimum.end is End.CONVERGED:
                    verdict = judge(objective, minimum.point)
                point = objective(minimum.point.values, order=2, profile=minimise)
                minimum = replace(minimum, point=point)
                found = uncertainty(objective, minimum.point)
            fresh = objective.fresh(minimum.point.values)
            result = self._result(models, objective, minimum, fresh, verdict, found, passes, clock)
        finally:
            objective.close()
        self.datasets.set_models_parameters(models.parameters)
        self._send(FitEnd(result.success, result.message, result.passes))
        return result

    def _minimise(self, objective: Objective) -> Minimum[Pass]:
        best = np.inf

        def on_pass(point: Pass, distance: float, accepted: bool) -> None:
            nonlocal best
            best = min(best, point.stat)
            self._send(FitPass(objective.passes, point.stat, best, distance, accepted))

        if self.backend == "minuit":
            return migrad(
                objective, tolerance=TOLERANCE, max_passes=self._max_passes, on_pass=on_pass
            )

        def evaluate(accepted: Pass | None, shared: Array, hold: bool) -> Pass:
            values = objective.start if accepted is None else accepted.values
            anchor = values if hold else None
            return objective(objective.with_shared(values, shared), anchor=anchor)

        def newton(start: Array) -> Minimum[Pass]:
            left = max(self._max_passes - objective.passes, 1)
            return damped_newton(
                evaluate,
                start,
                objective.problem(),
                tolerance=TOLERANCE,
                max_passes=left,
                on_pass=on_pass,
            )

        minimum = newton(objective.start[objective.shared])
        elsewhere = away_from_flat_limits(minimum.point, *objective.limits())
        if elsewhere is None or objective.passes + TURNS >= self._max_passes:
            return minimum
        again = newton(self._best_turn(objective, minimum.point, elsewhere, on_pass))
        return again if again.point.stat < minimum.point.stat else minimum

    @staticmethod
    def _best_turn(
        objective: Objective,
        point: Pass,
        start: Array,
        on_pass: Callable[[Pass, float, bool], None],
    ) -> Array:
        """Give a start with the angle, of some, at which the statistic is lowest.

        Where a shape is round, its angle is any.
        """
        found = []
        for turn in range(TURNS):
            shared = objective.turned(start, flat(point), turn / (2 * TURNS))
            found.append(objective(objective.with_shared(point.values, shared)))
            on_pass(found[-1], math.nan, False)
        return min(found, key=lambda trial: trial.stat).shared

    def _stay(self, objective: Objective) -> Minimum[Pass]:
        point = objective(objective.start, profile=False)
        return Minimum(point, edm(point, *objective.limits()), End.CONVERGED)

    def _result(
        self,
        models: Models,
        objective: Objective,
        minimum: Minimum[Pass],
        fresh: Pass,
        verdict: Verdict | None,
        found: Uncertainty | None,
        passes: int,
        clock: _Clock,
    ) -> FitResult:
        parameters = models.parameters
        parameters.value = minimum.point.values
        notes = _notes(parameters, fresh, verdict, found)
        covariance = None if found is None else _set_covariance(models, objective, found)
        converged = minimum.end in (End.CONVERGED, End.KINK, End.CYCLE)
        valid = verdict is None or verdict.valid
        wall_s, cpu_s = clock.read()
        return FitResult(
            success=converged and valid,
            message="; ".join([minimum.end.value, *notes]),
            total_stat=fresh.stat,
            stat=dict(zip(self.datasets.names, fresh.stats.tolist(), strict=True)),
            parameters=models.copy().parameters,
            passes=passes,
            passes_errors=objective.passes - passes,
            edm=minimum.edm,
            covariance=covariance,
            n_unreached=int(fresh.floors.sum()),
            wall_s=wall_s,
            cpu_s=cpu_s,
            backend=self.backend,
        )

    def _send(self, event: CompileEnd | FitPass | FitEnd) -> None:
        if self._on_event is not None:
            self._on_event(event)


class _Clock:
    """Wall and processor time since it was made, workers included."""

    def __init__(self, client: Client | None) -> None:
        self._client = client
        self._wall, self._here, self._there = (
            time.perf_counter(),
            time.process_time(),
            self._workers(),
        )

    def _workers(self) -> dict[str, float]:
        if self._client is None:
            return {}
        times = self._client.run(time.process_time, on_error="return")
        return {worker: s for worker, s in times.items() if isinstance(s, float)}

    def read(self) -> tuple[float, float]:
        """Seconds: wall, processor."""
        there = self._workers()
        workers = sum(seconds - self._there.get(worker, 0.0) for worker, seconds in there.items())
        return time.perf_counter() - self._wall, time.process_time() - self._here + workers


def _check_global(models: object) -> None:
    if not isinstance(models, Models):
        kind = type(models).__name__
        msg = f"models is a {kind}, expected the global Models, which get the results"
        raise InputError(msg)


def _set_covariance(models: Models, objective: Objective, found: Uncertainty) -> Covariance:
    parameters = models.parameters
    if found.matrix is not None:
        models.covariance = found.matrix
        return models.covariance
    for parameter, error in zip(parameters, found.errors.tolist(), strict=True):
        parameter.error = error
    shared = [int(i) for i in objective.shared]
    chosen = Parameters([parameters[i] for i in shared], [parameters.names[i] for i in shared])
    return Covariance(chosen, found.shared)


def _notes(
    parameters: Parameters, fresh: Pass, verdict: Verdict | None, found: Uncertainty | None
) -> list[str]:
    notes = []
    if found is not None and not found.observed:
        notes.append(
            "the observed Hessian is not positive definite, as where parameters are degenerate: "
            "errors from the Gauss-Newton one"
        )
    if found is not None and len(found.undetermined):
        names = [parameters.names[int(i)] for i in found.undetermined]
        more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
        notes.append(
            f"no error for {', '.join(names[:NAMES_SHOWN])}{more} (at a limit, or nothing depends on it)"
        )
    if verdict is not None and not verdict.valid:
        notes.append(f"MIGRAD does not confirm the minimum (edm {verdict.edm:.1e})")
    unreached = int(fresh.floors.sum())
    if unreached:
        notes.append(f"{unreached} bins with counts that no component reaches")
    return notes
