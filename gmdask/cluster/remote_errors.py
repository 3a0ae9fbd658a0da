"""Errors for the user, sent from workers as results.

An exception in a task makes the worker print its traceback. An error that gmdask raises on purpose
is a message to the user, not a fault of the worker: it travels as a result and is raised in the
user's process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from gmdask.errors import GmdaskError

__all__ = ["RemoteError", "capture", "raise_captured"]

T = TypeVar("T")


class RemoteError:
    """An error that stands in place of a result."""

    def __init__(self, error: GmdaskError) -> None:
        self.error = error


def capture(function: Callable[..., T], *arguments: Any) -> T | RemoteError:
    """Call a function and return its result, or the gmdask error that it raised."""
    try:
        return function(*arguments)
    except GmdaskError as error:
        return RemoteError(error)


def raise_captured(result: T | RemoteError) -> T:
    """Return the result, or raise the error that stands in its place."""
    if isinstance(result, RemoteError):
        raise result.error
    return result
