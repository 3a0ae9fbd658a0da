"""Sensitivities against Gammapy's."""

from __future__ import annotations

import numpy as np
import pytest

import gmdask as gm
from gmdask.errors import InputError
from tests.datasets import real_pairs

pytestmark = pytest.mark.gammapy_response


@pytest.mark.parametrize("options", [{}, {"gamma_min": 40, "bkg_syst_fraction": 0.6, "n_sigma": 3}])
def test_numbers_of_gammapy(shared, options):
    from gammapy.estimators import SensitivityEstimator

    ours, other = (
        real_pairs.ours(shared, "joint_crab")[6],
        real_pairs.theirs(shared, "joint_crab", 6),
    )
    with real_pairs.quiet():
        expected = SensitivityEstimator(**options).run(other)
    found = gm.SensitivityEstimator(**options).run(ours)
    known = np.isfinite(expected["excess"])
    assert known.sum() > 3
    for key in ("e2dnde", "e_ref", "e_min", "e_max"):
        values = expected[key].quantity.to(found[key].unit)
        np.testing.assert_allclose(found[key][known].value, values[known].value, rtol=1e-4)
    for key in ("excess", "background"):
        np.testing.assert_allclose(found[key][known], expected[key][known], rtol=1e-4)
    assert (found["criterion"][known] == expected["criterion"][known]).all()
    assert not len(ours.models)


def test_errors():
    with pytest.raises(InputError, match="n_sigma is 0"):
        gm.SensitivityEstimator(n_sigma=0)
    with pytest.raises(InputError, match="an on/off spectrum"):
        gm.SensitivityEstimator().run(gm.Datasets())
