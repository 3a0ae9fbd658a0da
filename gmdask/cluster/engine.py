"""The engine of a fit: groups are built once, stay where they are, and are evaluated in every pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from distributed import Client

from gmdask.cluster.cluster_engine import ClusterEngine
from gmdask.cluster.groups import Group, Payload, Result, Spec
from gmdask.cluster.local_engine import LocalEngine
from gmdask.events import Listener

__all__ = ["Engine", "make_engine"]

Payload_contra = TypeVar("Payload_contra", contravariant=True)


class Engine(Protocol[Payload_contra, Result]):
    """Groups that are built from plain descriptions and evaluated together, wherever they are."""

    def __len__(self) -> int:
        """Number of groups."""

    def __call__(self, payloads: Sequence[Payload_contra]) -> list[Result]:
        """Evaluate all groups.

        Parameters
        ----------
        payloads : sequence
            One per group.

        Returns
        -------
        results : list
            One per group, in order. The first error of gmdask is raised instead, and the groups stay.

        Raises
        ------
        ValueError
            If there are not as many payloads as groups.
        """

    def close(self) -> None:
        """Release the groups."""


def make_engine(
    build: Callable[..., Group],
    evaluate: Callable[[Group, Payload], Result],
    specs: Sequence[Spec],
    client: Client | None = None,
    on_event: Listener | None = None,
    sizes: Sequence[int] | None = None,
) -> Engine[Payload, Result]:
    """Engine on a cluster, or in this process.

    Parameters
    ----------
    build : callable
        Builds a group from its description and a folder for scratch files (None for the
        system's). With `sizes` it also gets ``on_made``, to be called with the number of datasets
        built so far.
    evaluate : callable
        Evaluates a group with a payload and returns a small result.
    specs : sequence
        Descriptions, one per group.
    client : `distributed.Client`, optional
        None keeps the groups in this process.
    on_event : callable, optional
        Receives `Workers` and `WorkerLost` while groups are evaluated.
    sizes : sequence of int, optional
        Number of datasets per group; `on_event` then receives a `DatasetsProgress` while they are built.
    """
    if client is None:
        return LocalEngine(build, evaluate, specs, on_event, sizes)
    return ClusterEngine(build, evaluate, specs, client, on_event, sizes)
