"""Independent tasks, run on a cluster or in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from distributed import Client, as_completed

from gmdask.cluster.lost_cluster import cluster_there
from gmdask.cluster.remote_errors import capture, raise_captured

__all__ = ["run_tasks"]

T = TypeVar("T")
S = TypeVar("S")


def run_tasks(
    function: Callable[[S], T], items: Sequence[S], client: Client | None, in_flight: int = 4
) -> Iterator[tuple[int, T]]:
    """Apply a function to items, a bounded number at a time per worker thread.

    Parameters
    ----------
    function : callable
    items : sequence
        Plain data, one per task. What is appended to a list while its results are taken is done,
        too.
    client : `distributed.Client` or None
        None runs the tasks here, one after the other.
    in_flight : int
        Number of submitted tasks per worker thread.

    Yields
    ------
    index, result
        In order of completion. The first error is raised, and the other tasks are cancelled.
    """
    if client is None:
        for index, item in enumerate(items):
            yield index, function(item)
        return
    with cluster_there(client):
        yield from _run_there(function, items, client, in_flight)


def _run_there(
    function: Callable[[S], T], items: Sequence[S], client: Client, in_flight: int
) -> Iterator[tuple[int, T]]:
    threads = max(sum(client.nthreads().values()), 1)
    index_of: dict[str, int] = {}
    running = as_completed(loop=client.loop)
    submitted = 0

    def submit() -> None:
        nonlocal submitted
        while submitted < len(items) and submitted - given < threads * in_flight:
            future = client.submit(capture, function, items[submitted], pure=False)
            index_of[future.key] = submitted
            running.add(future)
            submitted += 1

    given = 0
    submit()
    try:
        for future in running:
            result = raise_captured(future.result())
            given += 1
            submit()
            yield index_of.pop(future.key), result
            submit()  # what was appended
    finally:
        if client.status == "running":
            client.cancel(list(running.futures))
