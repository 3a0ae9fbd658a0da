"""The joint fit of global models to datasets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astropy import units as u
from distributed import Client

from gmdask.attributes import KnownAttributes
from gmdask.cluster import check_client
from gmdask.cluster.dask_events import Topic
from gmdask.datasets import Dataset, Datasets, as_datasets
from gmdask.drawing import from_above
from gmdask.errors import FitInterrupted, InputError, check_kind
from gmdask.evaluation.joint_likelihood import Objective
from gmdask.events import (
    Bus,
    EventFile,
    FitFailed,
    Listener,
    counted,
)
from gmdask.fit.checkpoint import Checkpoint, identity
from gmdask.fit.clock import Clock, seconds_of
from gmdask.fit.log_density import log_density
from gmdask.fit.result import FitResult
from gmdask.fit.scans import confidence, stat_contour, stat_profile, stat_surface
from gmdask.fit.session import FitSession
from gmdask.fit.start import check_start
from gmdask.models import Models

if TYPE_CHECKING:
    from gmdask.dashboard import Dashboard

__all__ = ["Fit"]

BACKENDS = ("newton", "minuit")


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
        check_client(client)
        if on_event is not None:
            check_kind(on_event, Callable, "a function that takes an event")
        self.datasets, self.client, self.backend = as_datasets(datasets), client, backend
        if response is not None:
            self.datasets.set_response(response)
        self.max_passes = max_passes
        listeners = [None if events is None else EventFile(events), on_event]
        self.bus = Bus([listener for listener in listeners if listener is not None])
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
    log_density = log_density

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

    def _fit(self, models: Models, *, minimise: bool, errors: bool) -> FitResult:
        check_start(self.datasets, models)
        clock = Clock(self.client)
        self.datasets.follow(models)
        checkpoint = self._checkpoint if minimise else None
        with (
            self._failure_reported(),
            self._checkpointed(checkpoint, models) as kept,
            closing(Objective(self.datasets, models, self.client, self.bus)) as objective,
        ):
            session = FitSession(
                self.datasets, models, objective, self.bus, clock, self.backend, checkpoint
            )
            if not minimise:
                return session.covariance()
            return session.minimise(kept, self.max_passes, self._seconds, errors=errors)

    @contextmanager
    def _failure_reported(self) -> Iterator[None]:
        try:
            yield
        except FitInterrupted:  # its end was reported, with its result
            raise
        except BaseException as error:
            self.bus(FitFailed(str(error) or type(error).__name__))
            raise

    @contextmanager
    def _checkpointed(
        self, checkpoint: Checkpoint | None, models: Models
    ) -> Iterator[dict[str, Any] | None]:
        """Start or resume the checkpoint; yields its state, None for a new fit."""
        if checkpoint is None:
            yield None
            return
        ours = identity(self.datasets, models, self.backend)
        with checkpoint.lock:
            if self._resume:
                yield checkpoint.resume(ours)
                return
            checkpoint.begin(ours)
            try:
                yield None
            finally:
                checkpoint.discard_empty()
