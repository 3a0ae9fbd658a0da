"""Files that are written completely or not at all."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from gmdask.errors import StoreExistsError
from gmdask.paths import expanded

__all__ = ["is_temporary", "naming", "replacing", "temporary_beside", "write_atomically"]

_TEMPORARY = re.compile(r"\.tmp-[0-9a-f]{32}(-.*)?")


def temporary_beside(path: Path) -> Path:
    """Return an unused name in the same folder, with the same suffixes.

    Parameters
    ----------
    path : path
        The file or folder that the temporary one will replace.
    """
    return path.with_name(f".tmp-{uuid4().hex}-{path.name}")


def is_temporary(name: str) -> bool:
    """Whether a name is that of a temporary, unfinished file of gmdask."""
    return _TEMPORARY.fullmatch(name) is not None


@contextmanager
def replacing(path: str | Path, *, overwrite: bool = True) -> Iterator[Path]:
    """Let a file be written under a temporary name, and rename it when it is complete.

    Parameters
    ----------
    path : str or path
        The file.
    overwrite : bool
        Whether it may replace an existing file.

    Yields
    ------
    path
        Where to write the file. If writing fails, the temporary file is removed and nothing else changes.

    Raises
    ------
    StoreExistsError
        If there is a file of this name that may not be replaced, or a folder.
    """
    path = expanded(path)
    _refuse(path, taken=path.is_dir() or (not overwrite and os.path.lexists(path)))
    temporary = temporary_beside(path)
    try:
        with naming(path):
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        if overwrite:
            temporary.replace(path)
        else:
            _refuse(path, taken=not _link(temporary, path))
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name a file or folder in an error of the system that names none, such as that of a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_atomically(path: str | Path, content: bytes, *, overwrite: bool = True) -> None:
    """Write a file completely or not at all; see `replacing`.

    Parameters
    ----------
    path : str or path
    content : bytes
    overwrite : bool
        Whether it may replace an existing file.
    """
    with replacing(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(content)


def _link(temporary: Path, path: Path) -> bool:
    """Give a file an unused name; return whether that succeeded."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    return True


def _refuse(path: Path, *, taken: bool) -> None:
    if taken:
        msg = f"{path}: already exists"
        raise StoreExistsError(msg)
