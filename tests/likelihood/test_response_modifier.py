"""Norms of the exposure: derivatives, the same counts as a changed exposure, and minimisation over local ones."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.units import Unit
from scipy.optimize import minimize

import gmdask as gm
from gmdask.likelihood.dataset_likelihood import CompiledDataset
from gmdask.likelihood.flux_points import predicted_flux
from gmdask.likelihood.npred import npred_images
from gmdask.models import (
    DatasetModels,
    EnergyScaleModel,
    ExpCutoffPowerLawSpectralModel,
    GaussianPrior,
    LogNormalPrior,
    PiecewiseNormSpectralModel,
    PowerLawNormSpectralModel,
    ResponseModifier,
)
from tests.datasets.flux_tables import dataset as flux_points
from tests.datasets.flux_tables import models as flux_models
from tests.likelihood import cubes
from tests.likelihood.sources import background, derivative, free_of, gauss, log_parabola, point

STEP, TIGHT = 0.01, 1e-6


def modifier(name="tilted", norm=1.1, tilt=0.2, prior=True):
    """A norm and a tilt with priors."""
    made = ResponseModifier(PowerLawNormSpectralModel(norm=norm, tilt=tilt), name=name)
    if prior:
        made.exposure_model.norm.prior = GaussianPrior(mu=1.0, sigma=0.1)
        made.exposure_model.tilt.prior = GaussianPrior(mu=0.0, sigma=0.2)
    return made


def spectrum_norm():
    """A norm spectrum between nodes."""
    nodes = np.array([0.5, 2.0, 10.0])
    norms = {"norms": [0.9, 1.2, 1.05]}
    return ResponseModifier(PiecewiseNormSpectralModel(nodes * Unit("TeV"), **norms), name="pieces")


def scaled(scale=1.07, name="energies"):
    """A scale of the energies with a prior."""
    made = ResponseModifier(energy_model=EnergyScaleModel(scale=scale), name=name)
    made.energy_model.scale.prior = LogNormalPrior(mu=1.0, sigma=0.1)
    return made


CASES = {
    "energy scales and norms": lambda: [
        point(), gauss(spectral=log_parabola()), background(), scaled(), scaled(0.95, "more"),
        modifier(),
    ],
    "a point": lambda: [point(), background(), modifier()],
    "two sources, two modifiers": lambda: [
        point(name="one"), gauss(name="two"), background(), modifier(), spectrum_norm(),
    ],
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_derivatives(case):
    """Gradient and observed Hessian in units of the errors, against differences of fourth order."""
    models = DatasetModels(CASES[case]())
    compiled = CompiledDataset(cubes.make_cube(), models)
    values, columns = models.parameters.value, np.flatnonzero(free_of(models))
    found = compiled.evaluate(values, order=2)
    sigma = np.sqrt(2 / np.diag(found.gauss_newton))
    steps = STEP * sigma
    slope = derivative(lambda x: compiled.evaluate(x).stat, values, columns, steps)
    np.testing.assert_allclose(found.gradient * sigma, slope * sigma, rtol=TIGHT, atol=TIGHT)
    rows = derivative(lambda x: compiled.evaluate(x, order=1).gradient, values, columns, steps)
    unit = np.outer(sigma, sigma)
    np.testing.assert_allclose(found.observed * unit, rows * unit, rtol=0, atol=2 * TIGHT)


@pytest.mark.parametrize("psf", ["true", "reco"])
def test_as_a_changed_exposure(psf):
    """Statistic, occupied or all bins, and images are those of a cube whose exposure has the norms."""
    cube = cubes.make_cube(psf=psf)
    models = DatasetModels([point(), gauss(), background(), modifier(), spectrum_norm()])
    plain = DatasetModels([point(), gauss(), background()])
    changed = cube.copy(deep=True)
    energy = cube["energy_true"].values * Unit(cube["energy_true"].attrs["unit"])
    for name in ("tilted", "pieces"):
        norm = models[name].exposure_model(energy).to_value("")
        changed["exposure"] = changed["exposure"] * norm[:, None, None].astype(float)
    changed["exposure"].attrs = cube["exposure"].attrs
    for bins in ("occupied", "masked"):
        one = CompiledDataset(cube, models, bins=bins).evaluate(models.parameters.value).stat
        two = CompiledDataset(changed, plain, bins=bins).evaluate(plain.parameters.value).stat
        assert one == pytest.approx(two, rel=1e-7)
    np.testing.assert_allclose(npred_images(cube, models), npred_images(changed, plain), rtol=2e-6)


@pytest.mark.parametrize("psf", ["true", "reco"])
def test_energy_scale_of_power_laws(psf):
    """A power law with scaled energies is one of another amplitude, a cutoff is at a scaled energy."""
    cube, scale = cubes.make_cube(psf=psf), 1.15
    cut = {"amplitude": "4e-11 cm-2 s-1 TeV-1", "index": 2.1}
    other = {"amplitude": 4e-11 * scale**1.1 * Unit("cm-2 s-1 TeV-1"), "index": 2.1}
    one = point(spectral=ExpCutoffPowerLawSpectralModel(**cut, lambda_="0.1 TeV-1"))
    two = point(
        spectral=ExpCutoffPowerLawSpectralModel(**other, lambda_=0.1 / scale * Unit("TeV-1"))
    )
    with_scale = DatasetModels([one, background(), scaled(1.25), scaled(scale / 1.25, "two")])
    without = DatasetModels([two, background()])
    np.testing.assert_allclose(
        npred_images(cube, with_scale), npred_images(cube, without), rtol=1e-10
    )
    unchanged = DatasetModels([two, background(), scaled(1.0)])
    np.testing.assert_array_equal(npred_images(cube, unchanged), npred_images(cube, without))


def test_energy_scale_of_flux_points():
    """Predicted flux of a power law, and derivatives against differences."""
    data = flux_points()
    own = DatasetModels([*flux_models(), scaled(1.1), modifier()])
    compiled = data.compile(data.open(), own)
    values, columns = own.parameters.value, np.flatnonzero(free_of(own))
    found = compiled.evaluate(values, order=2)
    sigma = np.sqrt(2 / np.diag(found.gauss_newton))
    slope = derivative(lambda x: compiled.evaluate(x).stat, values, columns, STEP * sigma)
    np.testing.assert_allclose(found.gradient * sigma, slope * sigma, rtol=TIGHT, atol=TIGHT)
    rows = derivative(
        lambda x: compiled.evaluate(x, order=1).gradient, values, columns, STEP * sigma
    )
    unit = np.outer(sigma, sigma)
    np.testing.assert_allclose(found.observed * unit, rows * unit, rtol=TIGHT, atol=5 * TIGHT)
    law = gm.PowerLawSpectralModel(index=2.4, amplitude="1e-12 cm-2 s-1 TeV-1")
    own[0].spectral_model = law
    before = predicted_flux(data.open(), DatasetModels([own[0]]))
    after = predicted_flux(data.open(), DatasetModels([own[0], scaled(1.1)]))
    np.testing.assert_allclose(after, before * 1.1**1.4, rtol=1e-13)


def test_sources_without_exposure():
    """Their counts, and those of the background, do not change."""
    cube = cubes.make_cube()
    source = point(apply_irf={"exposure": False, "psf": True, "edisp": True})
    with_norm = DatasetModels([source, background(), modifier()])
    without = DatasetModels([source, background()])
    np.testing.assert_array_equal(npred_images(cube, with_norm), npred_images(cube, without))


@pytest.mark.parametrize("kind", ["map", "flux points"])
def test_local_ones_are_minimised(kind):
    """At the optimum of the statistic with its priors that SciPy finds, with zero slope there."""
    if kind == "map":
        own = DatasetModels([point(), background(), modifier(norm=0.8)])
        cube, compile_ = cubes.make_cube(), CompiledDataset
    else:
        data = flux_points()
        own = DatasetModels([*flux_models(), modifier(norm=0.8)])
        cube, compile_ = data.open(), data.compile
    local = {id(p) for m in own if not isinstance(m, gm.SkyModel) for p in m.parameters}
    chosen = np.array([id(p) in local for p in own.parameters]) & free_of(own)
    compiled = compile_(cube, own, None, chosen)
    values, index = own.parameters.value, np.flatnonzero(chosen)
    priors = DatasetModels(own).prior_sum

    def objective(x):
        at = values.copy()
        at[index] = x
        return compiled.evaluate(at).stat + priors(at)[0]

    found = compiled.evaluate(values, order=2)
    expected = minimize(objective, values[index], method="Nelder-Mead",
                        options={"xatol": 1e-9, "fatol": 1e-12, "maxiter": 4000})  # fmt: skip
    best = objective(found.values[index])
    assert best <= expected.fun + 1e-9
    errors = np.sqrt(2 / np.diag(found.observed)[np.cumsum(free_of(own))[index] - 1])
    np.testing.assert_allclose(found.values[index], expected.x, atol=2e-4 * errors.max())
    own_slope = found.gradient[np.cumsum(free_of(own))[index] - 1] * errors
    np.testing.assert_allclose(own_slope, 0.0, atol=1e-4)
    others = ~chosen
    np.testing.assert_array_equal(found.values[others], values[others])
