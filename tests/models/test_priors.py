"""Priors: values of Gammapy, derivatives, counted once, both ways through YAML."""

import math

import numpy as np
import pytest
from gammapy.modeling import Parameter as GammapyParameter
from gammapy.modeling.models import PRIOR_REGISTRY
from gammapy.modeling.models import Models as GammapyModels
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from gmdask.datasets import to_gammapy
from gmdask.errors import GmdaskError, ModelError
from gmdask.models import (
    GaussianPrior,
    GeneralizedGaussianPrior,
    LogNormalPrior,
    LogUniformPrior,
    Models,
    PowerLawSpectralModel,
    SkyModel,
    UniformPrior,
)

PRIORS = [
    GaussianPrior(mu=2.3, sigma=0.2),
    GaussianPrior(mu=-1, sigma=3, weight=0.5),
    GeneralizedGaussianPrior(mu=2, sigma=0.4, eta=0.25),
    GeneralizedGaussianPrior(mu=2, sigma=0.4),
    GeneralizedGaussianPrior(mu=2, sigma=0.4, eta=1, weight=2),
    UniformPrior(min=-1, max=4),
    LogUniformPrior(min=1e-3, max=10, weight=3),
]


def gammapy(prior):
    numbers = {name: getattr(prior, name) for name in prior.names}
    return PRIOR_REGISTRY.get_cls(prior.tag[0])(**numbers, weight=prior.weight)


@pytest.mark.parametrize("prior", PRIORS, ids=repr)
def test_values_and_derivatives(prior):
    rng = np.random.default_rng(1)
    theirs = gammapy(prior)
    for value in rng.uniform(0.01, 3.9, 200):
        stat, first, second = prior.derivatives(value)
        assert stat == pytest.approx(theirs(GammapyParameter("x", value)), rel=1e-12)
        assert prior(value) == stat
        if abs(value - 2) < 0.01:
            continue
        h = 1e-4 * value
        slope = (prior(value + h) - prior(value - h)) / (2 * h)
        assert first == pytest.approx(slope, rel=1e-5, abs=1e-5)
        slopes = [prior.derivatives(value + s * h)[1] for s in (1, -1)]
        assert second == pytest.approx((slopes[0] - slopes[1]) / (2 * h), rel=1e-4, abs=1e-5)


def test_lognormal():
    """Density of the logarithm by SciPy; derivatives against differences; zero probability at zero."""
    prior = LogNormalPrior(mu=1.2, sigma=0.3, weight=2)
    for value in (0.4, 1.2, 2.9):
        stat, first, second = prior.derivatives(value)
        expected = -2 * norm.logpdf(math.log(value), math.log(1.2), 0.3)
        assert stat == pytest.approx(2 * expected, rel=1e-13)
        h = 1e-4 * value
        assert first == pytest.approx((prior(value + h) - prior(value - h)) / (2 * h), abs=1e-5)
        slopes = [prior.derivatives(value + s * h)[1] for s in (1, -1)]
        assert second == pytest.approx((slopes[0] - slopes[1]) / (2 * h), rel=1e-5)
    assert prior(0.0) == prior(-1.0) == math.inf
    with pytest.raises(ModelError, match=r"mu is 0\.0, expected a positive"):
        LogNormalPrior(mu=0)
    source = SkyModel(PowerLawSpectralModel(), name="a")
    source.spectral_model.amplitude.prior = prior
    with pytest.raises(GmdaskError):
        to_gammapy(Models([source]))


def test_outside_and_at_the_centre():
    for prior in PRIORS[-2:]:
        low, high = prior.limits
        assert prior(low - 1e-6) == prior(high + 1e-6) == math.inf
        assert math.isfinite(prior(low))
    assert PRIORS[3].derivatives(2.0) == pytest.approx(GaussianPrior(2, 0.4).derivatives(2.0))
    assert PRIORS[2].derivatives(2.0)[1:] == (0, 0)
    assert PRIORS[0].limits == (-math.inf, math.inf)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GaussianPrior(sigma=0), "GaussianPrior: sigma is 0.0, expected a positive"),
        (lambda: GaussianPrior(mu=math.nan), "mu is nan, expected a finite number"),
        (lambda: GaussianPrior(mu="two"), "mu is 'two', expected a finite number"),
        (lambda: UniformPrior(min=2, max=1), r"min 2\.0 is not below max 1\.0"),
        (lambda: LogUniformPrior(min=0), "min is 0.0, expected a positive"),
        (lambda: GaussianPrior(weight=-1), "weight is -1.0, expected none below zero"),
        (lambda: GeneralizedGaussianPrior(eta=-1), "eta is -1.0, expected a positive"),
    ],
)
def test_bad_priors(make, message):
    with pytest.raises(ModelError, match=message):
        make()


def linked():
    first = SkyModel(PowerLawSpectralModel(index=2.2), name="a")
    second = SkyModel(PowerLawSpectralModel(index=first.spectral_model.index), name="b")
    first.spectral_model.index.prior = GaussianPrior(mu=2.3, sigma=0.1)
    second.spectral_model.amplitude.prior = LogUniformPrior(min=1e-14, max=1e-9)
    return Models([first, second])


def test_counted_once_per_parameter():
    models = linked()
    stat, gradient, hessian = models.prior_stat()
    exact = GaussianPrior(mu=2.3, sigma=0.1)(2.2) + LogUniformPrior(min=1e-14, max=1e-9)(1e-12)
    assert stat == pytest.approx(exact)
    assert gradient.shape == hessian.shape == (len(models.parameters),)
    assert gradient[0] == pytest.approx(-20)
    assert hessian[0] == pytest.approx(200)
    k = models.parameters.index("b.spectral.amplitude")
    assert np.flatnonzero(gradient).tolist() == [0, k]
    total = models.prior_sum
    assert len(total) == 2
    assert total.limits()[0][k] == 1e-14
    moved = models.parameters.value
    moved[0] = 2.3
    assert total(moved)[0] < stat
    assert models.for_dataset("x").prior_stat()[0] == stat
    assert models.copy().prior_stat()[0] == stat
    # each of the sharing models counts it in Gammapy
    theirs = GammapyModels.from_dict(models.to_dict())
    twice = sum(p.prior_stat_sum() for p in [theirs.parameters])
    assert twice - stat == pytest.approx(GaussianPrior(mu=2.3, sigma=0.1)(2.2))


@pytest.mark.parametrize("full_output", [False, True])
def test_yaml_both_ways(tmp_path, full_output):
    models = linked()
    for prior, par in zip(PRIORS, models.parameters, strict=False):
        par.prior = prior
    models.write(tmp_path / "ours.yaml", full_output=full_output)
    theirs = GammapyModels.read(tmp_path / "ours.yaml")
    pairs = zip(models.full_names, theirs.parameters, strict=True)
    found = {name: par.prior for name, par in pairs}
    for name, par in zip(models.parameters.names, models.parameters, strict=True):
        assert type(found[name]).__name__ == type(par.prior).__name__
        for key in par.prior.names:
            assert getattr(found[name], key).value == getattr(par.prior, key)
        assert found[name].weight == par.prior.weight
    theirs.write(tmp_path / "theirs.yaml", full_output=full_output, write_covariance=False)
    again = Models.read(tmp_path / "theirs.yaml")
    assert [p.prior for p in again.parameters] == [p.prior for p in models.parameters]


def data_with(prior):
    entry = {"name": "reference", "value": 1, "unit": "TeV", "prior": prior}
    spectral = {"type": "pl", "parameters": [entry]}
    return {"components": [{"name": "a", "type": "SkyModel", "spectral": spectral}]}


def test_units_in_yaml():
    numbers = [{"name": "mu", "value": 900, "unit": "GeV"}, {"name": "sigma", "value": 0.1}]
    models = Models.from_dict(data_with({"type": "GaussianPrior", "parameters": numbers}))
    assert models.parameters["reference"].prior == GaussianPrior(mu=0.9, sigma=0.1)
    numbers[0]["unit"] = "s"
    with pytest.raises(ModelError, match="reference: prior: unit 's' cannot be converted"):
        Models.from_dict(data_with({"type": "GaussianPrior", "parameters": numbers}))
    bad = {"type": "GaussianPrior", "parameters": [{"name": "width", "value": 1}]}
    with pytest.raises(ModelError, match="unknown number 'width', expected mu, sigma"):
        Models.from_dict(data_with(bad))
    with pytest.raises(ModelError, match="prior is 3, expected a mapping"):
        Models.from_dict(data_with(3))


def test_only_priors():
    par = PowerLawSpectralModel().index
    with pytest.raises(ModelError, match="index: prior is 3, expected a prior"):
        par.prior = 3
    par.prior = GaussianPrior()
    par.prior = None


@settings(max_examples=50, deadline=None)
@given(
    mu=st.floats(-1e6, 1e6), sigma=st.floats(1e-6, 1e6), eta=st.floats(0.05, 5),
    weight=st.floats(0, 100), value=st.floats(-1e6, 1e6),
)  # fmt: skip
def test_any_prior_survives(mu, sigma, eta, weight, value):
    models = linked()
    prior = GeneralizedGaussianPrior(mu=mu, sigma=sigma, eta=eta, weight=weight)
    models.parameters[0].prior = prior
    assert Models.from_dict(models.to_dict()).parameters[0].prior == prior
    assert not math.isnan(prior(value)) or weight == 0
