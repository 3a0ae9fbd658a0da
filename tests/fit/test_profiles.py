"""Intervals, profiles and contours against Gammapy's on one run, and by their meaning."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import gmdask as gm
from gmdask.errors import InputError

pytestmark = pytest.mark.gammapy_response


@pytest.fixture(scope="module")
def theirs(shared):
    """One run with Gammapy, at its minimum, the position being fixed."""
    from gammapy.datasets import Datasets
    from gammapy.modeling import Fit
    from gammapy.modeling.models import Models

    folder = shared / "data" / "pks2155"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        datasets = Datasets(Datasets.read(folder / "datasets.yaml")[:1])
        models = Models.read(folder / "models_best.yaml")
        datasets.models = Models([models["pks2155"], models["hess-47802-bkg"]])
        datasets.models["pks2155"].spatial_model.freeze()
        fit = Fit()
        fit.run(datasets)
    return fit, datasets


@pytest.fixture(scope="module")
def ours(shared, theirs):
    folder = shared / "data" / "pks2155"
    datasets = gm.Datasets.read(folder / "datasets.yaml")[:1]
    models = gm.Models.read(folder / "models_best.yaml")
    models = gm.Models([models["pks2155"], models["hess-47802-bkg"]])
    models["pks2155"].spatial_model.freeze()
    gm.Fit(datasets).run(models)
    return gm.Fit(datasets), datasets, models


INDEX, AMPLITUDE = "pks2155.spectral.index", "pks2155.spectral.amplitude"
NORM = "hess-47802-bkg.spectral.norm"


@pytest.mark.parametrize("name", [INDEX, NORM])
def test_confidence_against_gammapy(ours, theirs, name):
    fit, _, models = ours
    their_fit, their_datasets = theirs
    names = their_datasets.models.parameters_unique_names
    parameter = their_datasets.models.parameters[names.index(name)]
    expected = their_fit.confidence(their_datasets, parameter)
    before = models.to_dict()
    found = fit.confidence(models, name)
    assert models.to_dict() == before
    assert found["success"]
    for key in ("errp", "errn"):
        assert found[key] == pytest.approx(expected[key], rel=0.005)


@pytest.mark.parametrize("reoptimize", [False, True])
def test_profile_against_gammapy(ours, theirs, reoptimize):
    fit, _, models = ours
    their_fit, their_datasets = theirs
    parameter = their_datasets.models["pks2155"].spectral_model.index
    parameter.scan_values = values = parameter.value + np.array([-0.4, 0.0, 0.5])
    expected = their_fit.stat_profile(their_datasets, parameter, reoptimize=reoptimize)
    # without, the others stay at the values of each
    if not reoptimize:
        models = models.copy()
        for p, value in zip(models.parameters, their_datasets.models.parameters.value, strict=True):
            p.value = value
    found = fit.stat_profile(models, INDEX, values, reoptimize=reoptimize)
    np.testing.assert_array_equal(found[f"{INDEX}_scan"], values)
    np.testing.assert_allclose(found["stat_scan"], expected["stat_scan"], atol=2e-3, rtol=0)


def test_contour_lies_where_the_profile_has_risen(ours, theirs):
    fit, datasets, models = ours
    found = fit.stat_contour(models, INDEX, AMPLITUDE, numpoints=6, sigma=2)
    assert found["success"]
    datasets.follow(models)
    best = datasets.stat_sum()
    for x, y in zip(found[INDEX][:2], found[AMPLITUDE][:2], strict=True):
        surface = fit.stat_surface(models, INDEX, AMPLITUDE, [x], [y], reoptimize=True)
        assert surface["stat_scan"][0, 0] - best == pytest.approx(4, abs=1e-3)
    their_fit, their_datasets = theirs
    spectrum = their_datasets.models["pks2155"].spectral_model
    expected = their_fit.stat_contour(
        their_datasets, spectrum.index, spectrum.amplitude, numpoints=4, sigma=1
    )
    for x, y in zip(expected[INDEX], expected[AMPLITUDE], strict=True):
        surface = fit.stat_surface(models, INDEX, AMPLITUDE, [x], [y], reoptimize=True)
        assert surface["stat_scan"][0, 0] - best == pytest.approx(1, abs=0.02)


def test_points_in_flight_together_have_the_same_bits(survey_store, two_workers):
    datasets, models = gm.Datasets.read(survey_store), gm.Models([
        gm.SkyModel(
            gm.PowerLawSpectralModel(index=2.3, amplitude="2e-12 cm-2 s-1 TeV-1"),
            gm.PointSpatialModel(lon_0="83.63 deg", lat_0="22.01 deg", frame="icrs"),
            name="source",
        )
    ])  # fmt: skip
    models["source"].spatial_model.freeze()
    gm.Fit(datasets).run(models)
    here = gm.Fit(datasets).stat_profile(models, "source.spectral.index", reoptimize=True)
    there = gm.Fit(datasets, two_workers).stat_profile(
        models, "source.spectral.index", reoptimize=True
    )
    np.testing.assert_array_equal(here["stat_scan"], there["stat_scan"])
    assert here["stat_scan"].argmin() == 5


def test_a_limit_ends_an_interval(ours):
    fit, _, models = ours
    models = models.copy()
    index = models.parameters[INDEX]
    index.max = index.value + 0.1 * index.error
    found = fit.confidence(models, INDEX)
    assert np.isnan(found["errp"])
    assert found["errn"] > 0
    assert not found["success"]
    assert "limit" in found["message"]


def test_what_is_refused(ours):
    fit, _, models = ours
    with pytest.raises(InputError, match="frozen"):
        fit.confidence(models, "pks2155.spectral.reference")
    with pytest.raises(InputError, match="same"):
        fit.stat_contour(models, INDEX, INDEX)
    with pytest.raises(InputError, match="sigma"):
        fit.confidence(models, INDEX, sigma=-1)
    with pytest.raises(InputError, match="shape"):
        fit.stat_profile(models, INDEX, [[1.0]])
