"""An import that is killed leaves a store that opens, and can be run again."""

from __future__ import annotations

import subprocess
import sys

import pytest
import xarray as xr

import gmdask as gm
from gmdask.errors import StoreNotFoundError
from tests.datasets.synthetic import write_list, write_survey

# forks that end themselves without notice once so many files are there, or so many blocks are written
KILLED = """
import os, signal, sys, threading, time
from pathlib import Path
import gmdask as gm
gm.import_datasets  # what all of them need is loaded once

source = sys.argv[1]
for url, files, blocks in zip(sys.argv[2::3], map(int, sys.argv[3::3]), map(int, sys.argv[4::3])):
    url, child = Path(url), os.fork()
    if child == 0:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
else:
    sys.exit()

def end():
    os.kill(os.getpid(), signal.SIGKILL)

def watch():
    while sum(path.is_file() for path in url.rglob("*")) < files:
        time.sleep(0.0005)
    end()

told = []

def on_event(event):
    if event.work == "import":
        told.append(event.done)
        if told.count(blocks) == 2:  # of a dataset that is made, then of a block that is written
            end()

threading.Thread(target=watch, daemon=True).start()
gm.import_datasets(source, url, on_event=on_event)
"""
MANY = 10_000
CASES = [(1, MANY), (40, MANY), (MANY, 1), (MANY, 3)]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Three runs of three shapes: three blocks."""
    folder = tmp_path_factory.mktemp("mixed")
    for number, pixels in enumerate((24, 22, 20)):
        write_survey(folder, 1, prefix=f"mixed{number}", pixels=pixels, seed=number)
    return write_list(folder, [f"mixed{number}-0" for number in range(3)])


@pytest.fixture(scope="module")
def killed(mixed, tmp_path_factory):
    """The stores that imports were to make, by when these were killed."""
    folder = tmp_path_factory.mktemp("killed")
    urls = {case: folder / f"{number}.zarr" for number, case in enumerate(CASES)}
    asked = [str(item) for case, url in urls.items() for item in (url, *case)]
    command = [sys.executable, "-c", KILLED, str(mixed), *asked]
    done = subprocess.run(command, check=True, timeout=120, stdout=subprocess.PIPE, text=True)
    assert done.stdout.split() == ["-9"] * len(CASES)
    return urls


@pytest.mark.parametrize(("files", "blocks"), CASES)
def test_killed_and_run_again(files, blocks, mixed, killed):
    url = killed[files, blocks]
    try:
        assert len(gm.Datasets.read(url)) == 0
    except StoreNotFoundError:  # killed before the first commit
        assert files == 1
    events = []
    store = gm.import_datasets(mixed, url, on_event=events.append)
    if files == MANY:  # blocks that were finished are taken up
        assert len([e for e in events if e.work == "import"]) == 2 * (3 - blocks)
    assert store.verify() == []
    source = gm.Datasets.read(mixed)
    again = gm.Datasets.read(url)
    assert again.names == source.names
    for one, other in zip(again, source, strict=True):
        xr.testing.assert_identical(one.cube.load(), other.cube.load())
