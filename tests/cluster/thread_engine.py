"""A third engine, all in one file: groups that are built and evaluated by threads of this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

__all__ = ["ThreadEngine"]


class ThreadEngine:
    """See `gmdask.cluster.Engine`."""

    def __init__(
        self,
        build: Callable[..., Any],
        evaluate: Callable[[Any, Any], Any],
        specs: Sequence[Any],
        threads: int = 2,
    ) -> None:
        self._evaluate, self._pool = evaluate, ThreadPoolExecutor(threads)
        self._groups = [self._pool.submit(build, spec, None) for spec in specs]

    def __len__(self) -> int:
        return len(self._groups)

    def __call__(self, payloads: Sequence[Any]) -> list[Any]:
        """Evaluate all groups."""
        if len(payloads) != len(self):
            msg = f"{len(payloads)} payloads for {len(self)} groups"
            raise ValueError(msg)
        groups = [group.result() for group in self._groups]
        return list(self._pool.map(self._evaluate, groups, payloads))

    def close(self) -> None:
        """Release the groups."""
        self._groups = []
        self._pool.shutdown()
