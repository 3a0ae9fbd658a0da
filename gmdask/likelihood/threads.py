"""Threads of linear algebra."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController

__all__ = ["one_thread"]


@cache
def _threads() -> ThreadpoolController:
    """Controller of the linear algebra libraries of this process."""
    return ThreadpoolController()


def one_thread() -> AbstractContextManager[Any]:
    """Have linear algebra use one thread, so that its bits do not depend on their number."""
    limit: AbstractContextManager[Any] = _threads().limit(limits=1)
    return limit
