"""Predictions, residuals, statistics and simulated counts, against Gammapy's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from astropy import units as u

import gmdask as gm
from tests.datasets.real_pairs import ours, quiet, start_models, theirs
from tests.datasets.synthetic import with_models

pytestmark = pytest.mark.gammapy_response


@pytest.fixture(params=["crab", "hawc"])
def pair(request, shared):
    """First dataset with its models, and Gammapy's."""
    own, other = ours(shared, request.param)[0].copy(), theirs(shared, request.param)
    models, their_models = start_models(shared, request.param)
    own.set_models(models)
    for model in models:
        if isinstance(model, gm.BackgroundIRFModel):
            model.spectral_model.norm.value = 1.1
    own.set_models_parameters(models.parameters)
    with quiet():
        other.models = [
            m for m in their_models if m.datasets_names is None or own.name in m.datasets_names
        ]
        for name in other.models.names:
            if name.endswith("-bkg"):
                other.models[name].spectral_model.norm.value = 1.1
    return own, other


def close(found, expected):
    scale = np.nanmax(np.abs(expected))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * scale)


def test_against_gammapy(pair):
    own, other = pair
    source = next(name for name in own.models.names if not name.endswith("-bkg"))
    with quiet():
        close(own.npred_signal(), other.npred_signal().data)
        close(own.npred_signal(source), other.npred_signal([source]).data.reshape(own.counts.shape))
        close(own.npred_background(), other.npred_background().data)
        close(own.excess, other.excess.data)
        close(own.stat_array(), other.stat_array())
        for method in ("diff", "diff/sqrt(model)"):
            expected = other.residuals(method).data
            found = own.residuals(method)
            np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
            finite = np.isfinite(expected)
            close(found.values[finite], expected[finite])
        close(own.to_asimov().counts, other._to_asimov_dataset().counts.data)


@pytest.mark.parametrize("safe", [True, False])
def test_info_dict(pair, safe):
    own, other = pair
    with quiet():
        expected = other.info_dict(in_safe_data_range=safe)
    found = own.info_dict(in_safe_data_range=safe)
    assert set(found) == set(expected)
    for key, value in expected.items():
        if isinstance(value, str):
            assert found[key] == value, key
            continue
        unit = getattr(value, "unit", None)
        one, two = (u.Quantity(v).to_value(unit or "") for v in (found[key], value))
        assert (math.isnan(one) and math.isnan(two)) or one == pytest.approx(two, rel=2e-6), key


def test_residuals_per_npred(pair):
    own, _ = pair
    npred, counts = own.npred().values, own.counts.values
    mask = own.mask.values & (npred > 0)
    found = own.residuals("diff/model").values
    expected = (counts[mask] - npred[mask]) / npred[mask]
    np.testing.assert_allclose(found[mask], expected, rtol=1e-12)


def test_fake_counts(datasets):
    """Drawn from what is predicted: the same for a seed, others for another, right on average."""
    with_models(datasets)
    drawn = [datasets[0].copy().fake(seed).counts.values for seed in (1, 1, *range(2, 40))]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    npred = datasets[0].npred().values
    mean = np.mean(drawn[1:], axis=0)
    pull = (mean - npred).sum() / math.sqrt(npred.sum() / len(drawn[1:]))
    assert abs(pull) < 4


def test_asimov_is_fitted_where_it_was_made(datasets):
    models = with_models(datasets)
    asimov = gm.Datasets(dataset.to_asimov() for dataset in datasets)
    truth = models.parameters.value
    models.parameters["source.spectral.index"].value = 2.5
    result = gm.Fit(asimov).run(models)
    assert result.success
    np.testing.assert_allclose(models.parameters.value, truth, rtol=2e-4)


def test_without_models_or_masks(datasets):
    cube = datasets[0].cube.drop_vars(["mask_safe", "background"])
    bare = gm.MapDataset(cube)
    assert bare.mask is None
    assert bare.excess is None
    assert bare.npred_background() is None
    info = bare.info_dict()
    assert math.isnan(info["npred"])
    assert info["n_fit_bins"] == 0
    np.testing.assert_array_equal(bare.residuals(), bare.counts)
