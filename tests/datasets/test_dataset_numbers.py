"""Datasets: what is read when, and the numbers they give, against Gammapy's."""

from __future__ import annotations

import json
import shutil
import warnings

import numpy as np
import pytest
import xarray as xr
from dask.array import Array

import gmdask as gm
from gmdask.errors import CorruptStoreError
from tests.datasets.synthetic import models, with_models

pytestmark = pytest.mark.gammapy_response

CUBES = ["counts", "background", "exposure", "mask_safe", "psf", "psf_exposure", "edisp"]


def spoil(store, url, chunks):
    """Copy of a store without the chunks of its cubes."""
    shutil.copytree(store, url)
    for key in CUBES:
        (folder,) = url.glob(f"blocks/*/{key}/c")
        if chunks == "removed":
            shutil.rmtree(folder)
            continue
        for path in folder.rglob("*"):
            if path.is_file():
                content = bytearray(path.read_bytes())
                content[len(content) // 3] ^= 0x10
                path.write_bytes(content)


@pytest.mark.parametrize("chunks", ["removed", "altered"])
def test_nothing_is_read_before_it_is_used(chunks, survey_store, tmp_path):
    url = tmp_path / "spoilt.zarr"
    spoil(survey_store, url, chunks)
    datasets = gm.Datasets.read(url)
    own = with_models(datasets)
    datasets.set_models_parameters(own.parameters)
    dataset = datasets["run-1"]
    copied = dataset.copy(name="other")
    assert dataset.counts.shape == (4, 24, 24)
    assert "24" in repr(copied) + str(datasets) + dataset._repr_html_()
    for key in ("counts", "exposure", "background", "mask_safe"):
        with pytest.raises(CorruptStoreError, match=rf"run-1.*{key}"):
            getattr(dataset, key).load()
    with pytest.raises(CorruptStoreError, match=r"spoilt\.zarr.*run-1"):
        dataset.stat_sum()


@pytest.mark.parametrize("chunks", ["removed", "altered"])
def test_npred_is_not_computed_before_it_is_used(chunks, survey_store, tmp_path):
    url = tmp_path / "spoilt.zarr"
    spoil(survey_store, url, chunks)
    datasets = gm.Datasets.read(url)
    with_models(datasets)
    npred = datasets["run-1"].npred()
    with pytest.raises(CorruptStoreError, match="run-1"):
        npred.compute()


def test_npred_is_lazy_and_stays(datasets):
    own = with_models(datasets)
    dataset = datasets[0]
    npred = dataset.npred()
    assert isinstance(npred, xr.DataArray)
    assert isinstance(npred.data, Array)
    assert npred.dims == ("energy", "lat", "lon")
    assert npred.dtype == np.float64
    np.testing.assert_array_equal(npred["energy"], dataset.counts["energy"])
    expected = npred.values
    own.parameters["amplitude"].value *= 2
    dataset.set_models_parameters(own.parameters)
    np.testing.assert_array_equal(npred.values, expected)  # of the moment it was asked for
    assert dataset.npred().values.sum() > expected.sum() + 100


def test_npred_on_a_cluster(datasets, two_workers):
    with_models(datasets)
    here = datasets[0].npred().compute(scheduler="synchronous")
    np.testing.assert_array_equal(datasets[0].npred(), here)  # on the client there is


def test_npred_from_memory_beside_a_cluster(survey, two_workers):
    datasets = gm.Datasets.read(survey)
    with_models(datasets)
    assert datasets[0].npred().values.sum() > 100


def test_npred_without_models_is_the_background(datasets):
    npred = datasets[0].npred().values
    np.testing.assert_allclose(npred, datasets[0].background, rtol=1e-7)


@pytest.mark.parametrize("extended", [False, True])
def test_numbers_of_gammapy(extended, survey, datasets):
    own = with_models(datasets, extended=extended)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gammapy's own
        from gammapy.datasets import MapDataset
        from gammapy.modeling.models import Models

        theirs = MapDataset.read(survey.parent / "run-1.fits", name="run-1")
        theirs.models = Models.from_dict(own.to_dict())
        expected = theirs.npred().data
        stat = theirs.stat_sum()
    npred = datasets["run-1"].npred().values
    assert np.abs(npred - expected).max() < 1e-6 * expected.max()
    assert datasets["run-1"].stat_sum() == pytest.approx(stat, abs=1e-4)


def test_npred_of_the_crab(shared):
    folder = shared / "data" / "crab"
    datasets = gm.Datasets.read(folder / "datasets.yaml")[:1]
    own = gm.Models.read(folder / "models_start.yaml")
    datasets[0].set_models(own)
    with np.load(folder / "npred_start.npz") as expected:
        total, counts = expected["total"], expected["counts"]
    np.testing.assert_array_equal(datasets[0].counts, counts)
    assert (
        np.abs(datasets[0].npred().compute(scheduler="synchronous").values - total).max()
        < 1e-6 * total.max()
    )


@pytest.mark.parametrize("folder", ["crab", "hawc", "fermi_crab"])
def test_statistic_of_the_reference(folder, shared):
    folder = shared / "data" / folder
    reference = json.loads((folder / "reference.json").read_text())
    datasets = gm.Datasets.read(folder / "datasets.yaml")
    own = gm.Models.read(folder / "models_start.yaml")
    datasets.set_models(own)
    for vector, expected in reference["stat"].items():
        for name, value in reference["vectors"][vector].items():
            own.parameters[name].value = value
        datasets.set_models_parameters(own.parameters)
        for name, stat in expected["per_dataset_cash_f64"].items():
            assert datasets[name].stat_sum() == pytest.approx(stat, abs=2e-3)
        assert datasets.stat_sum() == pytest.approx(expected["total"], abs=5e-3)


def test_statistic_without_a_source_in_the_field(datasets):
    own = models(datasets.names)
    datasets.set_models(gm.Models([own[name] for name in own.names if name != "source"]))
    stat = datasets.stat_sum()
    own["source"].spatial_model.lon_0.value = 120.0
    datasets.set_models(own)
    assert datasets.stat_sum() == stat
    own["source"].spatial_model.lon_0.value = 83.66
    datasets.set_models_parameters(own.parameters)
    assert datasets.stat_sum() < stat - 100
