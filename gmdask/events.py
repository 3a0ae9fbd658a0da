"""What happens during long work, as plain data for whoever wants to show or keep it.

Nothing that sends an event knows of a screen, a file or a notebook. All that is told of a fit goes
over one `Bus`, to which progress, the file of events and the live view subscribe.
"""

from __future__ import annotations

import errno
import json
import logging
import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from gmdask.errors import InputError
from gmdask.paths import expanded

__all__ = [
    "Accepted",
    "Bus",
    "CheckpointFailed",
    "CheckpointWritten",
    "CompileEnd",
    "DatasetsProgress",
    "Event",
    "EventFile",
    "FitEnd",
    "FitFailed",
    "FitPass",
    "FitStart",
    "Listener",
    "Planned",
    "RunStart",
    "WorkerLost",
    "Workers",
    "counted",
    "line_of",
    "read_events",
    "record",
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
    work : {"check", "import", "simulate", "write", "stack", "export", "compile"}
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


# --- in a file ---------------------------------------------------------------


def record(event: Event) -> dict[str, Any]:
    """An event as plain data, as in a line of ``events.jsonl``.

    Parameters
    ----------
    event : `Event`

    Returns
    -------
    record : dict
        "event", the name of its class; "time", now, as ISO 8601 in UTC; and its attributes. What is
        not finite is None.
    """
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    content = {field.name: _plain(getattr(event, field.name)) for field in fields(event)}
    return {"event": type(event).__name__, "time": now, **content}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def line_of(record: Mapping[str, Any]) -> str | None:
    """An event in a line; None for one that is not worth one.

    Parameters
    ----------
    record : mapping
        See `record`.
    """
    kind = record["event"]
    if kind == "DatasetsProgress":
        return f"{record['work']}: {record['done']} of {counted(record['total'], 'dataset')}"
    if kind == "RunStart":
        return f"started on host {record['host']}, process {record['pid']}"
    if kind == "FitStart":
        where = record["store"] or "memory"
        going = f", goes on after pass {record['passes']}" if record.get("passes") else ""
        datasets = counted(len(record["datasets"]), "dataset")
        parameters = counted(len(record["parameters"]), "shared parameter")
        return f"fit of {where}: {datasets}, {parameters}{going}"
    if kind == "Planned":
        projected, limit = (f"{record[key] / 1e6:.0f} MB" for key in ("projected", "limit"))
        return f"memory planned: {projected} of {limit} on each of {counted(record['workers'], 'worker')}"
    if kind == "CompileEnd":
        return f"{counted(record['datasets'], 'dataset')} in {counted(record['groups'], 'group')}"
    if kind == "FitPass":
        return _pass_text(record)
    if kind == "CheckpointWritten":
        return f"checkpoint after pass {record['number']}"
    if kind == "CheckpointFailed":
        return str(record["error"])
    if kind == "WorkerLost":
        return f"worker {record['address']} lost"
    if kind == "FitEnd":
        end = "done" if record["success"] else "stopped"
        return f"{end}: {record['message']} ({counted(record['passes'], 'pass')})"
    return f"failed: {record['error']}" if kind == "FitFailed" else None


def counted(number: int, thing: str) -> str:
    """Number of things, such as "1 dataset" or "2 datasets"."""
    if number == 1:
        return f"1 {thing}"
    return f"{number} {thing}es" if thing.endswith("s") else f"{number} {thing}s"


def _pass_text(record: Mapping[str, Any]) -> str:
    stat = math.inf if record["stat"] is None else record["stat"]
    distance = "" if record["edm"] is None else f", edm {record['edm']:.1e}"
    return f"pass {record['number']}: statistic {stat:.4f}{distance}{'' if record['accepted'] else ' (refused)'}"


class EventFile:
    """Listener that appends every event to a file, as a line of JSON.

    Parameters
    ----------
    path : str or path
        In a folder that exists.

    Raises
    ------
    InputError
        If there is a file of this name that holds something else.

    Notes
    -----
    Where it cannot be written any more, that is logged once, and whoever sends the events goes on.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = expanded(path)
        self._file: BinaryIO | None = None
        self._failed = False
        _check_events(self.path)

    def __repr__(self) -> str:
        return f"<EventFile {self.path}>"

    def __call__(self, event: Event) -> None:
        """Append an event; after the first of a command and the last of a fit the file is closed."""
        line = json.dumps(record(event), allow_nan=False) + "\n"
        try:
            if self._file is None:
                _check_events(self.path)
                self._file = _opened(self.path)
            _append(self._file, line.encode())
        except (OSError, InputError) as error:
            if not self._failed:
                logger.warning("%s: events are not written any more (%s)", self.path, error)
            self._failed = True
        if self._file is not None and isinstance(event, RunStart | FitEnd | FitFailed):
            self._file.close()
            self._file = None


def _append(file: BinaryIO, line: bytes) -> None:
    """Append a line as a whole, or nothing of it where there is no space."""
    end = file.seek(0, os.SEEK_END)
    if file.write(line) != len(line):
        file.truncate(end)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _check_events(path: Path) -> None:
    """Refuse a file whose first line, as far as it was written, is no event."""
    head = b'{"event": "'
    try:
        with path.open("rb") as file:
            begin = file.read(len(head))
    except FileNotFoundError:
        return
    except OSError as error:
        msg = f"{path}: cannot be read: {error.strerror}"
        raise InputError(msg) from error
    if not head.startswith(begin):
        msg = f"{path}: there is a file of this name already, which holds no events of a fit"
        raise InputError(msg)


def _opened(path: Path) -> BinaryIO:
    """Open a file to append to, without what a writer that was killed has left of a line."""
    file = path.open("a+b", buffering=0)
    end = file.seek(0, os.SEEK_END)
    while end:
        file.seek(end - 1)
        if file.read(1) == b"\n":
            break
        end -= 1
    file.truncate(end)
    return file


def read_events(path: str | Path, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
    """Events that were added to a file.

    Parameters
    ----------
    path : str or path
        Of an `EventFile`; it need not be there yet.
    offset : int
        Bytes that were read before; all is read again if the file is shorter.

    Returns
    -------
    events : list of dict
        See `record`. A last line that is not whole is left for the next time.
    offset : int
        Bytes read now.
    """
    try:
        # should it be a pipe, nobody waits for its other end
        handle = os.open(expanded(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            if file.seek(0, os.SEEK_END) < offset:
                offset = 0
            file.seek(offset)
            content = file.read()
    except FileNotFoundError:
        return [], 0
    whole = content[: content.rfind(b"\n") + 1]
    try:
        return [_event_in(line) for line in whole.splitlines()], offset + len(whole)
    except (ValueError, RecursionError) as error:
        msg = f"{path}: holds a line that is no event of a fit ({error})"
        raise InputError(msg) from error


def _event_in(line: bytes) -> dict[str, Any]:
    found = json.loads(line)
    if not isinstance(found, dict) or not {"event", "time"} <= found.keys():
        raise ValueError(line[:80])
    return found
