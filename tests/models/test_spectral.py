"""Spectral models against mpmath, Gammapy and finite differences."""

import astropy.units as u
import mpmath as mp
import numpy as np
import pytest
from gammapy.modeling.models import Model as GammapyModel
from hypothesis import given, settings
from hypothesis import strategies as st

from gmdask.errors import InputError
from gmdask.models import (
    EnergyGrid,
    LogParabolaSpectralModel,
    PowerLawNormSpectralModel,
    PowerLawSpectralModel,
    SpectralModel,
    get_class,
)
from gmdask.models.spectral.energy_grid import phi, psi

mp.mp.dps = 40

CASES = {
    "pl": [(2.3, 3e-11, 1.0), (0.5, -2e-13, 7.0), (1.0, 1e-12, 1.0), (3.9, 1e-9, 0.05)],
    "pl-norm": [(0.0, 1.0, 1.0), (-0.4, 1.3, 2.0), (1.0, 0.7, 1.0), (0.3, -0.2, 1.0)],
    "lp": [(3.8e-11, 1.0, 2.4, 0.1), (3e-8, 0.05, 2.2, -0.03), (-1e-12, 10.0, 2.0, 1.0)],
}
ALL = [(tag, values) for tag, cases in CASES.items() for values in cases]
EDGES = np.geomspace(0.3, 30, 25)


def exact(tag, energy, values):
    e, values = mp.mpf(energy), [mp.mpf(v) for v in values]
    if tag == "lp":
        amplitude, reference, alpha, beta = values
        log = mp.log(e / reference)
        return amplitude * mp.exp(-(alpha + beta * log) * log)
    index, amplitude, reference = values
    return amplitude * (e / reference) ** -index


def with_values(tag, values):
    cls = get_class("spectral", tag)
    return cls(**dict(zip(cls.parameter_names, values, strict=True)))


def numeric(function, values, k):
    """Derivative with mpmath, of a function of exact values."""

    def along(x):
        return function([x if i == k else v for i, v in enumerate(values)])

    return float(mp.diff(along, mp.mpf(values[k]), h=mp.mpf(10) ** -12 * abs(values[k] or 1)))


@pytest.mark.parametrize(("tag", "values"), ALL)
def test_values_and_gradients_are_exact(tag, values):
    model = with_values(tag, values)
    energy = np.geomspace(1e-2, 1e2, 9)
    y, dy = model.gradient(energy, *values)
    truth = [float(exact(tag, e, values)) for e in energy]
    np.testing.assert_allclose(model.evaluate(energy, *values), truth, rtol=1e-12)
    np.testing.assert_allclose(y, truth, rtol=1e-12)
    for k in range(len(values)):
        slopes = [numeric(lambda v, e=e: exact(tag, e, v), values, k) for e in energy]
        np.testing.assert_allclose(dy[k], slopes, rtol=1e-10, atol=1e-12 * np.abs(slopes).max())


@pytest.mark.parametrize(("tag", "values"), ALL)
def test_integrals_equal_gammapy(tag, values):
    model = with_values(tag, values)
    theirs = GammapyModel.create(tag, "spectral", **{p.name: p.quantity for p in model.parameters})
    for edges in (EDGES, np.geomspace(0.01, 100, 41), np.array([0.5, 0.6, 5.0])):
        with np.errstate(divide="ignore", invalid="ignore"):  # theirs, at index 1
            expected = theirs.integral(edges[:-1] * u.TeV, edges[1:] * u.TeV)
        expected = expected.to_value(model.output_unit * u.TeV)
        ours = model.integral_bins(EnergyGrid(edges), model.internal_values)
        np.testing.assert_allclose(ours, expected, rtol=1e-12)
        quantity = model.integral(edges[:-1] * u.TeV, edges[1:] * u.TeV)
        np.testing.assert_allclose(quantity.value, expected, rtol=1e-12)
    energy = [0.1, 3.0] * u.TeV
    assert u.allclose(model(energy), theirs(energy), rtol=1e-13)


@pytest.mark.parametrize(("tag", "values"), ALL)
def test_gradient_of_integrals(tag, values):
    model, grid = with_values(tag, values), EnergyGrid(EDGES)
    f, df = model.integral_bins_gradient(grid, np.array(values))
    np.testing.assert_allclose(f, model.integral_bins(grid, np.array(values)), rtol=1e-13)
    for k, value in enumerate(values):
        h = 1e-3 * (abs(value) or 1.0)

        def at(steps, k=k, h=h):
            moved = np.array(values)
            moved[k] += steps * h
            return model.integral_bins(grid, moved)

        slope = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * h)
        np.testing.assert_allclose(df[k], slope, atol=1e-9 * np.abs(df[k]).max())


@pytest.mark.parametrize(("tag", "values"), ALL)
def test_second_derivatives(tag, values):
    model, grid = with_values(tag, values), EnergyGrid(EDGES)
    values = np.array(values)
    hessians = [
        (
            model.integral_bins_hessian(grid, values),
            lambda v: model.integral_bins_gradient(grid, v)[1],
        ),
        (model.hessian(EDGES, *values), lambda v: model.gradient(EDGES, *v)[1]),
    ]
    for hessian, gradient in hessians:
        np.testing.assert_array_equal(hessian, hessian.swapaxes(0, 1))
        for k, value in enumerate(values):
            step = np.zeros_like(values)
            step[k] = 1e-4 * (abs(value) or 1.0)
            near = gradient(values + step) - gradient(values - step)
            far = gradient(values + 2 * step) - gradient(values - 2 * step)
            slope = (8 * near - far) / (12 * step[k])
            for q in range(len(values)):
                noise = 1e-9 * np.abs(gradient(values)[q]).max() / (abs(value) or 1.0)
                size = np.abs(slope[q]).max()
                np.testing.assert_allclose(hessian[k, q], slope[q], atol=1e-7 * size + noise)


def test_differences_equal_the_analytic_second_derivatives():
    model = with_values("pl", CASES["pl"][0])
    values = CASES["pl"][0]
    analytic = model.hessian(EDGES, *values)
    by_differences = SpectralModel.hessian(model, EDGES, *values)
    for p in range(3):
        for q in range(3):
            size = np.abs(analytic[p, q]).max() + 1e-3 * np.abs(analytic[1, q]).max() * 1e-12
            np.testing.assert_allclose(by_differences[p, q], analytic[p, q], atol=1e-7 * size)


@pytest.mark.parametrize("offset", [0, 1e-15, 1e-12, -1e-9, 1e-9, 1e-7, -1e-5, 1e-3, 0.1, -2.0])
@pytest.mark.parametrize("cls", [PowerLawSpectralModel, PowerLawNormSpectralModel])
def test_power_law_integral_is_exact_near_index_one(cls, offset):
    values = np.array([1 + offset, 0.7, 2.0])
    grid = EnergyGrid([0.3, 0.5, 0.500001, 40.0])

    def integral(v, low, high):
        index, amplitude, reference = (mp.mpf(x) for x in v)
        low, high = mp.mpf(low), mp.mpf(high)
        if index == 1:
            return amplitude * reference * mp.log(high / low)
        power = 1 - index
        return amplitude * reference**index * (high**power - low**power) / power

    f, df = cls().integral_bins_gradient(grid, values)
    truth = [float(integral(values, a, b)) for a, b in zip(grid.low, grid.high, strict=True)]
    # the log of a narrow bin is only as good as its edges: 1e-16 / 2e-6
    np.testing.assert_allclose(f[[0, 2]], np.array(truth)[[0, 2]], rtol=1e-13)
    np.testing.assert_allclose(f, truth, rtol=1e-10)
    for k in range(3):
        slopes = []
        for a, b in zip(grid.low, grid.high, strict=True):
            around = values.copy()
            if k == 0 and offset == 0:  # mp.diff must not divide by zero
                around[0] += 1e-14
            slopes.append(numeric(lambda v, a=a, b=b: integral(v, a, b), list(around), k))
        np.testing.assert_allclose(df[k], slopes, rtol=1e-9)


@pytest.mark.parametrize("x", [0.0, 1e-300, 1e-9, -1e-4, 0.0499, -0.0501, 0.3, -5.0, 30.0, -700.0])
def test_phi_and_psi(x):
    z = mp.mpf(x)
    big = mp.mpf(10) ** -150
    expected = (1 + z / 2, mp.mpf(1) / 2 + z / 6)
    if abs(z) > big:
        mp.mp.dps = 400
        expected = ((mp.exp(z) - 1) / z, (mp.exp(z) - 1 - z) / z**2)
        mp.mp.dps = 40
    assert phi(np.array([x]))[0] == pytest.approx(float(expected[0]), rel=1e-15)
    assert psi(np.array([x]))[0] == pytest.approx(float(expected[1]), rel=2e-14)


@settings(max_examples=60, deadline=None)
@given(
    alpha=st.floats(-3, 6), beta=st.floats(-1, 2), low=st.floats(1e-3, 1), decades=st.floats(0.1, 3)
)
def test_log_parabola_rule_for_any_shape(alpha, beta, low, decades):
    """f = Σ w y, its gradient is that of f, and nothing overflows."""
    model = LogParabolaSpectralModel()
    grid = EnergyGrid(np.geomspace(low, low * 10**decades, 8))
    values = np.array([1e-12, 1.0, alpha, beta])
    f, df = model.integral_bins_gradient(grid, values)
    assert np.isfinite(f).all()
    assert np.isfinite(df).all()
    assert (f >= 0).all()
    moved = values.copy()
    moved[2] += 1e-6
    slope = (model.integral_bins(grid, moved) - f) / 1e-6
    np.testing.assert_allclose(df[2], slope, atol=1e-4 * np.abs(df[2]).max() + 1e-25)


@pytest.mark.parametrize("tag", ["pl", "pl-norm", "lp"])
def test_zero_and_negative_amplitude(tag):
    cls = get_class("spectral", tag)
    model, grid = cls(), EnergyGrid(EDGES)
    k = cls.parameter_names.index(cls.linear)
    values = model.internal_values
    f, df = model.integral_bins_gradient(grid, values)
    values[k] *= -1
    minus, dminus = model.integral_bins_gradient(grid, values)
    np.testing.assert_array_equal(minus, -f)
    np.testing.assert_array_equal(dminus[k], df[k])
    values[k] = 0.0
    zero, dzero = model.integral_bins_gradient(grid, values)
    np.testing.assert_array_equal(zero, 0)
    np.testing.assert_array_equal(dzero[k], df[k])
    assert np.isfinite(model.integral_bins_hessian(grid, values)).all()


class _Line(SpectralModel):
    """Without a linear parameter, and with a sign change: a user's model."""

    def evaluate(self, energy, *values):
        return values[0] - energy


def test_rule_where_the_spectrum_vanishes_or_changes_sign():
    grid = EnergyGrid([1.0, 1.9, 2.1, 3.0])
    y = _Line().evaluate(grid.nodes, 2.0)
    f = grid.integrate(y)
    np.testing.assert_allclose(f, [0.495, 0.0, -0.495], atol=2e-3)
    np.testing.assert_allclose((grid.weights(y) * y).sum(axis=1), f, rtol=1e-13, atol=1e-16)
    for y in (np.zeros_like(grid.nodes), np.where(grid.nodes > 1.95, 1e-300, 0.0)):
        np.testing.assert_allclose(grid.integrate(y), 0, atol=1e-299)
        assert np.isfinite(grid.weights(y)).all()
    steep = np.where(grid.nodes > 1.5, 1e-300, 1e300)
    assert np.isfinite(grid.integrate(steep)).all()
    assert np.isfinite(grid.weights(steep) * steep).all()


def test_number_of_nodes_follows_gammapy():
    for per_decade, expected in [(5, 20), (10, 10), (20, 5), (1000, 2)]:
        assert EnergyGrid(np.geomspace(1, 10, per_decade + 1)).nodes.shape == (per_decade, expected)
    gev = EnergyGrid([100.0, 1000.0], "GeV")
    np.testing.assert_allclose(gev.nodes, EnergyGrid([0.1, 1.0]).nodes, rtol=1e-15)
    assert len(gev) == 1


@pytest.mark.parametrize("edges", [[1.0], [0.0, 1.0], [2.0, 1.0], [1.0, np.nan], [1.0, np.inf]])
def test_bad_edges(edges):
    with pytest.raises(InputError, match="energy edges"):
        EnergyGrid(edges)


def test_units_of_the_user():
    model = PowerLawSpectralModel(amplitude="1e-8 m-2 s-1 TeV-1", reference="1000 GeV")
    assert model(1000 * u.GeV).to_value("cm-2 s-1 TeV-1") == pytest.approx(1e-12, rel=1e-14)
    flux = model.integral(1 * u.TeV, [2, 3] * u.TeV)
    np.testing.assert_allclose(flux.to_value("cm-2 s-1"), [0.5e-12, 2e-12 / 3], rtol=1e-13)
    assert PowerLawNormSpectralModel()(1 * u.TeV).unit == u.dimensionless_unscaled
