"""Collections of datasets, and the distribution of the global models to them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from os import PathLike
from pathlib import Path
from typing import Any, Self, overload

import numpy as np
from astropy import units as u
from astropy.table import QTable, Table

from gmdask.attributes import KnownAttributes
from gmdask.datasets.base import MODELS_OTHERWISE, Dataset, chosen_response
from gmdask.datasets.given import check_global, each_dataset, no_dataset, number_of, numbers_of
from gmdask.datasets.io.fits_files import FITS, YAML
from gmdask.datasets.io.write_collection import write_collection
from gmdask.datasets.kinds import stored_dataset
from gmdask.datasets.model_sync import Broadcast, Sent, prior_stat, send_values
from gmdask.datasets.operations.stack_reduce import stack_reduce
from gmdask.datasets.selection import cutout, select_time, slice_by_energy, to_spectrum_datasets
from gmdask.datasets.summary_tables import energy_ranges, gti_table, info_table, meta_table
from gmdask.errors import DuplicateNameError, InputError, UnknownNameError, check_kind
from gmdask.models import Component, Models, Parameters
from gmdask.store import Store

__all__ = ["Datasets", "as_datasets"]

MIXED = "mixed"  # datasets with different responses


class Datasets(KnownAttributes, Sequence[Dataset]):
    """Datasets with unique names, from one or several stores.

    Nothing is computed before it is needed. Datasets derived from a store are described, and
    `write` computes them block by block on the workers of a cluster.

    Parameters
    ----------
    datasets : `Dataset` or iterable of these, optional
    response : {"exact", "gammapy"}, optional
        How predicted counts are computed in all of them; see `MapDataset.response`.

    Raises
    ------
    DuplicateNameError
        If a name occurs twice.
    InputError
        If anything else than datasets is given.
    """

    set_otherwise = MODELS_OTHERWISE

    def __init__(self, datasets: object = (), *, response: str | None = None) -> None:
        self._datasets: list[Dataset] = []
        self._index: dict[str, int] = {}
        self.extend(() if datasets is None else datasets)
        self._sent: Broadcast | None = None
        if response is not None:
            self.set_response(response)

    @classmethod
    def read(
        cls,
        url: str | Path,
        filename_models: str | Path | None = None,
        *,
        response: str | None = None,
    ) -> Datasets:
        """Open the datasets of a store; no cube is read.

        Parameters
        ----------
        url : str or path
            A store; or a Gammapy datasets file (".yaml") or a file with one or several OGIP spectra (".fits"),
            which are first imported into memory.
        filename_models : str or path, optional
            File with the global models, of which the datasets receive copies.
        response : {"exact", "gammapy"}, optional
            How predicted counts are computed in all of them; see `MapDataset.response`.

        Raises
        ------
        StoreNotFoundError
            If the store does not exist.
        InputError
            If it is not a path.
        """
        check_kind(url, (str, PathLike), "the path of a store or of a datasets file")
        if str(url).lower().endswith((*YAML, *FITS)):
            from gmdask.datasets.io.importing import import_to_memory

            datasets = cls.from_store(import_to_memory(url), response=response)
        else:
            datasets = cls.from_store(Store.open(url), response=response)
        if filename_models is not None:
            datasets.set_models(Models.read(filename_models))
        return datasets

    # --- a sequence with names ---------------------------------------------------------

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
            return self._datasets[number_of(self._index, key)]
        if isinstance(key, int | np.integer):
            return self._datasets[int(key)]
        return type(self)(self._datasets[number] for number in numbers_of(self._index, key))

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
        for dataset in each_dataset(datasets):
            if not isinstance(dataset, Dataset):
                raise no_dataset(dataset)
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
            raise no_dataset(dataset)
        name = dataset if isinstance(dataset, str) else dataset.name
        number = number_of(self._index, name)
        if not isinstance(dataset, str) and self._datasets[number] is not dataset:
            msg = f"dataset {name!r} is not the one of this name in the collection"
            raise UnknownNameError(msg)
        del self._datasets[number]
        self._index = {one.name: i for i, one in enumerate(self._datasets)}

    # --- many at once ------------------------------------------------------------------

    slice_by_energy = slice_by_energy
    cutout = cutout
    select_time = select_time
    to_spectrum_datasets = to_spectrum_datasets
    info_table = info_table
    stack_reduce = stack_reduce
    write = write_collection

    @property
    def meta_table(self) -> Table:
        """Metadata of the observations, with the name and kind of the dataset."""
        return meta_table(self)

    @property
    def gti(self) -> QTable | None:
        """Start and stop of the good time intervals of each dataset that has any, None if none has."""
        return gti_table(self)

    @property
    def energy_ranges(self) -> tuple[u.Quantity, u.Quantity]:
        """Lowest and highest reconstructed energy of each dataset, in TeV."""
        return energy_ranges(self)

    # --- models ------------------------------------------------------------------------

    @property
    def response(self) -> str:
        """How predicted counts are computed in all datasets, "mixed" if they differ; see `MapDataset.response`."""
        found = {dataset.response for dataset in self._datasets} or {chosen_response()}
        return found.pop() if len(found) == 1 else MIXED

    def set_response(self, response: str) -> None:
        """Choose how predicted counts are computed in all datasets; see `MapDataset.response`.

        Parameters
        ----------
        response : {"exact", "gammapy"}
        """
        for dataset in self._datasets:
            dataset.set_response(response)

    @classmethod
    def from_store(cls, store: Store, *, response: str | None = None) -> Datasets:
        """Return the datasets of an open store; see `read`."""
        return cls((stored_dataset(store, row) for row in store.rows), response=response)

    def set_models(self, models: Models | Iterable[Component] | None) -> None:
        """Set the models of every dataset, which are copies of those that apply to it.

        Parameters
        ----------
        models : `Models` or iterable of components, or None
            The global models, which are not changed; None removes all models.

        Raises
        ------
        UnknownNameError
            If a model refers to a dataset that is not in the collection; then nothing is changed.
        ModelError
            If a model cannot be applied to a dataset, or a user's model class returns an
            invalid result.
        """
        models = models if isinstance(models, Models) else Models(models or [])
        self._distribute(models, self._datasets)

    def _distribute(self, models: Models, chosen: Sequence[Dataset]) -> Broadcast:
        """Set the models of some datasets, either of all of them or of none."""
        for model in models:
            for name in model.datasets_names or ():
                if name not in self._index:
                    msg = f"model {model.name!r} names dataset {name!r}, which is not among the {len(self)} datasets"
                    raise UnknownNameError(msg)
        models.check()
        own = [models.for_dataset(dataset.name) for dataset in chosen]
        for dataset, copies in zip(chosen, own, strict=True):
            dataset.check_models(copies)
        self._sent = Broadcast(models)
        for dataset, copies in zip(chosen, own, strict=True):
            dataset.take_models(copies)
            dataset.sent = Sent(values=self._sent.values)
        for dataset in self._datasets:
            dataset.sent = dataset.sent._replace(structure=self._sent)
        return self._sent

    def follow(self, models: Models) -> None:
        """Update the datasets to the global models with as little work as possible.

        If nothing changed, nothing is sent; if only values changed, values are sent. Datasets
        receive new copies if a component that applies to them was added, removed or changed, or
        if their models were set otherwise.

        Parameters
        ----------
        models : `Models`
            The global models.

        Raises
        ------
        InputError
            If they are not global models.
        """
        check_global(models)
        sent = self._sent
        touched = None if sent is None else sent.touched(models)
        if sent is None or touched is None:
            self.set_models(models)
            return
        renew = [d for d in self._datasets if d.name in touched or d.sent.structure is not sent]
        others = [d for d in self._datasets if d.name not in touched and d.sent.structure is sent]
        values = models.parameters.value
        current = np.array_equal(sent.values, values)
        stale = [d for d in others if not current or d.sent.values is not sent.values]
        if touched or renew:
            sent = self._distribute(models, renew)
        elif not current:
            sent = self._sent = Broadcast(models)
        send_values(stale, models.parameters)
        for dataset in self._datasets:
            dataset.sent = Sent(sent, sent.values)

    def write_models(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the global models, of which the datasets have copies.

        Parameters
        ----------
        path : str or path
        overwrite : bool
            Whether to replace an existing file.

        Raises
        ------
        InputError
            If no models were set.
        """
        if self._sent is None:
            msg = f"{path}: these datasets were given no models (set_models); models are written by Models.write"
            raise InputError(msg)
        self._sent.models.write(path, overwrite=overwrite)

    def set_models_parameters(self, parameters: Parameters) -> None:
        """Send parameter values of the global models to the datasets' copies.

        Parameters
        ----------
        parameters : `Parameters`
            Parameters of the global models.

        Raises
        ------
        UnknownNameError
            If a parameter of a dataset is not among them; then nothing is changed.
        InputError
            If anything else than parameters is given.
        """
        check_kind(parameters, Parameters, "the parameters of the global models")
        send_values(self._datasets, parameters)

    def stat_sum(self, models: Models | None = None) -> float:
        """Sum of the datasets' statistics at the current parameters, and of the priors.

        A prior counts once per parameter, however many datasets and models share it.

        Parameters
        ----------
        models : `Models`, optional
            Global models; the datasets are first updated to them (see `follow`).
        """
        if models is not None:
            self.follow(models)
        return math.fsum(
            [*(d.stat_sum() for d in self._datasets), prior_stat(self._datasets, self._sent)]
        )

    def __repr__(self) -> str:
        shown = ", ".join(self.names[:8]) + (", ..." if len(self) > 8 else "")
        return f"Datasets({len(self)}: {shown})"

    def _repr_html_(self) -> str:
        rows = "".join(f"<li>{escape(repr(dataset))}</li>" for dataset in self._datasets[:20])
        more = f"<li>... and {len(self) - 20} more</li>" if len(self) > 20 else ""
        return f"<b>Datasets ({len(self)})</b><ol>{rows}{more}</ol>"


def as_datasets(given: object) -> Datasets:
    """Return `Datasets`, or create them from one or several datasets.

    Raises
    ------
    InputError
        If anything else is given.
    """
    return given if isinstance(given, Datasets) else Datasets(given)
