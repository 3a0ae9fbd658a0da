"""Progress of long work: one changing line on a terminal, log lines elsewhere."""

from __future__ import annotations

import math
import sys
import time

from gmdask.cli.terminal import Volume, printable, volume
from gmdask.events import (
    CheckpointFailed,
    CompileEnd,
    DatasetsProgress,
    Event,
    FitEnd,
    FitPass,
    WorkerLost,
    line_of,
    record,
)

__all__ = ["Progress"]


PACE_S = 3.0  # duration of work from which its pace can be estimated
OFTEN = (FitPass, DatasetsProgress)
SHOWN = (CheckpointFailed, CompileEnd, DatasetsProgress, FitEnd, FitPass, WorkerLost)


class Progress:
    """Listener that shows events on stderr.

    Parameters
    ----------
    every : float
        Seconds between log lines if stderr is not a terminal; the end of the work is always logged.
    """

    def __init__(self, every: float = 1.0) -> None:
        self._terminal, self._volume = sys.stderr.isatty(), volume()
        self._every, self._start, self._last = every, time.monotonic(), -math.inf
        self._width, self._shown = 0, ""
        self._works: dict[
            str, tuple[float, int]
        ] = {}  # time and progress at the first event of each work

    def __call__(self, event: Event) -> None:
        """Show an event."""
        text = _text(event, everything=self._volume is Volume.VERBOSE)
        if text is not None and isinstance(event, DatasetsProgress):
            text += self._time_left(event)
        if text is None or text == self._shown or self._volume is Volume.QUIET:
            return
        self._shown = text
        if self._terminal:
            lasting = self._volume is Volume.VERBOSE and not isinstance(event, OFTEN)
            self._write_over(text, final=lasting or isinstance(event, FitEnd))
        else:
            self._log(text, always=not isinstance(event, OFTEN) or _is_last(event))

    def _time_left(self, event: DatasetsProgress) -> str:
        """Time that is left at the pace until now; nothing while it is short or not known."""
        now = time.monotonic()
        start, first = self._works.setdefault(event.work, (now, event.done))
        if now - start < PACE_S or event.done == first or event.done == event.total:
            return ""
        left = (now - start) / (event.done - first) * (event.total - event.done)
        return f", {left / 60:.0f} min left" if left >= 90 else f", {left:.0f} s left"

    def _write_over(self, text: str, *, final: bool) -> None:
        sys.stderr.write("\r" + text.ljust(self._width) + ("\n" if final else ""))
        sys.stderr.flush()
        self._width = 0 if final else len(text)

    def _log(self, text: str, *, always: bool) -> None:
        now = time.monotonic()
        if always or now - self._last >= self._every:
            self._last = now
            sys.stderr.write(f"[{now - self._start:7.1f} s] {text}\n")
            sys.stderr.flush()

    def close(self) -> None:
        """End the line."""
        if self._terminal and self._width:
            sys.stderr.write("\n")
            self._width = 0


def _is_last(event: Event) -> bool:
    return isinstance(event, DatasetsProgress) and event.done == event.total


def _text(event: Event, *, everything: bool) -> str | None:
    line = line_of(record(event)) if everything or isinstance(event, SHOWN) else None
    if line is None:
        return None
    return printable(line if isinstance(event, DatasetsProgress) else f"fit: {line}")
