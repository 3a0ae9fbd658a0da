"""Real observations against the numbers of Gammapy 2.1 (see the README of the data)."""

import json

import numpy as np
import pytest
import yaml

from gmdask.models import Models
from gmdask.store.formats.gadf import read_map_dataset
from tests.likelihood.gammapy_response import CompiledDataset
from tests.likelihood.sources import derivative, free_of

ANALYSES = ("crab", "pks2155", "hawc", "fermi_crab")
VECTORS = ("start", "best", "perturbed")


class Analysis:
    """Cubes, models and reference of one analysis."""

    def __init__(self, folder):
        self.reference = json.loads((folder / "reference.json").read_text())
        components = yaml.safe_load((folder / "models_start.yaml").read_text())["components"]
        self.models = Models.from_dict({"components": components})
        entries = yaml.safe_load((folder / "datasets.yaml").read_text())["datasets"]
        self.cubes = {
            e["name"]: read_map_dataset(folder / e["filename"], e["name"]) for e in entries
        }
        with np.load(folder / "npred_start.npz") as file:
            self.npred_start = dict(file)

    def dataset(self, name):
        return self.cubes[name], self.models.for_dataset(name)

    def values(self, models, vector):
        return np.array([self.reference["vectors"][vector][key] for key in models.parameters.names])


@pytest.fixture(scope="module", params=ANALYSES)
def analysis(request, shared):
    return Analysis(shared / "data" / request.param)


@pytest.fixture(scope="module")
def crab(shared):
    return Analysis(shared / "data" / "crab")


@pytest.mark.parametrize("vector", VECTORS)
def test_statistic_and_counts_per_energy(analysis, vector):
    expected = analysis.reference["stat"][vector]
    for name in analysis.cubes:
        cube, models = analysis.dataset(name)
        values = analysis.values(models, vector)
        compiled = CompiledDataset(cube, models)
        evaluation = compiled.evaluate(values)
        # Gammapy's own float32 noise: 1.3e-4 at most, on fermi_crab
        assert evaluation.stat == pytest.approx(expected["per_dataset"][name], abs=0.01, rel=0)
        assert evaluation.n_floor == 0
        dense = CompiledDataset(cube, models, bins="masked")
        assert dense.evaluate(values).stat == pytest.approx(evaluation.stat, rel=1e-12)
        total = np.bincount(dense.bins.r, dense.npred(values), cube["counts"].shape[0])
        reference = np.array(expected["npred"][name]["total_in_mask"])
        scale = np.maximum(reference, 1e-6 * reference.max())
        assert np.abs(total - reference).max() <= 1e-6 * reference.max()
        assert (np.abs(total - reference) / scale).max() < 1e-6


def test_cube_at_start(analysis):
    name = analysis.reference["datasets"][0]["name"]
    cube, models = analysis.dataset(name)
    values = analysis.values(models, "start")
    stored, shape = analysis.npred_start, cube["counts"].shape
    npred = CompiledDataset(cube, models, bins="all").npred(values).reshape(shape)
    sources = models.copy()
    only = type(sources)([m for m in sources if "spatial" in m.models])
    source = CompiledDataset(cube.drop_vars("background"), only, bins="all")
    source = source.npred(only_values(only, models, values)).reshape(shape)
    for ours, key in ((npred, "total"), (source, "source"), (npred - source, "background")):
        np.testing.assert_allclose(ours, stored[key], rtol=0, atol=1e-6 * stored[key].max())
    np.testing.assert_array_equal(cube["counts"].values, stored["counts"])
    np.testing.assert_array_equal(
        CompiledDataset(cube, models).observation.mask, stored["mask"].astype(bool)
    )


def only_values(some, models, values):
    index = {name: k for k, name in enumerate(models.parameters.names)}
    return values[[index[name] for name in some.parameters.names]]


@pytest.mark.parametrize("vector", ["start", "perturbed"])
def test_derivatives_on_a_run(crab, vector):
    """Frozen anchor; in units of the errors, to 1e-6."""
    cube, models = crab.dataset("hess-23523")
    values, columns = crab.values(models, vector), np.flatnonzero(free_of(models))
    compiled = CompiledDataset(cube, models)
    evaluation = compiled.evaluate(values, order=2)
    sigma = np.sqrt(2 / np.diag(evaluation.gauss_newton))
    steps = 0.01 * sigma
    slope = derivative(lambda x: compiled.evaluate(x, values).stat, values, columns, steps)
    # the statistic is 1.7e4: differences are good to 1e-9, so 1e-6 is the formulas' own
    np.testing.assert_allclose(evaluation.gradient * sigma, slope * sigma, rtol=1e-6, atol=1e-6)
    curve = derivative(
        lambda x: compiled.evaluate(x, values, order=1).gradient, values, columns, steps
    )
    unit = np.outer(sigma, sigma)
    np.testing.assert_allclose(evaluation.observed * unit, curve * unit, rtol=0, atol=1e-6)


def test_observed_errors(analysis):
    """Hessian at the best fit, against second differences of Gammapy's own statistic.

    Those step over 0.1 sigma with the IRFs held at the best fit: their own error is of order
    1e-3 in units where the diagonal is 1, and grows with correlation when inverted
    (MIGRAD's and HESSE's errors are off by 15 % on the Crab).
    """
    observed = analysis.reference["observed"]
    names = observed["names"]
    hessian = np.zeros((len(names), len(names)))
    for name in analysis.cubes:
        cube, models = analysis.dataset(name)
        evaluation = CompiledDataset(cube, models).evaluate(
            analysis.values(models, "best"), order=2
        )
        own = np.array(models.parameters.names)[free_of(models)]
        place = [names.index(key) for key in own]
        hessian[np.ix_(place, place)] += evaluation.observed
    expected = 2 * np.linalg.inv(np.array(observed["covariance"]))
    unit = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    assert np.abs((hessian - expected) / unit).max() < 3e-3
    errors = np.sqrt(2 * np.diag(np.linalg.inv(hessian)))
    np.testing.assert_allclose(errors, [observed["errors"][name] for name in names], rtol=0.01)
