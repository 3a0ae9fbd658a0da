"""Warnings of other libraries, caught in one thread at a time: Python's filters belong to the process."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_FILTERS = threading.RLock()


@contextmanager
def caught_warnings(
    category: type[Warning] = Warning,
) -> Iterator[list[warnings.WarningMessage]]:
    """Collect warnings instead of showing them.

    Parameters
    ----------
    category : type of Warning
        Those that are collected, each time they come; others are treated as before.

    Yields
    ------
    list of warnings.WarningMessage
        What came until now.
    """
    with _FILTERS, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", category)
        yield caught


@contextmanager
def no_warnings() -> Iterator[None]:
    """Leave warnings out."""
    with _FILTERS, warnings.catch_warnings(action="ignore"):
        yield
