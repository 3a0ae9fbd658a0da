"""Covariance of single models and components, and samples drawn from it, against Gammapy."""

from __future__ import annotations

import copy
import pickle

import gammapy.modeling.models as theirs
import numpy as np
import pytest

from gmdask.errors import InputError
from gmdask.models import (
    Block,
    BlockMatrix,
    CompoundSpectralModel,
    Models,
    PointSpatialModel,
    PowerLawNormSpectralModel,
    PowerLawSpectralModel,
    SkyModel,
)


def _matrix(size: int, free: list[int]) -> np.ndarray:
    """Positive definite over the free parameters, zero elsewhere."""
    root = np.random.default_rng(3).normal(size=(len(free), len(free)))
    matrix = np.zeros((size, size))
    matrix[np.ix_(free, free)] = root @ root.T + np.eye(len(free))
    return matrix


def _sources() -> tuple[SkyModel, theirs.SkyModel]:
    ours = SkyModel(PowerLawSpectralModel(), PointSpatialModel(), name="a")
    gammapys = theirs.SkyModel(theirs.PowerLawSpectralModel(), theirs.PointSpatialModel(), name="a")
    return ours, gammapys


def test_covariance_of_a_component_is_passed_on_to_its_models() -> None:
    ours, gammapys = _sources()
    ours.covariance = gammapys.covariance = _matrix(5, [0, 1, 3, 4])
    for kind in ("spectral_model", "spatial_model"):
        expected = getattr(gammapys, kind).covariance.data
        np.testing.assert_allclose(getattr(ours, kind).covariance.data, expected, rtol=1e-14)
    np.testing.assert_array_equal(ours.parameters.error, [par.error for par in gammapys.parameters])


def test_covariance_of_a_model_shows_in_its_component_and_in_all_models() -> None:
    ours, gammapys = _sources()
    ours.spectral_model.covariance = gammapys.spectral_model.covariance = _matrix(3, [0, 1])
    np.testing.assert_allclose(ours.covariance.data, gammapys.covariance.data, rtol=1e-14)
    other = SkyModel(PowerLawSpectralModel(), name="b")
    other.spectral_model.index.error = 0.5
    expected = np.zeros((8, 8))
    expected[:5, :5], expected[5, 5] = ours.covariance.data, 0.25
    np.testing.assert_array_equal(Models([ours, other]).covariance.data, expected)


def test_a_parameter_with_a_new_error_loses_its_correlations() -> None:
    ours, _ = _sources()
    ours.covariance = _matrix(5, [0, 1, 3, 4])
    expected = ours.covariance.data.copy()
    ours.spectral_model.index.error = 7.0
    expected[0], expected[:, 0] = 0, 0
    expected[0, 0] = 49
    np.testing.assert_allclose(ours.covariance.data, expected, rtol=1e-12)
    tiny = PowerLawSpectralModel()
    tiny.covariance = np.diag([0.01, 1e-26, 0]) + 5e-15 * np.eye(3)[[1, 0, 2]] * [[1], [1], [0]]
    tiny.amplitude.error = 3e-13
    np.testing.assert_allclose(tiny.covariance.data, np.diag([0.01, 9e-26, 0]), rtol=1e-12)


@pytest.mark.parametrize("in_blocks", [False, True])
def test_covariance_of_all_is_held_by_each(in_blocks: bool) -> None:
    sources = [SkyModel(PowerLawSpectralModel(), name=name) for name in "ab"]
    models = Models(sources)
    matrix = _matrix(6, [0, 1, 3, 4])
    if in_blocks:
        block = Block(np.array([3, 4]), matrix[3:5, 3:5], np.array([0]), np.array([[2.0], [1.0]]))
        models.covariance = BlockMatrix(6, [0, 1, 2], matrix[:3, :3], [block])
        matrix = models.covariance.data
    else:
        models.covariance = matrix
    spectrum = sources[1].spectral_model
    np.testing.assert_allclose(spectrum.covariance.data, matrix[3:, 3:], rtol=1e-14)
    np.testing.assert_allclose(Models(sources).covariance.data, matrix, rtol=1e-14)
    for twin in (
        spectrum.copy(),
        copy.deepcopy(spectrum),
        pickle.loads(pickle.dumps(spectrum)),
        sources[1].copy(name="c").spectral_model,
        models.copy()["b"].spectral_model,
        models.reassign("x", "y")["b"].spectral_model,
        models.select(name="b")[0].spectral_model,
    ):
        np.testing.assert_allclose(twin.covariance.data, matrix[3:, 3:], rtol=1e-14)
    models.covariance = None
    assert not sources[1].has_covariance
    np.testing.assert_allclose(spectrum.covariance.data, np.diag(np.diag(matrix)[3:]), rtol=1e-14)


def test_copies_that_datasets_hold_carry_no_covariance() -> None:
    models = Models([SkyModel(PowerLawSpectralModel(), name="a")])
    models.covariance = _matrix(3, [0, 1])
    assert not models.for_dataset("x").has_covariance


def test_covariance_of_a_compound_is_that_of_both_and_across() -> None:
    ours = PowerLawSpectralModel() * PowerLawNormSpectralModel()
    gammapys = theirs.PowerLawSpectralModel() * theirs.PowerLawNormSpectralModel()
    assert isinstance(ours, CompoundSpectralModel)
    ours.covariance = gammapys.covariance = _matrix(6, [0, 1, 4])
    np.testing.assert_array_equal(ours.covariance.data, _matrix(6, [0, 1, 4]))
    np.testing.assert_array_equal(ours.model2.covariance.data, gammapys.model2.covariance.data)


def test_a_matrix_of_another_shape_is_refused() -> None:
    model = PowerLawSpectralModel()
    with pytest.raises(InputError, match=r"shape \(2, 2\) for 3 parameters"):
        model.covariance = np.eye(2)
    assert not model.has_covariance


@pytest.mark.parametrize("free_only", [True, False])
def test_samples_are_those_of_gammapy(free_only: bool) -> None:
    ours, gammapys = _sources()
    ours.covariance = gammapys.covariance = _matrix(5, [0, 1, 3, 4]) * 1e-4
    for mine, other in (
        (ours, gammapys),
        (ours.spectral_model, gammapys.spectral_model),
        (Models([ours]), theirs.Models([gammapys])),
    ):
        drawn = mine.sample_parameters_from_covariance(100, 7, free_only)
        expected = other.sample_parameters_from_covariance(100, 7, free_only)
        np.testing.assert_allclose(drawn, expected, rtol=1e-9)
    generator = np.random.default_rng(1)
    assert ours.sample_parameters_from_covariance(10, generator).shape == (10, 4)


def test_parameters_find_their_own_after_a_copy() -> None:
    parameters = PowerLawSpectralModel().parameters
    for twin in (copy.deepcopy(parameters), pickle.loads(pickle.dumps(parameters))):
        assert twin[1] in twin
        assert (twin.names, twin.index(twin[1])) == (parameters.names, 1)
        assert twin[1] not in parameters
