"""Sources of the live view's events, and of the datasets whose maps it shows."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any, Protocol

from distributed import Client

from gmdask.cluster.dask_events import read_topic
from gmdask.datasets import Dataset, Datasets
from gmdask.datasets.collection import MIXED
from gmdask.errors import InputError, InputNotFoundError
from gmdask.events import Event, read_events, record
from gmdask.fit.checkpoint import Checkpoint
from gmdask.models import BackgroundIRFModel, Models
from gmdask.paths import expanded
from gmdask.plot import History

__all__ = ["BusFeed", "ClusterFeed", "Feed", "FolderFeed"]


class Feed(Protocol):
    """Interface that the live view needs.

    Attributes
    ----------
    name : str
        Name of the fit that is shown.
    """

    name: str

    def poll(self) -> list[dict[str, Any]]:
        """Return the events since the last call, without waiting."""

    def dataset(self, name: str, history: History) -> Dataset:
        """Return a dataset with models at the last accepted point; raises a GmdaskError if there is none."""


class FolderFeed:
    """Events from the output folder of a fit that runs elsewhere or has ended.

    Parameters
    ----------
    folder : str or path

    Raises
    ------
    InputNotFoundError
        If the folder does not exist.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder, self._offset = expanded(folder), 0
        if not self._folder.is_dir():
            msg = f"{folder}: no such folder; expected the output of a fit, or the address of a scheduler"
            raise InputNotFoundError(msg)
        self.name = str(self._folder)

    def poll(self) -> list[dict[str, Any]]:
        """Return the events that were added to the file."""
        events, self._offset = read_events(self._folder / "events.jsonl", self._offset)
        return events

    def dataset(self, name: str, history: History) -> Dataset:
        """Return a dataset of the fit's store, with its models."""
        checkpoint = self._folder / "checkpoint.json"
        if checkpoint.is_file():
            models = Models.read(Checkpoint(checkpoint).asked["models"])
            _set_values(models, history)
        else:  # the models already have the values of the result
            models = Models.read(self._folder / "models.yaml")
        return _stored(name, models, history)


class BusFeed:
    """Events of a fit in this process.

    Parameters
    ----------
    datasets : `Datasets`
        Datasets of the fit, with copies of its models.
    name : str
    """

    def __init__(self, datasets: Datasets, name: str = "fit") -> None:
        self.name, self._datasets = name, datasets
        self._waiting: deque[dict[str, Any]] = deque()

    def __call__(self, event: Event) -> None:
        """Put an event into the queue, which is all that the fit waits for."""
        self._waiting.append(record(event))

    def poll(self) -> list[dict[str, Any]]:
        """Return the events in the queue."""
        return [self._waiting.popleft() for _ in range(len(self._waiting))]

    def dataset(self, name: str, history: History) -> Dataset:
        """Return a copy of a dataset of the fit."""
        dataset: Dataset = self._datasets[name].copy()
        models = Models(dataset.models)
        _set_values(models, history)
        dataset.set_models(models)
        return dataset


class ClusterFeed:
    """Events that fits log with the scheduler of a cluster.

    Parameters
    ----------
    client : `distributed.Client`
    """

    def __init__(self, client: Client) -> None:
        self._client, self._seen = client, 0
        self.name = str(client.scheduler.address)

    def poll(self) -> list[dict[str, Any]]:
        """Return the events that were logged."""
        events, self._seen = read_topic(self._client, self._seen)
        return events

    def dataset(self, name: str, history: History) -> Dataset:  # noqa: ARG002
        """Raise an error, since the scheduler does not know the models."""
        msg = f"maps of {name!r} need the models of the fit: gmdask dashboard OUT shows them"
        raise InputError(msg)


def _stored(name: str, models: Models, history: History) -> Dataset:
    if not history.start.get("store"):
        msg = f"maps of {name!r} need the store of the fit, which is not known"
        raise InputError(msg)
    response = history.start.get("response")
    datasets = Datasets.read(
        history.start["store"], response=None if response == MIXED else response
    )
    dataset: Dataset = datasets[name]
    dataset.set_models(models)
    return dataset


def _set_values(models: Models, history: History) -> None:
    """Set models to the values of the last accepted point, as far as the events contain them."""
    if not history.accepted:
        return
    point, start = history.accepted[-1], history.start
    places = {name: k for k, name in enumerate(models.parameters.names)}
    for name, value in zip(start["parameters"], point["values"], strict=True):
        if name in places:
            models.parameters[places[name]].value = value
    norms = dict(zip(start["datasets"], point["local"] or [], strict=False))
    for model in models:
        if isinstance(model, BackgroundIRFModel) and norms.get(model.dataset_name) is not None:
            model.spectral_model.parameter("norm").value = norms[model.dataset_name]
