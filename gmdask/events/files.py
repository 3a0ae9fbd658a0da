"""Events in a file, one JSON object per line."""

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
    """Listener that appends every event to a file, as one line of JSON.

    Parameters
    ----------
    path : str or path
        Its folder must exist.

    Raises
    ------
    InputError
        If the file already exists and contains something else.

    Notes
    -----
    If the file can no longer be written, that is logged once, and the sender of the events is not affected.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = expanded(path)
        self._file: BinaryIO | None = None
        self._failed = False
        _check_events(self.path)

    def __repr__(self) -> str:
        return f"<EventFile {self.path}>"

    def __call__(self, event: Event) -> None:
        """Append an event; the file is closed after a command's first event and a fit's last."""
        line = json.dumps(record(event), allow_nan=False) + "\n"
        try:
            if self._file is None:
                _check_events(self.path)
                self._file = _opened(self.path)
            _append(self._file, line.encode())
        except (OSError, InputError) as error:
            if not self._failed:
                logger.warning("%s: events can no longer be written (%s)", self.path, error)
            self._failed = True
        if self._file is not None and isinstance(event, RunStart | FitEnd | FitFailed):
            self._file.close()
            self._file = None


def _append(file: BinaryIO, line: bytes) -> None:
    """Append a line completely, or not at all if the disk is full."""
    end = file.seek(0, os.SEEK_END)
    if file.write(line) != len(line):
        file.truncate(end)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _check_events(path: Path) -> None:
    """Reject a file whose first line, as far as it was written, is not an event."""
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
        msg = f"{path}: already exists, and does not contain events of a fit"
        raise InputError(msg)


def _opened(path: Path) -> BinaryIO:
    """Open a file for appending, and remove the partial line that a killed writer may have left."""
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
    """Read the events that were added to a file.

    Parameters
    ----------
    path : str or path
        The file of an `EventFile`; it need not exist yet.
    offset : int
        Number of bytes read before; if the file is shorter, it is read from the beginning.

    Returns
    -------
    events : list of dict
        See `record`. An incomplete last line is left for the next call.
    offset : int
        Number of bytes read so far.
    """
    try:
        # non-blocking, so that a pipe does not wait for its writer
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
        msg = f"{path}: contains a line that is not an event of a fit ({error})"
        raise InputError(msg) from error


def _event_in(line: bytes) -> dict[str, Any]:
    found = json.loads(line)
    if not isinstance(found, dict) or not {"event", "time"} <= found.keys():
        raise ValueError(line[:80])
    return found
