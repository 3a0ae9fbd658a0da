"""Datasets in xarray: the engine, selections, and a WCS that outlives what is done to the pixels."""

from __future__ import annotations

import tomllib
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from astropy.coordinates import SkyCoord
from regions import CircleSkyRegion

import gmdask as gm
from gmdask.datasets.io.xarray_backend import GmdaskBackend
from gmdask.errors import InputError, UnknownNameError
from tests.datasets.synthetic import CENTER

AT = SkyCoord(CENTER[0] + 0.3, CENTER[1] + 0.2, unit="deg")

OPERATIONS = {
    "part": lambda d: d.isel(lat=slice(3, 20), lon=slice(5, 23)),
    "arithmetic": lambda d: np.sqrt(d + 1) * 2 - d,
    "sum over energy": lambda d: d.sum("energy"),
    "coarser": lambda d: d.isel(lat=slice(2, 22), lon=slice(0, 20)).coarsen(lat=2, lon=4).sum(),
    "every third": lambda d: d.isel(lat=slice(1, None, 3), lon=slice(0, None, 3)),
    "where": lambda d: d.where(d > 0),
    "concatenated": lambda d: xr.concat([d.isel(lat=slice(0, 9)), d.isel(lat=slice(9, 15))], "lat"),
}


@pytest.fixture
def data(datasets) -> xr.Dataset:
    return datasets[0].to_xarray()


def test_arrays_are_lazy(data):
    assert all(array.chunks for array in data.data_vars.values() if array.ndim > 1)
    assert data["counts"].attrs["unit"] == ""
    assert data["exposure"].attrs["unit"]


@pytest.mark.parametrize("name", OPERATIONS)
def test_wcs_is_kept(data, name):
    """The sky at the middle of each pixel is what it was."""
    before = data["counts"]
    after = OPERATIONS[name](before)
    grid = after.gmdask.grid()
    lon, lat = grid.to_sky(*np.meshgrid(np.arange(grid.shape[1]), np.arange(grid.shape[0])))
    x, y = np.meshgrid(after.coords["lon"], after.coords["lat"])
    expected = before.gmdask.wcs.wcs_pix2world(x, y, 0)
    np.testing.assert_allclose([lon, lat], expected, rtol=0, atol=1e-10)


def test_predictions_have_a_wcs(datasets):
    npred = datasets[0].npred()
    assert npred.gmdask.cards()["CRVAL1"] == datasets[0].cube.attrs["wcs"]["CRVAL1"]
    assert npred.gmdask.sel(energy="2 TeV", position=AT).shape == (1, 1, 1)


def test_selection_is_a_cutout_and_a_slice(datasets, data):
    chosen = data.gmdask.sel(energy=("1 TeV", "8 TeV"), position=AT, width=0.7)
    expected = datasets[0].slice_by_energy("1 TeV", "8 TeV").cutout(AT, 0.7)
    found = gm.MapDataset.from_xarray(chosen)
    assert found.cube.attrs["wcs"] == pytest.approx(expected.cube.attrs["wcs"])
    for key in expected.cube.data_vars:
        if expected.cube[key].dims[-1] == "lon":
            np.testing.assert_array_equal(found.cube[key], expected.cube[key])
    np.testing.assert_array_equal(found.cube["energy_edges"], expected.cube["energy_edges"])


def test_selection_of_a_bin(data):
    one = data.gmdask.sel(energy="2 TeV", position=AT)
    assert one["counts"].shape == (1, 1, 1)
    x, y = data.gmdask.wcs.world_to_pixel(AT)
    expected = data["counts"][1, round(float(y)), round(float(x))]
    assert float(one["counts"].squeeze()) == float(expected)
    assert SkyCoord(*one.gmdask.grid().center, unit="deg").separation(AT).deg < 0.08


def test_back_again(datasets, data):
    again = gm.MapDataset.from_xarray(data)
    np.testing.assert_array_equal(again.counts, datasets[0].counts)
    assert again.stat_sum() == datasets[0].stat_sum()
    assert set(again.cube.coords) == set(datasets[0].cube.coords)


def test_engine(survey_store, datasets):
    one = xr.open_dataset(survey_store, engine=GmdaskBackend, dataset="run-1")
    np.testing.assert_array_equal(one["counts"], datasets["run-1"].counts)
    assert one.gmdask.cards()["CRVAL1"] == datasets["run-1"].cube.attrs["wcs"]["CRVAL1"]
    last = xr.open_dataset(survey_store, engine=GmdaskBackend, dataset=-1, drop_variables="psf")
    assert last.attrs["name"] == "run-2"
    assert "psf" not in last
    every = xr.open_dataset(survey_store, engine=GmdaskBackend)
    assert list(every["dataset"].values) == ["run-0", "run-1", "run-2"]
    np.testing.assert_array_equal(every["counts"].sel(dataset="run-2"), datasets["run-2"].counts)


def test_engine_has_an_entry_point():
    path = Path(__file__).parents[2] / "pyproject.toml"
    project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    entry = project["entry-points"]["xarray.backends"]["gmdask"]
    assert EntryPoint("gmdask", entry, "xarray.backends").load() is GmdaskBackend


def test_engine_is_found_by_name(survey_store):
    if "gmdask" not in entry_points(group="xarray.backends").names:
        pytest.skip("the package was installed before it had an engine: install it again")
    assert xr.open_dataset(survey_store, engine="gmdask", dataset=0).attrs["name"] == "run-0"
    assert GmdaskBackend().guess_can_open(str(survey_store))


def test_axis_follows_what_is_done_to_it(datasets, data):
    """Edges that xarray leaves as they were are brought up to date."""
    found = gm.MapDataset.from_xarray(data.isel(energy=slice(1, 3)))
    expected = datasets[0].slice_by_idx({"energy": slice(1, 3)})
    np.testing.assert_array_equal(found.cube["energy_edges"], expected.cube["energy_edges"])
    assert found.stat_sum() == expected.stat_sum()
    with pytest.raises(InputError, match="bins along 'energy' are no longer consecutive"):
        gm.MapDataset.from_xarray(data.isel(energy=[0, 2]))


def test_errors(survey_store, data):
    with pytest.raises(UnknownNameError, match="no dataset 'run-7' among its 3"):
        xr.open_dataset(survey_store, engine=GmdaskBackend, dataset="run-7")
    with pytest.raises(InputError, match="outside the map"):
        data.gmdask.sel(position=SkyCoord(0, 0, unit="deg"))
    with pytest.raises(InputError, match="outside the axis of energy"):
        data.gmdask.sel(energy="100 TeV")
    with pytest.raises(InputError, match="not evenly spaced"):
        data["counts"].isel(lat=[0, 1, 5]).gmdask.cards()
    with pytest.raises(InputError, match="'sky', with the WCS of the pixels, is missing"):
        data["counts"].drop_vars("sky").gmdask.cards()


def test_an_attribute_that_contradicts_the_coordinates_is_refused(data):
    other = data.isel(lon=slice(2, None))  # its attribute is that of the whole, as it was
    moved = gm.MapDataset.from_xarray(other).to_xarray().attrs["wcs"]
    assert moved["CRPIX1"] == data.attrs["wcs"]["CRPIX1"] - 2
    gm.MapDataset.from_xarray(other.assign_attrs(wcs=moved))
    for name in ("wcs", "psf_wcs"):
        wrong = {**data.attrs[name], "CRVAL1": 10.0}
        with pytest.raises(gm.errors.InputError, match=f"'{name}' contradicts"):
            gm.MapDataset.from_xarray(other.assign_attrs({name: wrong}))


def test_datasets_that_differ_are_not_put_together(datasets, tmp_path):
    store = gm.Store.create(tmp_path / "mixed.zarr")
    cubes = [datasets[0].cube.load(), datasets[1].to_image().stored.open().load()]
    store.commit([store.write_block([cube], f"{k}" * 16) for k, cube in enumerate(cubes)])
    with pytest.raises(InputError, match="'run-1' has other axes than 'run-0'"):
        xr.open_dataset(tmp_path / "mixed.zarr", engine=GmdaskBackend)


def test_html(datasets):
    dataset = datasets[0]
    page = dataset._repr_html_()
    for text in (
        "run-0",
        "4 bins, 0.5 to 20 TeV, log",
        "on disk",
        "kept in",
        "4 × 24 × 24",
        "exposure",
    ):
        assert text in page, text
    assert "computed when it is used" in dataset.to_image()._repr_html_()
    spectrum = dataset.to_spectrum_dataset(CircleSkyRegion(AT, AT.ra * 0 + 0.2 * AT.ra.unit))
    assert "SpectrumDataset" in spectrum._repr_html_()
