"""Simulation of a survey into a store, one block per task."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from distributed import Client

from gmdask.cluster import run_tasks
from gmdask.datasets.simulation import background_model, simulate_observation
from gmdask.datasets.survey import Observed, Survey, read_survey
from gmdask.errors import PlanError
from gmdask.events import Listener, SimulationProgress
from gmdask.models import Models
from gmdask.store import BlockRecord, Store, describe, plan_blocks, write_block

__all__ = ["simulate", "truth_path"]

BLOCK_BYTES = 128 * 2**20


def truth_path(url: str | Path) -> Path:
    """File of the true models of a simulated store: ``<stem>-truth.yaml`` beside it."""
    path = Path(url)
    return path.with_name(f"{path.stem}-truth.yaml")


def simulate(
    config: str | Path | Survey,
    url: str | Path,
    client: Client | None = None,
    on_event: Listener | None = None,
) -> Store:
    survey = config if isinstance(config, Survey) else read_survey(config)
    store = Store.create(url)
    shape = describe(simulate_observation(survey, survey.observations[0]))
    blocks = plan_blocks([shape] * len(survey.observations), BLOCK_BYTES)
    tasks = [survey.observations[block.start : block.stop] for block in blocks]
    records = {}
    done = 0
    for number, record in run_tasks(
        partial(_write_task, survey=survey, url=store.url), tasks, client, in_flight=2
    ):
        records[number] = record
        done += len(tasks[number])
        if on_event is not None:
            on_event(SimulationProgress(done, len(survey.observations)))
    true_models(survey).write(truth_path(url), overwrite=True)
    store.commit([records[number] for number in range(len(tasks))])
    return store


def true_models(survey: Survey) -> Models:
    """The true sky, and the true background of every observation."""
    return Models([*survey.models.copy(), *map(background_model, survey.observations)])


def _write_task(chosen: Sequence[Observed], survey: Survey, url: str) -> BlockRecord:
    cubes = [simulate_observation(survey, observed) for observed in chosen]
    return write_block(url, cubes, _digest(survey, chosen))


def _digest(survey: Survey, chosen: Sequence[Observed]) -> str:
    text = json.dumps([asdict(o) for o in chosen])
    return hashlib.sha256(text.encode()).hexdigest()
