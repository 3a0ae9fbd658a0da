"""Progress of long work: one line that changes on a terminal, log lines elsewhere."""

from __future__ import annotations

import math
import sys
import time

from gmdask.events import (
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


SHOWN = (CompileEnd, DatasetsProgress, FitEnd, FitPass, WorkerLost)


class Progress:
    """Listener that shows events on stderr.

    Parameters
    ----------
    every : float
        Seconds between log lines where stderr is not a terminal; ends are always told.
    """

    def __init__(self, every: float = 1.0) -> None:
        self._terminal = sys.stderr.isatty()
        self._every, self._start, self._last = every, time.monotonic(), -math.inf
        self._width = 0

    def __call__(self, event: Event) -> None:
        """Show an event."""
        text = _text(event)
        if text is None:
            return
        if self._terminal:
            self._write_over(text, final=isinstance(event, FitEnd))
        else:
            often = isinstance(event, FitPass | DatasetsProgress)
            self._log(text, always=not often or _is_last(event))

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


def _text(event: Event) -> str | None:
    if not isinstance(event, SHOWN):
        return None
    line = line_of(record(event))
    return line if isinstance(event, DatasetsProgress) else f"fit: {line}"
