"""Real analyses, from the start to the end, against Gammapy's fits."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

import gmdask as gm
from tests.datasets.clusters import kill, pids, settled
from tests.fit.problems import FOLDERS, bits, real_models, reference

pytestmark = [pytest.mark.gammapy_response, pytest.mark.slow]


@pytest.fixture(scope="session")
def real_store(shared, tmp_path_factory):
    """Makes a store of a real analysis, once."""
    made = {}

    def make(folder):
        if folder not in made:
            url = tmp_path_factory.mktemp("real") / f"{folder}.zarr"
            gm.import_datasets(shared / "data" / folder / "datasets.yaml", url)
            made[folder] = url
        return gm.Datasets.read(made[folder])

    return make


@pytest.fixture(scope="session")
def fitted(shared, real_store):
    """Makes result, models and datasets of a fit in this process, once."""
    made = {}

    def make(folder):
        if folder not in made:
            datasets, models = real_store(folder), real_models(shared / "data" / folder)
            made[folder] = (gm.Fit(datasets).run(models), models, datasets)
        return made[folder]

    return make


@pytest.mark.parametrize("folder", FOLDERS)
def test_against_gammapy(folder, shared, fitted):
    result, models, datasets = fitted(folder)
    expected = reference(shared / "data" / folder)
    assert result.success, result.message
    best = min(expected["stat"]["best"]["total"], expected["fit"]["total_stat"])
    assert result.total_stat <= best + 0.05
    assert result.passes <= 15
    assert 0 <= result.edm < 1e-5
    found = {p["name"]: p for p in expected["parameters"]}
    for name, error in expected["observed"]["errors"].items():
        parameter = models.parameters[name]
        assert abs(parameter.value - found[name]["best"]) < 0.1 * error
        assert parameter.error == pytest.approx(error, rel=0.02)
    assert datasets.stat_sum() == result.total_stat


@pytest.mark.parametrize("folder", FOLDERS)
def test_what_is_reported_is_fresh(folder, real_store, fitted):
    result, models, _ = fitted(folder)
    datasets = real_store(folder)
    datasets.set_models(models)
    assert datasets.stat_sum() == result.total_stat
    assert {dataset.name: dataset.stat_sum() for dataset in datasets} == result.stat
    assert math.fsum(result.stat.values()) == result.total_stat
    np.testing.assert_array_equal(result.parameters.value, models.parameters.value)
    np.testing.assert_array_equal(result.parameters.error, models.parameters.error)
    np.testing.assert_array_equal(result.covariance.data, models.covariance.data)


@pytest.mark.parametrize("folder", FOLDERS)
def test_backends_agree(folder, shared, real_store, fitted):
    result, models, _ = fitted(folder)
    others = real_models(shared / "data" / folder)
    other = gm.Fit(real_store(folder), backend="minuit").run(others)
    assert other.success, other.message
    assert other.backend == "minuit"
    assert other.total_stat == pytest.approx(result.total_stat, abs=1e-3)
    error = models.parameters.error
    apart = np.abs(others.parameters.value - models.parameters.value)
    assert (apart <= 0.05 * error).all()
    np.testing.assert_allclose(others.parameters.error, error, rtol=0.01)


@pytest.mark.parametrize("folder", FOLDERS)
def test_same_bits_on_workers(folder, shared, real_store, fitted, one_worker, two_workers):
    result, models, _ = fitted(folder)
    for client in (one_worker, two_workers):
        others = real_models(shared / "data" / folder)
        other = gm.Fit(real_store(folder), client).run(others)
        assert bits(other, others) == bits(result, models)
        assert (other.passes, other.message) == (result.passes, result.message)


@pytest.mark.parametrize("at", [1, 4])
def test_same_bits_when_a_worker_is_killed(at, shared, real_store, fitted, two_workers):
    result, models, _ = fitted("crab")
    lost = []

    def on_event(event):
        if getattr(event, "number", 0) == at and not lost:
            lost.extend(list(pids(two_workers).values())[at % 2 :][:1])
            kill(lost[0])

    others = real_models(shared / "data" / "crab")
    other = gm.Fit(real_store("crab"), two_workers, on_event=on_event).run(others)
    assert lost
    assert bits(other, others) == bits(result, models)
    settled(two_workers, 2, lost[0])


@pytest.mark.parametrize("folder", ["crab", "fermi_crab"])
def test_gammapy_reads_what_is_written(folder, shared, fitted, tmp_path):
    result, models, _ = fitted(folder)
    models.write(tmp_path / "fitted.yaml")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gammapy's own
        from gammapy.datasets import Datasets
        from gammapy.modeling.models import Models

        theirs = Datasets.read(shared / "data" / folder / "datasets.yaml")
        read = Models.read(tmp_path / "fitted.yaml")
        theirs.models = read
        stat = theirs.stat_sum()
    assert stat == pytest.approx(result.total_stat, abs=0.01)
    names = read.parameters_unique_names
    assert sorted(names) == sorted(models.parameters.names)
    order = [names.index(name) for name in models.parameters.names]
    covariance = read.covariance.data[np.ix_(order, order)]
    scale = np.outer(models.parameters.error, models.parameters.error)
    scale[scale == 0] = 1
    np.testing.assert_allclose(covariance / scale, result.covariance.data / scale, atol=1e-6)
