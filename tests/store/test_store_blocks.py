from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import xarray as xr
import zarr

from gmdask.errors import InputError, PlanError, UnknownNameError
from gmdask.store import Pointing, Store, write_block
from gmdask.store.records import BlockRecord
from gmdask.store.shard_reader import ShardedArray
from tests.store.store_cubes import assert_same, make_cube

DIGEST = "0123456789abcdef" * 4


@pytest.fixture
def cubes():
    return [make_cube("a", 0, 2), make_cube("b", 1, 0), make_cube("c", 2, 5)]


@pytest.fixture(params=["directory", "memory"])
def store(request, tmp_path):
    return Store.memory() if request.param == "memory" else Store.create(tmp_path / "s.zarr")


def test_round_trip(store, cubes):
    store.commit([store.write_block(cubes, DIGEST)])
    assert [row.name for row in store.rows] == ["a", "b", "c"]
    for row, cube in zip(store.rows, cubes, strict=True):
        assert_same(store.open_row(row), cube)
        assert store.open_row(row).identical(cube)
    assert store.verify() == []


def test_rows(store, cubes):
    cubes[1]["exposure"].attrs.pop("meta")
    store.commit([store.write_block(cubes, DIGEST)])
    row = store.rows[2]
    assert (row.kind, row.row) == ("MapDataset", 2)
    assert row.block.startswith(DIGEST[:16] + "-")
    assert row.counts == cubes[2]["counts"].values.sum()
    assert row.livetime == 1002.5
    assert store.rows[1].livetime is None
    assert row.pointing.frame == "icrs"
    assert row.pointing.lon == pytest.approx(83.2, abs=1e-9)
    assert row.pointing.lat == pytest.approx(22.014, abs=1e-9)


def test_pointing_off_the_sky(store):
    cube = make_cube()
    cube.attrs["wcs"] = {**cube.attrs["wcs"], "CTYPE1": "GLON-AIT", "CTYPE2": "GLAT-AIT"}
    cube.attrs["wcs"] |= {"CRPIX1": 9000.0, "CRVAL2": 0.0, "LATPOLE": 90.0, "LONPOLE": 0.0}
    record = store.write_block([cube], DIGEST)
    assert record.rows[0].pointing == Pointing(None, None, "galactic")
    store.commit([record])


def test_arrays_that_are_not_there(store):
    cubes = [make_cube("a"), make_cube("b", 1)]
    few = ["counts", "exposure"]
    cubes = [
        cube[few].drop_dims(["psf_energy_true", "rad", "gti"], errors="ignore") for cube in cubes
    ]
    store.commit([store.write_block(cubes, DIGEST)])
    for row, cube in zip(store.rows, cubes, strict=True):
        assert_same(store.open_row(row), cube)


def test_opening_reads_no_cube(tmp_path, cubes):
    store = Store.create(tmp_path / "s.zarr")
    store.commit([store.write_block(cubes, DIGEST)])
    for array in ("counts", "psf", "gti/start"):
        for file in tmp_path.glob(f"s.zarr/blocks/*/{array}/c/*"):
            file.rename(tmp_path / f"{array.replace('/', '-')}-{file.name}")
    opened = store.open_row(store.rows[0])
    assert opened["counts"].shape == (3, 12, 14)
    assert opened.sizes["gti"] == 2
    opened["exposure"].load()


def test_many_shards(tmp_path, monkeypatch, cubes):
    monkeypatch.setattr("gmdask.store.layout.SHARD_BYTES", 2 * cubes[0]["counts"].nbytes)
    monkeypatch.setattr("gmdask.store.layout.IRF_CHUNK_BYTES", 0)
    monkeypatch.setattr("gmdask.store.layout.IRF_TILE", 2)
    cubes.append(make_cube("d", 3))
    cubes.append(make_cube("e", 4))
    store = Store.create(tmp_path / "s.zarr")
    store.commit([store.write_block(cubes, DIGEST)])
    for row, cube in zip(store.rows, cubes, strict=True):
        assert_same(store.open_row(row), cube)
    block = store.rows[0].block
    counts = list(tmp_path.glob(f"s.zarr/blocks/{block}/counts/c/*/0/0/0"))
    assert len(counts) == 3
    assert len(list(tmp_path.glob(f"s.zarr/blocks/{block}/psf/c/*/0/0/0/0"))) == 5
    plain = xr.open_zarr(tmp_path / "s.zarr/blocks" / block, chunks=None)
    for key in ("counts", "psf", "mask_safe"):
        np.testing.assert_array_equal(plain[key], np.stack([cube[key] for cube in cubes]))


def test_plain_xarray_and_zarr_read_it(tmp_path, cubes):
    """No help from gmdask, and no warning (warnings are errors here)."""
    store = Store.create(tmp_path / "s.zarr")
    store.commit([store.write_block(cubes, DIGEST)])
    path = tmp_path / "s.zarr/blocks" / store.rows[0].block
    for chunks in (None, {}):
        plain = xr.open_zarr(path, chunks=chunks)
        assert plain.sizes["dataset"] == 3
        assert plain.attrs["name"] == ["a", "b", "c"]
        assert json.loads(plain.attrs["wcs"][1]) == cubes[1].attrs["wcs"]
        assert plain.attrs["meta_table"][1:] == [None, None]
        assert "energy_edges" in plain.coords
        for key in cubes[0].data_vars:
            if not key.startswith("gti"):
                np.testing.assert_array_equal(plain[key], np.stack([c[key] for c in cubes]))
                assert plain[key].attrs["unit"] == cubes[0][key].attrs["unit"]
    gti = xr.open_zarr(path / "gti", chunks=None)
    assert gti["length"].values.tolist() == [2, 0, 5]
    assert gti["offset"].values.tolist() == [0, 2, 2]
    np.testing.assert_array_equal(gti["start"][2:], cubes[2]["gti_start"])
    group = zarr.open_group(tmp_path / "s.zarr/blocks", mode="r")
    assert list(group.group_keys()) == [store.rows[0].block]
    array = group[f"{store.rows[0].block}/psf"]
    codecs = array.metadata.to_dict()["codecs"][0]["configuration"]
    assert codecs["index_location"] == "end"
    assert [codec["name"] for codec in codecs["codecs"]] == ["bytes", "blosc", "crc32c"]
    assert codecs["codecs"][1]["configuration"]["shuffle"] == "shuffle"
    assert codecs["index_codecs"][-1] == {"name": "crc32c"}
    mask = group[f"{store.rows[0].block}/mask_safe"].metadata.to_dict()["codecs"][0]
    assert mask["configuration"]["codecs"][1]["configuration"]["shuffle"] == "bitshuffle"
    for _, member in group[store.rows[0].block].arrays():
        assert str(member.metadata.to_dict()["codecs"]).count("crc32c") >= 1


@pytest.fixture(scope="module")
def large():
    cube = make_cube(lat=130, lon=250, energy=4, irf=13, rad=66, energy_true=24)
    store = Store.memory()
    store.commit([store.write_block([make_cube("o", 9, **dict(cube.sizes, irf=13)), cube], DIGEST)])
    return cube, store.open_row(store.rows[1]), store


def test_tiles(large):
    _, opened, store = large
    array = store.open_block(store.rows[0].block).array("counts")
    assert array.grid == (2, 1, 2, 3)
    assert array.chunk == (4, 65, 84)
    assert store.open_block(store.rows[0].block).array("psf").chunk == (24, 66, 5, 5)
    assert opened["psf"].shape == (24, 66, 13, 13)


@pytest.mark.parametrize(
    "key",
    [
        {},
        {"lat": 3},
        {"energy": -1, "lat": -3, "lon": 249},
        {"lat": slice(60, 70), "lon": slice(80, 90)},
        {"lat": slice(None, None, 7), "lon": slice(200, 10, -3)},
        {"lat": [3, 128, 3, -1], "lon": [0, 249]},
        {"lat": slice(5, 5)},
        {"lat": []},
        {"energy": 2, "lat": []},
        {"lat": xr.DataArray([1, 100, 129], dims="p"), "lon": xr.DataArray([7, 84, 9], dims="p")},
        {"lat": np.arange(130) % 3 == 0},
    ],
)
def test_indexing_is_that_of_xarray(large, key):
    cube, opened, _ = large
    for name in ("counts", "mask_safe"):
        one, other = opened[name].isel(key), cube[name].isel(key)
        assert one.dims == other.dims
        np.testing.assert_array_equal(one.values, other.values)
        one.values[...] = 0  # a read array belongs to the reader


def test_indexing_twice_is_lazy_and_right(large):
    cube, opened, _ = large
    one = opened["psf"].isel(psf_lat=slice(4, 9)).isel(psf_lat=2, psf_lon=slice(3, 11, 2))
    other = cube["psf"].isel(psf_lat=6, psf_lon=slice(3, 11, 2))
    np.testing.assert_array_equal(one, other)
    one = opened["psf"].sel(psf_energy_true=3.0, method="nearest").isel(psf_lat=0, psf_lon=0)
    assert one.shape == (66,)
    np.testing.assert_array_equal(opened["gti_stop"][1:], cube["gti_stop"][1:])
    with pytest.raises(IndexError):
        opened["counts"].isel(lat=130).load()


def test_sharded_array_checks_bounds(large):
    _, _, store = large
    array = store.open_block(store.rows[0].block).array("counts")
    with pytest.raises(IndexError, match="out of bounds"):
        array.read(0, (0, np.array([130]), 0))
    group = store.open_block(store.rows[0].block).group
    with pytest.raises(TypeError, match="not sharded"):
        ShardedArray(None, group["energy"])


def test_pickle(tmp_path, cubes):
    store = Store.create(tmp_path / "s.zarr")
    store.commit([store.write_block(cubes, DIGEST)])
    opened = store.open_row(store.rows[1])
    again = pickle.loads(pickle.dumps(store))
    assert again.rows == store.rows
    assert len(pickle.dumps(store)) < 300
    lazy = pickle.loads(pickle.dumps(opened))
    assert_same(lazy, cubes[1])
    memory = Store.memory()
    memory.commit([memory.write_block(cubes, DIGEST)])
    for value in (memory, memory.open_row(memory.rows[0])):
        with pytest.raises(PlanError, match="memory store"):
            pickle.dumps(value)


def test_record_is_plain_data(tmp_path, cubes):
    store = Store.create(tmp_path / "s.zarr")
    record = write_block(store.url, cubes, DIGEST)
    assert BlockRecord.from_dict(json.loads(json.dumps(record.to_dict()))) == record
    assert pickle.loads(pickle.dumps(record)) == record


def test_refused(store, cubes):
    with pytest.raises(InputError, match="at least one"):
        store.write_block([], DIGEST)
    with pytest.raises(InputError, match="not a digest"):
        store.write_block(cubes, "../escape")
    with pytest.raises(InputError, match="datasets 'a' and 'z' cannot share a block"):
        store.write_block([cubes[0], make_cube("z", lat=13)], DIGEST)
    with pytest.raises(InputError, match="attributes named meta"):
        store.write_block([cubes[0].assign_attrs(meta=1)], DIGEST)
    with pytest.raises(InputError, match="JSON"):
        store.write_block([cubes[0].assign_attrs(other=object())], DIGEST)
    with pytest.raises(UnknownNameError, match="no block 'x'"):
        store.open_block("x")
    assert store.verify() == []


def test_threads_read_at_once(tmp_path, cubes):
    from concurrent.futures import ThreadPoolExecutor

    store = Store.create(tmp_path / "s.zarr")
    store.commit([store.write_block(cubes, DIGEST)])

    def read(number):
        return store.open_row(store.rows[number % 3]).load()

    with ThreadPoolExecutor(8) as pool:
        for number, cube in enumerate(pool.map(read, range(60))):
            assert_same(cube, cubes[number % 3])
