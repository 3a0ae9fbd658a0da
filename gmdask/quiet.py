"""Capture of other libraries' warnings, by one thread at a time: Python's filters are process-wide."""

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
        Category to collect, every time it occurs; others are treated as before.

    Yields
    ------
    list of warnings.WarningMessage
        The warnings so far.
    """
    with _FILTERS, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", category)
        yield caught


@contextmanager
def no_warnings() -> Iterator[None]:
    """Ignore warnings."""
    with _FILTERS, warnings.catch_warnings(action="ignore"):
        yield
