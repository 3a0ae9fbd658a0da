from __future__ import annotations

import pytest

from gmdask.errors import DuplicateNameError, InputError, InputNotFoundError
from gmdask.store.formats import DatasetEntry, read_datasets_yaml

GOOD = """
datasets:
- name: one
  type: MapDataset
  filename: one.fits
- {name: 2, type: MapDataset, filename: sub/two.fits.gz}
metadata: {creator: tests}
checksum: abc
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "one.fits").touch()
    (tmp_path / "sub" / "two.fits.gz").touch()
    return tmp_path


def read(folder, text):
    path = folder / "datasets.yaml"
    path.write_text(text)
    return read_datasets_yaml(path, ["MapDataset"])


def test_good(folder):
    assert read(folder, GOOD) == [
        DatasetEntry("one", "MapDataset", folder / "one.fits"),
        DatasetEntry("2", "MapDataset", folder / "sub" / "two.fits.gz"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not YAML"),
        ("- a", "expected a mapping with a list 'datasets'"),
        ("datasets: 3", "expected a mapping with a list 'datasets'"),
        ("", "expected a mapping with a list 'datasets'"),
        ("datasets: [3]", r"datasets\[0\]: expected a mapping"),
        ("datasets: [{type: MapDataset, filename: one.fits}]", r"datasets\[0\]: key 'name'"),
        ("datasets: [{name: a, filename: one.fits}]", "key 'type' is missing"),
        ("datasets: [{name: a, type: MapDataset}]", "key 'filename' is missing"),
        (
            "datasets: [{name: a, type: MapDatasetOnOff, filename: one.fits}]",
            "dataset 'a' is a MapDatasetOnOff",
        ),
        ("datasets: [{name: a, type: MapDataset, filename: 3}]", "expected a string"),
        ("!!python/object/apply:os.getcwd []", "not YAML"),
    ],
)
def test_bad(folder, text, message):
    with pytest.raises(InputError, match=message) as info:
        read(folder, text)
    assert "datasets.yaml" in str(info.value)


def test_duplicate(folder):
    entry = "{name: a, type: MapDataset, filename: one.fits}"
    with pytest.raises(DuplicateNameError, match=r"datasets\[1\]: name 'a' is already used"):
        read(folder, f"datasets: [{entry}, {entry}]")


def test_missing_files(folder):
    with pytest.raises(InputNotFoundError, match=r"none\.yaml"):
        read_datasets_yaml(folder / "none.yaml", [])
    with pytest.raises(InputNotFoundError, match=r"datasets\[0\].*none\.fits"):
        read(folder, "datasets: [{name: a, type: MapDataset, filename: none.fits}]")
    with pytest.raises(InputError, match="cannot be read"):
        read_datasets_yaml(folder, [])
