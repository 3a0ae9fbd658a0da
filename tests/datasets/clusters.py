"""Local clusters, each started once in a session."""

from __future__ import annotations

import logging
import os
import signal
import time

from distributed import Client

import gmdask as gm

_clients: dict[int, Client] = {}


def local_client(workers: int) -> Client:
    """Client of a local cluster with all its workers there.

    It is started at the first call, and again after a test that left it broken.
    """
    client = _clients.get(workers)
    if client is not None:
        try:
            client.wait_for_workers(workers, timeout=60)
        except Exception:
            logging.getLogger(__name__).exception("a test broke the cluster, another is started")
            _clients.pop(workers).close()
        else:
            return client
    _clients[workers] = gm.connect("local", workers=workers, memory_limit="2GB")
    return _clients[workers]


def close_clients() -> None:
    """Stop the clusters."""
    while _clients:
        _clients.popitem()[1].close()


def pids(client: Client) -> dict[str, int]:
    """Process of every worker."""
    return dict(client.run(os.getpid))


def kill(pid: int) -> None:
    """End a process without notice."""
    os.kill(pid, signal.SIGKILL)


def settled(client: Client, workers: int, lost: int | None = None, timeout: float = 120) -> None:
    """Wait until a killed worker is known to be lost, and another is in its place."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        try:
            there = pids(client)
        except OSError:  # the scheduler does not know yet
            there = {}
        if len(there) == workers and lost not in there.values():
            return
        time.sleep(0.05)
    message = f"no {workers} workers within {timeout} s"
    raise TimeoutError(message)
