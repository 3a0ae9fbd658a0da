"""The joint fit of global models to datasets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from distributed import Client
from numpy.typing import NDArray

from gmdask.attributes import KnownAttributes
from gmdask.cluster import check_client
from gmdask.cluster.dask_events import Topic
from gmdask.datasets import Dataset, Datasets, as_datasets
from gmdask.drawing import from_above
from gmdask.errors import FitInterrupted, InputError, check_kind
from gmdask.evaluation.joint_likelihood import Objective
from gmdask.evaluation.passes import Pass, SecondOrderPass
from gmdask.events import (
    Bus,
    CheckpointFailed,
    CheckpointWritten,
    EventFile,
    FitEnd,
    FitFailed,
    Listener,
    counted,
)
from gmdask.fit.checkpoint import Checkpoint, Stage, identity, stage_from
from gmdask.fit.clock import Clock, seconds_of
from gmdask.fit.degeneracy import degeneracies
from gmdask.fit.diagnostics import ending_of
from gmdask.fit.minimisation import Minimisation
from gmdask.fit.reporting import FitReporter
from gmdask.fit.result import FitResult
from gmdask.fit.scans import confidence, stat_contour, stat_profile, stat_surface
from gmdask.fit.start import check_start
from gmdask.fit.uncertainty import Uncertainty, set_covariance, uncertainty
from gmdask.models import Models
from gmdask.optimize.problem import Minimum, edm
from gmdask.optimize.status import Status
from gmdask.store.formats.validity import sums_in_words

if TYPE_CHECKING:
    from gmdask.dashboard import Dashboard

__all__ = ["Fit"]

Array = NDArray[np.float64]

BACKENDS = ("newton", "minuit")
CUT_SHORT = (Status.TIME_LIMIT, Status.INTERRUPTED)  # without another evaluation


class Fit(KnownAttributes):
    """Joint fit of global models to datasets, in this process or on a cluster.

    Parameters
    ----------
    datasets : `Datasets`
        They receive copies of the models, which are updated to the fitted values.
    client : `distributed.Client`, optional
        Cluster to evaluate on; by default this process. The numbers are the same to the last bit.
    response : {"exact", "gammapy"}, optional
        How predicted counts are computed; set for the datasets. By default their setting is kept.
    backend : {"newton", "minuit"}
        A trust-region Newton method, or MIGRAD with the exact gradient and Hessian.
    max_passes : int
        Largest number of evaluations over all data.
    time_limit : float, str or `~astropy.units.Quantity`, optional
        Time, in s if it has no unit, after which the minimisation starts no further evaluation.
    checkpoint : str, path or `Checkpoint`, optional
        File that is written at every accepted point, and contains all that is needed to resume the fit.
    resume : bool
        Whether to resume from that file, with the same datasets, models and backend; the result is the same, to
        the last bit, as without the interruption.
        if the fit had never stopped.
    on_event : callable, optional
        Receives the events of the fit; see `gmdask.events`.
    events : str or path, optional
        File to which events are appended; see `gmdask.events.read_events`.

    Attributes
    ----------
    bus : `gmdask.events.Bus`
        Further listeners can subscribe to the events here.

    Notes
    -----
    Every pass evaluates PSF, energy dispersion and pixels at its own parameters, so that the statistic never
    depends on the path taken. Steps use the Gauss-Newton Hessian far from the minimum; errors come from
    the observed one.

    A fit that stops at `max_passes` or `time_limit` returns its best point, without success; a fit that is
    interrupted (Ctrl-C) raises `FitInterrupted`, whose `result` is the best point. In all these cases
    the models hold that point, and the checkpoint is kept for ``resume=True``. The checkpoint of a finished
    fit is marked as done, and may be overwritten.
    """

    def __init__(
        self,
        datasets: Datasets | Dataset | Iterable[Dataset],
        client: Client | None = None,
        *,
        response: str | None = None,
        backend: str = "newton",
        max_passes: int = 100,
        time_limit: float | str | u.Quantity | None = None,
        checkpoint: str | Path | Checkpoint | None = None,
        resume: bool = False,
        on_event: Listener | None = None,
        events: str | Path | None = None,
    ) -> None:
        if backend not in BACKENDS:
            msg = f"backend {backend!r} is not one of {BACKENDS}"
            raise InputError(msg)
        if not (isinstance(max_passes, int) and max_passes >= 1):
            msg = f"max_passes is {max_passes!r}, expected a positive integer"
            raise InputError(msg)
        if resume and checkpoint is None:
            msg = "resume needs the checkpoint to resume from"
            raise InputError(msg)
        self._seconds = math.inf if time_limit is None else seconds_of(time_limit)
        if checkpoint is not None and not isinstance(checkpoint, Checkpoint):
            checkpoint = Checkpoint(checkpoint)
        self._checkpoint, self._resume = checkpoint, resume
        self._without_checkpoint = False
        check_client(client)
        if on_event is not None:
            check_kind(on_event, Callable, "a function that takes an event")
        self.datasets, self.client, self.backend = as_datasets(datasets), client, backend
        if response is not None:
            self.datasets.set_response(response)
        self.max_passes = max_passes
        told = [None if events is None else EventFile(events), on_event]
        self.bus = Bus([listener for listener in told if listener is not None])
        if client is not None:
            self.bus.subscribe(Topic(client))

    def __repr__(self) -> str:
        where = "in this process" if self.client is None else f"on {self.client.scheduler.address}"
        return (
            f"<Fit of {counted(len(self.datasets), 'dataset')} {where}, backend {self.backend!r}>"
        )

    confidence = confidence
    stat_profile = stat_profile
    stat_surface = stat_surface
    stat_contour = stat_contour

    def dashboard(self, *, address: str = "127.0.0.1", port: int = 0) -> Dashboard:
        """Show a live view of this fit in a notebook or browser; call it before the fit runs.

        Parameters
        ----------
        address : str
            Address of this machine to listen on.
        port : int
            Port to listen on; 0 chooses a free one.
        """
        feed = from_above("gmdask.dashboard", "BusFeed")(self.datasets)
        dashboard: type[Dashboard] = from_above("gmdask.dashboard", "Dashboard")
        view = dashboard(feed, address=address, port=port)
        self.bus.subscribe(feed)
        return view

    def run(self, models: Models) -> FitResult:
        """Minimise, and compute the covariance.

        Parameters
        ----------
        models : `Models`
            The global models, which are set to the fitted values, errors and covariance.

        Returns
        -------
        result : `FitResult`

        Raises
        ------
        FitInterrupted
            On a KeyboardInterrupt after a point was accepted.
        FitError
            If the fit cannot be started, or the cluster is lost.
        """
        return self._fit(models, minimise=True, errors=True)

    def optimize(self, models: Models) -> FitResult:
        """Find the minimum; errors are not changed.

        Parameters
        ----------
        models : `Models`
            The global models, which are set to the fitted values.
        """
        return self._fit(models, minimise=True, errors=False)

    def covariance(self, models: Models) -> FitResult:
        """Compute the covariance at the current values.

        Parameters
        ----------
        models : `Models`
            The global models, whose errors and covariance are set.
        """
        return self._fit(models, minimise=False, errors=True)

    # --- steps -------------------------------------------------------------------------

    def _fit(self, models: Models, *, minimise: bool, errors: bool) -> FitResult:
        check_start(self.datasets, models)
        clock = Clock(self.client)
        self.datasets.follow(models)
        with self._failure_told():
            if not minimise:
                with self._objective(models) as objective:
                    self._teller(models, objective).begun(0)
                    return self._errors_there(models, objective, clock)
            with self._checkpointed(models) as kept, self._objective(models) as objective:
                stage = self._stage(kept, objective)
                return self._minimise(models, objective, stage, clock, errors=errors)

    @contextmanager
    def _failure_told(self) -> Iterator[None]:
        try:
            yield
        except FitInterrupted:  # its end was reported, with its result
            raise
        except BaseException as error:
            self.bus(FitFailed(str(error) or type(error).__name__))
            raise

    @contextmanager
    def _objective(self, models: Models) -> Iterator[Objective]:
        objective = Objective(self.datasets, models, self.client, self.bus)
        try:
            yield objective
        finally:
            objective.close()

    def _teller(self, models: Models, objective: Objective) -> FitReporter:
        return FitReporter(self.bus, self.datasets, models, objective)

    @contextmanager
    def _checkpointed(self, models: Models) -> Iterator[dict[str, Any] | None]:
        """Start or resume the checkpoint; yields its state, None for a new fit."""
        if self._checkpoint is None:
            yield None
            return
        ours = identity(self.datasets, models, self.backend)
        with self._checkpoint.lock:
            if self._resume:
                yield self._checkpoint.resume(ours)
                return
            self._checkpoint.begin(ours)
            try:
                yield None
            finally:
                self._checkpoint.discard_empty()

    def _stage(self, kept: dict[str, Any] | None, objective: Objective) -> Stage | None:
        if kept is None or self._checkpoint is None:
            return None
        return stage_from(kept, objective, self._checkpoint.path)

    def _errors_there(self, models: Models, objective: Objective, clock: Clock) -> FitResult:
        point = objective(objective.start, order=2, profile=False)
        nothing = np.zeros(len(point.shared), dtype=bool)
        there = Minimum(point, edm(point, *objective.limits()), Status.CONVERGED, nothing)
        found = uncertainty(objective, point)
        return self._result(models, objective, there, found, 0, clock)

    def _minimise(
        self,
        models: Models,
        objective: Objective,
        stage: Stage | None,
        clock: Clock,
        *,
        errors: bool,
    ) -> FitResult:
        teller = self._teller(models, objective)
        teller.begun(0 if stage is None else stage.passes)

        def keep(accepted: Stage) -> None:
            self._keep(accepted)
            teller.accepted(accepted)

        work = Minimisation(
            objective,
            self.backend,
            max_passes=self.max_passes,
            seconds=self._seconds,
            on_pass=self.bus,
            on_accept=keep,
            stage=stage,
        )  # fmt: skip
        try:
            minimum = work.run()
            result = self._conclude(models, objective, minimum, clock, errors=errors)
        except KeyboardInterrupt:
            if work.stage is None:
                raise
            self._keep(work.stage)  # the interruption may have come before it was written
            best = work.best(Status.INTERRUPTED)
            raise FitInterrupted(
                self._conclude(models, objective, best, clock, errors=False)
            ) from None
        if self._checkpoint is not None and work.stage is not None and not minimum.status.cut_short:
            self._keep(work.stage, done=True)
        return result

    def _conclude(
        self,
        models: Models,
        objective: Objective,
        minimum: Minimum[Pass],
        clock: Clock,
        *,
        errors: bool,
    ) -> FitResult:
        """Compute errors, unless the fit was cut short, and return the result."""
        passes = objective.passes
        found = None
        if errors and minimum.status not in CUT_SHORT:
            point = minimum.point
            if not isinstance(point, SecondOrderPass) or (
                objective.local.any() and not point.local
            ):
                point = objective(point.values, order=2, profile=False)
                minimum = replace(minimum, point=point)
            given_up = minimum.status is Status.STALLED
            found = uncertainty(objective, point, minimum.concerned if given_up else False)
        return self._result(models, objective, minimum, found, passes, clock)

    def _keep(self, stage: Stage, *, done: bool = False) -> None:
        """Write the checkpoint; if that fails, report it once and continue without."""
        if self._checkpoint is None:
            return
        try:
            self._checkpoint.write(stage, done=done)
        except InputError as error:
            if not self._without_checkpoint:
                self.bus(CheckpointFailed(str(error)))
            self._without_checkpoint = True
        else:
            if not done:
                self.bus(CheckpointWritten(str(self._checkpoint.path), stage.passes))

    def _result(
        self,
        models: Models,
        objective: Objective,
        minimum: Minimum[Pass],
        found: Uncertainty | None,
        passes: int,
        clock: Clock,
    ) -> FitResult:
        parameters, point = models.parameters, minimum.point
        parameters.value = point.values
        flat = [] if found is None else degeneracies(objective, found.point, parameters.names)
        kernels = sums_in_words({dataset.name: dataset.kernel_sums for dataset in self.datasets})
        ending = ending_of(objective, minimum, parameters.names, found, flat, kernels)
        message = ending.message
        if self._checkpoint is not None and self._checkpoint.changed:
            message += f"; resumed with other versions: {', '.join(self._checkpoint.changed)}"
        limits = {} if found is None else {
            parameters.names[at]: limit for at, limit in found.upper_limits.items()
        }  # fmt: skip
        covariance = None if found is None else set_covariance(models, found.matrix)
        wall_s, cpu_s = clock.read()
        result = FitResult(
            status=ending.status,
            concerned=ending.concerned,
            message=message,
            total_stat=point.stat,
            stat=dict(zip(self.datasets.names, point.stats.tolist(), strict=True)),
            parameters=models.copy().parameters,
            passes=passes,
            passes_errors=objective.passes - passes,
            edm=minimum.edm,
            covariance=covariance,
            degeneracies=flat,
            upper_limits=limits,
            n_unreached=int(point.floors.sum()),
            wall_s=wall_s,
            cpu_s=cpu_s,
            backend=self.backend,
            response=self.datasets.response,
        )
        self.datasets.set_models_parameters(parameters)
        if found is not None:
            self._teller(models, objective).ended(point, passes)
        self.bus(FitEnd(result.success, result.message, result.passes))
        return result
