"""Terminal output: control characters are escaped, and a closed pipe is not an error."""

from __future__ import annotations

import io
import json
import math
import os
import sys
import unicodedata
from collections.abc import Callable
from enum import IntEnum
from typing import Any, TextIO

import click

__all__ = [
    "Volume",
    "echo",
    "echo_json",
    "one_line",
    "patient",
    "printable",
    "volume",
    "volume_options",
]

# control characters, format characters that change the direction of text, surrogates, line separators
ESCAPED = ("Cc", "Cf", "Cs", "Zl", "Zp")
VOLUME = "gmdask.volume"
LONGEST = 1000  # characters of an error line; the middle of longer ones is left out


def printable(text: str, keep: str = "") -> str:
    """Escape characters that are invisible or would control the terminal.

    Parameters
    ----------
    text : str
        Any text; names and paths may contain anything.
    keep : str
        Characters that are not escaped.
    """
    if text.isprintable():
        return text
    return "".join(
        char.encode("unicode_escape").decode("ascii")
        if unicodedata.category(char) in ESCAPED and char not in keep
        else char
        for char in text
    )


def one_line(text: object) -> str:
    """Return the text of an error as one line."""
    line = printable(" ".join(str(text).split()))
    if len(line) <= LONGEST:
        return line
    return f"{line[: LONGEST // 2]} ... {line[-LONGEST // 2 :]}"


def echo(text: object = "", *, err: bool = False) -> None:
    """Print text on standard output, or on standard error.

    Parameters
    ----------
    text : object
        Line breaks and tabs are kept, other control characters are escaped.
    err : bool
        Whether to print to standard error.
    """
    click.echo(printable(str(text), keep="\n\t"), err=err)


def echo_json(document: Any) -> None:
    """Print a document as JSON.

    Parameters
    ----------
    document : list or dict
        Plain data; numbers that are not finite become null.
    """
    click.echo(json.dumps(_finite(document), indent=1, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# --- verbosity -------------------------------------------------------------------------


class Volume(IntEnum):
    """Verbosity of a command beyond its results and errors."""

    QUIET = 0
    NORMAL = 1
    VERBOSE = 2


def volume() -> Volume:
    """Verbosity that was requested for the running command."""
    context = click.get_current_context(silent=True)
    return Volume.NORMAL if context is None else context.meta.get(VOLUME, Volume.NORMAL)


def volume_options(command: click.Command) -> click.Command:
    """Add ``--quiet`` and ``--verbose`` to a command."""
    for name, value, words in (
        ("quiet", Volume.QUIET, "Print only results and errors, no progress."),
        ("verbose", Volume.VERBOSE, "Show every event: memory plan, checkpoints, workers."),
    ):
        option = click.Option(
            [f"-{name[0]}", f"--{name}"], is_flag=True, expose_value=False, help=words,
            callback=_sets(value),
        )  # fmt: skip
        command.params.append(option)
    return command


def _sets(value: Volume) -> Callable[[click.Context, Any, bool], None]:
    def callback(context: click.Context, _: Any, given: bool) -> None:
        if given:
            context.meta[VOLUME] = value

    return callback


# --- streams ---------------------------------------------------------------------------


class _Patient(io.FileIO):
    """A file that may lose its reader; whatever is written after that is dropped."""

    def write(self, data: Any) -> int:
        """Write bytes."""
        try:
            return super().write(data)
        except BrokenPipeError:
            return memoryview(data).nbytes


def patient(stream: TextIO | None) -> TextIO:
    """Wrap a standard stream, so that neither a closed pipe nor an unencodable character is an error.

    Parameters
    ----------
    stream : file or None
        None if the stream is closed.
    """
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123  (as long as the process)
    try:
        number = stream.fileno()
    except (AttributeError, io.UnsupportedOperation):  # not a stream of the operating system
        return stream
    stream.flush()
    raw = io.BufferedWriter(_Patient(number, "w", closefd=False))
    return io.TextIOWrapper(
        raw,
        stream.encoding,
        "backslashreplace",
        line_buffering=stream is sys.stderr or stream.isatty(),
    )
