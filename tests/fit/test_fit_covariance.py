"""Errors and covariance: of shared and local parameters, and apart from a fit."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import gmdask as gm
from gmdask.evaluation.joint_likelihood import Objective
from gmdask.evaluation.passes import SecondOrderPass
from gmdask.fit.uncertainty import uncertainty
from gmdask.models.io import read_write
from gmdask.optimize.problem import Problem
from tests.datasets.synthetic import models
from tests.fit.problems import bits, numeric_hessian


def with_tilts(own):
    for model in own:
        if isinstance(model, gm.BackgroundIRFModel):
            model.spectral_model.tilt.frozen = False
    return own


def test_apart_from_the_fit(datasets):
    own = models(datasets.names)
    result = gm.Fit(datasets).run(own)
    again = own.copy()
    for parameter in again.parameters:
        parameter.error = 0.0
    other = gm.Fit(datasets).covariance(again)
    assert bits(other, again) == bits(result, own)
    assert other.passes == 0


def test_optimize_leaves_errors(datasets):
    own, run = models(datasets.names), models(datasets.names)
    own.parameters["index"].error = 0.7
    result = gm.Fit(datasets).optimize(own)
    assert result.covariance is None
    assert result.success
    assert own.parameters["index"].error == 0.7
    gm.Fit(datasets).run(run)
    np.testing.assert_array_equal(own.parameters.value, run.parameters.value)


def test_values_stay_where_they_are(datasets):
    own = models(datasets.names)
    own.parameters["run-0-bkg.spectral.norm"].value = 1.2
    datasets.set_models(own)
    before, stat = own.parameters.value, datasets.stat_sum()
    result = gm.Fit(datasets).covariance(own)
    np.testing.assert_array_equal(own.parameters.value, before)
    assert result.total_stat == stat


def with_shared_norms(datasets, own):
    """The same likelihood with all background parameters shared: linked to datasets without bins."""
    everything, all_models = list(datasets), list(own)
    for dataset in datasets:
        name = f"{dataset.name}-dummy"
        cube = dataset.cube.load().copy()
        cube["mask_safe"] = cube["mask_safe"] & False
        everything.append(gm.MapDataset(cube.assign_attrs(name=name)))
        spectral = own[f"{dataset.name}-bkg"].spectral_model
        dummy = gm.BackgroundIRFModel(dataset_name=name)
        dummy.spectral_model.norm, dummy.spectral_model.tilt = spectral.norm, spectral.tilt
        all_models.append(dummy)
    return gm.Datasets(everything), gm.Models(all_models)


@pytest.mark.parametrize("tilts", [False, True])
def test_local_parameters_made_shared(tilts, datasets):
    own = with_tilts(models(datasets.names)) if tilts else models(datasets.names)
    result = gm.Fit(datasets).run(own)
    everything, linked = with_shared_norms(datasets, own.copy())
    objective = Objective(everything, linked)
    assert not objective.parameters.local.any()
    objective.close()
    other = gm.Fit(everything).covariance(linked)
    names = own.parameters.names
    at = [linked.parameters.names.index(name) for name in names]
    error = own.parameters.error
    scale = np.where(error > 0, error, 1.0)
    expected = other.covariance.data[np.ix_(at, at)]
    np.testing.assert_allclose(
        result.covariance.data / np.outer(scale, scale),
        expected / np.outer(scale, scale),
        atol=1e-7,
    )
    assert other.total_stat == pytest.approx(result.total_stat, abs=1e-9)
    # and a fit of them all comes to the same
    start = with_tilts(models(datasets.names)) if tilts else models(datasets.names)
    everything, linked = with_shared_norms(datasets, start)
    fitted = gm.Fit(everything).run(linked)
    assert fitted.total_stat == pytest.approx(result.total_stat, abs=1e-3)
    apart = np.array([linked.parameters[name].value for name in names]) - own.parameters.value
    assert (np.abs(apart) <= 0.05 * error).all()


def test_inverse_of_the_numeric_hessian(datasets):
    own = models(datasets.names)
    result = gm.Fit(datasets).run(own)
    datasets.set_models(own)
    objective = Objective(datasets, own)
    assert objective.parameters.local.sum() == 3
    point = objective(objective.parameters.start, order=2)
    steps = 1e-3 * own.parameters.error[objective.parameters.shared]
    hessian = numeric_hessian(objective, point, objective.parameters.start, steps)
    objective.close()
    scale = np.outer(
        own.parameters.error[objective.parameters.shared],
        own.parameters.error[objective.parameters.shared],
    )
    np.testing.assert_allclose(point.observed * scale, hessian * scale, atol=1e-5)
    found = result.covariance.data[np.ix_(objective.parameters.shared, objective.parameters.shared)]
    np.testing.assert_allclose(found / scale, 2 * np.linalg.inv(hessian) / scale, atol=1e-4)


def test_covariance_is_one(datasets):
    own = with_tilts(models(datasets.names))
    matrix = gm.Fit(datasets).run(own).covariance.data
    np.testing.assert_array_equal(matrix, matrix.T)
    free = ~own.parameters.frozen
    assert (
        np.linalg.eigvalsh(matrix[np.ix_(free, free)] / np.outer(*[own.parameters.error[free]] * 2))
        > 0
    ).all()
    np.testing.assert_allclose(np.sqrt(np.diag(matrix)), own.parameters.error, rtol=1e-12)


def test_inverse_of_the_full_analytic_hessian(datasets):
    """Profile errors and the covariance in blocks, against one matrix over all free parameters."""
    own = with_tilts(models(datasets.names))
    result = gm.Fit(datasets).run(own)
    everything, linked = with_shared_norms(datasets, own.copy())
    objective = Objective(everything, linked)
    full = objective(objective.parameters.start, order=2, profile=False)
    names = [linked.parameters.names[i] for i in objective.parameters.shared]
    objective.close()
    scale = np.sqrt(np.diag(full.observed))
    expected = 2 * np.linalg.inv(full.observed / np.outer(scale, scale)) / np.outer(scale, scale)
    at = [own.parameters.names.index(name) for name in names]
    assert len(at) == 4 + 2 * len(datasets)
    errors = np.sqrt(np.diag(expected))
    np.testing.assert_allclose(own.parameters.error[at], errors, rtol=1e-6)
    found = result.covariance.data[np.ix_(at, at)]
    np.testing.assert_allclose(
        found / np.outer(errors, errors), expected / np.outer(errors, errors), atol=1e-6
    )


def test_in_blocks(datasets, tmp_path, monkeypatch, caplog):
    own, many = with_tilts(models(datasets.names)), with_tilts(models(datasets.names))
    expected = gm.Fit(datasets).run(own).covariance
    monkeypatch.setattr("gmdask.fit.uncertainty.DENSE", 5)
    monkeypatch.setattr(read_write, "TABLE_LIMIT", 5)
    found = gm.Fit(datasets).run(many).covariance
    assert expected.blocks is None
    assert len(found.blocks.blocks) == len(datasets)
    error = np.where(own.parameters.error > 0, own.parameters.error, 1.0)
    np.testing.assert_allclose(many.parameters.error, own.parameters.error, rtol=1e-12)
    np.testing.assert_allclose(
        found.data / np.outer(error, error), expected.data / np.outer(error, error), atol=1e-12
    )
    cross = ["run-0-bkg.spectral.norm", "run-2-bkg.spectral.tilt"]  # of two datasets
    np.testing.assert_allclose(
        found.get_subcovariance(cross).data, expected.get_subcovariance(cross).data, rtol=1e-9
    )
    many.write(tmp_path / "models.yaml")
    assert "in blocks" in caplog.text
    again = gm.Models.read(tmp_path / "models.yaml")
    np.testing.assert_array_equal(again.covariance.data, found.data)
    np.testing.assert_array_equal(again.parameters.error, many.parameters.error)


def test_local_parameter_at_a_limit_in_blocks(datasets, monkeypatch):
    monkeypatch.setattr("gmdask.fit.uncertainty.DENSE", 5)
    own = with_tilts(models(datasets.names))
    tilt = own["run-1-bkg"].spectral_model.tilt
    tilt.min, tilt.value = 0.3, 0.4
    result = gm.Fit(datasets).run(own)
    assert result.success, result.message
    assert tilt.value == 0.3
    assert "run-1-bkg.spectral.tilt" in result.message
    assert tilt.error == 0
    assert own["run-1-bkg"].spectral_model.norm.error > 0


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (np.eye(2), [False] * 4),
        (np.diag([1.0, -0.2]), [False, False, True, True]),
        (np.array([[1.0, 2.0], [2.0, 1.0]]), [False, False, True, True]),
    ],
)
def test_a_rough_model_keeps_its_errors_to_itself(block, expected):
    gauss_newton = np.array([[4.0, 1, 0.5, 0], [1, 3, 0, 0], [0.5, 0, 2, 0.3], [0, 0, 0.3, 1]])
    observed = gauss_newton + np.diag([0.4, 0.3, 0, 0])
    observed[2:, 2:] = block
    limits = np.full(4, -np.inf), np.full(4, np.inf)
    none = np.zeros(4, dtype=bool)
    parameters = SimpleNamespace(
        limits=lambda: limits, shared=np.arange(4), free=~none, sizes=none, even=none,
        flat_angles=lambda _: none, turned_round=lambda _: none,
    )  # fmt: skip
    problem = Problem(*limits, blocks=np.array([0, 0, 1, 1]))
    objective = SimpleNamespace(parameters=parameters, problem=lambda: problem)
    x = np.zeros(4)
    floors = np.zeros(1, dtype=int)
    point = SecondOrderPass(x, x, 0.0, np.zeros(1), floors, x, gauss_newton, observed, [])
    found = uncertainty(objective, point)
    assert found.stand_in.tolist() == expected
    used = np.where(np.outer(expected, np.ones(4)) + expected > 0, gauss_newton, observed)
    np.testing.assert_allclose(found.matrix.to_dense(), 2 * np.linalg.inv(used), rtol=1e-12)
