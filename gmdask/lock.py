"""The lock that prevents two fits from writing the same files."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from gmdask.errors import InputError

__all__ = ["Holder", "Lock"]

UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # errors of file systems without locks


@dataclass(frozen=True)
class Holder:
    """The process that holds a lock.

    Attributes
    ----------
    host : str
    pid : int
    started : float
        Start of the process, in s of Unix time, since process numbers are reused.
    """

    host: str
    pid: int
    started: float

    @classmethod
    def here(cls) -> Holder:
        """Return this process."""
        process = psutil.Process()
        return cls(socket.gethostname(), process.pid, process.create_time())

    def runs(self) -> bool | None:
        """Whether the process still runs; None if it is on another host, where this cannot be checked."""
        if self.host != socket.gethostname():
            return None
        try:
            return bool(abs(psutil.Process(self.pid).create_time() - self.started) < 1.0)
        except psutil.Error:
            return False

    def __str__(self) -> str:
        return f"host {self.host}, process {self.pid}"


class Lock:
    """A file that one process at a time holds, and that contains its host and process number.

    The system releases the lock when the process ends, however it ends. The file of a killed
    process stays, and the next process takes it over. The same `Lock` may be entered again
    while it is held. On a file system without locks, nothing is locked.

    Parameters
    ----------
    path : str or path
        The file; its folder must exist when the lock is taken. It is removed at the end.

    Attributes
    ----------
    taken_over : `Holder` or None
        A process that held the lock and ended without releasing it.

    Raises
    ------
    InputError
        On entry, if another process holds the lock, or the file is something else.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.taken_over: Holder | None = None
        self._handle: int | None = None
        self._depth = 0

    def __enter__(self) -> Self:
        if self._depth == 0:
            self._take()
        self._depth += 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._depth -= 1
        if self._depth == 0 and self._handle is not None:
            if self.in_place():
                self.path.unlink()
            os.close(self._handle)
            self._handle = None

    def holder(self) -> Holder | None:
        """Return the process that holds the lock, or held it and was killed; None if there is no such file."""
        try:
            return _parsed(self.path.read_bytes())
        except OSError:
            return None

    def in_place(self) -> bool:
        """Whether the file that this process holds is still the one at its path."""
        if self._handle is None:
            return False
        try:
            return os.path.samestat(self.path.lstat(), os.fstat(self._handle))
        except OSError:
            return False

    def _take(self) -> None:
        handle = self._handle
        while handle is None or not self.in_place():  # it may be removed just as it is opened
            if handle is not None:
                os.close(handle)
            self._handle = handle = self._opened()
        content = os.pread(handle, 4096, 0)
        self.taken_over = _parsed(content)
        if content and self.taken_over is None:
            os.close(handle)
            self._handle = None
            msg = f"{self.path}: is not a lock file of gmdask; move it away"
            raise InputError(msg)
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(asdict(Holder.here())).encode(), 0)

    def _opened(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            handle = os.open(self.path, flags, 0o644)
        except OSError as error:
            msg = f"{self.path}: the lock cannot be written: {error.strerror}"
            raise InputError(msg) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            who = _parsed(os.pread(handle, 4096, 0)) or "another process"
            os.close(handle)
            msg = f"{self.path.parent}: another fit is running here ({who})"
            raise InputError(msg) from None
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                os.close(handle)
                raise
        return handle


def _parsed(content: bytes) -> Holder | None:
    try:
        found = json.loads(content)
        return Holder(str(found["host"]), int(found["pid"]), float(found["started"]))
    except (ValueError, TypeError, KeyError):
        return None
