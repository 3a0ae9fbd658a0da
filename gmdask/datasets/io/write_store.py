"""Write datasets into a store, block by block, wherever they come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import uuid4

import xarray as xr
from dask.base import tokenize
from distributed import Client

from gmdask.cluster import check_client
from gmdask.datasets.base import Dataset
from gmdask.datasets.derived_cube import opened
from gmdask.datasets.io.blocks import OnMade, made, write_blocks
from gmdask.datasets.kinds import KINDS, stored_dataset
from gmdask.errors import DuplicateNameError, InputError
from gmdask.events import DatasetsProgress, Listener
from gmdask.store import BlockRecord, CubeShape, Store, describe, plan_blocks, write_block
from gmdask.store.cube_source import CubeSource, StoredCube

__all__ = ["compact", "write_datasets"]

BLOCK_BYTES = 128 * 2**20  # a task holds one block, and nearly as much again while writing
RECIPE = 1  # changed when the same description leads to other numbers


def write_datasets(
    datasets: Sequence[Dataset],
    url: str | Path,
    client: Client | None = None,
    *,
    overwrite: bool = False,
    append: bool = False,
    on_event: Listener | None = None,
) -> Store:
    """Write datasets into a store, without their models.

    Derived datasets are computed block by block, where they are written. A run that was killed
    can be repeated: finished blocks are reused.

    Parameters
    ----------
    datasets : sequence of `Dataset`
    url : str or path
        The store.
    client : `distributed.Client`, optional
        Cluster to write on, one block per task; by default this process.
    overwrite : bool
        Whether to replace the datasets of an existing store, which may be the one they come from.
    append : bool
        Whether to add to an existing store.
    on_event : callable, optional
        Receives a `DatasetsProgress` as blocks are written.

    Returns
    -------
    store : `Store`

    Raises
    ------
    InputError
        If append and overwrite are both given, or values of a dataset cannot be used (see
        `Dataset.check_cube`); the store stays as it was.
    StoreExistsError
        If the store exists, and neither `overwrite` nor `append` is given.
    DuplicateNameError
        If the store already has a dataset of the same name.
    """
    check_client(client)
    if append and overwrite:
        msg = f"{url}: append and overwrite exclude each other"
        raise InputError(msg)
    store = Store.open(url) if append else Store.create(url, overwrite=overwrite)
    there = {row.name for row in store.rows}
    for dataset in datasets:
        if dataset.name in there:
            msg = f"{store.url}: a dataset named {dataset.name!r} already exists"
            raise DuplicateNameError(msg)
    plan = plan_blocks([describe(dataset.cube) for dataset in datasets], BLOCK_BYTES)
    blocks = [[datasets[number] for number in block] for block in plan]
    store.commit(_write(store, blocks, client, on_event))
    return store


def compact(
    url: str | Path, client: Client | None = None, *, on_event: Listener | None = None
) -> Store:
    """Merge adjacent small blocks of a store that can share one.

    Datasets that are appended meanwhile are kept. Readers of the old state can continue until ``Store.gc``
    frees its space.

    Parameters
    ----------
    url : str or path
        The store.
    client : `distributed.Client`, optional
        Cluster to write on, one block per task; by default this process.
    on_event : callable, optional
        Receives a `DatasetsProgress` as blocks are written.

    Returns
    -------
    store : `Store`

    Raises
    ------
    StoreError
        If another process merged or replaced the same blocks meanwhile; then nothing is changed.
    """
    check_client(client)
    store = Store.open(url)
    runs: dict[str, list[Dataset]] = {}
    for row in store.rows:
        runs.setdefault(row.block, []).append(stored_dataset(store, row))
    shapes = [_shape(run) for run in runs.values()]
    names = list(runs)
    plan = [block for block in plan_blocks(shapes, BLOCK_BYTES) if len(block) > 1]
    old = [tuple(names[number] for number in block) for block in plan]
    new = [[dataset for name in block for dataset in runs[name]] for block in old]
    if plan:
        store.replace_blocks(list(zip(old, _write(store, new, client, on_event), strict=True)))
    return store


def _shape(run: Sequence[Dataset]) -> CubeShape:
    """Return the shape of an existing block."""
    one = describe(run[0].cube)
    return CubeShape(one.signature, sum(dataset.cube.nbytes for dataset in run))


# --- blocks -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Part:
    """A dataset to be written."""

    name: str
    kind: str
    source: CubeSource | xr.Dataset


@dataclass(frozen=True)
class _BlockTask:
    """Datasets that form one block, and the digest of their description."""

    parts: tuple[_Part, ...]
    digest: str


def _write(
    store: Store,
    blocks: Sequence[Sequence[Dataset]],
    client: Client | None,
    on_event: Listener | None,
) -> list[BlockRecord]:
    total = sum(map(len, blocks))

    def on_done(done: int) -> None:
        if on_event is not None:
            on_event(DatasetsProgress("write", done, total))

    tasks = [_task(block) for block in blocks]
    digests = [task.digest for task in tasks]
    return write_blocks(store, tasks, digests, partial(_write_task, url=store.url), client, on_done)


def _task(block: Sequence[Dataset]) -> _BlockTask:
    parts = tuple(_Part(one.name, type(one).__name__, one.source) for one in block)
    if any(isinstance(part.source, xr.Dataset) for part in parts):
        return _BlockTask(parts, uuid4().hex)  # arrays in memory cannot be reused by another run
    return _BlockTask(parts, tokenize(RECIPE, parts, ensure_deterministic=True))


def _write_task(task: _BlockTask, url: str, on_made: OnMade | None = None) -> BlockRecord:
    return write_block(url, made(map(_cube, task.parts), on_made), task.digest)


def _cube(part: _Part) -> xr.Dataset:
    """Return the cube of a dataset; it is checked unless it comes unchanged from a store."""
    cube = opened(part.source, part.name).assign_attrs(kind=part.kind)
    if isinstance(part.source, StoredCube):
        return cube
    return KINDS[part.kind].check_cube(cube, f"dataset {part.name!r}")
