"""Import of Gammapy's datasets: here and on a cluster, once and again."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import gmdask as gm
from gmdask.datasets.io.importing import import_to_memory
from gmdask.errors import StoreExistsError
from gmdask.events import DatasetsProgress
from tests.datasets.synthetic import write_survey

pytestmark = pytest.mark.gammapy_response

FOLDERS = ["crab", "hawc", "fermi_crab"]


def assert_equal_stores(one, other):
    """Same datasets with the same arrays, though blocks have names of their own."""
    assert [row.name for row in one.rows] == [row.name for row in other.rows]
    for a, b in zip(one.rows, other.rows, strict=True):
        assert (a.kind, a.row, a.pointing, a.livetime, a.counts) == (
            b.kind, b.row, b.pointing, b.livetime, b.counts,
        )  # fmt: skip
        xr.testing.assert_identical(one.open_row(a).load(), other.open_row(b).load())


def test_here_and_on_workers(survey, survey_store, two_workers, tmp_path):
    store = gm.import_datasets(survey, tmp_path / "there.zarr", two_workers)
    here = gm.Store.open(survey_store)
    assert store.verify() == here.verify() == []
    assert_equal_stores(here, store)
    assert_equal_stores(here, gm.Store.open(tmp_path / "there.zarr"))
    assert_equal_stores(here, import_to_memory(survey))


@pytest.mark.parametrize("folder", FOLDERS)
def test_real_here_and_on_workers(folder, shared, two_workers, tmp_path):
    source = shared / "data" / folder / "datasets.yaml"
    store = gm.import_datasets(source, tmp_path / "there.zarr", two_workers)
    assert_equal_stores(import_to_memory(source), store)


def test_several_blocks_keep_their_order(two_workers, tmp_path):
    wide = write_survey(tmp_path / "wide", 1, prefix="wide", pixels=30)
    narrow = write_survey(tmp_path / "narrow", 2, prefix="narrow", pixels=20)
    text = narrow.read_text().replace("filename: ", "filename: ../narrow/")
    mixed = text + wide.read_text().replace("datasets:\n", "").replace(
        "filename: ", "filename: ../wide/"
    )
    mixed += text.replace("datasets:\n", "").replace("name: narrow", "name: again")
    path = tmp_path / "mixed"
    path.mkdir()
    (path / "all.yaml").write_text(mixed)
    here = gm.import_datasets(path / "all.yaml", tmp_path / "here.zarr")
    names = ["narrow-0", "narrow-1", "wide-0", "again-0", "again-1"]
    assert [row.name for row in here.rows] == names
    assert len({row.block for row in here.rows}) == 3
    events = []
    there = gm.import_datasets(
        path / "all.yaml", tmp_path / "there.zarr", two_workers, on_event=events.append
    )
    assert_equal_stores(here, there)
    assert all(isinstance(event, DatasetsProgress) and event.total == 5 for event in events)
    checked = [event.done for event in events if event.work == "check"]
    done = [event.done for event in events[len(checked) :]]
    assert checked == [1, 2, 3, 4, 5]  # file by file, before anything is written
    assert {event.work for event in events[5:]} == {"import"}
    assert done == sorted(done)
    assert done[-1] == 5


def test_progress_within_a_block(survey, tmp_path):
    """Datasets count from when they are made, where that is in this process."""
    imported, copied = [], []
    store = gm.import_datasets(survey, tmp_path / "one.zarr", on_event=imported.append)
    assert len({row.block for row in store.rows}) == 1
    gm.Datasets.from_store(store).write(tmp_path / "two.zarr", on_event=copied.append)
    assert [event.done for event in imported if event.work == "check"] == [1, 2, 3]
    for events, work in ((imported[3:], "import"), (copied, "write")):
        assert [(event.work, event.done, event.total) for event in events] == [
            (work, 1, 3), (work, 2, 3), (work, 3, 3), (work, 3, 3)
        ]  # fmt: skip


def test_append_and_overwrite(survey, tmp_path):
    other = write_survey(tmp_path / "more", 1, prefix="more")
    url = tmp_path / "store.zarr"
    gm.import_datasets(survey, url)
    store = gm.import_datasets(other, url, append=True)
    assert [row.name for row in store.rows] == ["run-0", "run-1", "run-2", "more-0"]
    opened = gm.Datasets.read(url)
    counts = opened["run-1"].counts.values
    store = gm.import_datasets(other, url, overwrite=True)
    assert [row.name for row in store.rows] == ["more-0"]
    # who had it open goes on with what was there
    np.testing.assert_array_equal(opened["run-1"].counts.values, counts)


def test_the_place_may_be_an_empty_folder(survey, tmp_path):
    (tmp_path / "empty").mkdir()
    assert len(gm.import_datasets(survey, tmp_path / "empty").rows) == 3
    with pytest.raises(StoreExistsError, match="3 datasets"):
        gm.import_datasets(survey, tmp_path / "empty")


def test_yaml_opens_without_a_store(survey, survey_store):
    here, stored = gm.Datasets.read(survey), gm.Datasets.read(survey_store)
    assert here.names == stored.names
    assert all(dataset.stored is None for dataset in here)
    for a, b in zip(here, stored, strict=True):
        xr.testing.assert_identical(a.cube.load(), b.cube.load())


def test_names_come_from_the_list(survey, tmp_path):
    text = survey.read_text().replace("- name: run", "- name: other")
    path = survey.parent / "renamed.yaml"
    path.write_text(text)
    store = gm.import_datasets(path, tmp_path / "renamed.zarr")
    assert [row.name for row in store.rows] == ["other-0", "other-1", "other-2"]
    assert gm.Datasets.from_store(store)["other-1"].name == "other-1"


def test_append_and_overwrite_exclude_each_other(survey, tmp_path):
    gm.import_datasets(survey, tmp_path / "store.zarr")
    with pytest.raises(ValueError, match=r"append.*overwrite|overwrite.*append"):
        gm.import_datasets(survey, tmp_path / "store.zarr", append=True, overwrite=True)
