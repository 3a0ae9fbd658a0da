"""Protection of a cluster from other users of its machines: certificates and private folders."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import dask
from distributed import Client, Security
from distributed.deploy import Cluster

__all__ = ["OwnClient", "certificate_files", "own_certificates", "scratch_folder"]

PREFIX = ".tls-"
LOCK = "lock"


class OwnClient(Client):  # type: ignore[misc]
    """Client that closes its cluster with itself, without warnings about workers that end slowly.

    Parameters
    ----------
    cluster : `distributed.deploy.Cluster`
    with_it : `~contextlib.ExitStack`
        Everything that is closed with the client, including the cluster.
    **kwargs
        Passed to `distributed.Client`.
    """

    def __init__(self, cluster: Cluster, with_it: ExitStack, **kwargs: Any) -> None:
        self._with_it = with_it
        super().__init__(cluster, **kwargs)

    def close(self, *args: Any, **kwargs: Any) -> Any:
        """Close the client and its cluster."""
        with _unheard(), self._with_it:
            return super().close(*args, **kwargs)


@contextmanager
def _unheard() -> Iterator[None]:
    """Drop Dask's log records, whose levels vary, while a cluster closes."""

    def critical(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.CRITICAL

    handlers = list(logging.getLogger("distributed").handlers)
    for handler in handlers:
        handler.addFilter(critical)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(critical)


def own_certificates() -> Security:
    """Return the certificates of Dask's configuration, or a new one that is kept in memory only."""
    if dask.config.get("distributed.comm.tls.ca-file"):
        return Security(require_encryption=True)
    return Security.temporary()


# --- files -----------------------------------------------------------------------------


def scratch_folder() -> Path:
    """Return a folder for workers' scratch files, in which no other user can create or rename anything.

    Dask's own folder, "dask-scratch-space", is shared by all users of a machine, whoever created it; a
    worker imports modules from its folder there.
    """
    base = Path(dask.config.get("temporary-directory") or tempfile.gettempdir())
    path = base / f"gmdask-{os.getuid()}"
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    state = path.lstat()
    if stat.S_ISDIR(state.st_mode) and state.st_uid == os.getuid() and not state.st_mode & 0o077:
        return path
    return Path(tempfile.mkdtemp(prefix="gmdask-", dir=base))


@contextmanager
def certificate_files(folder: Path) -> Iterator[Security]:
    """Provide the certificates of Dask's configuration, or a new one in files that exist as long as the cluster.

    Files left in the folder by clients that were killed are removed.

    Parameters
    ----------
    folder : `~pathlib.Path`
        A folder that jobs on other machines can read.
    """
    _sweep(folder)
    if dask.config.get("distributed.comm.tls.ca-file"):
        yield own_certificates()
        return
    made = own_certificates().get_tls_config_for_role("worker")  # the same for all roles
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=folder) as place, _locked(Path(place)):
        for name in ("cert", "key"):
            (Path(place) / name).touch(mode=0o600)
            (Path(place) / name).write_text(made[name], encoding="ascii")
        files = {"cert": f"{place}/cert", "key": f"{place}/key"}
        roles = ("client", "scheduler", "worker")
        own = {f"tls_{role}_{name}": file for role in roles for name, file in files.items()}
        yield Security(require_encryption=True, tls_ca_file=files["cert"], **own)


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    """Hold the lock of a folder, which the system releases however this process ends.

    The lock is taken before the folder gets its name: if a lock can be taken, its client has ended.
    """
    (place / f"{LOCK}.new").touch(mode=0o600)
    with (place / f"{LOCK}.new").open("w") as file:
        with suppress(OSError):  # a file system without locks, where nothing is swept
            fcntl.flock(file, fcntl.LOCK_EX)
        (place / f"{LOCK}.new").rename(place / LOCK)
        yield


def _sweep(folder: Path) -> None:
    """Remove the certificate folders of clients that ended without cleaning up."""
    for lock in folder.glob(f"{PREFIX}*/{LOCK}"):
        with (
            suppress(OSError),
            lock.open("r+") as file,
        ):  # in use, removed meanwhile, or owned by another user
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent)
