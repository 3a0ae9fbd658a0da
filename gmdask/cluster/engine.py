"""The engine of a fit: groups are built once, where they stay, and evaluated at each pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Any, Generic, TypeVar
from uuid import uuid4

from distributed import Client, Future, get_worker

from gmdask.cluster.lost import cluster_there
from gmdask.cluster.told import Told, raise_told, tell
from gmdask.cluster.watch import Watch
from gmdask.events import Listener

__all__ = ["Engine"]

Spec = TypeVar("Spec")
Group = TypeVar("Group")
Payload = TypeVar("Payload")
Result = TypeVar("Result")


class Engine(Generic[Spec, Group, Payload, Result]):
    """Groups built from plain descriptions, and evaluated together.

    Parameters
    ----------
    build : callable
        Makes a group from its description, and a folder for scratch files (None for the
        system's).
    evaluate : callable
        Takes a group and a payload, gives a small result.
    specs : sequence
        Descriptions, one per group.
    client : `distributed.Client` or None
        None keeps the groups in this process.
    on_event : callable, optional
        Gets `Workers` and `WorkerLost` while groups are evaluated.

    Notes
    -----
    A group is a plain future: when its worker is lost, Dask builds it again elsewhere. An
    evaluation depends on one future, and its payload travels inside the task; a task
    that depended on several would pull groups over the wire.

    A worker that hangs while it is waited for is given up after half a minute; see `Watch`.
    """

    def __init__(
        self,
        build: Callable[[Spec, str | None], Group],
        evaluate: Callable[[Group, Payload], Result],
        specs: Sequence[Spec],
        client: Client | None = None,
        on_event: Listener | None = None,
    ) -> None:
        self._build, self._evaluate, self._specs, self._client = build, evaluate, specs, client
        self._run = uuid4().hex[:8]
        self._keys = count()
        self._groups: list[Group] = []
        self._futures: list[Future] = []
        self._moving: dict[int, Future] = {}
        self._last: list[Future] = []
        self._unmovable: set[int] = set()
        if client is not None:
            self._watch = Watch(client, self._run, on_event)
            with cluster_there(client):
                self._futures = [self._submit(tell, _build_there, build, spec) for spec in specs]

    def __len__(self) -> int:
        return len(self._specs)

    def _submit(self, *task: Any, **where: Any) -> Future:
        assert self._client is not None
        key = f"gmdask-group-{self._run}-{next(self._keys)}"
        return self._client.submit(*task, key=key, pure=False, **where)

    def __call__(self, payloads: Sequence[Payload]) -> list[Result]:
        """Evaluate all groups.

        Parameters
        ----------
        payloads : sequence
            One per group.

        Returns
        -------
        results : list
            One per group, in order.

        Raises
        ------
        ClusterLostError
            If the scheduler is gone, or workers end time and again.
        """
        if len(payloads) != len(self._specs):
            msg = f"{len(payloads)} payloads for {len(self._specs)} groups"
            raise ValueError(msg)
        if self._client is None:
            if not self._groups:
                self._groups = [self._build(spec, None) for spec in self._specs]
            return [
                self._evaluate(group, p) for group, p in zip(self._groups, payloads, strict=True)
            ]
        client = self._client
        with cluster_there(client):
            self._swap_moved()
            number = next(self._keys)
            # a task group of its own each: many tasks in one group that depend on few others are
            # taken for the roots of a graph, and placed without regard to where the groups are
            keys = [(f"gmdask-pass-{self._run}-{number}-{i}", 0) for i in range(len(payloads))]
            evaluate = partial(_evaluate_there, self._evaluate)
            futures = client.map(evaluate, self._futures, payloads, key=keys, pure=False)
            # those before are released when these were sent: the other way round, these would wait for 10 ms,
            # the pause between two messages of Dask's client
            self._release()
            self._last = futures
            try:
                self._watch.wait(futures)
                answers = client.gather(futures)
            except KeyboardInterrupt:
                client.cancel(futures)
                raise
            self._even_out([worker for worker, _ in answers])
        return [raise_told(result) for _, result in answers]

    def _even_out(self, places: Sequence[str]) -> None:
        """Build groups again on other workers where one has two more than another.

        After a worker was lost, what it held stays with those that took over for good.
        """
        assert self._client is not None
        workers = list(self._client.nthreads())
        if self._moving or not workers:
            return
        load = Counter(places)
        for index in reversed(range(len(places))):
            if index in self._unmovable:
                continue
            most, least = places[index], min(workers, key=lambda worker: load[worker])
            if load[most] - load[least] > 1:
                load[most] -= 1
                load[least] += 1
                where = {"workers": [least], "allow_other_workers": True}
                self._moving[index] = self._submit(
                    _build_there, self._build, self._specs[index], **where
                )

    def _swap_moved(self) -> None:
        """Take groups that were built again in place of the old ones.

        They may be anywhere from then on: where all workers are lost, what prefers one of them would
        wait for it for ever.
        """
        assert self._client is not None
        for index, future in list(self._moving.items()):
            if future.status == "finished":
                free = self._client.scheduler.set_restrictions
                self._client.sync(free, worker={future.key: None})
                self._futures[index] = future
                del self._moving[index]
            elif future.status in ("error", "cancelled", "lost"):
                self._unmovable.add(index)  # the old one goes on
                del self._moving[index]

    def _release(self) -> None:
        """Let go of the results of the last pass."""
        for future in self._last:
            future.release()
        self._last = []

    def close(self) -> None:
        """Let the groups go."""
        self._release()
        if self._client is not None and self._client.status == "running":
            futures = [*self._futures, *self._moving.values()]
            self._client.cancel(futures)
            for future in futures:  # what was cancelled before it was known to the scheduler, too
                future.release()
        self._groups, self._futures, self._moving = [], [], {}


def _build_there(build: Callable[[Any, str | None], Any], spec: Any) -> Any:
    """Build on a worker, with its folder for scratch files."""
    return build(spec, get_worker().local_directory)


def _evaluate_there(
    evaluate: Callable[[Any, Any], Any], group: Any, payload: Any
) -> tuple[str, Any]:
    """Evaluate on a worker, and say on which."""
    result = group if isinstance(group, Told) else tell(evaluate, group, payload)
    return get_worker().address, result
