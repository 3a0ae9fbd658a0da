"""Fits with frozen, linked, limited, missing and useless parameters."""

from __future__ import annotations

import json

import numpy as np
import pytest

import gmdask as gm
from gmdask.errors import InputError, UnknownNameError
from gmdask.events import CompileEnd, DatasetsProgress, FitEnd, FitPass
from tests.datasets.synthetic import models, with_models
from tests.fit.problems import EdgeSpectralModel, bits

BOTH = pytest.mark.parametrize("backend", ["newton", "minuit"])
ENOUGH = 0.02  # of the statistic


def run(datasets, own, backend="newton", **options):
    result = gm.Fit(datasets, backend=backend, **options).run(own)
    assert result.total_stat == datasets.stat_sum()  # fresh, and the datasets follow
    return result


@pytest.fixture
def best(datasets):
    """Result and models of the ordinary fit."""
    own = models(datasets.names)
    return run(datasets, own), own


def test_frozen(datasets, best):
    own = models(datasets.names)
    for name in ("index", "lon_0", "run-1-bkg.spectral.norm"):
        own.parameters[name].frozen = True
    result = run(datasets, own)
    assert result.success
    assert result.total_stat > best[0].total_stat
    start = models(datasets.names).parameters
    for name, parameter in zip(own.parameters.names, own.parameters, strict=True):
        assert (parameter.error > 0) == (not parameter.frozen)
        if parameter.frozen:
            assert parameter.value == start[name].value
    at = own.parameters.frozen
    assert not result.covariance.data[at].any()
    assert not result.covariance.data[:, at].any()


def two_sources(datasets):
    own = models(datasets.names)
    other = own["source"].copy(name="other")
    other.spatial_model.lon_0.value = 83.2
    other.spatial_model.freeze()
    own["source"].spatial_model.freeze()
    own.append(other)
    return own, other


@BOTH
def test_sources_that_share_an_index(backend, datasets):
    own, other = two_sources(datasets)
    other.spectral_model.index = own["source"].spectral_model.index
    result = run(datasets, own, backend)
    assert result.success
    index = own.parameters["source.spectral.index"]
    assert own.parameters["other.spectral.index"] is index
    assert own["other"].spectral_model.index.value == index.value
    free, _ = two_sources(datasets)
    alone = run(datasets, free, backend)
    assert alone.total_stat <= result.total_stat + 1e-4
    assert free.parameters["other.spectral.index"].value != index.value


@pytest.mark.parametrize("backend", ["newton", "minuit"])
def test_ends_at_a_limit(backend, datasets, best):
    limit = best[1].parameters["index"].value - 0.5 * best[1].parameters["index"].error
    own = models(datasets.names)
    own.parameters["index"].value, own.parameters["index"].max = limit - 0.2, limit
    result = run(datasets, own, backend)
    assert own.parameters["index"].value == pytest.approx(limit, rel=1e-12)
    assert own.parameters["index"].value <= limit
    held = models(datasets.names)
    held.parameters["index"].value, held.parameters["index"].frozen = limit, True
    expected = run(datasets, held)
    assert result.total_stat == pytest.approx(expected.total_stat, abs=2e-4)
    assert result.success, result.message
    assert "source.spectral.index" in result.message
    assert own.parameters["index"].error == 0
    np.testing.assert_allclose(own.parameters.error, held.parameters.error, rtol=1e-2)


def test_starts_beyond_a_limit(datasets):
    own = models(datasets.names)
    own.parameters["index"].value, own.parameters["index"].min = 1.0, 1.8
    own.parameters["amplitude"].max = 1e-12
    for call in (gm.Fit(datasets).run, gm.Fit(datasets).covariance):
        with pytest.raises(InputError, match=r"source.spectral.index = 1, below its min \(1.8\)"):
            call(own)
    with pytest.raises(InputError, match=r"source.spectral.amplitude = 4e-12, above its max"):
        gm.Fit(datasets).confidence(own, "index")
    assert own.parameters["index"].value == 1.0
    own.parameters["index"].frozen = own.parameters["amplitude"].frozen = True  # then they stay
    assert run(datasets, own).success


@BOTH
def test_local_parameter_at_a_limit(backend, datasets):
    own = models(datasets.names)
    norm = own.parameters["run-0-bkg.spectral.norm"]
    norm.value, norm.min = 1.3, 1.1
    result = run(datasets, own, backend)
    assert norm.value == 1.1
    assert norm.error == 0
    held = models(datasets.names)
    norm = held.parameters["run-0-bkg.spectral.norm"]
    norm.value, norm.frozen = 1.1, True
    expected = run(datasets, held, backend)
    assert result.success
    assert "run-0-bkg.spectral.norm" in result.message
    assert result.total_stat == pytest.approx(expected.total_stat, abs=1e-3)
    np.testing.assert_allclose(own.parameters.error, held.parameters.error, rtol=1e-2)


@BOTH
def test_source_outside_all_fields(backend, datasets, best):
    own = models(datasets.names)
    far = own["source"].copy(name="far")
    far.spatial_model.lon_0.value = 120.0
    own.append(far)
    start = own["far"].spectral_model.parameters.value
    result = run(datasets, own, backend)
    assert "far.spectral.amplitude" in result.message
    assert result.total_stat == pytest.approx(best[0].total_stat, abs=1e-3)
    np.testing.assert_array_equal(own["far"].spectral_model.parameters.value, start)
    assert not own["far"].spectral_model.parameters.error.any()
    np.testing.assert_allclose(
        own["source"].spectral_model.parameters.error,
        best[1]["source"].spectral_model.parameters.error,
        rtol=1e-2,
    )


@BOTH
def test_two_identical_sources(backend, datasets):
    own = models(datasets.names)
    own["source"].spatial_model.freeze()
    single = run(datasets, own).total_stat
    own.append(own["source"].copy(name="twin"))
    result = run(datasets, own, backend)
    assert "not positive definite" in result.message
    assert result.total_stat <= single + ENOUGH


@BOTH
def test_only_local_parameters_free(backend, datasets):
    own = models(datasets.names)
    own["source"].spectral_model.freeze()
    own["source"].spatial_model.freeze()
    result = run(datasets, own, backend)
    assert result.success
    assert result.passes == 1
    for dataset in datasets:  # one after the other gives the same
        alone = gm.Datasets([dataset.copy()])
        one = gm.Models([own["source"].copy(), gm.BackgroundIRFModel(dataset_name=dataset.name)])
        expected = gm.Fit(alone).run(one)
        name = f"{dataset.name}-bkg.spectral.norm"
        assert result.stat[dataset.name] == pytest.approx(expected.total_stat, abs=1e-9)
        assert own.parameters[name].value == pytest.approx(one.parameters[name].value)
        assert own.parameters[name].error == pytest.approx(one.parameters[name].error)


def test_nothing_free(datasets):
    own = models(datasets.names)
    own.parameters.freeze_all()
    fit = gm.Fit(datasets)
    for call in (fit.run, fit.optimize, fit.covariance):
        with pytest.raises(InputError, match="the models have no free parameter"):
            call(own)


@BOTH
def test_no_background_model(backend, datasets, best):
    own = gm.Models([models(datasets.names)["source"]])
    result = run(datasets, own, backend)
    assert result.success
    assert result.total_stat > best[0].total_stat
    expected = models(datasets.names)
    for name in datasets.names:
        expected[f"{name}-bkg"].spectral_model.freeze()
    assert run(datasets, expected).total_stat == pytest.approx(result.total_stat, abs=1e-3)


def test_no_model_at_all(datasets):
    with pytest.raises(InputError, match="no models to fit"):
        gm.Fit(datasets).run(gm.Models())


@BOTH
def test_background_norm_of_two_datasets(backend, datasets, best):
    own = models(datasets.names)
    norm = own["run-0-bkg"].spectral_model.norm
    own["run-1-bkg"].spectral_model.norm = norm
    result = run(datasets, own, backend)
    assert result.success
    assert own["run-1-bkg"].spectral_model.norm is norm
    first, second = (best[1].parameters[f"run-{i}-bkg.spectral.norm"] for i in (0, 1))
    weights = np.array([first.error, second.error]) ** -2.0
    mean = np.average([first.value, second.value], weights=weights)
    assert norm.value == pytest.approx(mean, abs=0.1 * norm.error)
    assert norm.error == pytest.approx(weights.sum() ** -0.5, rel=0.05)
    apart = (first.value - second.value) ** 2 / (first.error**2 + second.error**2)
    assert result.total_stat - best[0].total_stat == pytest.approx(apart, rel=0.1, abs=ENOUGH)


@BOTH
def test_tilts_of_the_background(backend, datasets, best):
    own = models(datasets.names)
    for name in datasets.names:
        own.parameters[f"{name}-bkg.spectral.tilt"].frozen = False
    result = run(datasets, own, backend)
    assert result.success
    assert result.total_stat < best[0].total_stat
    assert all(own.parameters[f"{name}-bkg.spectral.tilt"].error > 0 for name in datasets.names)


@pytest.mark.parametrize("passes", [1, 2, 3])
def test_not_enough_passes(passes, datasets):
    own = models(datasets.names)
    own.parameters["index"].value = 3.5
    result = run(datasets, own, max_passes=passes)
    assert not result.success
    assert "largest number of passes" in result.message
    assert result.passes == passes


@pytest.mark.parametrize("passes", [1, 2, 3, 5, 8])
def test_not_enough_passes_for_minuit(passes, datasets, best):
    own = models(datasets.names)
    own.parameters["index"].value = 2.9
    result = run(datasets, own, "minuit", max_passes=passes)
    assert not result.success or result.total_stat < best[0].total_stat + ENOUGH


@pytest.mark.parametrize("passes", [2, 5])
def test_minuit_takes_no_more_passes(passes, datasets):
    own = models(datasets.names)
    own.parameters["index"].value = 2.9
    assert run(datasets, own, "minuit", max_passes=passes).passes <= passes


@pytest.mark.parametrize("factor", [0.01, 0.3, 3.0, 30.0])
def test_amplitude_far_from_the_truth(factor, datasets, best):
    own = models(datasets.names)
    own.parameters["amplitude"].value *= factor
    result = run(datasets, own)
    assert result.success
    assert result.total_stat == pytest.approx(best[0].total_stat, abs=1e-3)


def test_no_kink_without_positions(datasets):
    own = models(datasets.names)
    own["source"].spatial_model.freeze()
    own.append(own["source"].copy(name="twin"))
    assert "kink" not in run(datasets, own).message


def test_a_model_without_parameters(datasets):
    own = models(datasets.names)
    own["source"].spatial_model = gm.models.ConstantFluxSpatialModel()
    result = run(datasets, own, max_passes=2)
    assert result.total_stat == datasets.stat_sum()


def test_good_minimum_at_a_limit_is_confirmed(shared):
    folder = shared / "data" / "crab"
    own = gm.Models.read(folder / "models_start.yaml")
    own.parameters["alpha"].min, own.parameters["alpha"].max = 2.0, 2.3
    own.parameters["beta"].min, own.parameters["beta"].max = -0.5, 0.5
    own.parameters["alpha"].value = 2.2
    datasets = gm.Datasets.read(folder / "datasets.yaml")
    datasets.set_response("gammapy")  # ten times as fast here
    result = run(datasets, own)
    assert result.edm < 1e-5
    assert result.success, result.message


def test_events(datasets):
    events = []
    own = models(datasets.names)
    result = run(datasets, own, on_event=events.append)
    assert [event for event in events if isinstance(event, CompileEnd)] == [CompileEnd(3, 1)]
    compiled = [event for event in events if isinstance(event, DatasetsProgress)]
    assert compiled[-1] == DatasetsProgress("compile", 3, 3)
    passes = [event for event in events if isinstance(event, FitPass)]
    assert events.index(compiled[-1]) < events.index(passes[0])
    assert [event.number for event in passes] == list(range(1, result.passes + 1))
    assert passes[-1].best == min(event.stat for event in passes)
    assert events[-1] == FitEnd(True, result.message, result.passes)
    assert json.loads(json.dumps(result.to_dict()))["total_stat"] == result.total_stat
    assert "converged" in str(result)
    assert "source.spectral.index" in result._repr_html_()


@BOTH
@pytest.mark.parametrize("limit", [2.02, 2.3])
@pytest.mark.parametrize("linked", [False, True])
def test_a_model_that_is_no_number_somewhere(backend, limit, linked, datasets):
    """The fit turns back there, ends with a finite value, and does not call it a success."""
    own = models(datasets.names)
    position = own["source"].spatial_model
    own["source"] = gm.SkyModel(EdgeSpectralModel(limit=limit), position, name="source")
    if linked:
        for name in datasets.names[1:]:
            own[f"{name}-bkg"].spectral_model.norm = own[1].spectral_model.norm
    result = gm.Fit(datasets, backend=backend, max_passes=60).run(own)
    assert np.isfinite(result.total_stat)
    assert own.parameters["index"].value < limit
    assert result.total_stat == datasets.stat_sum()
    assert not result.success


def test_refused(datasets):
    own = models(datasets.names)
    before = json.dumps(own.to_dict())
    with pytest.raises(InputError, match="'simplex'"):
        gm.Fit(datasets, backend="simplex")
    with pytest.raises(InputError, match="max_passes is 0"):
        gm.Fit(datasets, max_passes=0)
    with pytest.raises(InputError, match="no datasets"):
        gm.Fit(gm.Datasets([])).run(own)
    with_models(datasets)
    stat = datasets.stat_sum()
    with pytest.raises(UnknownNameError, match="'other'"):
        gm.Fit(datasets).run(models([*datasets.names, "other"]))
    assert datasets.stat_sum() == stat
    assert json.dumps(own.to_dict()) == before


def test_models_as_a_list(datasets):
    with pytest.raises(InputError, match="list"):
        gm.Fit(datasets).run(list(models(datasets.names)))


def test_same_fit_again(datasets, best):
    own = models(datasets.names)
    assert bits(run(datasets, own), own) == bits(*best)
