"""Connections to a Dask cluster."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from difflib import get_close_matches
from inspect import signature
from pathlib import Path
from typing import Any

import dask
from distributed import Client, LocalCluster, Security
from distributed.deploy import SpecCluster

from gmdask.cluster.security import OwnClient, own_certificates, scratch_folder
from gmdask.cluster.settings import cluster_settings, read_settings, setting, size_of
from gmdask.errors import InputError, InputNotFoundError, described
from gmdask.inputs import load_json, read_bytes
from gmdask.paths import expanded

__all__ = ["check_client", "connect"]

SETTINGS = (".yaml", ".yml")
LOOPBACK = "127.0.0.1"
KINDS = ("local", "slurm")


class Workers(LocalCluster):  # type: ignore[misc]
    """Workers on this machine, which are restarted whenever they are lost."""

    def _update_worker_status(self, op: str, msg: Any) -> None:
        # replaces SpecCluster's method, which some time after a loss removes the nanny of the worker if the
        # worker is not connected at that moment, even if it was lost again and is about to be restarted
        super(SpecCluster, self)._update_worker_status(op, msg)


def connect(
    address: str | Path | None = None,
    *,
    workers: int | None = None,
    memory_limit: str | int | None = None,
    security: Security | None = None,
    **kwargs: Any,
) -> Client:
    """Connect to a cluster, or start one.

    Parameters
    ----------
    address : str or path, optional
        "local" starts workers on this machine, with one thread each, that listen on
        loopback only and stop with the client. "slurm" starts them as SLURM jobs that end
        with the client; this needs the extra ``hpc``. Both use TLS with a certificate of
        their own, so that nobody else on these machines can connect. A file
        ".yaml" contains settings of Dask and gmdask, among them ``gmdask.cluster``. Anything else is
        the address of a scheduler ("tls://host:port") or the path of a scheduler file (".json").
        The default is the setting ``gmdask.cluster``, which is "local" unless changed.
    workers : int, optional
        Number of local workers; by default one per core.
    memory_limit : str or int, optional
        Memory limit per local worker, such as "2GB".
    security : `distributed.Security`, optional
        Certificates. By default those of Dask's configuration; if it has none, workers that
        are started get a new one.
    **kwargs
        For "slurm", settings that replace those of ``gmdask.slurm``: jobs, cores, memory, walltime,
        queue, account, interface. Otherwise passed to `distributed.Client`, such as ``timeout``.

    Returns
    -------
    client : `distributed.Client`
        Close it, or use it in a ``with`` statement.

    Raises
    ------
    InputError
        If `address` is none of these; if workers or memory limit are given for a cluster that is
        not local, or are invalid; or if the scheduler is on another machine and does not use TLS.
    InputNotFoundError
        If the file does not exist.
    ClusterLostError
        If all SLURM jobs end before a worker has started.

    Notes
    -----
    The defaults are listed and explained in ``gmdask.yaml`` in the package.
    """
    address = str(setting("cluster") if address is None else address)
    if address.endswith((".json", *SETTINGS)):
        address = str(expanded(address))
    _check_place(address)
    if address.endswith(SETTINGS):
        with _settings_of(address):
            return connect(workers=workers, memory_limit=memory_limit, security=security, **kwargs)
    if address == "local":
        workers = setting("local.workers") if workers is None else workers
        limit = setting("local.memory-limit") if memory_limit is None else memory_limit
        return _local(workers, limit, {"security": security, **kwargs})
    if workers is not None or memory_limit is not None:
        msg = f"workers and memory limit apply only to the cluster 'local', not to {address!r}"
        raise InputError(msg)
    if address == "slurm":
        return _slurm(security, kwargs)
    where = _scheduler(address)
    _check_encrypted(where, security)
    return Client(where, security=security, **kwargs)


def _check_place(address: str) -> None:
    """Reject an address that is neither a kind of cluster, nor a scheduler address, nor a file."""
    if address in KINDS or ":" in address or address.endswith((".json", *SETTINGS)):
        return
    near = get_close_matches(address.lower(), KINDS, 1)
    meant = f" (did you mean {near[0]!r}?)" if near else ""
    msg = (
        f"there is no cluster {address!r}{meant}: expected {' or '.join(map(repr, KINDS))}, the address "
        "of a scheduler (tls://host:port), a scheduler file (.json), or a settings file (.yaml)"
    )
    raise InputError(msg)


def check_client(client: object) -> None:
    """Reject anything but a synchronous client or None.

    Raises
    ------
    InputError
        If it is anything else.
    """
    if isinstance(client, Client):
        if client.asynchronous:
            msg = "the client is asynchronous, expected a synchronous one"
            raise InputError(msg)
    elif client is not None:
        msg = f"expected a client of dask.distributed, as returned by gmdask.connect, got {described(client)}"
        raise InputError(msg)


@contextmanager
def _settings_of(path: str) -> Iterator[None]:
    """Use the settings of a file, which take precedence over all others."""
    with dask.config.set(dask.config.merge(dask.config.config, read_settings(path))):
        if str(setting("cluster")).endswith(SETTINGS):
            msg = f"{path}: gmdask.cluster names another configuration file"
            raise InputError(msg)
        yield


def _slurm(security: Security | None, options: dict[str, Any]) -> Client:
    try:
        from gmdask.cluster.slurm import slurm_client
    except ImportError as error:
        msg = f"workers on SLURM need dask-jobqueue (pip install 'gmdask[hpc]'): {error}"
        raise InputError(msg) from error
    return slurm_client(security, **options)


def _scheduler(address: str) -> str:
    """Return the address of a scheduler, read from its scheduler file if one is given."""
    if not address.endswith(".json"):
        return address
    try:
        return str(load_json(read_bytes(address, "scheduler file"), address)["address"])
    except InputNotFoundError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        msg = f"{address}: is not a scheduler file"
        raise InputError(msg) from error


def _check_encrypted(address: str, security: Security | None) -> None:
    protocol, _, place = address.rpartition("://")
    if (
        protocol == "tls"
        and security is None
        and not dask.config.get("distributed.comm.tls.ca-file")
    ):
        msg = (
            f"{address} requires a certificate: expected security=, such as client.security of its owner, or "
            "Dask's settings distributed.comm.tls (gmdask's own clusters use these, too)"
        )
        raise InputError(msg)
    if protocol in ("tls", "wss", "inproc") or setting("allow-unencrypted"):
        return
    host = place.rpartition(":")[0].strip("[]")
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a host name
        loopback = False
    if not loopback:
        msg = (
            f"{address} is not on this machine, and the connection would not be encrypted: expected "
            "tls://host:port (or the setting gmdask.allow-unencrypted)"
        )
        raise InputError(msg)


def _local(workers: int | None, memory_limit: str | int, kwargs: dict[str, Any]) -> Client:
    if workers is not None and workers < 1:
        msg = f"workers is {workers}, expected at least 1"
        raise InputError(msg)
    limit = "auto" if memory_limit == "auto" else size_of(memory_limit)
    pages = setting("dashboard-address")
    of_client = {key: kwargs.pop(key) for key in [*kwargs] if key in signature(Client).parameters}
    of_client["security"] = of_client["security"] or own_certificates()
    # set for this cluster, not for others in this process
    with dask.config.set(cluster_settings()), ExitStack() as stack:
        cluster = Workers(
            security=of_client["security"],
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            memory_limit=limit,
            config=deepcopy(dask.config.config),  # also for workers that are restarted
            host=LOOPBACK,
            protocol="tls://",
            dashboard_address=pages or f"{LOOPBACK}:0",
            scheduler_kwargs={"dashboard": bool(pages)},
            worker_dashboard_address=pages,
            local_directory=str(scratch_folder()),
            **kwargs,
        )
        stack.enter_context(cluster)
        return OwnClient(cluster, stack.pop_all(), **of_client)
