"""Connections to a Dask cluster."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import dask
from distributed import Client

from gmdask.errors import InputError, InputNotFoundError

__all__ = ["connect"]

# read when a worker is lost, from the settings of the process: a second loss within 15 s, or a slow
# start, would leave the cluster one worker short for good
dask.config.update_defaults({"distributed": {"deploy": {"lost-worker-timeout": "10 minutes"}}})

LOOPBACK = "127.0.0.1:0"
SCHEDULER = {
    "distributed.scheduler.work-stealing": False,  # groups stay where they were compiled
    "distributed.scheduler.worker-ttl": "30 s",  # a worker that hangs is given up within a minute
    "distributed.worker.multiprocessing-method": "spawn",  # forking after Zarr was used deadlocks
    # memory is planned: groups that do not fit are in files already, moving them helps nobody
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    # arrays of a pass are of the heap, which is kept from one to the next: given back to the system at once, as is
    # the default, they cost a fault for each of their pages every time
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 1 << 25,
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 1 << 22,
}


def connect(
    address: str = "local",
    *,
    workers: int | None = None,
    memory_limit: str | int | None = None,
    **kwargs: Any,
) -> Client:
    """Connect to a cluster, or start one on this machine.

    Parameters
    ----------
    address : str
        "local" starts workers on this machine, with one thread each, that listen on
        loopback only and stop with the client. Anything else is the address of a scheduler
        ("tcp://host:port") or the path of a scheduler file (".json").
    workers : int, optional
        Number of local workers; by default one per core.
    memory_limit : str or int, optional
        Memory limit per local worker, such as "2GB".
    **kwargs
        Passed to `distributed.Client`, such as ``security``.

    Returns
    -------
    client : `distributed.Client`
        Close it, or use it in a ``with`` statement.

    Raises
    ------
    InputError
        If workers or memory limit are given for a cluster that runs already, or are
        not valid.
    InputNotFoundError
        If there is no such scheduler file.
    """
    if address != "local":
        if workers is not None or memory_limit is not None:
            msg = f"cluster {address!r} runs already: workers and memory limit are for 'local' only"
            raise InputError(msg)
        if address.endswith(".json") and not Path(address).is_file():
            msg = f"{address}: no such scheduler file"
            raise InputNotFoundError(msg)
        where = {"scheduler_file": address} if address.endswith(".json") else {"address": address}
        return Client(**where, **kwargs)
    if workers is not None and workers < 1:
        msg = f"workers is {workers}, expected at least 1"
        raise InputError(msg)
    limit = "auto" if memory_limit in (None, "auto") else _memory(memory_limit)
    with dask.config.set(SCHEDULER):  # for this cluster, not for others of the process
        return Client(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            memory_limit=limit,
            config=deepcopy(dask.config.config),  # of workers that are started again, too
            host="127.0.0.1",
            dashboard_address=LOOPBACK,
            worker_dashboard_address=LOOPBACK,
            **kwargs,
        )


def _memory(limit: str | int) -> int:
    try:
        size = int(dask.utils.parse_bytes(limit))
    except (ValueError, TypeError) as error:
        msg = f"memory limit {limit!r} is not a size such as '2GB'"
        raise InputError(msg) from error
    if size < 1:
        msg = f"memory limit {limit!r} is not positive"
        raise InputError(msg)
    return size
