"""Events that a fit sends."""

from __future__ import annotations

from gmdask.datasets import Datasets
from gmdask.evaluation.joint_likelihood import Objective
from gmdask.evaluation.passes import Pass
from gmdask.events import Accepted, CompileEnd, FitStart, Listener, Planned
from gmdask.fit.checkpoint import Stage
from gmdask.fit.uncertainty import quick_errors
from gmdask.models import BackgroundIRFModel, Models

__all__ = ["FitReporter"]

MANY = 1000  # with more shared parameters than this, errors are not computed at every point


class FitReporter:
    """Sends the events of one fit.

    Parameters
    ----------
    send : callable
        Receives the events.
    datasets : `Datasets`
    models : `Models`
        The global models.
    objective : `Objective`
    """

    def __init__(
        self, send: Listener, datasets: Datasets, models: Models, objective: Objective
    ) -> None:
        self._send, self._datasets, self._objective = send, datasets, objective
        self._parameters = models.parameters
        self._norms = _norms(datasets, models)

    def begun(self, passes: int) -> None:
        """Report what is fitted, how memory is planned, and that operators are being compiled.

        Parameters
        ----------
        passes : int
            Number of passes made before the fit was resumed.
        """
        objective, names = self._objective, self._parameters.names
        free = [
            (names[i], str(self._parameters[i].unit)) for i in map(int, objective.parameters.shared)
        ]
        self._send(
            FitStart(
                tuple(name for name, _ in free),
                tuple(unit for _, unit in free),
                _store(self._datasets),
                tuple(self._datasets.names),
                passes,
                self._datasets.response,
            )
        )
        if objective.plan is not None:
            room, plan = objective.plan.room, objective.plan
            self._send(Planned(room.workers, room.threads, room.limit, plan.projected, plan.budget))
        self._send(CompileEnd(len(self._datasets), objective.n_groups))

    def accepted(self, stage: Stage) -> None:
        """Report the current point of the fit, with errors from the Gauss-Newton Hessian."""
        errors, point = None, stage.search.point
        if len(point.shared) <= MANY:
            errors = tuple(quick_errors(point, *self._objective.parameters.limits()).tolist())
        self._send_point(point, stage.passes, errors)

    def ended(self, point: Pass, passes: int) -> None:
        """Report the point of the result, with its errors."""
        shared = map(int, self._objective.parameters.shared)
        errors = tuple(float(self._parameters[i].error) for i in shared)
        self._send_point(point, passes, errors if len(errors) <= MANY else None)

    def _send_point(self, point: Pass, passes: int, errors: tuple[float, ...] | None) -> None:
        local = None
        if self._norms is not None:
            local = tuple(None if i is None else float(point.values[i]) for i in self._norms)
        stats = tuple(point.stats.tolist())
        values = tuple(point.shared.tolist())
        self._send(Accepted(passes, point.stat, values, errors, stats, local))


def _store(datasets: Datasets) -> str | None:
    """URL of the store, if all datasets come from one."""
    urls = {None if dataset.stored is None else dataset.stored.url for dataset in datasets}
    return urls.pop() if len(urls) == 1 else None


def _norms(datasets: Datasets, models: Models) -> list[int | None] | None:
    """Position of each dataset's background norm among all parameters."""
    parameters, at = models.parameters, {}
    for model in models:
        if isinstance(model, BackgroundIRFModel):
            for norm in model.spectral_model.scales[:1]:
                at[model.dataset_name] = parameters.index(norm)
    return [at.get(name) for name in datasets.names] if at else None
