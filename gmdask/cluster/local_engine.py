"""The engine of a fit in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate
from typing import Generic

from gmdask.cluster.groups import Built, Group, Paced, Payload, Result, Spec, check_payloads
from gmdask.events import Listener

__all__ = ["LocalEngine"]


class LocalEngine(Generic[Spec, Group, Payload, Result]):
    """See `Engine`; groups are built when they are first evaluated.

    Parameters
    ----------
    build, evaluate, specs, on_event, sizes
        See `make_engine`.
    """

    def __init__(
        self,
        build: Callable[..., Group],
        evaluate: Callable[[Group, Payload], Result],
        specs: Sequence[Spec],
        on_event: Listener | None = None,
        sizes: Sequence[int] | None = None,
    ) -> None:
        self._build, self._evaluate, self._specs, self._sizes = build, evaluate, specs, sizes
        self._built = Built(on_event, sizes)
        self._groups: list[Group] = []

    def __len__(self) -> int:
        return len(self._specs)

    def __call__(self, payloads: Sequence[Payload]) -> list[Result]:
        """See `Engine`."""
        check_payloads(payloads, len(self._specs))
        if not self._groups:
            self._groups = self._make()
        return [self._evaluate(g, p) for g, p in zip(self._groups, payloads, strict=True)]

    def _make(self) -> list[Group]:
        if self._sizes is None:
            return [self._build(spec, None) for spec in self._specs]
        groups = []
        for spec, before in zip(self._specs, accumulate(self._sizes, initial=0), strict=False):
            paced = Paced(partial(self._report, before))
            groups.append(self._build(spec, None, on_made=paced))
        self._built.end()
        return groups

    def _report(self, before: int, built: int) -> None:
        self._built.report(before + built)

    def close(self) -> None:
        """See `Engine`."""
        self._groups = []
