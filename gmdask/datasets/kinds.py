"""The kinds of datasets, by their names in Gammapy and in stores."""

from __future__ import annotations

from functools import partial

from gmdask.datasets.base import Dataset, Unopened
from gmdask.errors import InputError
from gmdask.store import Row, Store
from gmdask.store.cube_source import StoredCube

__all__ = ["KINDS", "stored_dataset"]

KINDS: dict[str, type[Dataset]] = {}  # each kind is added where it is defined


def stored_dataset(store: Store, row: Row) -> Dataset:
    """Return one of the datasets of an open store, which is opened when it is used.

    Parameters
    ----------
    store : `Store`
    row : `Row`
        One of its rows.

    Raises
    ------
    InputError
        If its kind is unknown.
    """
    if row.kind not in KINDS:
        msg = (
            f"{store.url}: dataset {row.name!r} is a {row.kind}, expected one of {', '.join(KINDS)}"
        )
        raise InputError(msg)
    stored = None
    if not store.url.startswith("memory:"):
        stored = StoredCube(store.url, row.block, store.manifest_digest(row.block), row.row)
    later = Unopened(
        row.name,
        partial(store.open_row, row),
        lambda: store.open_block(row.block).keys,
        lambda key: store.open_block(row.block).attribute(row.row, key),
    )
    return KINDS[row.kind](later, stored)
