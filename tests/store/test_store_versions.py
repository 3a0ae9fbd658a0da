"""Stores of every version of the schemas open for ever, and the schemas are what is written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jsonschema
import pytest

import gmdask as gm
from gmdask.datasets.kinds import KINDS
from gmdask.errors import InputError
from gmdask.schema_description import FILES, describe
from gmdask.schemas import SCHEMA_VERSION, read_schema, schema_problems
from gmdask.store import Store, verify_store
from gmdask.store.checksums import encode_sealed, sha256
from gmdask.store.formats import read_datasets_yaml
from tests.data.make_store import content
from tests.store.store_cubes import make_cube

DATA = Path(__file__).parents[1] / "data"
SCHEMAS = Path(__file__).parents[2] / "data_schemas" / SCHEMA_VERSION


@pytest.mark.parametrize("version", ["1.0"])
def test_opens_for_ever(version):
    url = DATA / f"store-{version}.zarr"
    expected = json.loads(url.with_suffix(".json").read_text())
    datasets = gm.Datasets.read(url)
    assert datasets.names == ["one", "two", "kernels", "spectrum"]
    assert [type(d).__name__ for d in datasets] == ["MapDataset"] * 3 + ["SpectrumDataset"]
    for dataset in datasets:
        assert content(dataset.cube) == expected[dataset.name]
    assert verify_store(url) == []


def test_it_can_be_added_to(tmp_path):
    url = shutil.copytree(DATA / "store-1.0.zarr", tmp_path / "s.zarr")
    gm.Datasets([gm.MapDataset(make_cube("new", 3))]).write(url, append=True)
    assert gm.Datasets.read(url).names == ["one", "two", "kernels", "spectrum", "new"]
    assert gm.compact(url).verify() == []


def test_every_schema_is_one():
    assert {path.name for path in SCHEMAS.iterdir()} == {*FILES, "README.md"}
    for name in FILES:
        schema = read_schema(name)
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["title"]


def test_the_description_is_that_of_the_schemas():
    assert (SCHEMAS / "README.md").read_text() == describe()
    for words in ("`counts`", "`wcs`", "`parent`", "`crc32c`"):
        assert words in describe()


def test_blocks_follow_their_schema():
    for block in (DATA / "store-1.0.zarr" / "blocks").glob("*-*"):
        found = json.loads((block / "zarr.json").read_text())
        assert schema_problems(found, "block.json") == []
        found["consolidated_metadata"]["metadata"]["counts"]["dimension_names"] = ["dataset"]
        found["attributes"]["name"] = [3]
        told = "; ".join(schema_problems(found, "block.json"))
        assert "attributes name 0: expected string" in told
        assert "consolidated_metadata metadata counts dimension_names" in told


def test_verification_knows_the_schemas(tmp_path):
    """What is as it was written may still not be what it should be."""
    store = Store.create(tmp_path / "s.zarr")
    commit = tmp_path / "s.zarr" / "commits" / "00000001.json"
    whole = {k: v for k, v in json.loads(commit.read_text()).items() if k != "sha256"}
    whole["provenance"] = {"gmdask": 1}
    commit.write_bytes(encode_sealed(whole))
    assert [problem.file for problem in store.verify()][1:] == ["commits/00000001.mark"]
    commit.with_suffix(".mark").write_text(sha256(commit.read_bytes()))
    (problem,) = store.verify()
    assert (
        str(problem)
        == "file commits/00000001.json: provenance gmdask: expected string (commit.json)"
    )


def test_lists_of_datasets(tmp_path):
    (tmp_path / "a.fits").touch()
    entry = "{name: [a], type: MapDataset, filename: a.fits}"
    path = tmp_path / "datasets.yaml"
    path.write_text(f"datasets: [{entry}]\n")
    with pytest.raises(
        InputError, match=r"datasets\.yaml: datasets 0 name: expected string or number"
    ):
        read_datasets_yaml(path, KINDS)
