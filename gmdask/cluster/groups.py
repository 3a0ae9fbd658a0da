"""What engines have in common: their groups, and how many datasets of these are built so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from gmdask.events import DatasetsProgress, Listener

__all__ = ["Built", "Group", "Paced", "Payload", "Result", "Spec", "check_payloads"]

TELL_S = 1.0  # between messages on how many datasets of a group are compiled

Spec = TypeVar("Spec")
Group = TypeVar("Group")
Payload = TypeVar("Payload")
Result = TypeVar("Result")


def check_payloads(payloads: Sequence[Any], n: int) -> None:
    """Refuse another number of payloads than of groups.

    Raises
    ------
    ValueError
    """
    if len(payloads) != n:
        msg = f"{len(payloads)} payloads for {n} groups"
        raise ValueError(msg)


class Built:
    """Tells a listener of the datasets that are built.

    Parameters
    ----------
    on_event : callable or None
        Gets a `DatasetsProgress`.
    sizes : sequence of int or None
        Datasets of each group; None to tell nothing.

    Attributes
    ----------
    is_told : bool
        Whether there is still something to tell.
    """

    def __init__(self, on_event: Listener | None, sizes: Sequence[int] | None) -> None:
        self._on_event, self._total = on_event, sum(sizes or ())
        self.is_told = sizes is not None

    def tell(self, built: int) -> None:
        """Tell how many are built so far."""
        if self._on_event is not None and self.is_told:
            self._on_event(DatasetsProgress("compile", built, self._total))

    def end(self) -> None:
        """Tell that all are there, and nothing from then on."""
        self.tell(self._total)
        self.is_told = False


class Paced:
    """Callable that passes a number on at most once a second."""

    def __init__(self, tell: Callable[[int], None]) -> None:
        self._tell, self._next = tell, 0.0

    def __call__(self, made: int) -> None:
        """Pass a number on, or leave it out."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + TELL_S
            self._tell(made)
