"""Full disks, writers that are killed at any step, and writers at once."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest

import gmdask as gm
from gmdask.errors import DuplicateNameError, StoreError, StoreExistsError, StoreNotFoundError
from gmdask.store import Store, verify_store
from tests.cli.in_process import files_up_to, run
from tests.store.store_cubes import assert_same, make_cube

pytestmark = pytest.mark.slow

SPAWN = multiprocessing.get_context("spawn")


def cubes(names: str) -> gm.Datasets:
    """Datasets of three shapes in turn, each of which is a block."""
    return gm.Datasets(
        gm.MapDataset(make_cube(name, ord(name), rad=6 + k % 3)) for k, name in enumerate(names)
    )


# --- killed at every step -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("writer", "before", "after"),
    [("create", None, []), ("publish", ["old"], ["old", "new"]), ("merge", ["old", "new"], ["old", "new"])],
)  # fmt: skip
def test_killed_at_every_step(writer, before, after, tmp_path):
    """What was committed stays, what was not is not seen, and the store can be worked with."""
    program = [sys.executable, "-m", "tests.store.killed_at", tmp_path, writer]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        program, capture_output=True, text=True, check=False, timeout=300, cwd=root
    )
    assert done.returncode == 0, done.stderr
    steps = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(steps) > {"create": 8, "publish": 40, "merge": 3}[writer]
    assert [step["done"] for step in steps] == [False] * (len(steps) - 1) + [True]
    seen = [step["names"] for step in steps]
    first = seen.index(after)
    assert seen == [before] * first + [after] * (len(seen) - first)  # once seen, seen for ever
    assert first == 0 if before == after else 0 < first < len(steps)
    for step in steps:
        assert step["problems"] == []
        if step["names"] is not None:
            assert all(step["same"])
            assert step["after"] == [*step["names"], "later"]
            assert step["clean"]


# --- no space -------------------------------------------------------------------------------


@pytest.fixture
def tmpfs(tmp_path):
    """Function that gives a disk of so many kilobytes."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def mount(kilobytes: int) -> Path:
        subprocess.run(["umount", disk], check=False, capture_output=True)
        size = f"size={kilobytes}k"
        command = ["mount", "-t", "tmpfs", "-o", size, "none", disk]
        made = subprocess.run(command, check=False, capture_output=True)
        if made.returncode:
            pytest.skip("no disk can be mounted here")
        return disk

    yield mount
    subprocess.run(["umount", disk], check=False, capture_output=True)


def check_untouched(url: Path) -> None:
    """Nothing of a run that failed is seen, and no block of it that was not finished."""
    try:
        store = Store.open(url)
    except StoreNotFoundError:
        return
    assert store.rows == ()
    assert verify_store(url) == []
    sealed = {path.stem for path in url.glob("manifests/*")}
    assert {path.name for path in url.glob("blocks/*")} - {"zarr.json"} == sealed


def test_full_disk(tmpfs):
    """At whatever file it is full: a clear word, nothing half done; with more room it goes on."""
    datasets, told = cubes("abc"), 0
    for kilobytes in (4, 16, 64, 160, 260, 360, 2000):
        url = tmpfs(kilobytes) / "s.zarr"
        try:
            store = datasets.write(url)
        except StoreError as error:
            told += 1
            assert "No space left on device" in str(error)  # noqa: PT017
            assert str(url) in str(error)  # noqa: PT017
            check_untouched(url)
        else:
            assert store.verify() == []
    assert told >= 4
    assert kilobytes == 2000
    assert gm.Datasets.read(url).names == ["a", "b", "c"]


@pytest.mark.parametrize("limit", [50, 2000, 8000])
def test_no_space_during_an_import(limit, survey, tmp_path):
    """Files that may not grow, from the first commit to the largest array."""
    url = tmp_path / "s.zarr"
    with files_up_to(limit):
        done = run("import", survey, url, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert f"gmdask: error: {url}" in done.stderr
    assert "File too large" in done.stderr
    check_untouched(url)
    again = run("import", survey, url, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert verify_store(url) == []
    assert gm.Datasets.read(url).names == ["run-0", "run-1", "run-2"]


# --- at once --------------------------------------------------------------------------------


def write(url: Path, names: str, barrier, queue) -> None:
    datasets = cubes(names)
    barrier.wait(60)
    try:
        datasets.write(url)
    except (DuplicateNameError, StoreExistsError) as error:
        queue.put(str(error))
    else:
        queue.put("")


@pytest.mark.parametrize("names", [("abc", "abc"), ("abc", "cde")])
def test_two_writers_of_one_store(names, tmp_path):
    """One of them is told; what the other wrote is there, whole."""
    url, barrier, queue = tmp_path / "s.zarr", SPAWN.Barrier(2), SPAWN.Queue()
    writers = [SPAWN.Process(target=write, args=(url, chosen, barrier, queue)) for chosen in names]
    for writer in writers:
        writer.start()
    told = sorted(queue.get(timeout=120) for _ in writers)
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    assert told[0] == ""
    assert "already exists" in told[1]
    store = Store.open(url)
    found = "".join(row.name for row in store.rows)
    assert found in names
    for row, dataset in zip(store.rows, cubes(found), strict=True):
        assert_same(store.open_row(row), dataset.cube)
    assert store.verify() == []
