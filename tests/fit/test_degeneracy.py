"""Degenerate parameters are told with their direction."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gmdask as gm
from gmdask.evaluation.joint_likelihood import Objective
from gmdask.evaluation.passes import LocalPart
from gmdask.fit.degeneracy import degeneracies, described
from gmdask.likelihood.arrow_hessian import eliminate, local_block
from tests.datasets.synthetic import models


def twins(datasets):
    own = models(datasets.names)
    own["source"].spatial_model.freeze()
    own.append(own["source"].copy(name="twin"))
    own["twin"].spectral_model.amplitude.value *= 0.5
    return own


def test_two_identical_sources(datasets):
    own = twins(datasets)
    own["twin"].spectral_model.index.frozen = own["source"].spectral_model.index.frozen = True
    result = gm.Fit(datasets).run(own)
    (direction,) = result.degeneracies
    assert set(direction) == {"source.spectral.amplitude", "twin.spectral.amplitude"}
    assert sorted(direction.values()) == pytest.approx([-1, 1], abs=1e-6)
    assert "degenerate, and not in the errors: " in result.message
    assert "twin.spectral.amplitude" in result.message
    assert json.loads(json.dumps(result.to_dict()))["degeneracies"] == [direction]


def test_statistic_does_not_feel_the_direction(datasets):
    own = twins(datasets)
    own["twin"].spectral_model.index = own["source"].spectral_model.index
    result = gm.Fit(datasets).run(own)
    (direction,) = result.degeneracies
    datasets.set_models(own)
    objective = Objective(datasets, own)
    point = objective(objective.parameters.start, order=2)
    alone = np.sqrt(2 / np.diag(point.hessian))
    step = np.zeros(len(own.parameters))
    for name, weight in direction.items():
        at = own.parameters.names.index(name)
        step[at] = weight * alone[objective.parameters.shared.tolist().index(at)]
    assert np.abs(step).max() > 0
    assert objective(point.values + step).stat == pytest.approx(point.stat, abs=1e-6)
    one = np.where(np.arange(len(step)) == np.flatnonzero(step)[0], step, 0.0)
    assert objective(point.values + one).stat > point.stat + 0.5
    objective.close()


def test_none_in_an_ordinary_fit(datasets):
    result = gm.Fit(datasets).run(models(datasets.names))
    assert result.degeneracies == []
    assert "degenerate" not in result.message


@given(st.integers(0, 2**32 - 1), st.integers(1, 2), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_null_vectors_of_a_full_hessian(seed, n_flat, n_parts):
    """Shared parameters 0-3 and parts of two local ones: found are the null vectors made."""
    rng = np.random.default_rng(seed)
    n = 4 + 2 * n_parts
    flat = rng.normal(size=(n_flat, n)) * (1 + rng.random(n))
    rows = []  # each depends on the shared parameters and one part, as datasets do
    for part in range(max(n_parts, 1)):
        at = [0, 1, 2, 3, *([4 + 2 * part, 5 + 2 * part] if n_parts else [])]
        jacobian = rng.normal(size=(12, len(at)))
        null = np.linalg.qr(flat[:, at].T)[0]
        full = np.zeros((12, n))
        full[:, at] = jacobian - (jacobian @ null) @ null.T
        rows.append(full)
    scale = 10.0 ** rng.uniform(-3, 3, size=n)
    jacobians = [full * scale for full in rows]
    hessian = sum(jacobian.T @ jacobian for jacobian in jacobians)
    profile, parts = np.zeros((4, 4)), []
    for part, jacobian in enumerate(jacobians):
        index = np.array([4 + 2 * part, 5 + 2 * part] if n_parts else [], dtype=np.intp)
        at = np.r_[0:4, index]
        own = (jacobian.T @ jacobian)[np.ix_(at, at)]
        local = np.arange(len(at)) >= 4
        block = local_block(own, local, np.ones(len(at), dtype=bool))
        profile += eliminate(np.zeros(len(at)), own, local, block)[1]
        if n_parts:
            parts.append(LocalPart(index, np.arange(4), block))
    objective = SimpleNamespace(parameters=SimpleNamespace(
        shared=np.arange(4), limits=lambda: (np.full(4, -np.inf), np.full(4, np.inf))
    ))  # fmt: skip
    point = SimpleNamespace(hessian=profile, shared=np.zeros(4), local=parts)
    names = [f"p{i}" for i in range(n)]
    found = degeneracies(objective, point, names)
    assert len(found) == n_flat
    alone = 1 / np.sqrt(np.diag(hessian))
    local_alone = np.concatenate([np.sqrt(np.diag(part.block.inverse)) for part in parts] or [[]])
    alone[4:] = local_alone
    for direction in found:
        assert max(map(abs, direction.values())) == 1
        step = np.array([direction.get(name, 0.0) for name in names]) * alone
        size = np.linalg.norm(step * np.sqrt(np.diag(hessian)))
        assert step @ hessian @ step < 0.05 * size**2  # small weights are left out


def test_in_words():
    text = described({"a": 1.0, "b": -0.5, "c": 0.2, "d": 0.2, "e": 0.1})
    assert text == "+1.00 a -0.50 b +0.20 c +0.20 d and 1 more"
