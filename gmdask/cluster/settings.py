"""Settings of clusters: the user's settings on top of the defaults of ``gmdask.yaml``."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Any

import dask
import yaml

from gmdask.errors import InputError
from gmdask.inputs import load_yaml, read_bytes

__all__ = ["check_walltime", "cluster_settings", "read_settings", "setting", "size_of"]

# of minutes, minutes:seconds, hours:minutes:seconds, and of those after days
WALLTIME = re.compile(r"\d+(:\d+){0,2}|\d+-\d+(:\d+){0,2}|UNLIMITED|INFINITE", re.IGNORECASE)

DEFAULTS = yaml.safe_load((files("gmdask") / "gmdask.yaml").read_text("utf-8"))
dask.config.update_defaults(DEFAULTS)

SCHEDULER = {
    "distributed.scheduler.work-stealing": False,  # groups stay where they were compiled
    "distributed.scheduler.worker-ttl": "30 s",  # a hanging worker is given up within a minute
    "distributed.worker.multiprocessing-method": "spawn",  # forking after Zarr was used deadlocks
    # memory is planned: groups that do not fit are already in files, and moving them does not help
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    # a paused worker frees nothing, and a fit would wait for it for ever; one beyond its limit is still ended
    "distributed.worker.memory.pause": False,
    # the arrays of a pass are allocated on the heap, which is kept for the next pass: Dask's default returns them
    # to the system at once, and each of their pages costs a page fault every time
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 1 << 25,
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 1 << 22,
}


NO_PAGES: dict[str, list[str]] = {
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}


def cluster_settings() -> dict[str, Any]:
    """Return Dask's settings for a gmdask cluster; Dask's dashboard is off unless it is requested."""
    return SCHEDULER if setting("dashboard-address") else {**SCHEDULER, **NO_PAGES}


def setting(key: str) -> Any:
    """A setting below "gmdask", such as "slurm.memory"."""
    try:
        return dask.config.get(f"gmdask.{key}")
    except (
        KeyError
    ):  # leaving a ``with dask.config.set`` around the import has removed the defaults
        dask.config.update_defaults(DEFAULTS)
        return dask.config.get(f"gmdask.{key}")


def read_settings(path: str) -> dict[str, Any]:
    """Read settings from a file in the format of Dask's configuration.

    Raises
    ------
    InputError
        If the file does not exist, or contains something else.
    """
    found = load_yaml(read_bytes(path, "configuration file"), path)
    if not isinstance(found, dict):
        msg = f"{path}: is not a configuration, expected keys such as 'gmdask'"
        raise InputError(msg)
    return found


def size_of(memory: str | int, what: str = "memory limit") -> int:
    """Return the number of bytes of a size such as "2GB".

    Raises
    ------
    InputError
        If it is not a size, or not positive.
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


def check_walltime(walltime: object) -> None:
    """Refuse what SLURM does not read as a time.

    Raises
    ------
    InputError
        If it is none.
    """
    if WALLTIME.fullmatch(str(walltime)) is None:
        msg = f"walltime is {walltime!r}, expected a time such as '02:00:00' or '1-12:00:00'"
        raise InputError(msg)
