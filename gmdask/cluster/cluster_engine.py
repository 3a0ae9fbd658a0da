"""The engine of a fit on a cluster: groups are built once, and stay on their worker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Any, Generic
from uuid import uuid4

from distributed import Client, Future, get_worker

from gmdask.cluster.groups import Built, Group, Paced, Payload, Result, Spec, check_payloads
from gmdask.cluster.lost_cluster import cluster_there
from gmdask.cluster.remote_errors import RemoteError, capture, raise_captured
from gmdask.cluster.worker_watch import Watch
from gmdask.events import Listener

__all__ = ["ClusterEngine"]


class ClusterEngine(Generic[Spec, Group, Payload, Result]):
    """See `Engine`.

    Parameters
    ----------
    build, evaluate, specs, on_event, sizes
        See `make_engine`.
    client : `distributed.Client`

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
        client: Client,
        on_event: Listener | None = None,
        sizes: Sequence[int] | None = None,
    ) -> None:
        self._build, self._evaluate, self._specs, self._client = build, evaluate, specs, client
        self._built = Built(on_event, sizes)
        self._run = uuid4().hex[:8]
        self._keys = count()
        self._moving: dict[int, Future] = {}
        self._last: list[Future] = []
        self._unmovable: set[int] = set()
        with cluster_there(client):
            self._watch = Watch(client, self._run, on_event)
            self._futures = [
                self._submit(capture, _build_there, build, spec, self._topic(number))
                for number, spec in enumerate(specs)
            ]

    def __len__(self) -> int:
        return len(self._specs)

    def _submit(self, *task: Any, **where: Any) -> Future:
        key = f"gmdask-group-{self._run}-{next(self._keys)}"
        return self._client.submit(*task, key=key, pure=False, **where)

    def __call__(self, payloads: Sequence[Payload]) -> list[Result]:
        """See `Engine`.

        Raises
        ------
        ClusterLostError
            If the scheduler is gone, or workers die repeatedly.
        """
        check_payloads(payloads, len(self._specs))
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
                self._watch.wait(futures, self._report_built)
                answers = client.gather(futures)
            except KeyboardInterrupt:
                client.cancel(futures)
                raise
            self._even_out([worker for worker, _ in answers])
            self._built.end()
        return [raise_captured(result) for _, result in answers]

    # --- progress of the build ---------------------------------------------------------

    def _topic(self, number: int) -> tuple[str, int] | None:
        """Dask topic on which a worker reports the progress of a group, and the number of the group."""
        return (f"gmdask-built-{self._run}", number) if self._built.is_reported else None

    def _report_built(self) -> None:
        """Report the progress that the workers have logged."""
        if not self._built.is_reported:
            return
        built: Counter[int] = Counter()
        for _, (number, made) in self._client.get_events(f"gmdask-built-{self._run}"):
            built[number] = max(built[number], made)
        self._built.report(built.total())

    # --- groups that move ----------------------------------------------------------------

    def _even_out(self, places: Sequence[str]) -> None:
        """Rebuild groups on other workers if one worker has two more than another.

        Without this, the groups of a lost worker stay with those that took over.
        """
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
        """See `Engine`."""
        self._release()
        if self._client.status == "running":
            futures = [*self._futures, *self._moving.values()]
            self._client.cancel(futures)
            for future in futures:  # including those cancelled before the scheduler knew them
                future.release()
        self._futures, self._moving = [], {}


def _build_there(build: Callable[..., Any], spec: Any, topic: tuple[str, int] | None) -> Any:
    """Build a group on a worker, with the worker's folder for scratch files."""
    worker = get_worker()
    if topic is None:
        return build(spec, worker.local_directory)
    name, number = topic
    paced = Paced(lambda made: worker.log_event(name, (number, made)))
    return build(spec, worker.local_directory, on_made=paced)


def _evaluate_there(
    evaluate: Callable[[Any, Any], Any], group: Any, payload: Any
) -> tuple[str, Any]:
    """Evaluate on a worker, and return the worker's address as well."""
    result = group if isinstance(group, RemoteError) else capture(evaluate, group, payload)
    return get_worker().address, result
