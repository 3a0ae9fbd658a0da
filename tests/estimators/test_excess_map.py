"""Excess maps against Gammapy's."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord

import gmdask as gm
from gmdask.errors import InputError

pytestmark = pytest.mark.gammapy_response

EDGES = [0.7, 3, 30] * u.TeV
KEYS = ("npred_excess", "ts", "sqrt_ts", "norm", "norm_err", "counts")


@pytest.fixture(scope="module")
def run(shared):
    from gammapy.datasets import MapDataset

    return MapDataset.read(shared / "data" / "crab" / "hess-23523.fits.gz", name="hess-23523")


def test_numbers_of_gammapy(run):
    from gammapy.estimators import ExcessMapEstimator

    options = {"energy_edges": EDGES, "selection_optional": "all", "n_sigma_ul": 3}
    ours = gm.ExcessMapEstimator("0.15 deg", **options).run(gm.from_gammapy(run))
    given = {**options, "selection_optional": ["errn-errp", "ul", "sensitivity"]}
    theirs = ExcessMapEstimator("0.15 deg", **given).run(run)
    for key in KEYS:
        expected = getattr(theirs, key).data
        np.testing.assert_allclose(ours.data[key], expected, rtol=1e-4, atol=1e-4)
    for key in ("flux_errn", "flux_errp", "flux_ul", "flux_sensitivity"):
        found = ours.quantity(key).to_value("cm-2 s-1")
        np.testing.assert_allclose(found, getattr(theirs, key).data, rtol=1e-3)


def test_models_are_no_excess_and_datasets_are_summed(shared):
    folder = shared / "data" / "crab"
    datasets = gm.Datasets.read(folder / "datasets.yaml")
    models = gm.Models.read(folder / "models_best.yaml")
    estimator = gm.ExcessMapEstimator("0.2 deg")
    whole = estimator.run(datasets, models)
    part = estimator.run(datasets[[0]])
    assert float(np.abs(whole.data["sqrt_ts"]).max()) < 6
    assert float(estimator.run(datasets).data["sqrt_ts"].max()) > 30
    assert float(whole.data["counts"].max()) > 2 * float(part.data["counts"].max())


def test_errors(shared):
    with pytest.raises(InputError, match="expected a positive angle"):
        gm.ExcessMapEstimator("0 deg")
    with pytest.raises(InputError, match="selection_optional"):
        gm.ExcessMapEstimator("0.1 deg", selection_optional="limits")
    runs = gm.Datasets.read(shared / "data" / "crab" / "datasets.yaml")
    image = runs[1].cutout(SkyCoord("83.63d", "22.01d"), width=1.0)
    with pytest.raises(InputError, match="has other pixels"):
        gm.ExcessMapEstimator("0.1 deg").run([runs[0], image])
