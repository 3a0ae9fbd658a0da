"""Fits of an elongated Gaussian with everything free, and exact derivatives."""

from __future__ import annotations

import numpy as np
import pytest

import gmdask as gm
from gmdask.evaluation.joint_likelihood import Objective
from tests.datasets.synthetic import models
from tests.fit.problems import bits, numeric_gradient, real_models


@pytest.fixture
def extended(extended_store):
    return gm.Datasets.read(extended_store)


def gradient_is_exact(datasets, own, move=0.0):
    """Compare at values that are some errors away from where the response is held."""
    datasets.set_models(own)
    objective = Objective(datasets, own)
    anchor = objective.parameters.start
    point = objective(anchor, order=2)
    error = np.sqrt(2 / np.diag(point.hessian))
    values = objective.parameters.with_shared(point.values, point.shared + move * error)
    point = objective(values, anchor=anchor)
    expected = numeric_gradient(objective, point, anchor, 1e-3 * error)
    objective.close()
    return np.abs(point.gradient - expected) * error


@pytest.mark.parametrize("move", [0.0, 0.3])
def test_gradient(move, extended):
    own = models(extended.names, extended=True)
    assert gradient_is_exact(extended, own, move).max() < 1e-6


def crab_models(shared):
    own = real_models(shared / "data" / "crab")
    shape = gm.GaussianSpatialModel(
        lon_0=83.633, lat_0=22.014, frame="icrs", sigma=0.03, e=0.3, phi=30.0
    )
    shape.e.frozen = shape.phi.frozen = False
    own["crab"].spatial_model = shape
    return own


def test_gradient_on_the_crab(shared):
    datasets = gm.Datasets.read(shared / "data" / "crab" / "datasets.yaml")
    assert gradient_is_exact(datasets, crab_models(shared)).max() < 1e-6


@pytest.mark.slow
def test_fit_of_the_crab(shared):
    """A fifth of a pixel wide, its size and position are hardly told apart."""
    datasets = gm.Datasets.read(shared / "data" / "crab" / "datasets.yaml")
    own = crab_models(shared)
    result = gm.Fit(datasets).run(own)
    assert "converged" in result.message or "response" in result.message
    assert result.total_stat == datasets.stat_sum()
    assert result.total_stat < 58747.37 + 0.1  # of a point
    assert 0 <= own.parameters["crab.spatial.e"].value <= 1
    assert 0 <= own.parameters["crab.spatial.sigma"].value < 0.03
    for name in ("amplitude", "alpha", "beta"):
        point = {"amplitude": 4.6656e-11, "alpha": 2.3768, "beta": 0.1478}[name]
        parameter = own.parameters[name]
        assert abs(parameter.value - point) < 0.2 * parameter.error


def apart(own, first, second):
    """Differences of parameters; an ellipse turned by half a round is the same."""
    difference = first - second
    phi = own.parameters.index("phi")
    difference[phi] = (difference[phi] + 90) % 180 - 90
    return difference


@pytest.mark.parametrize("start", [(0.2, 0.6, 60.0), (0.25, 0.8, 40.0), (0.15, 0.4, 10.0)])
def test_converges_to_the_truth(start, extended):
    own = models(extended.names, extended=True)
    truth = own.parameters.value
    shape = own["source"].spatial_model
    shape.sigma.value, shape.e.value, shape.phi.value = start
    shape.lon_0.value += 0.05
    result = gm.Fit(extended).run(own)
    assert result.success, result.message
    assert (
        result.passes <= 25
    )  # a start that becomes round on the way costs a second one, and angles
    assert result.total_stat == extended.stat_sum()
    free = ~own.parameters.frozen
    assert (own.parameters.error[free] > 0).all(), result.message
    pulls = apart(own, own.parameters.value, truth)[free] / own.parameters.error[free]
    assert np.abs(pulls).max() < 4
    other = models(extended.names, extended=True)
    second = gm.Fit(extended, backend="minuit").run(other)
    assert second.success, second.message
    assert second.total_stat == pytest.approx(result.total_stat, abs=1e-3)
    difference = np.abs(apart(own, other.parameters.value, own.parameters.value))[free]
    assert (difference < 0.05 * own.parameters.error[free]).all()


def test_same_bits_on_workers(extended, one_worker, two_workers):
    found = []
    for client in (None, one_worker, two_workers):
        own = models(extended.names, extended=True)
        found.append(bits(gm.Fit(extended, client).run(own), own))
    assert found[0] == found[1] == found[2]
