"""Real observations, compared with what Gammapy reads from the same files."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.units import Unit
from astropy.wcs import WCS

from gmdask.datasets.kinds import KINDS
from gmdask.store import Store, describe, input_digest, plan_blocks
from gmdask.store.formats import read_datasets_yaml, read_map_dataset
from tests.store.store_cubes import assert_same

pytestmark = pytest.mark.slow

FOLDERS = ["crab", "hawc", "fermi_crab", "pks2155"]
WCS_ATOL = 1e-12
COMPARED = 3  # Gammapy takes a second for each


@pytest.fixture(scope="module")
def gammapy():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gammapy's own
        return pytest.importorskip("gammapy.datasets")


@pytest.fixture(scope="module", params=FOLDERS)
def folder(request, shared):
    return shared / "data" / request.param


@pytest.fixture(scope="module")
def cubes(folder):
    entries = read_datasets_yaml(folder / "datasets.yaml", KINDS)
    return [read_map_dataset(entry.path, entry.name) for entry in entries]


@pytest.fixture(scope="module")
def theirs(folder, gammapy):
    entries = read_datasets_yaml(folder / "datasets.yaml", KINDS)[:COMPARED]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [gammapy.MapDataset.read(entry.path, name=entry.name) for entry in entries]


def same_axis(cube, dim, axis):
    coord = cube[dim]
    assert Unit(coord.attrs["unit"]) == axis.unit
    assert coord.attrs["interp"] == axis.interp
    assert coord.attrs["node_type"] == axis.node_type
    np.testing.assert_allclose(coord, axis.center.value, rtol=1e-12)
    if axis.node_type == "edges":  # its own edges pass through log and exp
        np.testing.assert_array_equal(cube[f"{dim}_edges"], axis._nodes)
        np.testing.assert_allclose(cube[f"{dim}_edges"], axis.edges.value, rtol=1e-14)
    else:
        np.testing.assert_array_equal(coord, axis._nodes)


def same_wcs(cards, shape, geom):
    ours = WCS(fits.Header(list(cards.items())))
    lat, lon = np.meshgrid(*(np.linspace(0, n - 1, 7) for n in shape), indexing="ij")
    sky = geom.wcs.wcs_pix2world(lon, lat, 0)
    np.testing.assert_allclose(ours.wcs_pix2world(lon, lat, 0), sky, rtol=0, atol=WCS_ATOL)
    pixels = ours.wcs_world2pix(*sky, 0)
    np.testing.assert_array_equal(pixels, geom.wcs.wcs_world2pix(*sky, 0))


def same_map(cube, key, sky_map, squeeze=False):
    data = sky_map.data[:, 0] if squeeze else sky_map.data
    np.testing.assert_array_equal(cube[key].values, data)
    assert cube[key].dtype == data.dtype.newbyteorder("=")
    assert Unit(cube[key].attrs["unit"]) == sky_map.unit


def test_as_gammapy_reads_it(cubes, theirs):
    for cube, dataset in zip(cubes[:COMPARED], theirs, strict=True):
        assert cube.attrs["name"] == dataset.name
        for key in ("counts", "background", "mask_safe", "exposure"):
            same_map(cube, key, getattr(dataset, key))
        same_axis(cube, "energy", dataset.counts.geom.axes["energy"])
        same_axis(cube, "energy_true", dataset.exposure.geom.axes["energy_true"])
        same_wcs(cube.attrs["wcs"], cube["counts"].shape[1:], dataset.counts.geom)
        for key, irf in (("psf", dataset.psf.psf_map), ("edisp", dataset.edisp.edisp_map)):
            same_map(cube, key, irf)
            same_wcs(cube.attrs[f"{key}_wcs"], cube[key].shape[2:], irf.geom)
            for dim, axis in zip(cube[key].dims[:2], irf.geom.axes[::-1], strict=True):
                same_axis(cube, dim, axis)
            exposure = getattr(dataset, key).exposure_map
            assert (f"{key}_exposure" in cube) == (exposure is not None)
            if exposure is not None:
                same_map(cube, f"{key}_exposure", exposure, squeeze=True)
        assert cube.sizes["gti"] == len(dataset.gti.table)
        if cube.sizes["gti"]:
            start = dataset.gti.table["START"].mjd * 86400
            gti = cube.attrs["gti"]
            ours = cube["gti_start"] + (gti["mjdrefi"] + gti["mjdreff"]) * 86400
            np.testing.assert_allclose(ours, start, rtol=0, atol=1e-5)
        if dataset.meta_table is not None:
            columns = cube.attrs["meta_table"]["columns"]
            assert list(columns) == dataset.meta_table.colnames
            for name, column in columns.items():
                assert column["values"] == [
                    value.strip() if isinstance(value, str) else value
                    for value in dataset.meta_table[name].tolist()
                ]


def test_through_a_store(cubes, folder, tmp_path):
    entries = read_datasets_yaml(folder / "datasets.yaml", KINDS)
    (block,) = plan_blocks([describe(cube) for cube in cubes])
    assert block == range(len(cubes))
    store = Store.create(tmp_path / "s.zarr")
    digest = input_digest((entry.name, entry.path) for entry in entries)
    store.commit([store.write_block(cubes, digest)])
    assert store.verify() == []
    store = Store.open(store.url)
    for row, cube in zip(store.rows, cubes, strict=True):
        assert_same(store.open_row(row), cube)
        assert row.counts == pytest.approx(float(cube["counts"].sum(dtype="float64")))


def test_pointings(shared):
    expected = {"crab": (83.633, 22.014, "icrs"), "fermi_crab": (184.5529, -5.7815, "galactic")}
    for folder, (lon, lat, frame) in expected.items():
        entry = read_datasets_yaml(shared / "data" / folder / "datasets.yaml", KINDS)[0]
        store = Store.memory()
        record = store.write_block([read_map_dataset(entry.path)], "a" * 64)
        pointing = record.rows[0].pointing
        assert pointing.frame == frame
        assert (pointing.lon, pointing.lat) == pytest.approx((lon, lat), abs=1e-3)
