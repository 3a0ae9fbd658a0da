"""Workers and drivers of reductions that are killed: nothing is lost or done twice, and the store is the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from distributed import Client

from gmdask import reduction
from gmdask.errors import PlanError
from gmdask.events import DatasetsProgress
from gmdask.reduction import run as module
from gmdask.store import Store
from tests.datasets.clusters import kill, pids, settled
from tests.reduction.configs import digest_of, small, write
from tests.reduction.dl3 import CRAB_RUNS, write_folder

pytestmark = pytest.mark.slow

TIMES = 3
N = TIMES * len(CRAB_RUNS)
BATCH = 3  # observations of a block, here
DRIVER = """
import sys
from gmdask.reduction import run as module
module.BLOCK_BYTES = int(sys.argv.pop(1))
from gmdask.cli.main import main
main()
"""


@pytest.fixture(scope="module")
def folder(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve observations, their configuration, and the store of a run that was not disturbed."""
    path = tmp_path_factory.mktemp("runs")
    write_folder(shared, path / "dl3", CRAB_RUNS, times=TIMES)
    write(path, small(path / "dl3"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_BYTES", block_bytes(path))
        reduce(path, "whole.zarr")
    return path


def block_bytes(folder: Path) -> int:
    return BATCH * module.recipe_of(reduction.read_config(folder / "config.yaml")).dataset_bytes()


def reduce(folder: Path, store: str, client: Client | None = None, **how: object) -> reduction.Reduction:  # fmt: skip
    config = reduction.read_config(folder / "config.yaml")
    observations = reduction.select_observations(config)
    return reduction.reduce(observations, config, folder / store, client, **how)  # type: ignore[arg-type]


def test_blocks_are_written_as_they_fill(folder: Path) -> None:
    store = Store.open(folder / "whole.zarr")
    assert len(store.rows) == N
    assert len({row.block for row in store.rows}) == N // BATCH
    assert store.version > 2
    assert not (folder / "whole.zarr.parts").exists()


def test_a_worker_is_killed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, two_workers: Client
) -> None:
    monkeypatch.setattr(module, "BLOCK_BYTES", block_bytes(folder))
    killed: list[int] = []

    def on_event(event: DatasetsProgress) -> None:
        if event.done == 4 and not killed:
            killed.append(next(iter(pids(two_workers).values())))
            kill(killed[0])

    done = reduce(folder, "worker.zarr", two_workers, on_event=on_event)
    settled(two_workers, 2, killed[0])
    assert (len(done.reduced), done.failures) == (N, [])
    assert digest_of(done.store) == digest_of(Store.open(folder / "whole.zarr"))


def test_workers_with_too_little_memory(folder: Path, tmp_path: Path, two_workers: Client) -> None:
    """Kernels in pixels of 0.05 deg take three gigabytes while they are made."""
    content = small(folder / "dl3")
    content["datasets"]["geom"]["wcs"]["binsize_irf"] = "0.05 deg"
    content["datasets"]["geom"]["axes"]["energy_true"]["nbins"] = 24
    config = reduction.read_config(write(tmp_path, content))
    observations = reduction.select_observations(config)
    with pytest.raises(PlanError, match="the workers have too little memory"):
        reduction.reduce(observations, config, tmp_path / "a.zarr", two_workers)
    assert not (tmp_path / "a.zarr").exists()


def test_the_driver_is_killed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-c", DRIVER, str(block_bytes(folder))]
    driver = subprocess.Popen(
        [*command, "reduce", "config.yaml", "driver.zarr"], cwd=folder, stderr=subprocess.PIPE, text=True
    )  # fmt: skip
    assert driver.stderr is not None
    for line in driver.stderr:
        if f"reduce: 7 of {N}" in line or f"reduce: 8 of {N}" in line:
            driver.kill()
            break
    driver.wait()
    driver.stderr.close()
    there = {row.name for row in Store.open(folder / "driver.zarr").rows}
    parts = {path.name for path in (folder / "driver.zarr.parts").glob("*.npz")}
    assert len(there) >= BATCH
    assert parts
    finished = {int(name.split("-")[1]) for name in there} | {int(p.split("-")[0]) for p in parts}
    assert 7 <= len(finished) < N

    again: list[int] = []
    work = module.reduce_observation

    def counted(observation, config, inputs):  # type: ignore[no-untyped-def]
        again.append(observation.obs_id)
        return work(observation, config, inputs)

    monkeypatch.setattr(module, "reduce_observation", counted)
    monkeypatch.setattr(module, "BLOCK_BYTES", block_bytes(folder))
    done = reduce(folder, "driver.zarr")
    assert not finished & set(again)
    assert len(finished) + len(again) == N
    assert len(done.unchanged) == len(there)
    assert digest_of(done.store) == digest_of(Store.open(folder / "whole.zarr"))
    assert not (folder / "driver.zarr.parts").exists()
