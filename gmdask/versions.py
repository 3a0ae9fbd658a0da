"""Information for a bug report: versions, machine, and settings that affect a fit."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, requires, version
from re import match
from typing import Any

__all__ = ["describe_installation", "show_versions"]

ENVIRONMENT = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_CORETYPE",
    "GMDASK_SHARED",
)
DASK = (
    "temporary-directory", "distributed.comm.tls.ca-file", "distributed.comm.require-encryption",
    "distributed.comm.timeouts", "distributed.worker.memory", "distributed.scheduler.allowed-failures",
)  # fmt: skip


def describe_installation() -> dict[str, dict[str, Any]]:
    """Return versions, machine, BLAS and settings as plain data, by topic.

    Returns
    -------
    found : dict of dict
        "versions" of gmdask, Python and the packages it can use (None: not installed); "machine";
        "blas", the threads of each library; "settings" of gmdask and Dask; "environment".
    """
    import dask
    import numpy  # noqa: F401  (loads its BLAS)
    import psutil
    import scipy.linalg  # noqa: F401  (and its own)
    from threadpoolctl import threadpool_info

    import gmdask.cluster.settings  # noqa: F401  (defaults)
    from gmdask.fit.checkpoint import versions

    known = versions()
    memory = psutil.virtual_memory().total / 2**30
    machine = {
        "system": platform.platform(), "processor": known["processor"], "cores": os.cpu_count(),
        "memory": f"{memory:.1f} GiB",
    }  # fmt: skip
    blas = {
        f"{one['internal_api']} {one['version']}": f"{one['num_threads']} threads, {one.get('architecture', '')}"
        for one in threadpool_info()
    }
    settings = {"gmdask": dask.config.get("gmdask")}
    settings |= {key: dask.config.get(key, None) for key in DASK}
    environment = {key: os.environ[key] for key in ENVIRONMENT if key in os.environ}
    return {
        "versions": _versions(), "machine": machine, "blas": blas, "settings": settings,
        "environment": environment,
    }  # fmt: skip


def _versions() -> dict[str, str | None]:
    """Return the versions of gmdask, Python, and all declared dependencies."""
    found: dict[str, str | None] = {
        "gmdask": version("gmdask"),
        "python": platform.python_version(),
    }
    for requirement in requires("gmdask") or ():
        name = match(r"[\w.-]+", requirement)
        if name is None or name[0] == "gmdask" or 'extra == "test"' in requirement:
            continue
        try:
            found[name[0]] = version(name[0])
        except PackageNotFoundError:
            found[name[0]] = None
    return found


def show_versions() -> None:
    """Print the information for a bug report: versions, processor, BLAS, settings of gmdask and Dask."""
    for topic, entries in describe_installation().items():
        print(topic)
        for key, value in entries.items():
            print(
                f"  {key:<38} {'not installed' if topic == 'versions' and value is None else value}"
            )
