"""Partition of datasets into runs, which are summed, and groups, which are evaluated; and their memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import xarray as xr
from distributed import Client
from numpy.typing import NDArray

from gmdask.cluster import MemoryPlan, cluster_there, plan_memory, room_on_workers
from gmdask.datasets.base import Dataset
from gmdask.errors import PlanError
from gmdask.likelihood.norms import NormSpec
from gmdask.likelihood.size import FIXED, HELD, HELD_PER_COMPONENT
from gmdask.likelihood.trial.dataset import TrialSpec
from gmdask.likelihood.work_unit import DatasetSpec, GroupSpec
from gmdask.models import Models
from gmdask.store.cube_source import CubeSource

__all__ = [
    "Run",
    "cube_of",
    "cut_runs",
    "deal",
    "describe",
    "gather",
    "n_groups",
    "n_workers",
    "own_models",
    "plan_of",
]

Index = NDArray[np.intp]

Run = list[DatasetSpec]
Described = DatasetSpec | NormSpec | TrialSpec
S = TypeVar("S", DatasetSpec, NormSpec, TrialSpec)
T = TypeVar("T")

MAX_RUN = 8  # largest number of datasets that are summed on their worker
FEW = 32  # with fewer runs than this, runs are shorter
GROUPS_PER_THREAD = 3


def cube_of(dataset: Dataset, client: Client | None) -> CubeSource | xr.Dataset:
    """Return the source from which the evaluation reads the data of a dataset.

    Raises
    ------
    PlanError
        If workers cannot read them.
    """
    if dataset.stored is not None and client is not None:
        return dataset.stored
    if client is not None:
        msg = (
            f"dataset {dataset.name!r} is in the memory of this process, where workers cannot read it: "
            "import it into a store on disk, or fit without a client"
        )
        raise PlanError(msg)
    return dataset.open()


def cut_runs(specs: Sequence[T]) -> list[list[T]]:
    """Cut datasets into fixed runs, whose length depends only on the number of datasets."""
    length = min(max(len(specs) // FEW, 1), MAX_RUN)
    return [list(specs[i : i + length]) for i in range(0, len(specs), length)]


def n_groups(n_runs: int, client: Client | None) -> int:
    """Number of groups for a number of runs or datasets: a few per thread of the cluster."""
    if client is None:
        return min(n_runs, 1)
    with cluster_there(client):
        threads: int = sum(client.nthreads().values())
    return min(n_runs, GROUPS_PER_THREAD * max(threads, 1))


def n_workers(client: Client | None) -> int:
    """Number of processes that evaluate."""
    if client is None:
        return 1
    with cluster_there(client):
        return max(len(client.nthreads()), 1)


def deal(items: Sequence[T], n: int) -> list[list[T]]:
    """Deal items to n groups in turn: neighbouring items, which take a similar time, go to different groups."""
    return [list(items[i::n]) for i in range(n)]


def gather(groups: Sequence[Sequence[T]]) -> list[T]:
    """Return the dealt items in their original order."""
    n = len(groups)
    return [groups[i % n][i // n] for i in range(sum(map(len, groups)))]


def plan_of(
    client: Client,
    build: Callable[..., Any],
    datasets: Sequence[Dataset],
    specs: Sequence[Described],
    cubes: int = 0,
) -> MemoryPlan | None:
    """Plan the use of the workers' memory; None if they have no memory limit.

    Parameters
    ----------
    client : `distributed.Client`
    build : callable
        The function that compiles a group.
    datasets : sequence of `Dataset`
    specs : sequence
        Their descriptions.
    cubes : int
        Number of cubes of predicted counts that are held while a dataset is compiled.
    """
    room = room_on_workers(client, build, FIXED)
    if room is None or not specs:
        return None
    n_components = max(len(spec.components) for spec in specs)
    kinds = {_block_of(d): d for d in datasets}  # datasets of the same block have the same size
    per_task = max(d.peak_bytes(cubes) for d in kinds.values())
    per_dataset = HELD + HELD_PER_COMPONENT * n_components
    return plan_memory(room, FIXED, per_task, per_dataset, len(specs))


def _block_of(dataset: Dataset) -> str:
    return (None if dataset.stored is None else dataset.stored.block) or dataset.name


def own_models(models: Models, specs: Iterable[S]) -> tuple[dict[str, Any], list[S]]:
    """Return plain data of the models that apply to some datasets, and the datasets with indices into these."""
    given = list(specs)
    chosen = sorted({k for spec in given for k in spec.components})
    place = {k: i for i, k in enumerate(chosen)}
    renumbered = [
        replace(spec, components=tuple(place[k] for k in spec.components)) for spec in given
    ]
    return Models([models[k] for k in chosen]).to_dict(), renumbered


def describe(runs: Sequence[Run], models: Models, budget: int | None) -> GroupSpec:
    """Return plain data of a group: its datasets, and the models that apply to them."""
    own, specs = own_models(models, (spec for run in runs for spec in run))
    remaining = iter(specs)
    return GroupSpec(own, [[next(remaining) for _ in run] for run in runs], budget)
