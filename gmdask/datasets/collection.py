"""Collections of datasets, and the distribution of the global models to them."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from html import escape
from os import PathLike
from pathlib import Path

import numpy as np

from gmdask.datasets.base import MODELS_OTHERWISE, Dataset, chosen_response
from gmdask.datasets.collected import Collected
from gmdask.datasets.io.fits_files import FITS, YAML
from gmdask.datasets.kinds import stored_dataset
from gmdask.datasets.model_sync import Broadcast, Sent
from gmdask.errors import InputError, UnknownNameError, check_kind, described
from gmdask.models import Component, Models, Parameters
from gmdask.store import Store

__all__ = ["Datasets", "as_datasets", "check_global"]

MIXED = "mixed"  # datasets with different responses


class Datasets(Collected):
    """Datasets with unique names, from one or several stores.

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
        super().__init__(datasets)
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
        _send_values(stale, models.parameters)
        for dataset in self._datasets:
            dataset.sent = Sent(sent, sent.values)

    def _write_models(self, path: str | Path, *, overwrite: bool) -> None:
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
        _send_values(self._datasets, parameters)

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
        return math.fsum([*(d.stat_sum() for d in self._datasets), self._prior_stat()])

    def _prior_stat(self) -> float:
        """Sum of the priors at the datasets' values."""
        found: dict[Hashable, float] = {}
        for dataset in self._datasets:
            for name, parameter in dataset.models_named_parameters:
                if parameter.prior is not None:
                    key = name if self._sent is None else self._sent.identity(name)
                    if key not in found:
                        found[key] = parameter.prior.derivatives(parameter.value)[0]
        return math.fsum(found.values())

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


def _send_values(datasets: Sequence[Dataset], parameters: Parameters) -> None:
    """Set the parameter values of datasets, either of all of them or of none."""
    found = [pair for dataset in datasets for pair in dataset.own_models.values_from(parameters)]
    for parameter, value in found:
        parameter.value = value
    for dataset in datasets:
        dataset.sent = dataset.sent._replace(values=None)
