"""What is given as datasets or as models by users, and as their names: accepted, or refused with a hint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os import PathLike
from typing import Any

import numpy as np

from gmdask.datasets.base import Dataset
from gmdask.datasets.map_dataset import MapDataset
from gmdask.errors import InputError, UnknownNameError, described
from gmdask.models import Component, Models
from gmdask.store import Store

__all__ = [
    "check_global",
    "counted",
    "each_dataset",
    "no_dataset",
    "number_of",
    "numbers_of",
    "with_counts",
]


def each_dataset(given: object) -> Iterable[object]:
    """Yield several datasets, also if a single one is given."""
    if isinstance(given, Dataset):
        return [given]
    if isinstance(given, str | PathLike) or not isinstance(given, Iterable):
        raise no_dataset(given)
    return given


def no_dataset(given: object) -> InputError:
    """Return the error for an object given in place of a dataset."""
    more = ""
    if isinstance(given, str | PathLike):
        more = " (Datasets.read opens the datasets of a store or of a file)"
    elif isinstance(given, Store):
        more = " (Datasets.from_store opens its datasets)"
    elif isinstance(given, Models | Component):
        more = " (models are given to set_models, or to Fit.run)"
    return InputError(f"expected datasets, got {described(given)}{more}")


def check_global(models: object) -> None:
    """Raise an error for anything but the global models.

    Raises
    ------
    InputError
        If anything else is given.
    """
    if not isinstance(models, Models):
        more = ""
        if isinstance(models, str | PathLike):
            more = " (Models.read reads them)"
        elif isinstance(models, Component | list | tuple):
            more = " (Models(...) makes them of one model or several)"
        msg = f"expected the global Models, got {described(models)}{more}"
        raise InputError(msg)


def number_of(index: Mapping[str, int], name: str) -> int:
    """Return the position of a dataset, given its name."""
    if name not in index:
        shown = ", ".join(list(index)[:10]) + (", ..." if len(index) > 10 else "")
        msg = f"no dataset named {name!r} among: {shown or 'none'}"
        raise UnknownNameError(msg)
    return index[name]


def numbers_of(index: Mapping[str, int], key: Any) -> list[int]:
    """Return the indices of a mask, or of a list of names or indices."""
    if not isinstance(key, Iterable):
        msg = f"{key!r}, expected a number, a name, a slice, a mask, or a list of these"
        raise InputError(msg)
    items: list[Any] = list(key)
    if items and all(isinstance(item, bool | np.bool_) for item in items):
        if len(items) != len(index):
            msg = f"a mask of length {len(items)} for {len(index)} datasets"
            raise InputError(msg)
        return [number for number, chosen in enumerate(items) if chosen]
    return [number_of(index, item) if isinstance(item, str) else range(len(index))[item] for item in items]  # fmt: skip


def counted(datasets: Iterable[Dataset]) -> list[MapDataset]:
    """Those of some datasets that are of counts.

    Parameters
    ----------
    datasets : iterable of `Dataset`
    """
    return [dataset for dataset in datasets if isinstance(dataset, MapDataset)]


def with_counts(datasets: Iterable[Dataset], what: str) -> list[MapDataset]:
    """Datasets, if all are of counts.

    Parameters
    ----------
    datasets : iterable of `Dataset`
    what : str
        What needs counts.

    Raises
    ------
    InputError
        Naming one that is not.
    """
    found = []
    for dataset in datasets:
        if not isinstance(dataset, MapDataset):
            kind = type(dataset).__name__
            msg = (
                f"dataset {dataset.name!r} is a {kind}, expected counts: {what} needs them; "
                f"leave it out, as by datasets[names], or on the command line by --where 'kind != {kind}'"
            )
            raise InputError(msg)
        found.append(dataset)
    return found
