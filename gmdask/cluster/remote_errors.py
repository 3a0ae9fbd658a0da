"""Errors that are told to the user, brought home from workers as results.

An exception in a task makes the worker print its traceback. What gmdask raises on purpose is a word
to the user, not a fault of the worker: it travels as a result and is raised where the user is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from gmdask.errors import GmdaskError

__all__ = ["RemoteError", "raise_told", "tell"]

T = TypeVar("T")


class RemoteError:
    """An error in place of a result."""

    def __init__(self, error: GmdaskError) -> None:
        self.error = error


def tell(function: Callable[..., T], *arguments: Any) -> T | RemoteError:
    """Call a function; an error of gmdask becomes the result."""
    try:
        return function(*arguments)
    except GmdaskError as error:
        return RemoteError(error)


def raise_told(result: T | RemoteError) -> T:
    """Give the result back, or raise the error that stands in its place."""
    if isinstance(result, RemoteError):
        raise result.error
    return result
