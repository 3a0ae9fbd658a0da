from __future__ import annotations

import json
from math import prod

import jsonschema
import numpy as np
import pytest

from gmdask.errors import InputError
from gmdask.schemas import read_schema
from gmdask.store import CubeShape, Store, describe, input_digest, plan_blocks
from gmdask.store.layout import CHUNK_BYTES, SHARD_BYTES, shard_grid
from tests.store.store_cubes import make_cube


def test_plan_blocks():
    a, b = CubeShape("a", 100), CubeShape("b", 100)
    assert plan_blocks([]) == []
    assert plan_blocks([a]) == [range(1)]
    assert plan_blocks([a, a, b, b, a]) == [range(2), range(2, 4), range(4, 5)]
    assert plan_blocks([a] * 5, max_bytes=200) == [range(2), range(2, 4), range(4, 5)]
    assert plan_blocks([a] * 2, max_bytes=10) == [range(1), range(1, 2)]


def test_description():
    cube = make_cube()
    shape = describe(cube)
    assert shape.nbytes == sum(v.nbytes for v in cube.data_vars.values())
    assert describe(make_cube("b", seed=3, n_gti=9)).signature == shape.signature
    others = [
        make_cube(lat=13),
        cube.drop_vars("edisp"),
        cube.assign(counts=cube["counts"].astype("float64")),
        cube.assign(counts=cube["counts"].assign_attrs(unit="s")),
        cube.assign_coords(energy_edges=cube["energy_edges"] * 2),
        cube.assign_coords(energy=cube["energy"].assign_attrs(unit="GeV")),
    ]
    signatures = {describe(other).signature for other in others}
    assert len(signatures) == len(others)
    assert shape.signature not in signatures


MAPS = ("energy", "lat", "lon")
PSF = ("psf_energy_true", "rad", "psf_lat", "psf_lon")


@pytest.mark.parametrize(
    ("dims", "shape", "dtype", "rows"),
    [
        (MAPS, (12, 80, 80), "f4", 4),
        (MAPS, (12, 112, 112), "bool", 6),
        (MAPS, (50, 120, 120), "f8", 5),
        (MAPS, (20, 400, 400), "f8", 30),
        (MAPS, (30, 1000, 777), "f8", 2),
        (MAPS, (5000, 40, 40), "f8", 2),
        (PSF, (24, 66, 20, 20), "f8", 40),
        (PSF, (24, 66, 22, 22), "f8", 1),
        (PSF, (10, 200, 6, 6), "f8", 5),
        (PSF, (17, 300, 1, 2), "f8", 1),
        (PSF, (1, 1, 1, 1), "f4", 1),
        (("psf_energy_true", "psf_lat", "psf_lon"), (24, 20, 20), "f8", 10),
    ],
)
def test_shard_grid(dims, shape, dtype, rows):
    dtype = np.dtype(dtype)
    grid = shard_grid(dims, shape, dtype, rows)
    nbytes = prod(grid.chunk) * dtype.itemsize
    assert grid.chunk[0] == 1
    assert nbytes <= CHUNK_BYTES
    assert all(s % c == 0 for s, c in zip(grid.shard, grid.chunk, strict=True))
    assert all(s >= n for s, n in zip(grid.shard[1:], shape, strict=True))
    assert grid.shard[0] == 1 or grid.shard[0] * prod(shape) * dtype.itemsize <= SHARD_BYTES
    assert max(grid.chunk[-2:]) <= 120 or nbytes <= 65536
    if dims == PSF:
        assert grid.chunk[1:3] == shape[:2]
        assert max(grid.chunk[-2:]) <= 5 or nbytes <= 65536


def test_input_digest(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"1")
    two.write_bytes(b"2")
    digests = {
        input_digest([("a", one)]),
        input_digest([("a", two)]),
        input_digest([("b", one)]),
        input_digest([("a", one), ("b", two)]),
        input_digest([("b", two), ("a", one)]),
    }
    assert len(digests) == 5
    assert input_digest([("a", str(one))]) in digests
    with pytest.raises(InputError, match="none"):
        input_digest([("a", tmp_path / "none")])


def test_files_follow_the_schemas(tmp_path):
    store = Store.create(tmp_path / "s.zarr")
    store.commit([store.write_block([make_cube("a"), make_cube("b", 1)], "a" * 64)])
    files = [*tmp_path.glob("s.zarr/commits/*.json"), *tmp_path.glob("s.zarr/manifests/*.json")]
    assert len(files) == 3
    for file in files:
        name = {"commits": "commit", "manifests": "manifest"}[file.parent.name]
        schema = read_schema(f"{name}.json")
        jsonschema.Draft202012Validator.check_schema(schema)
        content = json.loads(file.read_text())
        jsonschema.validate(content, schema)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**content, "other": 1}, schema)
