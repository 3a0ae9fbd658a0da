"""The engine of a fit: groups are built once, stay on their worker, and are evaluated in every pass."""

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

TELL_S = 1.0  # interval of messages about how many datasets of a group are compiled

Spec = TypeVar("Spec")
Group = TypeVar("Group")
Payload = TypeVar("Payload")
Result = TypeVar("Result")


class Engine(Generic[Spec, Group, Payload, Result]):
    """Groups that are built from plain descriptions and evaluated together.

    Parameters
    ----------
    build : callable
        Builds a group from its description and a folder for scratch files (None for the
        system's). With `sizes` it also gets ``on_made``, to be called with the number of datasets
        built so far.
    evaluate : callable
        Evaluates a group with a payload and returns a small result.
    specs : sequence
        Descriptions, one per group.
    client : `distributed.Client` or None
        None keeps the groups in this process.
    on_event : callable, optional
        Receives `Workers` and `WorkerLost` while groups are evaluated.
    sizes : sequence of int, optional
        Number of datasets per group; `on_event` then receives a `DatasetsProgress` while they are built.

    Notes
    -----
    A group is an ordinary future: if its worker is lost, Dask builds it again elsewhere. An
    evaluation depends on one future, and its payload travels inside the task; a task
    that depended on several would transfer groups between workers.

    A worker that hangs during an evaluation is given up after half a minute; see `Watch`.
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
            If the scheduler is gone, or workers die repeatedly.
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
            # each task has a task group of its own: Dask takes many tasks in one group that depend on few
            # others for the roots of a graph, and places them regardless of where the groups are
            keys = [(f"gmdask-pass-{self._run}-{number}-{i}", 0) for i in range(len(payloads))]
            evaluate = partial(_evaluate_there, self._evaluate)
            futures = client.map(evaluate, self._futures, payloads, key=keys, pure=False)
            # the previous results are released after these tasks are sent: in the opposite order, the tasks
            # would wait for 10 ms, the interval between two messages of Dask's client
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

    # --- progress of the build ---------------------------------------------------------

    def _topic(self, number: int) -> tuple[str, int] | None:
        """Dask topic on which a worker reports the progress of a group, and the number of the group."""
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
        """Report the progress that the workers have logged."""
        if self._sizes is None or self._client is None:
            return
        built: Counter[int] = Counter()
        for _, (number, made) in self._client.get_events(f"gmdask-built-{self._run}"):
            built[number] = max(built[number], made)
        self._tell(built.total())

    def _all_built(self) -> None:
        """Report that all groups are built, and nothing after that."""
        if self._sizes is not None:
            self._tell(sum(self._sizes))
            self._sizes = None

    # --- groups that move ----------------------------------------------------------------

    def _even_out(self, places: Sequence[str]) -> None:
        """Rebuild groups on other workers if one worker has two more than another.

        Without this, the groups of a lost worker stay with those that took over.
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
        """Replace groups by their copies that were rebuilt elsewhere.

        From then on they may be placed anywhere: if all workers were lost, a task bound to one of
        them would wait for it forever.
        """
        assert self._client is not None
        for index, future in list(self._moving.items()):
            if future.status == "finished":
                free = self._client.scheduler.set_restrictions
                self._client.sync(free, worker={future.key: None})
                self._futures[index] = future
                del self._moving[index]
            elif future.status in ("error", "cancelled", "lost"):
                self._unmovable.add(index)  # the old one stays in use
                del self._moving[index]

    def _release(self) -> None:
        """Release the results of the previous pass."""
        for future in self._last:
            future.release()
        self._last = []

    def close(self) -> None:
        """Release the groups."""
        self._release()
        if self._client is not None and self._client.status == "running":
            futures = [*self._futures, *self._moving.values()]
            self._client.cancel(futures)
            for future in futures:  # including those cancelled before the scheduler knew them
                future.release()
        self._groups, self._futures, self._moving = [], [], {}


class _Paced:
    """Callable that passes on a number at most once per second."""

    def __init__(self, tell: Callable[[int], None]) -> None:
        self._tell, self._next = tell, 0.0

    def __call__(self, made: int) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + TELL_S
            self._tell(made)


def _build_there(build: Callable[..., Any], spec: Any, topic: tuple[str, int] | None) -> Any:
    """Build a group on a worker, with the worker's folder for scratch files."""
    worker = get_worker()
    if topic is None:
        return build(spec, worker.local_directory)
    name, number = topic
    paced = _Paced(lambda made: worker.log_event(name, (number, made)))
    return build(spec, worker.local_directory, on_made=paced)


def _evaluate_there(
    evaluate: Callable[[Any, Any], Any], group: Any, payload: Any
) -> tuple[str, Any]:
    """Evaluate on a worker, and return the worker's address as well."""
    result = group if isinstance(group, RemoteError) else tell(evaluate, group, payload)
    return get_worker().address, result
