"""Events in a file, a line of JSON each."""

from __future__ import annotations

import errno
import json
import logging
import os
from pathlib import Path
from typing import Any, BinaryIO

from gmdask.errors import InputError
from gmdask.events.kinds import Event, FitEnd, FitFailed, RunStart
from gmdask.events.records import record
from gmdask.paths import expanded

__all__ = [
    "EventFile",
    "read_events",
]

logger = logging.getLogger(__name__)


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
