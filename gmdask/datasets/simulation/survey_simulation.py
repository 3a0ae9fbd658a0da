"""Simulate a survey into a store, one block per task."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from distributed import Client

from gmdask.cluster import check_client
from gmdask.datasets.io.blocks import OnMade, made, write_blocks
from gmdask.datasets.simulation.observation import background_model, simulate_observation
from gmdask.datasets.simulation.survey import EVENTS, Observed, Survey
from gmdask.datasets.simulation.survey_file import read_survey
from gmdask.errors import InputError, StoreExistsError
from gmdask.events import DatasetsProgress, Listener
from gmdask.models import Models, SkyMap
from gmdask.models.io.region_map import RegionMap
from gmdask.paths import expanded
from gmdask.store import BlockRecord, Store, describe, input_digest, plan_blocks, write_block

__all__ = ["SimulationPlan", "plan_simulation", "simulate", "true_models", "truth_path"]

BLOCK_BYTES = 128 * 2**20  # a task holds one block, and nearly as much again while writing
COPIES = (
    8  # of one observation in the block that a plan measures: what a block costs once is shared
)
RECIPE = 1  # changed when the same configuration leads to other numbers


def simulate(
    config: str | Path | Survey,
    url: str | Path,
    client: Client | None = None,
    *,
    events: bool = False,
    on_event: Listener | None = None,
) -> Store:
    """Simulate a survey into a store.

    Random numbers depend only on the seed and on the index of the dataset, so that the content
    of the store does not depend on the number of workers. A run that was killed can be
    repeated: finished blocks are reused.

    Parameters
    ----------
    config : str or path, or `Survey`
        Configuration; see `read_survey`.
    url : str or path
        The store. The true models, with a background of free norm and tilt for each dataset, are
        written to ``<stem>-truth.yaml`` beside it.
    client : `distributed.Client`, optional
        Cluster to simulate on, one block per task; by default this process. Workers read the
        maps of templates from the files that the models refer to.
    events : bool
        Whether photons of the sources are drawn one by one, with continuous energies and
        directions and analytic responses, and then binned. By default
        the counts of each bin are drawn from the prediction of the models.
    on_event : callable, optional
        Receives a `DatasetsProgress` as blocks are written.

    Returns
    -------
    store : `Store`

    Raises
    ------
    InputError
        If the configuration or its models are invalid, or the predicted counts
        cannot be drawn.
    StoreExistsError
        If there is a store with datasets, or the file of the true models exists and is not from an
        earlier run.
    """
    check_client(client)
    survey = _survey_of(config, events)
    truth = truth_path(url)
    if truth.exists() and not _path(url).exists():
        msg = f"{truth} already exists"
        raise StoreExistsError(msg)
    if truth.exists() and not _is_truth_of(truth, survey):
        msg = f"{truth}: already exists, and is not of this survey; move it away"
        raise StoreExistsError(msg)
    blocks = _blocks(survey)
    store = Store.create(url)
    bare, models = replace(survey, observations=(), models=Models()), survey.models.to_dict()
    recipe = _recipe(bare, models)
    digests = [_digest([recipe, *map(asdict, chosen)]) for chosen in blocks]

    def on_done(done: int) -> None:
        if on_event is not None:
            on_event(DatasetsProgress("simulate", done, len(survey.observations)))

    write = partial(_write_task, survey=bare, models=models, url=store.url, recipe=recipe)
    records = write_blocks(store, blocks, digests, write, client, on_done)
    if not truth.exists():  # from a run that was killed before its commit
        true_models(survey).write(truth)
    store.commit(records)
    return store


def truth_path(url: str | Path) -> Path:
    """File of the true models of a simulated store: ``<stem>-truth.yaml`` beside it."""
    path = Path(os.path.abspath(_path(url)))  # noqa: PTH100  ("." and ".." have names then)
    if not path.name:
        raise InputError(f"{url}: a store cannot be created here")
    return path.with_name(f"{path.stem}-truth.yaml")


def _is_truth_of(path: Path, survey: Survey) -> bool:
    """Whether a file contains the true models of a survey."""
    try:
        return _digest(Models.read(path).to_dict()) == _digest(true_models(survey).to_dict())
    except InputError:
        return False


def _path(url: str | Path) -> Path:
    return Path(os.fspath(url).removeprefix("file://"))


def true_models(survey: Survey) -> Models:
    """Return the true sky and the true background of every observation, norm and tilt free."""
    return Models([*survey.models.copy(), *map(background_model, survey.observations)])


# --- estimate -----------------------------------------------------------------------------


@dataclass(frozen=True)
class SimulationPlan:
    """Estimated size and time of a simulation, from one observation.

    Attributes
    ----------
    datasets, blocks : int
        Their numbers.
    nbytes : int
        Bytes of all arrays.
    stored : int
        Estimated bytes on disk.
    seconds : float
        Estimated processor time.
    """

    datasets: int
    blocks: int
    nbytes: int
    stored: int
    seconds: float


def plan_simulation(config: str | Path | Survey, *, events: bool = False) -> SimulationPlan:
    """Simulate the middle observation in memory, to estimate size and time of the whole simulation.

    Parameters
    ----------
    config : str or path, or `Survey`
        See `simulate`.
    events : bool
        See `simulate`.
    """
    survey = _survey_of(config, events)
    n = len(survey.observations)
    blocks = _blocks(survey)  # reading and imports, which happen once, are not timed
    start = time.process_time()
    cube = simulate_observation(survey, survey.observations[n // 2])
    simulated = time.process_time()
    copies = [cube.assign_attrs(name=f"{i}") for i in range(min(COPIES, len(blocks[0])))]
    store = Store.memory()
    store.commit([store.write_block(copies, "plan" * 4)])
    seconds = simulated - start + (time.process_time() - simulated) / len(copies)
    manifest = store.open_block(store.rows[0].block).manifest
    stored = round(n * sum(sums.size for sums in manifest.files.values()) / len(copies))
    return SimulationPlan(n, len(blocks), n * describe(cube).nbytes, stored, n * seconds)


# --- blocks -------------------------------------------------------------------------------


def _survey_of(config: str | Path | Survey, events: bool) -> Survey:
    survey = config if isinstance(config, Survey) else read_survey(config)
    return replace(survey, sources=EVENTS) if events else survey


def _blocks(survey: Survey) -> list[tuple[Observed, ...]]:
    """Return the observations of each block; computing the first one reveals invalid configurations."""
    shape = describe(simulate_observation(survey, survey.observations[0]))
    ranges = plan_blocks([shape] * len(survey.observations), BLOCK_BYTES)
    return [survey.observations[block.start : block.stop] for block in ranges]


def _write_task(
    chosen: Sequence[Observed], survey: Survey, models: dict[str, Any], url: str, recipe: str,
    on_made: OnMade | None = None,
) -> BlockRecord:  # fmt: skip
    survey = replace(survey, models=Models.from_dict(models))
    cubes = (simulate_observation(survey, observed) for observed in chosen)
    return write_block(url, made(cubes, on_made), _digest([recipe, *map(asdict, chosen)]))


def _recipe(survey: Survey, models: dict[str, Any]) -> str:
    """Return a digest of everything that the observations share, including the content of maps."""
    files = input_digest((path, path) for path in _filenames(models))
    rest = {key: value for key, value in asdict(survey).items() if key != "models"}
    return _digest([RECIPE, rest, models, files])


def _filenames(data: Any) -> Iterator[str]:
    """Yield the names of the files from which maps were read, from plain data of models."""
    if isinstance(data, dict) and isinstance(data.get("filename"), str) and "map" not in data:
        yield str(expanded(data["filename"]))
    for item in data.values() if isinstance(data, dict) else data if isinstance(data, list) else ():
        yield from _filenames(item)


def _digest(data: object) -> str:
    return hashlib.sha256(json.dumps(data, default=_plain).encode()).hexdigest()


def _plain(value: object) -> object:
    """Return an array or a map as data that JSON can represent."""
    if isinstance(value, SkyMap | RegionMap):
        return value.digest
    return np.asarray(value).tolist()
