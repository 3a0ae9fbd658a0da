"""Common parts of the engines: checks of payloads, and reports of the datasets built so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from gmdask.events import DatasetsProgress, Listener

__all__ = ["Built", "Group", "Paced", "Payload", "Result", "Spec", "check_payloads"]

REPORT_S = 1.0  # interval of messages about how many datasets of a group are compiled

Spec = TypeVar("Spec")
Group = TypeVar("Group")
Payload = TypeVar("Payload")
Result = TypeVar("Result")


def check_payloads(payloads: Sequence[Any], n: int) -> None:
    """Raise an error if there is not one payload per group.

    Raises
    ------
    ValueError
    """
    if len(payloads) != n:
        msg = f"{len(payloads)} payloads for {n} groups"
        raise ValueError(msg)


class Built:
    """Reports the number of built datasets to a listener.

    Parameters
    ----------
    on_event : callable or None
        Receives a `DatasetsProgress`.
    sizes : sequence of int or None
        Number of datasets per group; None for no reports.

    Attributes
    ----------
    is_reported : bool
        Whether there is still something to report.
    """

    def __init__(self, on_event: Listener | None, sizes: Sequence[int] | None) -> None:
        self._on_event, self._total = on_event, sum(sizes or ())
        self.is_reported = sizes is not None

    def report(self, built: int) -> None:
        """Report how many datasets are built so far."""
        if self._on_event is not None and self.is_reported:
            self._on_event(DatasetsProgress("compile", built, self._total))

    def end(self) -> None:
        """Report that all are built, and nothing after that."""
        self.report(self._total)
        self.is_reported = False


class Paced:
    """Callable that passes on a number at most once per second."""

    def __init__(self, report: Callable[[int], None]) -> None:
        self._report, self._next = report, 0.0

    def __call__(self, made: int) -> None:
        """Pass on a number, or skip it."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + REPORT_S
            self._report(made)
