"""Stacking of many datasets by tree reduction, on a cluster or in this process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import xarray as xr
from distributed import Client

from gmdask.cluster import check_client, reduce_tree
from gmdask.datasets.base import Dataset
from gmdask.datasets.derived_cube import lazy, opened
from gmdask.datasets.given import with_counts
from gmdask.datasets.map_dataset import MapDataset
from gmdask.datasets.operations.models import background_of, stacked_models
from gmdask.datasets.operations.stack import emptied, merged, stack
from gmdask.errors import InputError
from gmdask.events import DatasetsProgress, Listener
from gmdask.store.cube_source import CubeSource

__all__ = ["stack_reduce"]

RUN = 8  # number of datasets that are stacked one after the other in a leaf of the tree


def stack_reduce(
    datasets: Sequence[Dataset],
    name: str | None = None,
    client: Client | None = None,
    *,
    on_event: Listener | None = None,
) -> MapDataset:
    """Stack all datasets onto the pixel grid of the first.

    They are stacked in runs of eight, and the stacks are merged in a tree whose shape depends only
    on the number of datasets, so that the result has the same bits wherever it is computed.
    To stack onto another pixel grid, put an empty dataset (`MapDataset.create`) in front of the
    others.

    Parameters
    ----------
    datasets : `Datasets`
    name : str, optional
        Name of the stacked dataset, by default that of the first.
    client : `distributed.Client`, optional
        Cluster to stack on; by default this process.
    on_event : callable, optional
        Receives a `DatasetsProgress` as datasets are stacked.

    Returns
    -------
    stacked : `MapDataset`
        In memory, with the models that remain of all datasets.

    Raises
    ------
    InputError
        If there are no datasets, their kinds, axes or pixels differ, or a response has no exposure.
    """
    check_client(client)
    chosen = with_counts(datasets, "stack_reduce")
    first = _first(chosen)
    name = first.name if name is None else name
    backgrounds = [background_of(dataset.own_models) for dataset in chosen]
    model = next((background for background in backgrounds if background is not None), None)
    parts = [
        _Part(dataset.name, dataset.source, background)
        for dataset, background in zip(chosen, backgrounds, strict=True)
    ]
    runs = [tuple(parts[start : start + RUN]) for start in range(0, len(parts), RUN)]
    done = 0

    def on_leaf(index: int) -> None:
        nonlocal done
        done += len(runs[index])
        if on_event is not None:
            on_event(DatasetsProgress("stack", done, len(parts)))

    empty = emptied(lazy(first.cube)).assign_attrs(name=name)
    leaf = partial(_stack_run, empty=empty, model=model)
    cube = reduce_tree(leaf, merged, runs, client, on_leaf)
    made = type(first)(cube, response=first.own_response)
    models = first.models_for(name)
    for dataset in chosen[1:]:
        models = stacked_models(models, dataset.models_for(name), dataset.cube)
    made.take_models(models)
    return made


def _first(datasets: Sequence[MapDataset]) -> MapDataset:
    """Return the first dataset, if all are of its kind."""
    if not datasets:
        msg = "there are no datasets to stack"
        raise InputError(msg)
    first = datasets[0]
    for dataset in datasets:
        if type(dataset) is not type(first):
            msg = (
                f"dataset {dataset.name!r} is a {type(dataset).__name__}, expected a "
                f"{type(first).__name__} like {first.name!r}"
            )
            raise InputError(msg)
    return first


@dataclass(frozen=True)
class _Part:
    """A dataset to stack, and its background model as plain data."""

    name: str
    source: CubeSource | xr.Dataset
    background: dict[str, Any] | None


def _stack_run(run: Sequence[_Part], empty: xr.Dataset, model: dict[str, Any] | None) -> xr.Dataset:
    """Stack datasets onto an empty one, one after the other; one model predicts all backgrounds."""
    total = empty.load(scheduler="synchronous")
    for part in run:
        total = stack(total, opened(part.source, part.name), (model, part.background))
    return total
