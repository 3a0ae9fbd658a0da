"""The posterior density: against Gammapy's statistic, finite differences, and integrals by brute force."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import gmdask as gm
from gmdask.errors import FitError, InputError
from gmdask.models import GaussianPrior, GaussianSpatialModel
from tests.datasets.synthetic import gammapy_models, models

STEP = 0.003
AMPLITUDE, NORM = "source.spectral.amplitude", "run-0-bkg.spectral.norm"


@pytest.fixture
def fitted(datasets):
    """Two runs, with free tilts, priors and values a little off the minimum."""
    own = models(datasets.names[:2])
    for name in datasets.names[:2]:
        own[f"{name}-bkg"].spectral_model.tilt.frozen = False
    own["source"].spectral_model.index.prior = GaussianPrior(2.0, 0.1)
    own[f"{datasets.names[0]}-bkg"].spectral_model.norm.prior = GaussianPrior(1.1, 0.05)
    return gm.Fit(datasets[:2]), own


def slopes(density, at, widths):
    """Central differences of fourth order of fresh values."""
    found = []
    for k, width in enumerate(widths):
        step = np.zeros(len(at))
        step[k] = STEP * width
        values = [density(at + factor * step)[0] for factor in (1, -1, 2, -2)]
        found.append((8 * (values[0] - values[1]) - (values[2] - values[3])) / (12 * step[k]))
    return np.array(found)


@pytest.mark.gammapy_response
def test_value_is_minus_half_the_statistic_of_gammapy(survey, datasets):
    from gammapy.datasets import Datasets

    own = models(datasets.names)
    own["source"].spectral_model.index.prior = GaussianPrior(2.0, 0.1)
    with gm.Fit(datasets, response="gammapy").log_density(own) as density:
        assert density.names[0] == "source.spectral.index"
        assert len(density) == len(own.parameters.free) == 7
        values = density.start * [1.02, 0.9, 1 + 1e-5, 1 - 1e-5, 1.1, 0.9, 1.0]
        value, _ = density(values)
    for name, number in zip(density.names, values, strict=True):
        own.parameters[name].value = number
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gammapy's own
        theirs = Datasets.read(survey)
        theirs.models = gammapy_models(own)
        expected = theirs.stat_sum()
    assert value == pytest.approx(-0.5 * expected, abs=1e-3)


@pytest.mark.parametrize("nuisances", ["sampled", "marginalised"])
def test_gradient(fitted, nuisances):
    fit, own = fitted
    with fit.log_density(own, nuisances) as density:
        assert len(density) == (8 if nuisances == "sampled" else 4)
        widths = 1 / np.sqrt(-np.diag(curvature(density)))
        at = density.start + widths * np.linspace(-1, 1, len(density))
        _, gradient = density(at)
        expected = slopes(density, at, widths)
        np.testing.assert_allclose(gradient * widths, expected * widths, atol=2e-7)


def test_gradient_with_a_norm_on_the_sky(datasets):
    """Norm, tilt and a place of the background are integrated over: its counts are not linear in them."""
    run = datasets[0]
    norm = GaussianSpatialModel(lon_0=83.6, lat_0=22.0, sigma=2.0, frame="icrs")
    norm.freeze()
    norm.parameter("lat_0").frozen = False
    background = gm.BackgroundIRFModel(dataset_name=run.name, spatial_model=norm)
    background.spectral_model.tilt.frozen = False
    own = gm.Models([models([run.name])["source"], background])
    own["source"].spatial_model.freeze()
    fit = gm.Fit(run)
    fit.optimize(own)
    with fit.log_density(own, "marginalised") as density:
        assert len(density) == 2
        widths = 1 / np.sqrt(-np.diag(curvature(density)))
        at = density.start + 0.7 * widths * [1, -1]
        expected = slopes(density, at, widths)
        np.testing.assert_allclose(density(at)[1] * widths, expected * widths, atol=5e-7)


def curvature(density):
    """Second derivatives of the log density, approximately."""
    return -0.5 * density.curvature().hessian


def test_marginal_is_the_integral_over_norm_and_tilt(datasets):
    """Of a dataset with few counts, where it is not the profile; the error of the method is one over their number."""
    run = datasets[0]
    few = run.cube.load()
    rng = np.random.default_rng(3)
    counts = few["counts"].copy(data=rng.binomial(few["counts"].values.astype(int), 0.04))
    cube = few.assign(
        counts=counts.astype("f4"), background=0.04 * few["background"], exposure=0.04 * few["exposure"]
    )  # fmt: skip
    fit, own = gm.Fit(gm.MapDataset(cube)), models([run.name])
    tilt = own[f"{run.name}-bkg"].spectral_model.tilt
    tilt.frozen = False
    own["source"].spatial_model.freeze()
    profile = gm.Fit(gm.MapDataset(cube)).optimize(own).total_stat
    with fit.log_density(own, "marginalised") as density:
        widths = 1 / np.sqrt(-np.diag(curvature(density)))
        points = [density.start, density.start + widths * [0.7, -1.0]]
        found = np.array([density(point)[0] for point in points])
        _, gradient = density(points[1])
        expected = slopes(density, points[1], widths)
        np.testing.assert_allclose(gradient * widths, expected * widths, atol=2e-7)
    assert abs(found[0] - -0.5 * profile) > 1
    with fit.log_density(own) as density:
        assert density.names[2:] == (f"{run.name}-bkg.spectral.tilt", NORM)
        norms, tilts = np.linspace(0.4, 1.8, 21), tilt.value + np.linspace(-1, 1, 21)
        integral = []
        for point in points:
            logs = np.array([
                value for value, _ in density.several([np.array([*point, y, x]) for x in norms for y in tilts])
            ])  # fmt: skip
            top = logs.max()
            cell = (norms[1] - norms[0]) * (tilts[1] - tilts[0])
            integral.append(top + np.log(np.exp(logs - top).sum() * cell))
    np.testing.assert_allclose(found, integral, atol=0.03)
    # that the determinant changes from point to point is seen, too
    assert found[1] - found[0] == pytest.approx(integral[1] - integral[0], abs=2e-3)


def test_density_is_zero_beyond_limits(fitted):
    fit, own = fitted
    own.parameters[AMPLITUDE].min = 0.0
    with fit.log_density(own) as density:
        at = density.start.copy()
        at[density.names.index(AMPLITUDE)] = -1e-15
        value, gradient = density(at)
        assert value == -np.inf
        assert not gradient.any()
        at = density.start.copy()
        at[density.names.index(NORM)] = -0.1  # a background is not negative
        assert density(at)[0] == -np.inf
        with pytest.raises(InputError, match=r"shape \(3,\), expected \(8,\)"):
            density(at[:3])


def test_models_are_not_changed_and_do_not_change_it(fitted):
    fit, own = fitted
    before = own.to_dict()
    with fit.log_density(own, "marginalised") as density:
        first = density(density.start)[0]
        assert own.to_dict() == before
        own.parameters[AMPLITUDE].value *= 2
        own.parameters[NORM].value *= 2
        assert density(density.start)[0] == first


def test_unknown_treatment_of_nuisances_is_refused(fitted):
    fit, own = fitted
    with pytest.raises(InputError, match="nuisances is 'profiled', expected one of sampled, marg"):
        fit.log_density(own, "profiled")


def test_a_nuisance_at_its_limit_is_not_marginalised(fitted):
    fit, own = fitted
    own.parameters[NORM].prior = None
    own.parameters[NORM].max = own.parameters[NORM].value = 0.3
    refused = pytest.raises(FitError, match=f"{NORM} is at a limit")
    with fit.log_density(own, "marginalised") as density, refused:
        density.curvature()


def test_same_bits_on_workers(survey_store, fitted, two_workers):
    fit, own = fitted
    there = gm.Fit(gm.Datasets.read(survey_store)[:2], two_workers)
    for nuisances in ("sampled", "marginalised"):
        with fit.log_density(own, nuisances) as here, there.log_density(own, nuisances) as far:
            points = [here.start, here.start * (1 + 1e-6)]
            for one, other in zip(here.several(points), far.several(points), strict=True):
                assert one[0] == other[0]
                np.testing.assert_array_equal(one[1], other[1])
