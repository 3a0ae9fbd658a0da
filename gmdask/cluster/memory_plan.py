"""How much memory a computation may use on the workers of a cluster."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from distributed import Client, Worker

from gmdask.cluster.lost_cluster import cluster_there
from gmdask.compiling import bytes_to_compile
from gmdask.errors import ClusterLostError, PlanError
from gmdask.likelihood.memory import trim_heap

__all__ = ["MemoryPlan", "WorkerMemory", "plan_memory", "room_on_workers"]

SHARE = 0.7  # fraction of a worker's limit that may be used
KEPT = 0.6  # fraction of the remainder for kept arrays, which take a little more than their size
ROUND = 16_000_000  # bytes; memory sizes are rounded to multiples of this
PATIENCE_S = 30.0  # how long to wait for an answer from any worker after those known were lost

_first: list[int] = []  # bytes that this process held when it was first asked


@dataclass(frozen=True)
class WorkerMemory:
    """Memory of the worker that has the least.

    Attributes
    ----------
    limit : int
        Bytes at which Dask kills the worker.
    usable : int
        Bytes it may use before Dask starts to spill data to disk, or pauses it.
    base : int
        Bytes it holds before any computation, with its libraries loaded; after computations, without
        the memory that any of them keeps in any case.
    workers, threads : int
        Number of workers, and of threads per worker.
    """

    limit: int
    usable: int
    base: int
    workers: int
    threads: int


@dataclass(frozen=True)
class MemoryPlan:
    """Memory that each worker may use.

    Attributes
    ----------
    budget : int
        Bytes for what is kept from pass to pass; the rest is kept in files.
    projected : int
        Largest number of bytes that a worker will hold in total.
    room : `WorkerMemory`
    """

    budget: int
    projected: int
    room: WorkerMemory


def room_on_workers(
    client: Client, function: Callable[..., Any], fixed: int
) -> WorkerMemory | None:
    """Memory of the worker that has the least, None if no worker has a limit.

    Parameters
    ----------
    client : `distributed.Client`
    function : callable
        The function that will run on the workers: its libraries are loaded before the measurement.
    fixed : int
        Bytes that a process needs in any case, and keeps between computations.
    """
    found = _answers(client, function, fixed)
    limited = [worker for worker in found if worker[0]]
    if not limited:
        return None
    limit, share, base, threads = min(limited, key=lambda worker: worker[0] * worker[1] - worker[2])
    return WorkerMemory(limit, int(limit * share), base, len(found), threads)


def _answers(
    client: Client, function: Callable[..., Any], fixed: int
) -> list[tuple[int, float, int, int]]:
    """Measurements of all workers, except those that are lost meanwhile.

    Raises
    ------
    ClusterLostError
        If no worker answers for half a minute.
    """
    end = time.monotonic() + PATIENCE_S
    while True:
        with cluster_there(client):
            found = list(client.run(_measure, function, fixed, on_error="return").values())
        faults = [answer for answer in found if isinstance(answer, BaseException)]
        for fault in faults:
            if not isinstance(fault, OSError):  # Dask's connection errors are OSErrors
                raise fault
        answers = [answer for answer in found if not isinstance(answer, BaseException)]
        if answers or not faults:
            return answers
        if time.monotonic() > end:
            msg = f"no worker of the cluster answers: {faults[0]}"
            raise ClusterLostError(msg) from faults[0]
        time.sleep(0.1)


def _measure(
    function: Callable[..., Any], fixed: int, dask_worker: Worker
) -> tuple[int, float, int, int]:
    """Return this worker's limit, its usable fraction, the bytes held, and the threads; Dask sets `dask_worker`."""
    del function  # unpickling it has loaded its libraries
    _tidy()
    memory = dask_worker.memory_manager
    marks = memory.memory_target_fraction, memory.memory_spill_fraction
    limit, share = int(memory.memory_limit or 0), min([SHARE, *(mark for mark in marks if mark)])
    held = int(dask_worker.monitor.proc.memory_info().rss)
    _first[:] = _first or [held]
    base = max(_first[0], held - fixed) + bytes_to_compile("gmdask.likelihood")
    return limit, share, base, dask_worker.state.nthreads


def _tidy() -> None:
    """Return freed memory to the system, so that it does not count as held by the worker."""
    gc.collect()
    trim_heap()


def plan_memory(
    room: WorkerMemory, fixed: int, per_task: int, per_item: int, items: int
) -> MemoryPlan:
    """Plan how the memory of a worker is used.

    Parameters
    ----------
    room : `WorkerMemory`
    fixed : int
        Bytes that a process needs in any case.
    per_task : int
        Peak bytes of a running task.
    per_item : int
        Bytes that every item needs in any case.
    items : int
        Number of items on all workers.

    Raises
    ------
    PlanError
        If a worker cannot hold what is needed in any case; the message names a sufficient limit.
    """
    own = -(-items // room.workers) * per_item
    needed = room.base + fixed + room.threads * per_task + own
    if needed > room.usable:
        share = room.usable / room.limit
        enough = -(-needed // share // ROUND) * ROUND
        text = (
            f"the workers have too little memory: each holds {_mb(room.base)} before it begins and needs "
            f"{_mb(needed - room.base)} for its share of {items} datasets ({_mb(per_task)} while it works "
            f"on one), of {_mb(room.usable)} that may be used ({share:.0%} of its limit of "
            f"{_mb(room.limit)}); a limit of {_mb(int(enough))} would be sufficient"
        )
        if own > per_task:
            text += ", or more workers"
        raise PlanError(text)
    return MemoryPlan(int(KEPT * (room.usable - needed)), room.usable, room)


def _mb(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.0f} MB"
