"""The engine of a fit: groups are built once, where they stay, and evaluated at each pass."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate, count
from typing import Any, Generic, TypeVar
from uuid import uuid4

from distributed import Client, Future, get_worker

from gmdask.cluster.lost_cluster import cluster_there
from gmdask.cluster.remote_errors import RemoteError, raise_told, tell
from gmdask.cluster.worker_watch import Watch
from gmdask.events import DatasetsProgress, Listener

__all__ = ["Engine"]

TELL_S = 1.0  # between messages on how many datasets of a group are compiled

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
        system's). With `sizes` it gets ``on_made`` too, to be called with the number of datasets made
        so far.
    evaluate : callable
        Takes a group and a payload, gives a small result.
    specs : sequence
        Descriptions, one per group.
    client : `distributed.Client` or None
        None keeps the groups in this process.
    on_event : callable, optional
        Gets `Workers` and `WorkerLost` while groups are evaluated.
    sizes : sequence of int, optional
        Datasets of each group, of which `on_event` gets a `DatasetsProgress` while they are built.

    Notes
    -----
    A group is a plain future: when its worker is lost, Dask builds it again elsewhere. An
    evaluation depends on one future, and its payload travels inside the task; a task
    that depended on several would pull groups over the wire.

    A worker that hangs while it is waited for is given up after half a minute; see `Watch`.
    """

    def __init__(
        self,
        build: Callable[..., Group],
        evaluate: Callable[[Group, Payload], Result],
        specs: Sequence[Spec],
        client: Client | None = None,
        on_event: Listener | None = None,
        sizes: Sequence[int] | None = None,
    ) -> None:
        self._build, self._evaluate, self._specs, self._client = build, evaluate, specs, client
        self._on_event, self._sizes = on_event, sizes
        self._run = uuid4().hex[:8]
        self._keys = count()
        self._groups: list[Group] = []
        self._futures: list[Future] = []
        self._moving: dict[int, Future] = {}
        self._last: list[Future] = []
        self._unmovable: set[int] = set()
        if client is not None:
            with cluster_there(client):
                self._watch = Watch(client, self._run, on_event)
                self._futures = [
                    self._submit(tell, _build_there, build, spec, self._topic(number))
                    for number, spec in enumerate(specs)
                ]

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
                self._groups = self._built_here()
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
                self._watch.wait(futures, self._tell_built)
                answers = client.gather(futures)
            except KeyboardInterrupt:
                client.cancel(futures)
                raise
            self._even_out([worker for worker, _ in answers])
            self._all_built()
        return [raise_told(result) for _, result in answers]

    # --- how many datasets are built ---------------------------------------------------

    def _topic(self, number: int) -> tuple[str, int] | None:
        """Topic of Dask on which a worker tells of a group, and the number of the group."""
        return None if self._sizes is None else (f"gmdask-built-{self._run}", number)

    def _built_here(self) -> list[Group]:
        if self._sizes is None:
            return [self._build(spec, None) for spec in self._specs]
        before = accumulate(self._sizes, initial=0)
        groups = [
            self._build(spec, None, on_made=_Paced(partial(self._tell, before=done)))
            for spec, done in zip(self._specs, before, strict=False)
        ]
        self._all_built()
        return groups

    def _tell(self, built: int, before: int = 0) -> None:
        if self._on_event is not None and self._sizes is not None:
            self._on_event(DatasetsProgress("compile", before + built, sum(self._sizes)))

    def _tell_built(self) -> None:
        """Tell what the workers have told."""
        if self._sizes is None or self._client is None:
            return
        built: Counter[int] = Counter()
        for _, (number, made) in self._client.get_events(f"gmdask-built-{self._run}"):
            built[number] = max(built[number], made)
        self._tell(built.total())

    def _all_built(self) -> None:
        """Tell that all are there, and nothing from then on."""
        if self._sizes is not None:
            self._tell(sum(self._sizes))
            self._sizes = None

    # --- groups that move ----------------------------------------------------------------

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
                    _build_there, self._build, self._specs[index], None, **where
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


class _Paced:
    """Callable that passes a number on at most once a second."""

    def __init__(self, tell: Callable[[int], None]) -> None:
        self._tell, self._next = tell, 0.0

    def __call__(self, made: int) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + TELL_S
            self._tell(made)


def _build_there(build: Callable[..., Any], spec: Any, topic: tuple[str, int] | None) -> Any:
    """Build on a worker, with its folder for scratch files."""
    worker = get_worker()
    if topic is None:
        return build(spec, worker.local_directory)
    name, number = topic
    paced = _Paced(lambda made: worker.log_event(name, (number, made)))
    return build(spec, worker.local_directory, on_made=paced)


def _evaluate_there(
    evaluate: Callable[[Any, Any], Any], group: Any, payload: Any
) -> tuple[str, Any]:
    """Evaluate on a worker, and say on which."""
    result = group if isinstance(group, RemoteError) else tell(evaluate, group, payload)
    return get_worker().address, result
