"""Bad input to an import: the right exception, told where, and nothing left behind."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from astropy.io import fits

import gmdask as gm
from gmdask.errors import (
    DuplicateNameError,
    GmdaskError,
    InputError,
    InputNotFoundError,
    StoreExistsError,
    StoreNotFoundError,
)


@pytest.fixture
def copied(survey, tmp_path):
    """A copy of the survey that may be spoilt."""
    folder = tmp_path / "survey"
    folder.mkdir()
    for path in [survey, *survey.parent.glob("run-*.fits")]:
        shutil.copy(path, folder)
    return folder / "datasets.yaml"


def no_list(path):
    path.unlink()


def no_run(path):
    (path.parent / "run-1.fits").unlink()


def models_file(path):
    path.write_text("components: []\n")


def plain_list(path):
    path.write_text("- a\n- b\n")


def not_yaml(path):
    path.write_text("datasets: [\n")


def no_mapping(path):
    path.write_text("datasets: [run-0]\n")


def no_filename(path):
    path.write_text("datasets:\n- name: run-0\n  type: MapDataset\n")


def unknown_type(path):
    text = path.read_text()
    second = text.index("MapDataset", text.index("run-1"))
    path.write_text(text[:second] + "MapDatasetOnOff" + text[second + len("MapDataset") :])


def twice(path):
    path.write_text(path.read_text() + path.read_text().replace("datasets:\n", ""))


def truncated(path):
    run = path.parent / "run-1.fits"
    run.write_bytes(run.read_bytes()[:20_000])


def no_fits(path):
    (path.parent / "run-1.fits").write_text("nothing of the kind")


def edit(path, change):
    with fits.open(path.parent / "run-1.fits", mode="update") as hdus:
        change(hdus)


def other_energies(path):
    def change(hdus):
        hdus["BACKGROUND_BANDS"].data["E_MIN"] *= 1.5

    edit(path, change)


def other_pixels(path):
    def change(hdus):
        hdus["EXPOSURE"].header["CRVAL1"] += 1

    edit(path, change)


def fewer_bins(path):
    def change(hdus):
        hdus["MASK_SAFE"].data = hdus["MASK_SAFE"].data[:2]

    edit(path, change)


def nan_exposure(path):
    def change(hdus):
        hdus["EXPOSURE"].data[3, 12, 12] = np.nan

    edit(path, change)


def negative_counts(path):
    def change(hdus):
        hdus["COUNTS"].data[1, 12, 12] = -1

    edit(path, change)


def no_exposure(path):
    def change(hdus):
        del hdus["EXPOSURE"]

    edit(path, change)


BAD = [
    (no_list, InputNotFoundError, ["datasets.yaml"]),
    (no_run, InputNotFoundError, ["datasets.yaml", "datasets[1]", "run-1.fits"]),
    (models_file, InputError, ["datasets.yaml", "'datasets'"]),
    (plain_list, InputError, ["datasets.yaml", "'datasets'"]),
    (not_yaml, InputError, ["datasets.yaml", "YAML"]),
    (no_mapping, InputError, ["datasets.yaml", "datasets[0]"]),
    (no_filename, InputError, ["datasets.yaml", "datasets[0]", "'filename'"]),
    (unknown_type, InputError, ["datasets.yaml", "'run-1'", "'type'", "MapDatasetOnOff"]),
    (twice, DuplicateNameError, ["datasets.yaml", "'run-0'"]),
    (truncated, InputError, ["run-1.fits"]),
    (no_fits, InputError, ["run-1.fits"]),
    (other_energies, InputError, ["run-1.fits", "'run-1'", "BACKGROUND", "axis energy"]),
    (other_pixels, InputError, ["run-1.fits", "'run-1'", "EXPOSURE", "WCS"]),
    (fewer_bins, InputError, ["run-1.fits", "'run-1'", "MASK_SAFE"]),
    (nan_exposure, InputError, ["run-1.fits", "'run-1'", "exposure", "NaN", "1 pixels"]),
    (negative_counts, InputError, ["run-1.fits", "'run-1'", "counts", "negative"]),
    (no_exposure, InputError, ["run-1.fits", "'run-1'", "EXPOSURE", "missing"]),
]


def refused(error, words, function, *args, **kwargs):
    with pytest.raises(error) as caught:
        function(*args, **kwargs)
    assert isinstance(caught.value, GmdaskError)
    for word in words:
        assert word in str(caught.value)


def tree(folder):
    """Every file below a folder with its content."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("spoil", "error", "words"), BAD, ids=[case[0].__name__ for case in BAD])
def test_bad_input_leaves_nothing(spoil, error, words, copied, tmp_path):
    spoil(copied)
    url = tmp_path / "new.zarr"
    refused(error, words, gm.import_datasets, copied, url)
    assert not url.exists()
    refused(error, words, gm.Datasets.read, copied)


@pytest.mark.parametrize(
    ("spoil", "error", "words"), BAD[-6:], ids=[case[0].__name__ for case in BAD[-6:]]
)
def test_bad_input_on_workers(spoil, error, words, copied, two_workers, tmp_path):
    spoil(copied)
    url = tmp_path / "new.zarr"
    refused(error, words, gm.import_datasets, copied, url, two_workers)
    assert not url.exists()


@pytest.mark.parametrize("option", ["append", "overwrite"])
def test_bad_input_leaves_the_store_as_it_is(option, copied, tmp_path):
    url = tmp_path / "store.zarr"
    gm.import_datasets(copied, url)
    before = tree(url)
    copied.write_text(copied.read_text().replace("- name: run", "- name: new"))
    nan_exposure(copied)
    refused(InputError, ["'new-1'"], gm.import_datasets, copied, url, **{option: True})
    assert tree(url) == before


def test_append_of_a_name_that_is_there(survey, tmp_path):
    url = tmp_path / "store.zarr"
    gm.import_datasets(survey, url)
    before = tree(url)
    words = ["store.zarr", "'run-0'"]
    refused(DuplicateNameError, words, gm.import_datasets, survey, url, append=True)
    assert tree(url) == before


def test_store_that_exists(survey, tmp_path):
    url = tmp_path / "store.zarr"
    gm.import_datasets(survey, url)
    before = tree(url)
    refused(StoreExistsError, ["store.zarr", "3 datasets"], gm.import_datasets, survey, url)
    assert tree(url) == before


def test_append_where_there_is_no_store(survey, tmp_path):
    url = tmp_path / "store.zarr"
    refused(StoreNotFoundError, ["store.zarr"], gm.import_datasets, survey, url, append=True)
    assert not url.exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_place_that_is_taken_by_something_else(overwrite, survey, tmp_path):
    folder, file = tmp_path / "folder", tmp_path / "file"
    folder.mkdir()
    (folder / "precious.txt").write_text("mine")
    file.write_text("mine")
    for url in (folder, file):
        refused(StoreExistsError, [url.name], gm.import_datasets, survey, url, overwrite=overwrite)
    assert [path.name for path in folder.iterdir()] == ["precious.txt"]
    assert file.read_text() == "mine"
