"""Every spectral class at random parameters: mpmath, Gammapy, and derivatives."""

from itertools import pairwise

import astropy.units as u
import mpmath as mp
import numpy as np
import pytest
from gammapy.modeling.models import MeyerCrabSpectralModel
from gammapy.modeling.models import Model as GammapyModel

from gmdask.models import EnergyGrid, SpectralModel, get_class
from tests.models.spectral_cases import EXACT, draw, exact

mp.mp.dps = 40
SETS = 200
THEIRS = {}
EDGES = np.geomspace(0.1, 30, 13)
ENERGY = np.geomspace(0.07, 40, 5)


def make(tag, values):
    cls = get_class("spectral", tag)
    return cls(**dict(zip(cls.parameter_names, values, strict=True)))


def gammapy(model):
    """Their model of the same parameters, made once per class."""
    if type(model) not in THEIRS:
        THEIRS[type(model)] = _gammapy(model)
    theirs = THEIRS[type(model)]
    for ours, other in zip(model.parameters, theirs.parameters, strict=True):
        other.value = ours.value
    return theirs


def _gammapy(model):
    quantities = {p.name: p.quantity for p in model.parameters}
    if type(model).__name__ == "MeyerCrabSpectralModel":
        return MeyerCrabSpectralModel(**quantities)
    return GammapyModel.create(model.tag[1], "spectral", **quantities)


@pytest.mark.parametrize("tag", EXACT)
def test_values(tag):
    """1e-12 of mpmath; Gammapy within its own distance from it, or 1e-10."""
    rng = np.random.default_rng(1)
    for _ in range(SETS):
        values = draw(tag, rng)
        model = make(tag, values)
        truth = np.array([float(exact(tag, e, values)) for e in ENERGY])
        ours = model.evaluate(ENERGY, *values)
        np.testing.assert_allclose(ours, truth, rtol=1e-12, atol=1e-290)
        theirs = gammapy(model)(ENERGY * u.TeV).to_value(model.output_unit)
        own = np.abs(theirs - truth) + 1e-12 * truth
        assert (np.abs(theirs - ours) <= np.maximum(own, 1e-10 * truth) + 1e-290).all()


@pytest.mark.parametrize("tag", EXACT)
def test_integrals_by_the_rule(tag):
    """Equal to Gammapy's; for DR3 with the exact series, so only as near as its values are."""
    rng, grid = np.random.default_rng(2), EnergyGrid(EDGES)
    for _ in range(SETS):
        values = draw(tag, rng)
        model = make(tag, values)
        theirs = gammapy(model).integral(EDGES[:-1] * u.TeV, EDGES[1:] * u.TeV)
        theirs = theirs.to_value(model.output_unit * u.TeV)
        ours = model.integral_bins(grid, model.internal_values)
        scale = 1e-13 * np.abs(ours).max() if tag == "gauss" else 0.0  # their erf differences
        rtol = 1e-8 if tag == "secpl-4fgl-dr3" else 1e-10
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=scale + 1e-290)


@pytest.mark.slow
@pytest.mark.parametrize("tag", EXACT)
def test_gradients(tag):
    """Against mpmath at a few sets, against differences at all: values and integrals."""
    rng, grid = np.random.default_rng(3), EnergyGrid(EDGES)
    for n in range(SETS):
        values = np.array(draw(tag, rng))
        model = make(tag, values)
        y, dy = model.gradient(ENERGY, *values)
        np.testing.assert_allclose(y, model.evaluate(ENERGY, *values), rtol=1e-12, atol=1e-290)
        f, df = model.integral_bins_gradient(grid, values)
        np.testing.assert_allclose(f, model.integral_bins(grid, values), rtol=1e-11, atol=1e-290)
        by_differences = dy if n % 4 else SpectralModel.gradient(model, ENERGY, *values)[1]
        for k in range(len(values)):
            h = min(3e-4 * abs(values[k]), 1e-3 * np.abs(f).max() / np.abs(df[k]).max())

            def at(steps, k=k, h=h, values=values, model=model):
                moved = values.copy()
                moved[k] += steps * h
                return model.integral_bins(grid, moved)

            slope = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * h)
            if tag == "bpl" and model.parameter_names[k] == "ebreak":
                continue  # a kink at a node: see below
            size = 1e-6 * np.abs(df[k]).max() + 1e-13 * np.abs(f).max() / h
            np.testing.assert_allclose(df[k], slope, rtol=0, atol=size + 1e-290)
            noise = 1e-9 * np.abs(y).max() / abs(values[k])
            size = 1e-6 * np.abs(dy[k]).max() + noise
            np.testing.assert_allclose(by_differences[k], dy[k], rtol=0, atol=size)
            if n < 5:
                exactly = [_slope(tag, e, values, k) for e in ENERGY]
                size = 1e-10 * np.abs(exactly).max() + 1e-290
                np.testing.assert_allclose(dy[k], exactly, atol=size)


def _slope(tag, energy, values, k):
    at = [mp.mpf(v) for v in values]

    def along(x):
        return EXACT[tag](mp.mpf(energy), *(x if i == k else v for i, v in enumerate(at)))

    return float(mp.diff(along, at[k], h=mp.mpf(10) ** -10 * abs(at[k])))


@pytest.mark.parametrize("tag", EXACT)
def test_hessians(tag):
    """Of integrals, against differences of the gradient, at some sets."""
    rng, grid = np.random.default_rng(4), EnergyGrid(EDGES[:6])
    for _ in range(6):
        values = np.array(draw(tag, rng))
        model = make(tag, values)
        hessian = model.integral_bins_hessian(grid, values)
        np.testing.assert_array_equal(hessian, hessian.swapaxes(0, 1))
        f, gradient = model.integral_bins_gradient(grid, values)
        for k, name in enumerate(model.parameter_names):
            if (tag, name) == ("bpl", "ebreak"):
                continue
            h = 1e-4 * abs(values[k])
            step = np.eye(len(values))[k] * h
            near = _difference(model, grid, values, step)
            slope = (8 * near - _difference(model, grid, values, 2 * step)) / (12 * h)
            for q, other in enumerate(model.parameter_names):
                if (tag, other) == ("bpl", "ebreak"):
                    continue
                noise = max(
                    1e-8 * np.abs(gradient[a]).max() / abs(values[b]) for a, b in ((q, k), (k, q))
                )
                noise += 1e-9 * np.abs(f).max() / abs(values[k] * values[q])
                size = 1e-6 * np.abs(slope[q]).max() + noise
                np.testing.assert_allclose(hessian[k, q], slope[q], rtol=0, atol=size)


def _difference(model, grid, values, step):
    above = model.integral_bins_gradient(grid, values + step)[1]
    return above - model.integral_bins_gradient(grid, values - step)[1]


def test_broken_power_law_at_its_break():
    model = get_class("spectral", "bpl")(index1=1.5, index2=2.5, ebreak="2 TeV")
    y, dy = model.gradient(np.array([1.999999, 2.0, 2.000001]), *model.internal_values)
    np.testing.assert_allclose(y, 1e-12, rtol=1e-5)
    np.testing.assert_allclose(dy[3], [0.75e-12, 1.25e-12, 1.25e-12], rtol=1e-5)
    grid, values = EnergyGrid([1.0, 10.0]), model.internal_values
    values[3] = 2.001  # between two nodes
    moved = [model.integral_bins(grid, values + h * np.eye(4)[3]) for h in (1e-5, -1e-5)]
    slope = (moved[0] - moved[1]) / 2e-5
    np.testing.assert_allclose(model.integral_bins_gradient(grid, values)[1][3], slope, rtol=1e-6)


def test_power_law_2_where_gammapy_divides_by_zero():
    model = get_class("spectral", "pl-2")(index=1.0)
    with np.errstate(all="ignore"):
        assert not np.isfinite(gammapy(model)([1.0, 2.0] * u.TeV)).any()
    y = model.evaluate(ENERGY, *model.internal_values)
    truth = [float(exact("pl-2", e, model.internal_values)) for e in ENERGY]
    np.testing.assert_allclose(y, truth, rtol=1e-14)
    total = model.integral(0.1 * u.TeV, 100 * u.TeV)
    assert total.to_value("cm-2 s-1") == pytest.approx(1e-12, rel=1e-14)
    _, slopes = model.gradient(ENERGY, *model.internal_values)
    by_differences = SpectralModel.gradient(model, ENERGY, *model.internal_values)[1]
    np.testing.assert_allclose(slopes, by_differences, rtol=1e-9)


def test_dr3_where_gammapy_takes_a_series():
    """Its four terms are good to 2e-6 here; ours to 1e-14."""
    values = [1e-12, 1.0, 5.0, 2.0, 1e-3]
    model = make("secpl-4fgl-dr3", values)
    energy = np.geomspace(0.1, 5000, 40)
    truth = np.array([float(exact("secpl-4fgl-dr3", e, values)) for e in energy])
    np.testing.assert_allclose(model.evaluate(energy, *values), truth, rtol=1e-12)
    with np.errstate(all="ignore"):
        theirs = gammapy(model)(energy * u.TeV).to_value("cm-2 s-1 TeV-1")
    assert 1e-12 < np.abs(theirs / truth - 1).max() < 1e-5


def test_line_far_from_its_mean():
    """Differences of the error function lose all digits in the wings, the complement none."""
    model = get_class("spectral", "gauss")(mean="1 TeV", sigma="0.1 TeV")
    edges = np.array([1.8, 1.9, 2.0, 2.2])
    ours = model.integral_bins(EnergyGrid(edges), model.internal_values)
    above = [mp.erfc((mp.mpf(e) - 1) / mp.mpf(0.1) / mp.sqrt(2)) / 2 * 1e-12 for e in edges]
    truth = [float(a - b) for a, b in pairwise(above)]
    np.testing.assert_allclose(ours, truth, rtol=1e-12)
    theirs = gammapy(model).integral(edges[:-1] * u.TeV, edges[1:] * u.TeV).to_value("cm-2 s-1")
    assert np.abs(theirs / truth - 1).max() > 1e-5


@pytest.mark.parametrize("tag", ["ecpl", "ecpl-norm"])
def test_no_cutoff(tag):
    model = get_class("spectral", tag)(lambda_=0.0)
    y, dy = model.gradient(ENERGY, *model.internal_values)
    np.testing.assert_allclose(dy[3], -ENERGY * y, rtol=1e-14)
    np.testing.assert_array_equal(dy[4], 0)
    negative = model.internal_values
    negative[3] = -0.1
    assert np.isfinite(model.gradient(ENERGY, *negative)[1]).all()


def test_equal_indices_of_a_smooth_break():
    """As in Gammapy: no break at all."""
    model = get_class("spectral", "sbpl")()
    np.testing.assert_allclose(model.evaluate(ENERGY, *model.internal_values), 1e-12 * ENERGY**-2)
    assert np.isfinite(model.gradient(ENERGY, *model.internal_values)[1]).all()
