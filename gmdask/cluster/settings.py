"""Settings of clusters: the defaults of ``gmdask.yaml`` below those of the user."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import dask
import yaml

from gmdask.errors import InputError
from gmdask.inputs import load_yaml, read_bytes

__all__ = ["cluster_settings", "read_settings", "setting", "size_of"]

DEFAULTS = yaml.safe_load((files("gmdask") / "gmdask.yaml").read_text("utf-8"))
dask.config.update_defaults(DEFAULTS)

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


NO_PAGES: dict[str, list[str]] = {
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}


def cluster_settings() -> dict[str, Any]:
    """Settings of Dask for a cluster of gmdask, whose pages are off unless they are asked for."""
    return SCHEDULER if setting("dashboard-address") else {**SCHEDULER, **NO_PAGES}


def setting(key: str) -> Any:
    """A setting below "gmdask", such as "slurm.memory"."""
    try:
        return dask.config.get(f"gmdask.{key}")
    except (
        KeyError
    ):  # the end of a ``with dask.config.set`` around the import took the defaults along
        dask.config.update_defaults(DEFAULTS)
        return dask.config.get(f"gmdask.{key}")


def read_settings(path: str) -> dict[str, Any]:
    """Settings in a file of Dask's configuration.

    Raises
    ------
    InputError
        If there is none, or it holds something else.
    """
    found = load_yaml(read_bytes(path, "configuration file"), path)
    if not isinstance(found, dict):
        msg = f"{path}: is not a configuration, expected keys such as 'gmdask'"
        raise InputError(msg)
    return found


def size_of(memory: str | int, what: str = "memory limit") -> int:
    """Bytes of a size such as "2GB".

    Raises
    ------
    InputError
        If it is none, or not positive.
    """
    try:
        size = int(dask.utils.parse_bytes(memory))
    except (ValueError, TypeError) as error:
        msg = f"{what} {memory!r} is not a size such as '2GB'"
        raise InputError(msg) from error
    if size < 1:
        msg = f"{what} {memory!r} is not positive"
        raise InputError(msg)
    return size
