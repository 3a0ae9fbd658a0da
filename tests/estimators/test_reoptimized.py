"""Flux points with other models fitted along, against Gammapy's on one run."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from astropy import units as u

import gmdask as gm
from gmdask.events import DatasetsProgress, Event
from tests.estimators.pks2155 import SOURCE

pytestmark = pytest.mark.gammapy_response

EDGES = [0.5, 20] * u.TeV
RUN = "hess-47802"


def test_against_gammapy(folder, runs, models):
    from gammapy.datasets import Datasets
    from gammapy.estimators import FluxPointsEstimator
    from gammapy.modeling.models import Models

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = Datasets(Datasets.read(folder / "datasets.yaml")[:1])
        best = Models.read(folder / "models_best.yaml")
        theirs.models = Models([best[SOURCE], best[f"{RUN}-bkg"]])
        estimator = FluxPointsEstimator(source=SOURCE, energy_edges=EDGES, reoptimize=True)
        expected = estimator.run(theirs)
    ours = gm.Models([models[SOURCE], models[f"{RUN}-bkg"]])
    before = ours.to_dict()
    options = {"selection_optional": "all", "norm_scan": [0.5, 2.0]}
    events: list[Event] = []
    estimator = gm.FluxPointsEstimator(SOURCE, EDGES, reoptimize=True, **options)
    found = estimator.run(runs[:1], ours, on_event=events.append)
    assert events[-2:] == [DatasetsProgress("reoptimize", done, 1) for done in (0, 1)]
    assert ours.to_dict() == before
    data, error = found.data, expected.norm_err.data.item()
    assert abs(data["norm"].item() - expected.norm.data.item()) < 0.02 * error
    assert data["norm_err"].item() == pytest.approx(error, rel=0.03)
    assert data["ts"].item() == pytest.approx(expected.ts.data.item(), abs=0.01)
    assert data["npred"].item() == pytest.approx(expected.npred.data.item(), rel=1e-3)
    # with the background at its optimum, the statistic is nowhere above that with it fixed
    fixed = gm.FluxPointsEstimator(SOURCE, EDGES, **options).run(runs[:1], ours).data
    assert (data["stat_scan"].values <= fixed["stat_scan"].values + 1e-9).all()
    assert 0 < data["norm_errn"] < data["norm_errp"]
    assert data["norm_ul"] > data["norm"] + data["norm_errp"]
    assert np.isfinite(data["stat_null"]).all()
