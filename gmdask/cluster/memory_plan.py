"""How much memory a computation may take on the workers of a cluster."""

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

SHARE = 0.7  # of a worker's limit that may be filled
KEPT = 0.6  # of what is left: what is held is a little more than its arrays
ROUND = 16_000_000  # bytes
PATIENCE_S = 30.0  # for an answer of any worker, where those that were there are lost

_first: list[int] = []  # what this process held when it was asked first


@dataclass(frozen=True)
class WorkerMemory:
    """Memory of the worker that has least of it.

    Attributes
    ----------
    limit : int
        Bytes at which Dask kills it.
    usable : int
        Bytes it may fill before Dask begins to move data to disk, or pauses it.
    base : int
        Bytes it holds before it has done anything, its libraries being loaded; or, where it has, without what
        any computation leaves, which is needed in any case.
    workers, threads : int
        Number of workers, and of threads of each.
    """

    limit: int
    usable: int
    base: int
    workers: int
    threads: int


@dataclass(frozen=True)
class MemoryPlan:
    """What each worker may hold.

    Attributes
    ----------
    budget : int
        Bytes of what is kept from pass to pass; the rest is kept in files.
    projected : int
        Bytes that a worker holds at most, all together.
    room : `WorkerMemory`
    """

    budget: int
    projected: int
    room: WorkerMemory


def room_on_workers(
    client: Client, function: Callable[..., Any], fixed: int
) -> WorkerMemory | None:
    """Memory of the worker that has least, None if no worker has a limit.

    Parameters
    ----------
    client : `distributed.Client`
    function : callable
        What will run there: its libraries are loaded first.
    fixed : int
        Bytes that a process needs in any case, and keeps from one computation to the next.
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
    """What workers say of themselves; one that is lost meanwhile is passed over.

    Raises
    ------
    ClusterLostError
        If none answers for half a minute.
    """
    end = time.monotonic() + PATIENCE_S
    while True:
        with cluster_there(client):
            found = list(client.run(_measure, function, fixed, on_error="return").values())
        faults = [answer for answer in found if isinstance(answer, BaseException)]
        for fault in faults:
            if not isinstance(fault, OSError):  # Dask's errors of connections are such
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
    """Limit of this worker, share of it that may be filled, bytes held, and threads; Dask gives `dask_worker`."""
    del function  # that it came here has loaded what it needs
    _tidy()
    memory = dask_worker.memory_manager
    marks = memory.memory_target_fraction, memory.memory_spill_fraction
    limit, share = int(memory.memory_limit or 0), min([SHARE, *(mark for mark in marks if mark)])
    held = int(dask_worker.monitor.proc.memory_info().rss)
    _first[:] = _first or [held]
    base = max(_first[0], held - fixed) + bytes_to_compile("gmdask.likelihood")
    return limit, share, base, dask_worker.state.nthreads


def _tidy() -> None:
    """Give back to the system what was freed: it is room, not what a worker holds."""
    gc.collect()
    trim_heap()


def plan_memory(
    room: WorkerMemory, fixed: int, per_task: int, per_item: int, items: int
) -> MemoryPlan:
    """Share the memory of a worker out.

    Parameters
    ----------
    room : `WorkerMemory`
    fixed : int
        Bytes that a process needs in any case.
    per_task : int
        Bytes that a task needs while it runs, at its peak.
    per_item : int
        Bytes that are held for each item in any case.
    items : int
        Number of items on all workers.

    Raises
    ------
    PlanError
        If a worker cannot hold what is needed in any case; it tells what would fit.
    """
    own = -(-items // room.workers) * per_item
    needed = room.base + fixed + room.threads * per_task + own
    if needed > room.usable:
        share = room.usable / room.limit
        enough = -(-needed // share // ROUND) * ROUND
        text = (
            f"the workers have too little memory: each holds {_mb(room.base)} before it begins and needs "
            f"{_mb(needed - room.base)} for its share of {items} datasets ({_mb(per_task)} while it works "
            f"on one), of {_mb(room.usable)} that may be filled ({share:.0%} of its limit of "
            f"{_mb(room.limit)}); a limit of {_mb(int(enough))} would do"
        )
        if own > per_task:
            text += ", or more workers"
        raise PlanError(text)
    return MemoryPlan(int(KEPT * (room.usable - needed)), room.usable, room)


def _mb(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.0f} MB"
