"""The events of long work, and the bus that distributes them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

__all__ = [
    "Accepted",
    "Bus",
    "CheckpointFailed",
    "CheckpointWritten",
    "CompileEnd",
    "DatasetsProgress",
    "Event",
    "FitEnd",
    "FitFailed",
    "FitPass",
    "FitStart",
    "Listener",
    "Planned",
    "RunStart",
    "WorkerLost",
    "Workers",
]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Event:
    """Base class of all events."""


@dataclass(frozen=True)
class DatasetsProgress(Event):
    """Long work on a collection of datasets has progressed.

    Attributes
    ----------
    work : {"check", "import", "simulate", "reduce", "write", "stack", "export", "compile", "reoptimize",
        "map", "sample", "coverage"}
        The kind of work.
    done, total : int
        Number of finished datasets, and of all datasets; of observations for "reduce", and of flux points
        or points of a light curve for "reoptimize", of parts of the map for "map", of draws for "sample",
        and of simulations for "coverage".
    """

    work: str
    done: int
    total: int


@dataclass(frozen=True)
class RunStart(Event):
    """A command starts a fit, before there are workers.

    Attributes
    ----------
    host : str
    pid : int
        Process number.
    """

    host: str
    pid: int


@dataclass(frozen=True)
class FitStart(Event):
    """A fit starts or resumes.

    Attributes
    ----------
    parameters, units : tuple of str
        Full names and units of the shared free parameters, in the order of `Accepted`.
    store : str or None
        URL of the store, None if the datasets do not come from one store.
    datasets : tuple of str
        Names, in the order of `Accepted`.
    passes : int
        Passes made before the fit was resumed.
    response : {"exact", "gammapy", "mixed"}
        How predicted counts are computed.
    """

    parameters: tuple[str, ...]
    units: tuple[str, ...]
    store: str | None
    datasets: tuple[str, ...]
    passes: int
    response: str


@dataclass(frozen=True)
class Planned(Event):
    """The use of the workers' memory was planned; not sent if they have no memory limit.

    Attributes
    ----------
    workers, threads : int
        Number of workers, and of threads per worker.
    limit, projected, budget : int
        Bytes per worker: its limit, the most it will hold, and the part of that which is kept
        from pass to pass.
    """

    workers: int
    threads: int
    limit: int
    projected: int
    budget: int


@dataclass(frozen=True)
class CompileEnd(Event):
    """The operators of all datasets were requested."""

    datasets: int
    groups: int


@dataclass(frozen=True)
class FitPass(Event):
    """An evaluation over all data has finished.

    Attributes
    ----------
    number : int
        Passes so far.
    stat : float
        Statistic at this point.
    best : float
        Lowest statistic so far.
    edm : float
        Expected distance to the minimum, nan where it is not known.
    accepted : bool
        Whether the fit continues from this point.
    """

    number: int
    stat: float
    best: float
    edm: float
    accepted: bool


@dataclass(frozen=True)
class Accepted(Event):
    """The fit moved to this point; or, for the last such event, it ended here with these errors.

    Attributes
    ----------
    number : int
        Passes so far.
    stat : float
        Statistic, priors included.
    values : tuple of float
        Shared free parameters, in their units.
    errors : tuple of float, or None
        Their errors from the Gauss-Newton Hessian, 0 if not determined; None if there are
        too many parameters.
    stats : tuple of float
        Statistic per dataset.
    local : tuple of float or None, or None
        Background norm per dataset, None if it has none; None if no dataset has one.
    """

    number: int
    stat: float
    values: tuple[float, ...]
    errors: tuple[float, ...] | None
    stats: tuple[float, ...]
    local: tuple[float | None, ...] | None


@dataclass(frozen=True)
class CheckpointWritten(Event):
    """A checkpoint was written, from which the fit can be resumed.

    Attributes
    ----------
    path : str
        The file.
    number : int
        Passes so far.
    """

    path: str
    number: int


@dataclass(frozen=True)
class CheckpointFailed(Event):
    """The checkpoint could not be written; the fit continues without it.

    Attributes
    ----------
    error : str
    """

    error: str


@dataclass(frozen=True)
class Workers(Event):
    """The workers of the cluster; sent at most once per second.

    Attributes
    ----------
    addresses : tuple of str
    memory, limit : tuple of int
        Bytes that each worker holds, and may hold (0: no limit).
    """

    addresses: tuple[str, ...]
    memory: tuple[int, ...]
    limit: tuple[int, ...]


@dataclass(frozen=True)
class WorkerLost(Event):
    """A worker was lost; others take over, or it is restarted at another address."""

    address: str


@dataclass(frozen=True)
class FitEnd(Event):
    """A fit has ended."""

    success: bool
    message: str
    passes: int


@dataclass(frozen=True)
class FitFailed(Event):
    """A fit failed with an error, without a result."""

    error: str


Listener = Callable[[Event], None]


class Bus:
    """Distributes events to its subscribers.

    Parameters
    ----------
    listeners : iterable of callable
        The first subscribers.

    Notes
    -----
    An exception in a subscriber is logged the first time and does not affect the others.
    """

    def __init__(self, listeners: Iterable[Listener] = ()) -> None:
        self._listeners = list(listeners)
        self._failed: list[Listener] = []

    def __repr__(self) -> str:
        return f"<Bus with {len(self._listeners)} listeners>"

    def subscribe(self, listener: Listener) -> None:
        """Let a callable receive all events from now on."""
        self._listeners.append(listener)

    def unsubscribe(self, listener: Listener) -> None:
        """Stop sending events to a subscriber."""
        self._listeners.remove(listener)

    def __call__(self, event: Event) -> None:
        """Send an event to all subscribers."""
        for listener in tuple(self._listeners):
            try:
                listener(event)
            except Exception:
                if listener not in self._failed:
                    self._failed.append(listener)
                    logger.exception("a subscriber failed at %s", type(event).__name__)
