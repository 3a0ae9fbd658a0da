"""Many blocks written into one store, taking up those that an earlier run finished."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from distributed import Client

from gmdask.cluster import run_tasks
from gmdask.store import BlockRecord, Store

__all__ = ["write_blocks"]

T = TypeVar("T")


def write_blocks(
    store: Store,
    items: Sequence[T],
    digests: Sequence[str],
    write: Callable[[T], BlockRecord],
    client: Client | None,
    on_done: Callable[[int], None],
) -> list[BlockRecord]:
    """Write blocks, one per task, unless they are there.

    Parameters
    ----------
    store : `Store`
    items : sequence
        What each block is made from, plain data.
    digests : sequence of str
        By which a finished block of the same input is found.
    write : callable
        Writes the block of an item, here or on a worker.
    client : `distributed.Client` or None
    on_done : callable
        Gets the number of datasets that are written so far, after each block.

    Returns
    -------
    records : list of `BlockRecord`
        To be committed, in the order of the items.
    """
    records: dict[int, BlockRecord] = {}
    for number, digest in enumerate(digests):
        finished = store.find_uncommitted(digest)
        if finished is not None:
            records[number] = finished
    missing = [number for number in range(len(items)) if number not in records]
    done = sum(len(record.rows) for record in records.values())
    todo = [items[number] for number in missing]
    for index, record in run_tasks(write, todo, client, in_flight=2):
        records[missing[index]] = record
        done += len(record.rows)
        on_done(done)
    return [records[number] for number in range(len(items))]
