"""Translates the exceptions of a lost cluster into gmdask's error."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager

from distributed import Client, KilledWorker
from distributed.comm import CommClosedError

from gmdask.errors import ClusterLostError, GmdaskError

__all__ = ["cluster_there"]

LOST = "the connection to the scheduler of the cluster is lost"


@contextmanager
def cluster_there(client: Client) -> Iterator[None]:
    """Run code that uses a cluster.

    Raises
    ------
    ClusterLostError
        If the client is closed, the scheduler is lost meanwhile, or workers die repeatedly.
    """
    if client.status != "running":
        raise ClusterLostError(LOST)
    try:
        yield
    except GmdaskError:
        raise
    except KilledWorker as error:
        msg = (
            f"{error.allowed_failures + 1} workers died one after the other while working on the same "
            "datasets: they have too little memory, or the machines are faulty"
        )
        raise ClusterLostError(msg) from error
    except Exception as error:
        if isinstance(error, CancelledError | CommClosedError) or client.status != "running":
            raise ClusterLostError(LOST) from error
        raise
