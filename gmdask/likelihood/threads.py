"""Number of threads of linear algebra."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController

__all__ = ["one_thread"]


@cache
def _threads() -> ThreadpoolController:
    """Return the controller of the linear algebra libraries of this process."""
    return ThreadpoolController()


def one_thread() -> AbstractContextManager[Any]:
    """Limit linear algebra to one thread, so that results do not depend on the number of threads."""
    limit: AbstractContextManager[Any] = _threads().limit(limits=1)
    return limit
