"""What is raised where a cluster is gone, as the error of gmdask that says so."""

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
    """Work on a cluster.

    Raises
    ------
    ClusterLostError
        If the client is closed, the scheduler goes meanwhile, or workers end time and again.
    """
    if client.status != "running":
        raise ClusterLostError(LOST)
    try:
        yield
    except GmdaskError:
        raise
    except KilledWorker as error:
        msg = (
            f"{error.allowed_failures + 1} workers ended one after the other while they worked on the same "
            "datasets: too little memory for them, or a fault of the machines"
        )
        raise ClusterLostError(msg) from error
    except Exception as error:
        if isinstance(error, CancelledError | CommClosedError) or client.status != "running":
            raise ClusterLostError(LOST) from error
        raise
