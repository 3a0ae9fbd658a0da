"""What TLS costs on this machine: python -m tests.benchmarks.encryption.

Two local clusters of two workers each, one with TLS and one without, take turns: time to start, one pass of an
engine whose groups do nothing, and an array of 100 MB fetched from a worker. Medians, and the least.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import numpy as np
from distributed import Client, LocalCluster

import gmdask as gm
from gmdask.cluster import make_engine

GROUPS, PASSES, STARTS, FETCHES = 20, 200, 3, 5


def build(spec: int, folder: str | None) -> int:
    """Make a group that does nothing."""
    return spec


def evaluate(group: int, payload: np.ndarray) -> np.ndarray:
    """Give back what came."""
    return payload


def plain() -> Client:
    """Client of a cluster without TLS."""
    cluster = LocalCluster(
        2, threads_per_worker=1, memory_limit="2GB", host="127.0.0.1", dashboard_address=None
    )
    return Client(cluster)


def private() -> Client:
    """Client of a cluster of gmdask."""
    return gm.connect("local", workers=2, memory_limit="2GB")


def close(client: Client) -> None:
    """Close a client and its cluster."""
    cluster = client.cluster
    client.close()
    cluster.close()


def seconds(work: Callable[[], Any]) -> float:
    """Wall time of a call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Measure, and print."""
    found: dict[str, list[float]] = {}

    def took(what: str, value: float) -> None:
        found.setdefault(what, []).append(value)

    kinds = {"plain": plain, "TLS": private}
    for _ in range(STARTS):
        for name, start in kinds.items():
            began = time.perf_counter()
            client = start()
            client.wait_for_workers(2)
            took(f"start, {name}", time.perf_counter() - began)
            close(client)
    clients = {name: start() for name, start in kinds.items()}
    engines = {
        name: make_engine(build, evaluate, range(GROUPS), client)
        for name, client in clients.items()
    }
    payload = np.zeros(100)
    for _ in range(PASSES):
        for name, engine in engines.items():
            took(
                f"pass over {GROUPS} groups, {name}",
                seconds(partial(engine, [payload] * GROUPS)),
            )
    for _ in range(FETCHES):
        for name, client in clients.items():
            future = client.submit(np.random.default_rng(1).random, 100_000_000 // 8, pure=False)
            client.submit(len, future).result()  # until it is there
            took(f"100 MB fetched, {name}", seconds(future.result))
            del future
    for what, values in found.items():
        print(f"{what:32} median {1e3 * median(values):8.1f} ms, least {1e3 * min(values):8.1f} ms")
    for engine in engines.values():
        engine.close()
    for client in clients.values():
        close(client)


if __name__ == "__main__":
    main()
