"""Import Gammapy's datasets into a store, one block per task."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import xarray as xr
from distributed import Client

from gmdask.cluster import check_client, run_tasks
from gmdask.datasets.io.blocks import OnMade, made, write_blocks
from gmdask.datasets.io.fits_files import FITS
from gmdask.datasets.kinds import KINDS
from gmdask.datasets.on_off import SpectrumDatasetOnOff
from gmdask.errors import DuplicateNameError, InputError, PlanError
from gmdask.events import DatasetsProgress, Listener
from gmdask.paths import expanded
from gmdask.store import (
    BlockRecord,
    CubeShape,
    Store,
    describe,
    input_digest,
    plan_blocks,
    write_block,
)
from gmdask.store.formats.gammapy_yaml import DatasetEntry, read_datasets_yaml
from gmdask.store.formats.ogip_rows import spectra_of
from gmdask.store.formats.validity import KERNEL_SUMS, warn_of_sums

__all__ = ["import_datasets", "import_to_memory", "refuse_existing"]


def import_datasets(
    source: str | Path,
    url: str | Path,
    client: Client | None = None,
    *,
    overwrite: bool = False,
    append: bool = False,
    on_event: Listener | None = None,
) -> Store:
    """Import the datasets of a Gammapy datasets file into a store.

    Every file is read and checked before anything is written. A run that was killed can be
    repeated: finished blocks are reused.

    Parameters
    ----------
    source : str or path
        Gammapy's ``datasets.yaml``, or a FITS file with one or several OGIP spectra.
    url : str or path
        The store.
    client : `distributed.Client`, optional
        Cluster to import on, one block per task; by default this process.
    overwrite : bool
        Whether to replace the datasets of an existing store.
    append : bool
        Whether to add to an existing store.
    on_event : callable, optional
        Receives a `DatasetsProgress` as files are checked, and as blocks are written.

    Returns
    -------
    store : `Store`

    Raises
    ------
    InputError
        If a file is invalid.
    StoreExistsError
        If the store exists, and neither `overwrite` nor `append` is given.
    DuplicateNameError
        If the store already has a dataset of the same name.
    """
    check_client(client)
    if append and overwrite:
        msg = f"{url}: append and overwrite exclude each other"
        raise InputError(msg)
    entries = _entries(source)
    if append:
        store = _open_to_append(url, entries)
    else:
        refuse_existing(url, overwrite=overwrite)
        store = None

    def report(work: str, done: int) -> None:
        if on_event is not None:
            on_event(DatasetsProgress(work, done, len(entries)))

    shapes = _checked_shapes(entries, client, partial(report, "check"))
    store = Store.create(url, overwrite=overwrite) if store is None else store
    if client is not None and store.url.startswith("memory:"):
        msg = f"{store.url}: workers cannot write to a store in memory"
        raise PlanError(msg)
    chosen = [tuple(entries[i] for i in block) for block in plan_blocks(shapes)]
    tasks = [_BlockTask(block, _digest(block)) for block in chosen]

    write, digests = partial(_write_task, url=store.url), [task.digest for task in tasks]
    store.commit(write_blocks(store, tasks, digests, write, client, partial(report, "import")))
    return store


def _entries(source: str | Path) -> list[DatasetEntry]:
    """Return the datasets of a list, or of a file with OGIP spectra."""
    if not str(source).lower().endswith(FITS):
        return read_datasets_yaml(source, KINDS)
    kind = SpectrumDatasetOnOff.__name__
    return [DatasetEntry(name, kind, path) for name, path in spectra_of(expanded(source))]


def _checked_shapes(
    entries: Sequence[DatasetEntry], client: Client | None, report: OnMade
) -> list[CubeShape]:
    """Check all files, and return the shapes of their cubes."""
    found: dict[int, tuple[CubeShape, dict[str, float]]] = {}
    for index, description in run_tasks(_describe_file, entries, client):
        found[index] = description
        report(len(found))
    warn_of_sums({entry.name: found[i][1] for i, entry in enumerate(entries)})
    return [found[i][0] for i in range(len(entries))]


def import_to_memory(source: str | Path) -> Store:
    """Import the datasets of a Gammapy datasets file into a store in memory.

    Parameters
    ----------
    source : str or path
        Gammapy's ``datasets.yaml``, or a FITS file with one or several OGIP spectra.
    """
    entries = _entries(source)
    cubes = [_read(entry) for entry in entries]
    warn_of_sums({cube.attrs["name"]: cube.attrs.get(KERNEL_SUMS, {}) for cube in cubes})
    store = Store.memory()
    records = []
    for block in plan_blocks([describe(cube) for cube in cubes]):
        chosen = [entries[i] for i in block]
        records.append(store.write_block([cubes[i] for i in block], _digest(chosen)))
    store.commit(records)
    return store


@dataclass(frozen=True)
class _BlockTask:
    """Datasets that form one block, and the digest of their files."""

    entries: tuple[DatasetEntry, ...]
    digest: str


def _open_to_append(url: str | Path, entries: Sequence[DatasetEntry]) -> Store:
    store = Store.open(url)
    there = {row.name for row in store.rows}
    for entry in entries:
        if entry.name in there:
            msg = f"{store.url}: a dataset named {entry.name!r} already exists"
            raise DuplicateNameError(msg)
    return store


def refuse_existing(url: str | Path, *, overwrite: bool = False) -> None:
    """Raise an error for an occupied place before any work is done, and leave no trace there.

    Parameters
    ----------
    url : str or path
        Place of the new store.
    overwrite : bool
        Whether a store with datasets is allowed.

    Raises
    ------
    StoreExistsError
        If there is a store with datasets, or something else.
    """
    if os.path.lexists(url):
        Store.create(url, overwrite=overwrite)  # raises unless the place is empty


def _describe_file(entry: DatasetEntry) -> tuple[CubeShape, dict[str, float]]:
    """Return the shape of the dataset in a file, and the sums of kernels that are not 1."""
    cube = _read(entry)
    return describe(cube), cube.attrs.get(KERNEL_SUMS, {})


def _read(entry: DatasetEntry) -> xr.Dataset:
    return KINDS[entry.kind].read_cube(entry.path, entry.name)


def _digest(entries: Sequence[DatasetEntry]) -> str:
    return input_digest(
        (entry.name, file)
        for entry in entries
        for file in KINDS[entry.kind].input_files(entry.path)
    )


def _write_task(task: _BlockTask, url: str, on_made: OnMade | None = None) -> BlockRecord:
    return write_block(url, made(map(_read, task.entries), on_made), task.digest)
