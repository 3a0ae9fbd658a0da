"""Bytes of files: only regular files that fit into memory."""

from __future__ import annotations

import gzip
import os
import stat
import zlib
from io import BytesIO
from pathlib import Path

from gmdask.errors import GmdaskError, InputError, InputNotFoundError
from gmdask.paths import expanded

__all__ = ["GROWTH", "MEGABYTE", "SMALL", "allowed_size", "read_bytes", "unpack"]

MEGABYTE = 1 << 20
SMALL = 256 * MEGABYTE  # compressed data may always expand to this size,
GROWTH = 30  # and beyond it to this multiple of their size in the file
_GZIP = b"\x1f\x8b"
_KINDS = {
    stat.S_IFDIR: "a directory", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
}  # fmt: skip


def read_bytes(
    path: str | Path,
    what: str = "file",
    error: type[GmdaskError] = InputError,
    limit: int | None = None,
) -> bytes:
    """Read a regular file.

    Parameters
    ----------
    path : str or Path
        File.
    what : str
        Description of the file, for the message if it does not exist.
    error : type of GmdaskError
        Error to raise if the file cannot be read.
    limit : int, optional
        Largest size in bytes; by default half of this machine's memory.

    Raises
    ------
    InputNotFoundError
        If it does not exist.
    InputError
        If it is not a regular file, is too large, or cannot be read.
    """
    if limit is None:
        limit = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    path = expanded(path)
    try:
        # non-blocking, so that a pipe does not wait for its writer
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                kind = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
                raise error(f"{path}: cannot be read, it is {kind}; expected a regular file")
            if status.st_size > limit:
                size, most = status.st_size / MEGABYTE, limit / MEGABYTE
                raise error(f"{path}: {size:.0f} MB, expected at most {most:.0f} MB")
            return file.read(status.st_size)
    except (FileNotFoundError, NotADirectoryError) as missing:
        raise InputNotFoundError(f"{what} {path} does not exist") from missing
    except IsADirectoryError as failed:
        raise error(f"{path}: cannot be read, it is a directory") from failed
    except (OSError, ValueError) as failed:
        if isinstance(failed, GmdaskError):
            raise
        reason = failed.strerror if isinstance(failed, OSError) else failed
        raise error(f"{path}: cannot be read ({reason})") from failed


def allowed_size(compressed: int) -> int:
    """Size in bytes to which compressed data may expand."""
    return max(SMALL, GROWTH * compressed)


def unpack(content: bytes, file: str, error: type[GmdaskError] = InputError) -> bytes:
    """Unpack the content of a file, if it is gzipped.

    Parameters
    ----------
    content : bytes
        Content of the file.
    file : str
        Its name, with which messages begin.
    error : type of GmdaskError
        Error to raise.

    Raises
    ------
    InputError
        If it is damaged, or expands out of proportion.
    """
    if not content.startswith(_GZIP):
        return content
    limit, unpacked = allowed_size(len(content)), BytesIO()
    try:
        with gzip.open(BytesIO(content)) as packed:
            while chunk := packed.read(MEGABYTE):
                unpacked.write(chunk)
                if unpacked.tell() > limit:
                    raise error(
                        f"{file}: {len(content) / MEGABYTE:.1f} MB that unpack to more than "
                        f"{limit / MEGABYTE:.0f} MB; if this is intended, unpack the file first"
                    )
    except (OSError, EOFError, zlib.error) as failed:
        raise error(f"{file}: cannot be read ({failed})") from failed
    return unpacked.getvalue()
