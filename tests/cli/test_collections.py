"""Commands that make stores of stores, as a user runs them."""

from __future__ import annotations

import pytest

import gmdask as gm
from tests.cli.in_process import assert_told, run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(survey, tmp_path_factory):
    """The survey's runs, one by one."""
    url = tmp_path_factory.mktemp("store") / "s.zarr"
    datasets = gm.Datasets.read(survey)
    for number, dataset in enumerate(datasets):
        gm.Datasets([dataset]).write(url, append=number > 0)
    return url


def test_append_ls_compact(store, survey, tmp_path):
    url = tmp_path / "t.zarr"
    gm.Datasets.read(store)[["run-2"]].write(url)
    assert_told(run("append", url, store, cwd=tmp_path), 1, "named 'run-2' already")
    gm.Datasets.read(store)[["run-0"]].write(tmp_path / "u.zarr")
    done = run("append", url, tmp_path / "u.zarr", cwd=tmp_path)
    assert_told(done, 0, "write: 1 of 1 dataset")
    assert f"{url}: 2 datasets in 2 blocks" in done.stdout
    done = run("compact", url, "--remove-old", cwd=tmp_path)
    assert f"{url}: 2 datasets in 1 block\n" in done.stdout
    assert len(list((url / "blocks").iterdir())) == 2
    done = run("ls", url, "--where", "name ~ *-0", "--where", "livetime > 1", cwd=tmp_path)
    assert done.stdout.count("\n") == 1  # no livetime is known of these
    done = run("ls", url, "--where", "name ~ *-0", cwd=tmp_path)
    assert "run-0" in done.stdout
    assert "run-2" not in done.stdout
    assert_told(run("ls", url, "--where", "size > 1", cwd=tmp_path), 1, "expected a column")


def test_stack_and_cutout(store, tmp_path):
    done = run("stack", store, "sum.zarr", "--where", "name = run-1", cwd=tmp_path)
    assert_told(done, 0, "stack: 1 of 1 dataset")
    (found,) = gm.Datasets.read(tmp_path / "sum.zarr")
    assert found.name == "sum"
    run_1 = gm.Datasets.read(store)["run-1"]
    assert float(found.counts.sum()) == float(run_1.counts.where(run_1.mask_safe, 0).sum())
    assert_told(run("stack", store, "sum.zarr", cwd=tmp_path), 1, "a store with 1 dataset")
    assert_told(
        run("stack", store, "other.zarr", cwd=tmp_path), 1, "the pixels are neither the same"
    )
    assert not (tmp_path / "other.zarr").exists()
    where = ("--lon", 83.6, "--lat", 22, "--width", 1)
    done = run("cutout", store, "cut.zarr", *where, "--cluster", "local", "--workers", 1, cwd=tmp_path)  # fmt: skip
    assert_told(done, 0)
    assert {d.counts.shape for d in gm.Datasets.read(tmp_path / "cut.zarr")} == {(4, 10, 10)}
    far = ("--lon", 263.6, "--lat", 22, "--width", 1)
    assert_told(run("cutout", store, "far.zarr", *far, cwd=tmp_path), 1, "outside")
    assert not (tmp_path / "far.zarr").exists()


def test_export(store, tmp_path):
    done = run("export", store, "out", cwd=tmp_path)
    assert_told(done, 0, "export: 3 of 3 datasets")
    assert gm.Datasets.read(tmp_path / "out" / "datasets.yaml").names == ["run-0", "run-1", "run-2"]
    assert_told(run("export", store, "out", cwd=tmp_path), 1, "choose a new or empty folder")
