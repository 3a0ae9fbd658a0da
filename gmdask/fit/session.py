"""One run of a fit, from its start or its checkpoint to its result."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gmdask.datasets import Datasets
from gmdask.errors import FitInterrupted, InputError
from gmdask.evaluation.joint_likelihood import Objective
from gmdask.evaluation.passes import Pass, SecondOrderPass
from gmdask.events import Bus, CheckpointFailed, CheckpointWritten, FitEnd
from gmdask.fit.checkpoint import Checkpoint, Stage, stage_from
from gmdask.fit.clock import Clock
from gmdask.fit.degeneracy import degeneracies
from gmdask.fit.diagnostics import ending_of
from gmdask.fit.minimisation import Minimisation
from gmdask.fit.reporting import FitReporter
from gmdask.fit.result import FitResult
from gmdask.fit.uncertainty import Uncertainty, set_covariance, uncertainty
from gmdask.models import Models
from gmdask.optimize.problem import Minimum, edm
from gmdask.optimize.status import Status
from gmdask.store.formats.validity import sums_in_words

__all__ = ["FitSession"]

CUT_SHORT = (Status.TIME_LIMIT, Status.INTERRUPTED)  # without another evaluation


@dataclass
class FitSession:
    """One run of a fit.

    Attributes
    ----------
    datasets : `Datasets`
        They are set to the values of the result.
    models : `Models`
        The global models, which are set to the values, errors and covariance of the result.
    objective : `Objective`
        Their joint likelihood.
    bus : `gmdask.events.Bus`
        Receives the events.
    clock : `Clock`
        Started with the fit.
    backend : {"newton", "minuit"}
    checkpoint : `Checkpoint` or None
        Written at every accepted point.
    """

    datasets: Datasets
    models: Models
    objective: Objective
    bus: Bus
    clock: Clock
    backend: str
    checkpoint: Checkpoint | None = None
    _without_checkpoint: bool = field(default=False, init=False)

    def covariance(self) -> FitResult:
        """Compute the covariance at the values of the models."""
        self._reporter().begun(0)
        parameters = self.objective.parameters
        point = self.objective(parameters.start, order=2, profile=False)
        nothing = np.zeros(len(point.shared), dtype=bool)
        distance = edm(point, *parameters.limits())
        here = Minimum(point, distance, Status.CONVERGED, nothing)
        return self._result(here, uncertainty(self.objective, point), 0)

    def minimise(
        self, kept: dict[str, Any] | None, max_passes: int, seconds: float, *, errors: bool
    ) -> FitResult:
        """Find the minimum, and compute the covariance there.

        Parameters
        ----------
        kept : dict or None
            State in the checkpoint from which the fit is resumed.
        max_passes : int
            Largest number of evaluations over all data.
        seconds : float
            Time after which no further evaluation is started.
        errors : bool
            Whether the covariance is computed.

        Raises
        ------
        FitInterrupted
            On a KeyboardInterrupt after a point was accepted.
        """
        stage = None
        if kept is not None and self.checkpoint is not None:
            stage = stage_from(kept, self.objective, self.checkpoint.path)
        reporter = self._reporter()
        reporter.begun(0 if stage is None else stage.passes)

        def accept(accepted: Stage) -> None:
            self._save(accepted)
            reporter.accepted(accepted)

        work = Minimisation(
            self.objective, self.backend, max_passes=max_passes, seconds=seconds,
            on_pass=self.bus, on_accept=accept, stage=stage,
        )  # fmt: skip
        try:
            minimum = work.run()
            result = self._conclude(minimum, errors=errors)
        except KeyboardInterrupt:
            if work.stage is None:
                raise
            self._save(work.stage)  # the interruption may have come before it was written
            best = self._conclude(work.best(Status.INTERRUPTED), errors=False)
            raise FitInterrupted(best) from None
        if work.stage is not None and not minimum.status.cut_short:
            self._save(work.stage, done=True)
        return result

    def _reporter(self) -> FitReporter:
        return FitReporter(self.bus, self.datasets, self.models, self.objective)

    def _save(self, stage: Stage, *, done: bool = False) -> None:
        """Write the checkpoint; if that fails, report it once and continue without."""
        if self.checkpoint is None:
            return
        try:
            self.checkpoint.write(stage, done=done)
        except InputError as error:
            if not self._without_checkpoint:
                self.bus(CheckpointFailed(str(error)))
            self._without_checkpoint = True
        else:
            if not done:
                self.bus(CheckpointWritten(str(self.checkpoint.path), stage.passes))

    def _conclude(self, minimum: Minimum[Pass], *, errors: bool) -> FitResult:
        """Compute errors, unless the fit was cut short, and return the result."""
        passes, point = self.objective.passes, minimum.point
        if not errors or minimum.status in CUT_SHORT:
            return self._result(minimum, None, passes)
        any_local = self.objective.parameters.local.any()
        if not isinstance(point, SecondOrderPass) or (any_local and not point.local):
            point = self.objective(point.values, order=2, profile=False)
            minimum = replace(minimum, point=point)
        given_up = minimum.concerned if minimum.status is Status.STALLED else False
        return self._result(minimum, uncertainty(self.objective, point, given_up), passes)

    def _result(self, minimum: Minimum[Pass], found: Uncertainty | None, passes: int) -> FitResult:
        parameters, point = self.models.parameters, minimum.point
        parameters.value = point.values
        flat, limits, covariance = [], {}, None
        if found is not None:
            flat = degeneracies(self.objective, found.point, parameters.names)
            limits = {parameters.names[at]: most for at, most in found.upper_limits.items()}
        kernels = sums_in_words({dataset.name: dataset.kernel_sums for dataset in self.datasets})
        ending = ending_of(self.objective, minimum, parameters.names, found, flat, kernels)
        message = ending.message
        if self.checkpoint is not None and self.checkpoint.changed:
            message += f"; resumed with other versions: {', '.join(self.checkpoint.changed)}"
        if found is not None:
            covariance = set_covariance(self.models, found.matrix)
        wall_s, cpu_s = self.clock.read()
        result = FitResult(
            status=ending.status,
            concerned=ending.concerned,
            message=message,
            total_stat=point.stat,
            stat=dict(zip(self.datasets.names, point.stats.tolist(), strict=True)),
            parameters=self.models.copy().parameters,
            passes=passes,
            passes_errors=self.objective.passes - passes,
            edm=minimum.edm,
            covariance=covariance,
            degeneracies=flat,
            upper_limits=limits,
            n_unreached=int(point.floors.sum()),
            wall_s=wall_s,
            cpu_s=cpu_s,
            backend=self.backend,
            response=self.datasets.response,
            gridded=self.objective.gridded,
        )
        self.datasets.set_models_parameters(parameters)
        if found is not None:
            self._reporter().ended(point, passes)
        self.bus(FitEnd(result.success, result.message, result.passes))
        return result
