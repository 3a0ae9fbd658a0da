"""Priors: once per parameter, in the statistic, the fit and its errors."""

from __future__ import annotations

import numpy as np
import pytest

import gmdask as gm
from gmdask.models import GaussianPrior
from tests.datasets.synthetic import models as make_models

pytestmark = pytest.mark.gammapy_response


def with_priors(names):
    own = make_models(names)
    own["source"].spectral_model.index.prior = GaussianPrior(mu=2.0, sigma=0.02)
    own[f"{names[0]}-bkg"].spectral_model.norm.prior = GaussianPrior(mu=1.2, sigma=0.01)
    return own


def test_priors_pull_and_narrow(datasets):
    free = make_models(datasets.names)
    without = gm.Fit(datasets).run(free)
    own = with_priors(datasets.names)
    result = gm.Fit(datasets).run(own)
    assert result.success, result.message
    for name, (mu, sigma) in {
        "source.spectral.index": (2.0, 0.02),
        f"{datasets.names[0]}-bkg.spectral.norm": (1.2, 0.01),
    }.items():
        alone, both = free.parameters[name], own.parameters[name]
        weights = np.array([alone.error, sigma]) ** -2
        assert abs(both.value - mu) < abs(alone.value - mu)
        assert both.error == pytest.approx(weights.sum() ** -0.5, rel=0.1)
    prior = own.prior_stat()[0]
    assert prior != 0
    assert result.total_stat == pytest.approx(sum(result.stat.values()) + prior, rel=1e-13)
    assert sum(result.stat.values()) > without.total_stat
    assert datasets.stat_sum() == result.total_stat


def test_a_linked_prior_counts_once(datasets):
    own = with_priors(datasets.names)
    twin = own["source"].copy(name="twin")
    twin.spectral_model.index = own["source"].spectral_model.index
    twin.datasets_names = [datasets.names[1]]
    own["source"].datasets_names = [datasets.names[0], datasets.names[2]]
    own.append(twin)
    datasets.set_models(own)
    expected = sum(d.stat_sum() for d in datasets) + own.prior_stat()[0]
    assert datasets.stat_sum() == pytest.approx(expected, rel=1e-13)


def test_agrees_with_gammapy(survey):
    from gammapy.datasets import Datasets
    from gammapy.modeling.models import Models

    datasets = gm.Datasets.read(survey)
    own = with_priors(datasets.names)
    own.write(survey.parent / "priors.yaml", overwrite=True)
    datasets.set_models(own)
    theirs = Datasets.read(survey, checksum=False)
    theirs.models = Models.read(survey.parent / "priors.yaml")
    assert datasets.stat_sum() == pytest.approx(theirs.stat_sum(), abs=0.01)
