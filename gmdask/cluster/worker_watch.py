"""Wait for tasks while workers may hang and the cluster may be lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

from distributed import Client, Future
from distributed.client import _wait

from gmdask.errors import ClusterLostError
from gmdask.events import Listener, WorkerLost, Workers

__all__ = ["Watch"]

LOOK_S = 2.0  # interval of checks of the workers, while tasks are not done
SILENT_S = 30.0  # a worker without a heartbeat for this long is taken to hang
REPORT_S = 1.0  # interval of events about the workers
ALONE_S = 300.0  # a cluster that has had no worker for this long is taken as lost


class Watch:
    """Waits for tasks, and gives up hanging workers, so that others take over.

    Dask notices at once that a worker is gone. A hanging worker keeps its connection: Dask's own
    timeout is five minutes, or none, depending on how the scheduler was started.

    Parameters
    ----------
    client : `distributed.Client`
    mark : str
        Common part of the keys of the tasks.
    on_event : callable, optional
        Receives `Workers`, at most once per second, and `WorkerLost`.
    """

    def __init__(self, client: Client, mark: str, on_event: Listener | None = None) -> None:
        self._client, self._mark, self._on_event = client, mark, on_event
        self._reported_at, self._known = -REPORT_S, set[str]()
        self._seen: dict[
            str, tuple[float, float]
        ] = {}  # last heartbeat, by the scheduler's clock and ours
        there = bool(client.scheduler_info()["workers"])
        self._last_worker = time.monotonic() if there else float("nan")

    def wait(self, futures: Sequence[Future], on_look: Callable[[], None]) -> None:
        """Wait until all tasks have ended, successfully or not.

        Parameters
        ----------
        futures : sequence
        on_look : callable
            Called every two seconds.

        Raises
        ------
        ClusterLostError
            If there has been no worker for five minutes.
        """
        done = not futures
        while not done:
            try:
                # on the loop of this client: wait() uses that of the most recent client, where the futures
                # of this one wake nobody, and cannot be waited for again
                self._client.sync(_wait, futures, timeout=LOOK_S)
                done = True
            except TimeoutError:
                self._look()
                on_look()
        if self._on_event is not None and time.monotonic() - self._reported_at >= REPORT_S:
            self._report(self._client.scheduler_info()["workers"])

    def _report(self, workers: dict[str, Any]) -> None:
        """Report the workers, and those that were lost since the last report."""
        if self._on_event is None:
            return
        for address in sorted(self._known - workers.keys()):
            self._on_event(WorkerLost(address))
        self._known, self._reported_at = set(workers), time.monotonic()
        memory = (worker["metrics"].get("memory", 0) for worker in workers.values())
        limit = (worker["memory_limit"] or 0 for worker in workers.values())
        self._on_event(Workers(tuple(workers), tuple(memory), tuple(limit)))

    def _look(self) -> None:
        now, seen = time.monotonic(), self._client.scheduler_info()["workers"]
        self._report(seen)
        self._seen = {
            worker: (state["last_seen"], now)
            if self._seen.get(worker, (None,))[0] != state["last_seen"]
            else self._seen[worker]
            for worker, state in seen.items()
        }
        if self._seen:
            self._last_worker = now
        elif now - self._last_worker > ALONE_S:
            msg = f"the cluster has had no worker for {ALONE_S:.0f} s"
            raise ClusterLostError(msg)
        silent = [worker for worker, (_, since) in self._seen.items() if now - since > SILENT_S]
        if silent:
            self._give_up([worker for worker in silent if self._is_waited_for(worker)])

    def _is_waited_for(self, worker: str) -> bool:
        keys = self._client.processing(workers=[worker])[worker]
        return any(self._mark in str(key) for key in keys)

    def _give_up(self, workers: list[str]) -> None:
        """Have workers restarted by their nanny, or else removed from the scheduler."""
        if workers:
            self._client.sync(
                self._client.scheduler.restart_workers,
                workers=workers,
                client=self._client.id,
                timeout=SILENT_S,
                wait_for_workers=False,
                on_error="return",
                stimulus_id=f"gmdask-silent-{uuid4().hex[:8]}",
            )
