"""Real flux points and light curve, made once."""

from __future__ import annotations

import json

import pytest
from astropy import units as u

import gmdask as gm
from tests.estimators.pks2155 import SELECTION, SOURCE


@pytest.fixture(scope="session")
def folder(shared):
    """Folder of the PKS 2155-304 runs."""
    return shared / "data" / "pks2155"


@pytest.fixture(scope="session")
def runs(folder):
    """The runs, in memory, with the response of Gammapy, whose numbers these are compared with."""
    datasets = gm.Datasets.read(folder / "datasets.yaml")
    datasets.set_response("gammapy")
    return datasets


@pytest.fixture
def models(folder):
    """Gammapy's best models of them."""
    return gm.Models.read(folder / "models_best.yaml")


@pytest.fixture(scope="session")
def points_reference(folder):
    """Gammapy's flux points."""
    return json.loads((folder / "flux_points_pks2155.json").read_text())


@pytest.fixture(scope="session")
def curve_reference(folder):
    """Gammapy's light curve."""
    return json.loads((folder / "light_curve_pks2155.json").read_text())


@pytest.fixture(scope="session")
def points(folder, runs, points_reference):
    """Our flux points, with all that can be asked for."""
    models = gm.Models.read(folder / "models_best.yaml")
    edges = points_reference["energy_edges_TeV"] * u.TeV
    estimator = gm.FluxPointsEstimator(SOURCE, edges, selection_optional="all", per_dataset=True)
    return estimator.run(runs, models)


@pytest.fixture(scope="session")
def curve(folder, runs, curve_reference):
    """Our light curve."""
    models = gm.Models.read(folder / "models_best.yaml")
    edges = curve_reference["energy_edges_TeV"] * u.TeV
    return gm.LightCurveEstimator(SOURCE, edges, selection_optional=SELECTION).run(runs, models)
