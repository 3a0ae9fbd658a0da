"""Reduce many observations into a store, one per task."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from distributed import Client

from gmdask.cluster import check_client, plan_memory, room_on_workers, run_tasks
from gmdask.errors import InputError, PlanError, StoreNotFoundError
from gmdask.events import DatasetsProgress, Listener
from gmdask.models import BackgroundIRFModel, Models
from gmdask.reduction.config import ReductionConfig, read_config
from gmdask.reduction.observations import ObservationFiles
from gmdask.reduction.one_observation import reduce_observation, sum_inputs
from gmdask.reduction.parts import read_part, write_part
from gmdask.reduction.provenance import PROVENANCE
from gmdask.reduction.recipe import recipe_of
from gmdask.store import BlockRecord, Store, describe, plan_blocks, write_block

__all__ = ["Failure", "Reduction", "background_models", "reduce"]

BLOCK_BYTES = 128 * 2**20  # a task holds one block, and nearly as much again while writing
LIBRARIES = 120_000_000  # bytes of Gammapy and its dependencies
LEAD = 4  # number of submitted observations per worker thread
GROWTH = 4  # a commit adds at least 1 / GROWTH of the blocks before it, so that there are few


@dataclass(frozen=True)
class Failure:
    """An observation that could not be reduced.

    Attributes
    ----------
    obs_id : int
    reason : str
    """

    obs_id: int
    reason: str


@dataclass(frozen=True)
class Reduction:
    """Outcome of a reduction.

    Attributes
    ----------
    store : `Store`
        The store with all datasets.
    reduced, unchanged : list of int
        Identifiers of the observations that were reduced now, and of those that were already in the store.
    failures : list of `Failure`
        Observations that could not be reduced.
    """

    store: Store
    reduced: list[int] = field(default_factory=list)
    unchanged: list[int] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    @property
    def models(self) -> Models:
        """Background models of all datasets of the store, to be added to the global models."""
        return background_models(self.store)


def reduce(
    observations: Sequence[ObservationFiles],
    config: str | Path | ReductionConfig,
    url: str | Path,
    client: Client | None = None,
    *,
    on_event: Listener | None = None,
) -> Reduction:
    """Reduce observations into a store.

    An observation that cannot be reduced does not stop the others. A run that was killed can be
    repeated: finished observations are reused, whether they are already in the store or not. The same is
    true of a run with failures, or with more observations: datasets in the store are kept. The content of the
    store does not depend on the number of workers.

    Parameters
    ----------
    observations : sequence of `ObservationFiles`
        See `select_observations`.
    config : str or path, or `ReductionConfig`
        See `read_config`.
    url : str or path
        The store. During the reduction, ``<store>.parts`` beside it contains datasets until there
        are enough for a block.
    client : `distributed.Client`, optional
        Cluster to reduce on, one observation per task; by default this process. Workers read the
        event files under the same names.
    on_event : callable, optional
        Receives a `DatasetsProgress` as observations are done.

    Returns
    -------
    reduction : `Reduction`

    Raises
    ------
    InputError
        If the configuration is invalid, an observation is given twice, or there is none; if the
        store has datasets of these observations that were created differently.
    PlanError
        If a worker has too little memory.
    """
    check_client(client)
    config = config if isinstance(config, ReductionConfig) else read_config(config)
    _check_once(observations)
    recipe = recipe_of(config)
    if client is not None:
        _check_memory(client, recipe.peak_bytes(), len(observations))
    store = _open(url)
    if client is not None and store.url.startswith("memory:"):
        msg = f"{store.url}: workers cannot write to a store in memory"
        raise PlanError(msg)
    run = _Run(observations, config, store, max(1, BLOCK_BYTES // recipe.dataset_bytes()))
    run.work(client, on_event)
    return Reduction(store, run.reduced, run.unchanged, run.failures)


def background_models(store: Store) -> Models:
    """Return the background models of the datasets of a store that were reduced with one.

    Parameters
    ----------
    store : `Store`
    """
    found = []
    for row in store.rows:
        made = store.open_block(row.block).attribute(row.row, PROVENANCE)
        if made is not None and made["background_model"] is not None:
            found.append(BackgroundIRFModel.from_dict(made["background_model"]))
    return Models(found)


def _check_once(observations: Sequence[ObservationFiles]) -> None:
    if not observations:
        msg = "there are no observations to reduce"
        raise InputError(msg)
    obs_id, times = Counter(one.obs_id for one in observations).most_common(1)[0]
    if times > 1:
        msg = f"observation {obs_id} is given {times} times"
        raise InputError(msg)


def _open(url: str | Path) -> Store:
    try:
        return Store.open(url)
    except StoreNotFoundError:
        return Store.create(url)


def _check_memory(client: Client, peak: int, n: int) -> None:
    """Raise an error if workers cannot hold a task."""
    room = room_on_workers(client, _work, LIBRARIES)
    if room is not None:
        plan_memory(room, LIBRARIES, max(peak, 3 * BLOCK_BYTES), 0, n)


# --- tasks --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Observe:
    """An observation to be reduced, or to be compared with the digest in the store."""

    index: int
    observation: ObservationFiles
    recorded: str | None = None


@dataclass(frozen=True)
class _Reduced:
    """An observation whose datasets are in a file."""

    part: Path


@dataclass(frozen=True)
class _Unchanged:
    """An observation that is already in the store."""


@dataclass(frozen=True)
class _Write:
    """Files of observations whose datasets form blocks."""

    batch: int
    parts: tuple[Path, ...]


_Done = _Reduced | _Unchanged | Failure


def _work(
    item: _Observe | _Write, config: ReductionConfig, url: str, folder: Path
) -> _Done | list[BlockRecord]:
    if isinstance(item, _Write):
        return _write(item, url)
    observation = item.observation
    try:
        inputs = sum_inputs(observation, config)
        if item.recorded is not None:
            if item.recorded == inputs.digest:
                return _Unchanged()
            return Failure(observation.obs_id, "its files have changed since it was reduced")
        part = folder / f"{observation.obs_id}-{inputs.digest[:32]}.npz"
        if read_part(part) is None:
            write_part(part, reduce_observation(observation, config, inputs))
    except InputError as error:
        return Failure(observation.obs_id, str(error))
    return _Reduced(part)


def _write(item: _Write, url: str) -> list[BlockRecord]:
    """Write the blocks of a batch, unless an earlier run has written them."""
    cubes = []
    for part in item.parts:
        found = read_part(part)
        if found is None:
            msg = f"{part}: damaged; remove it and repeat the reduction"
            raise InputError(msg)
        cubes += found
    store, records = Store.open(url), []
    for block in plan_blocks([describe(cube) for cube in cubes], BLOCK_BYTES):
        chosen = [cubes[number] for number in block]
        made = [[cube.attrs["name"], cube.attrs[PROVENANCE]["digest"]] for cube in chosen]
        digest = hashlib.sha256(json.dumps(made).encode()).hexdigest()
        records.append(store.find_uncommitted(digest) or write_block(url, chosen, digest))
    return records


# --- the run ------------------------------------------------------------------------------


class _Run:
    """Progress of observations into the store.

    They are divided into batches by their position in the list. When all observations of a batch are done, it
    is written by a task of its own, and batches are committed in order, so that the blocks and
    their order depend neither on which task ends first nor on interruptions.
    """

    def __init__(
        self, observations: Sequence[ObservationFiles], config: ReductionConfig, store: Store, size: int
    ) -> None:  # fmt: skip
        self._observations, self._config, self._store, self._size = (
            observations,
            config,
            store,
            size,
        )
        self._folder = _parts_folder(store.url)
        self._done: dict[int, _Done] = {}
        self._written: dict[int, list[BlockRecord]] = {}
        self._next = self._batches = 0  # the next batch to commit, and the number of committed ones
        self._asked = 0
        self._items: list[_Observe | _Write] = []
        self._recorded = _recorded(store, config, observations)

    @property
    def reduced(self) -> list[int]:
        """Identifiers of observations that were reduced."""
        return self._ids(_Reduced)

    @property
    def unchanged(self) -> list[int]:
        """Identifiers of observations that were already in the store."""
        return self._ids(_Unchanged)

    @property
    def failures(self) -> list[Failure]:
        """Observations that could not be reduced."""
        ordered = (self._done[index] for index in sorted(self._done))
        return [one for one in ordered if isinstance(one, Failure)]

    def _ids(self, kind: type) -> list[int]:
        return [
            self._observations[index].obs_id
            for index in sorted(self._done)
            if isinstance(self._done[index], kind)
        ]

    def work(self, client: Client | None, on_event: Listener | None) -> None:
        """Reduce all observations, and write the complete batches."""
        self._folder.mkdir(exist_ok=True)
        threads = 1 if client is None else max(sum(client.nthreads().values()), 1)
        for _ in range(LEAD * threads):
            self._ask()
        work = partial(_work, config=self._config, url=self._store.url, folder=self._folder)
        for number, result in run_tasks(work, self._items, client, in_flight=2):
            item = self._items[number]
            if isinstance(item, _Write):
                assert isinstance(result, list)
                self._written[item.batch] = result
                self._commit(last=False)
                continue
            assert not isinstance(result, list)
            self._done[item.index] = result
            if on_event is not None:
                on_event(DatasetsProgress("reduce", len(self._done), len(self._observations)))
            self._write(item.index // self._size)
            self._ask()
        self._commit(last=True)
        self._clear()

    def _ask(self) -> None:
        """Submit one more observation."""
        if self._asked < len(self._observations):
            observation = self._observations[self._asked]
            recorded = self._recorded.get(observation.obs_id)
            self._items.append(_Observe(self._asked, observation, recorded))
            self._asked += 1

    def _write(self, batch: int) -> None:
        """Submit the writing of a batch if all its observations are done."""
        parts = self._parts(batch)
        if parts is None:
            return
        if parts:
            self._items.append(_Write(batch, parts))
        else:
            self._written[batch] = []
            self._commit(last=False)

    def _parts(self, batch: int) -> tuple[Path, ...] | None:
        """Return the files of a batch, None while observations are missing."""
        start = batch * self._size
        indices = range(start, min(start + self._size, len(self._observations)))
        if not all(index in self._done for index in indices):
            return None
        found = [self._done[index] for index in indices]
        return tuple(one.part for one in found if isinstance(one, _Reduced))

    def _commit(self, *, last: bool) -> None:
        """Commit the next batches, if there are enough."""
        end = self._next
        while end in self._written:
            end += 1
        ready = range(self._next, end)
        if not last and GROWTH * len(ready) <= self._batches:
            return
        records = [record for batch in ready for record in self._written[batch]]
        if records:
            self._store.commit(records)
        for batch in ready:
            for part in self._parts(batch) or ():
                part.unlink(missing_ok=True)
            del self._written[batch]
        self._next, self._batches = end, self._batches + len(ready)

    def _clear(self) -> None:
        """Remove files left by a run that was killed after a commit."""
        for path in self._folder.glob("*.npz"):
            path.unlink(missing_ok=True)
        self._folder.rmdir()


def _parts_folder(url: str) -> Path:
    path = Path(url.removeprefix("file://"))
    return path.with_name(f"{path.name}.parts")


def _recorded(
    store: Store, config: ReductionConfig, observations: Sequence[ObservationFiles]
) -> dict[int, str]:
    """Return the digests of the inputs of the datasets in the store, by identifier.

    Raises
    ------
    InputError
        If datasets of these observations were created differently.
    """
    wanted = {one.obs_id for one in observations}
    found: dict[int, str] = {}
    for row in store.rows:
        made = store.open_block(row.block).attribute(row.row, PROVENANCE)
        if made is None or made["obs_id"] not in wanted:
            continue
        if made["configuration"]["digest"] != config.digest:
            msg = (
                f"{store.url}: dataset {row.name!r} was created with another configuration than "
                f"{config.file}, or another version of Gammapy; choose another store"
            )
            raise InputError(msg)
        found[made["obs_id"]] = made["digest"]
    return found
