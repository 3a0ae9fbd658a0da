"""Datasets with unique names, in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from typing import Any, Self, overload

import numpy as np

from gmdask.attributes import KnownAttributes
from gmdask.datasets.base import Dataset
from gmdask.errors import DuplicateNameError, InputError, UnknownNameError, described
from gmdask.models import Component, Models
from gmdask.store import Store

__all__ = ["DatasetList"]


class DatasetList(KnownAttributes, Sequence[Dataset]):
    """Datasets with unique names.

    Parameters
    ----------
    datasets : `Dataset` or iterable of these, optional

    Raises
    ------
    DuplicateNameError
        If a name occurs twice.
    InputError
        If anything else than datasets is given.
    """

    def __init__(self, datasets: object = ()) -> None:
        self._datasets: list[Dataset] = []
        self._index: dict[str, int] = {}
        self.extend(() if datasets is None else datasets)

    @property
    def names(self) -> list[str]:
        """Names, in order."""
        return list(self._index)

    def _ipython_key_completions_(self) -> list[str]:
        """Names that complete ``datasets["``."""
        return self.names

    def __len__(self) -> int:
        return len(self._datasets)

    def __iter__(self) -> Iterator[Dataset]:
        return iter(self._datasets)

    def __contains__(self, key: object) -> bool:
        return key in self._index if isinstance(key, str) else key in self._datasets

    @overload
    def __getitem__(self, key: int | str) -> Any: ...
    @overload
    def __getitem__(self, key: Any) -> Self: ...
    def __getitem__(self, key: Any) -> Any:
        """Dataset, of whatever kind, by number or name, or several by slice, mask, or a list of numbers or names."""
        if isinstance(key, slice):
            return type(self)(self._datasets[key])
        if isinstance(key, str):
            return self._datasets[self._number(key)]
        if isinstance(key, int | np.integer):
            return self._datasets[int(key)]
        return type(self)(self._datasets[number] for number in self._numbers(key))

    def _number(self, name: str) -> int:
        if name not in self._index:
            shown = ", ".join(self.names[:10]) + (", ..." if len(self) > 10 else "")
            msg = f"no dataset named {name!r} among: {shown or 'none'}"
            raise UnknownNameError(msg)
        return self._index[name]

    def _numbers(self, key: Any) -> list[int]:
        """Return the indices of a mask, or of a list of names or indices."""
        if not isinstance(key, Iterable):
            msg = f"{key!r}, expected a number, a name, a slice, a mask, or a list of these"
            raise InputError(msg)
        items: list[Any] = list(key)
        if items and all(isinstance(item, bool | np.bool_) for item in items):
            if len(items) != len(self):
                msg = f"a mask of length {len(items)} for {len(self)} datasets"
                raise InputError(msg)
            return [number for number, chosen in enumerate(items) if chosen]
        return [self._number(item) if isinstance(item, str) else range(len(self))[item] for item in items]  # fmt: skip

    def append(self, dataset: object) -> None:
        """Add a dataset at the end.

        Parameters
        ----------
        dataset : `Dataset`

        Raises
        ------
        DuplicateNameError
            If there is a dataset of this name.
        """
        self.extend([dataset])

    def extend(self, datasets: object) -> None:
        """Add datasets at the end, either all of them or none.

        Parameters
        ----------
        datasets : `Dataset` or iterable of these

        Raises
        ------
        DuplicateNameError
            If a name would occur twice.
        InputError
            If anything else than datasets is given.
        """
        index, added = dict(self._index), []
        for dataset in _each(datasets):
            if not isinstance(dataset, Dataset):
                raise _no_dataset(dataset)
            if dataset.name in index:
                msg = f"a dataset named {dataset.name!r} already exists"
                raise DuplicateNameError(msg)
            index[dataset.name] = len(index)
            added.append(dataset)
        self._datasets.extend(added)
        self._index = index

    def remove(self, dataset: Dataset | str) -> None:
        """Remove a dataset from the collection; its data are not deleted.

        Parameters
        ----------
        dataset : `Dataset` or str
            The dataset, or its name.

        Raises
        ------
        UnknownNameError
            If it is not in the collection.
        """
        if not isinstance(dataset, str | Dataset):
            raise _no_dataset(dataset)
        name = dataset if isinstance(dataset, str) else dataset.name
        number = self._number(name)
        if not isinstance(dataset, str) and self._datasets[number] is not dataset:
            msg = f"dataset {name!r} is not the one of this name in the collection"
            raise UnknownNameError(msg)
        del self._datasets[number]
        self._index = {one.name: i for i, one in enumerate(self._datasets)}


def _each(given: object) -> Iterable[object]:
    """Yield several datasets, also if a single one is given."""
    if isinstance(given, Dataset):
        return [given]
    if isinstance(given, str | PathLike) or not isinstance(given, Iterable):
        raise _no_dataset(given)
    return given


def _no_dataset(given: object) -> InputError:
    """Return the error for an object given in place of a dataset."""
    more = ""
    if isinstance(given, str | PathLike):
        more = " (Datasets.read opens the datasets of a store or of a file)"
    elif isinstance(given, Store):
        more = " (Datasets.from_store opens its datasets)"
    elif isinstance(given, Models | Component):
        more = " (models are given to set_models, or to Fit.run)"
    return InputError(f"expected datasets, got {described(given)}{more}")
