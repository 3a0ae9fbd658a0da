"""The events of long work, and the bus that passes them on."""

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
    """Base of all events."""


@dataclass(frozen=True)
class DatasetsProgress(Event):
    """Some datasets of a collection went through long work.

    Attributes
    ----------
    work : {"check", "import", "simulate", "reduce", "write", "stack", "export", "compile"}
        What is done with them.
    done, total : int
        How many of how many.
    """

    work: str
    done: int
    total: int


@dataclass(frozen=True)
class RunStart(Event):
    """A command begins a fit, before there are workers.

    Attributes
    ----------
    host : str
    pid : int
        Number of the process.
    """

    host: str
    pid: int


@dataclass(frozen=True)
class FitStart(Event):
    """A fit begins, or goes on.

    Attributes
    ----------
    parameters, units : tuple of str
        Full names and units of the shared free parameters, in the order of `Accepted`.
    store : str or None
        Place of the store, None where the datasets are not of one store.
    datasets : tuple of str
        Names, in the order of `Accepted`.
    passes : int
        Passes that were made before, where the fit goes on.
    response : {"exact", "gammapy", "mixed"}
        How sources become counts.
    """

    parameters: tuple[str, ...]
    units: tuple[str, ...]
    store: str | None
    datasets: tuple[str, ...]
    passes: int
    response: str


@dataclass(frozen=True)
class Planned(Event):
    """The memory of the workers was shared out; not sent where it has no limit.

    Attributes
    ----------
    workers, threads : int
        Number of workers, and of threads of each.
    limit, projected, budget : int
        Bytes of each worker: its limit, what it holds at most, and what of it is kept from
        pass to pass.
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
    """One evaluation over all data ended.

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
        Whether the fit goes on from this point.
    """

    number: int
    stat: float
    best: float
    edm: float
    accepted: bool


@dataclass(frozen=True)
class Accepted(Event):
    """The fit goes on from another point; or, the last, it ended there with these errors.

    Attributes
    ----------
    number : int
        Passes so far.
    stat : float
        Statistic, priors included.
    values : tuple of float
        Shared free parameters, in their units.
    errors : tuple of float, or None
        Their errors by the Gauss-Newton Hessian, 0 where there is none; None where there are
        too many of them.
    stats : tuple of float
        Statistic per dataset.
    local : tuple of float or None, or None
        Background norm per dataset, None where it has none; None if no dataset has one.
    """

    number: int
    stat: float
    values: tuple[float, ...]
    errors: tuple[float, ...] | None
    stats: tuple[float, ...]
    local: tuple[float | None, ...] | None


@dataclass(frozen=True)
class CheckpointWritten(Event):
    """The fit can go on from its file.

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
    """The file to go on from could not be written; the fit runs on without.

    Attributes
    ----------
    error : str
    """

    error: str


@dataclass(frozen=True)
class Workers(Event):
    """The workers of the cluster, at most once a second.

    Attributes
    ----------
    addresses : tuple of str
    memory, limit : tuple of int
        Bytes that each holds, and may hold (0: without limit).
    """

    addresses: tuple[str, ...]
    memory: tuple[int, ...]
    limit: tuple[int, ...]


@dataclass(frozen=True)
class WorkerLost(Event):
    """A worker is gone; others take over, or it is started again at another address."""

    address: str


@dataclass(frozen=True)
class FitEnd(Event):
    """A fit ended."""

    success: bool
    message: str
    passes: int


@dataclass(frozen=True)
class FitFailed(Event):
    """A fit ended by an error, without a result."""

    error: str


Listener = Callable[[Event], None]


class Bus:
    """Passes events on to those that subscribed.

    Parameters
    ----------
    listeners : iterable of callable
        First subscribers.

    Notes
    -----
    An exception in a subscriber is logged, the first time, and hurts nobody else.
    """

    def __init__(self, listeners: Iterable[Listener] = ()) -> None:
        self._listeners = list(listeners)
        self._failed: list[Listener] = []

    def __repr__(self) -> str:
        return f"<Bus with {len(self._listeners)} listeners>"

    def subscribe(self, listener: Listener) -> None:
        """Have a callable get all events from now on."""
        self._listeners.append(listener)

    def unsubscribe(self, listener: Listener) -> None:
        """Let a callable that subscribed get no more events."""
        self._listeners.remove(listener)

    def __call__(self, event: Event) -> None:
        """Pass an event on."""
        for listener in tuple(self._listeners):
            try:
                listener(event)
            except Exception:
                if listener not in self._failed:
                    self._failed.append(listener)
                    logger.exception("a subscriber failed at %s", type(event).__name__)
