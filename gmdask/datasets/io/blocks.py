"""Write many blocks into a store, reusing those that an earlier run has finished."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Protocol, TypeVar

import xarray as xr
from distributed import Client

from gmdask.cluster import run_tasks
from gmdask.store import BlockRecord, Store

__all__ = ["OnMade", "made", "write_blocks"]

T = TypeVar("T")
Item = TypeVar("Item", contravariant=True)
OnMade = Callable[[int], None]


class Write(Protocol[Item]):
    """Function that writes the block of an item, and reports how many of its datasets are done."""

    def __call__(self, item: Item, /, *, on_made: OnMade | None = None) -> BlockRecord:
        """Write the block."""


def made(cubes: Iterable[xr.Dataset], on_made: OnMade | None) -> list[xr.Dataset]:
    """Compute the cubes of a block, one after the other.

    Parameters
    ----------
    cubes : iterable of `xarray.Dataset`
        Lazily computed cubes.
    on_made : callable, optional
        Receives the number of cubes computed so far.
    """
    found = []
    for cube in cubes:
        found.append(cube)
        if on_made is not None:
            on_made(len(found))
    return found


def write_blocks(
    store: Store,
    items: Sequence[T],
    digests: Sequence[str],
    write: Write[T],
    client: Client | None,
    on_done: Callable[[int], None],
) -> list[BlockRecord]:
    """Write blocks, one per task, unless they exist already.

    Parameters
    ----------
    store : `Store`
    items : sequence
        Plain data from which each block is made.
    digests : sequence of str
        Digests of the inputs, by which finished blocks are found.
    write : callable
        Writes the block of an item, in this process or on a worker.
    client : `distributed.Client` or None
    on_done : callable
        Receives the number of datasets written so far, after each block; those of the current block
        count as soon as they are computed, if that is in this process.

    Returns
    -------
    records : list of `BlockRecord`
        Records to be committed, in the order of the items.
    """
    records: dict[int, BlockRecord] = {}
    for number, digest in enumerate(digests):
        finished = store.find_uncommitted(digest)
        if finished is not None:
            records[number] = finished
    missing = [number for number in range(len(items)) if number not in records]
    done = sum(len(record.rows) for record in records.values())
    todo = [items[number] for number in missing]

    def on_made(number: int) -> None:
        on_done(done + number)

    work = write if client is not None else partial(write, on_made=on_made)
    for index, record in run_tasks(work, todo, client, in_flight=2):
        records[missing[index]] = record
        done += len(record.rows)
        on_done(done)
    return [records[number] for number in range(len(items))]
