"""The likelihood profiled over a dataset's own background."""

import itertools

import numpy as np
import pytest
from scipy.optimize import minimize

from gmdask.likelihood.arrow_hessian import eliminate, local_block
from gmdask.models import DatasetModels
from gmdask.optimize.bounded_newton import minimise_bounded
from tests.likelihood import cubes
from tests.likelihood.gammapy_response import CompiledDataset
from tests.likelihood.sources import (
    background,
    derivative,
    free_of,
    gauss,
    locals_of,
    point,
    power_law,
)


def models_of(**keywords):
    return DatasetModels([point(), gauss(), background(**keywords)])


def profiled(cube, models, bins="occupied"):
    return CompiledDataset(cube, models, local=locals_of(models), bins=bins)


def brute_force(cube, models, values, bounds):
    """Minimum of the full function over the local parameters, by SciPy."""
    full = CompiledDataset(cube, models, bins="masked")
    places = np.flatnonzero(locals_of(models) & free_of(models))
    columns = [np.flatnonzero(free_of(models)).tolist().index(k) for k in places]

    def function(local):
        x = values.copy()
        x[places] = local
        evaluation = full.evaluate(x, values, order=1)
        return evaluation.stat, evaluation.gradient[columns]

    start = np.clip(values[places], *np.transpose(bounds))
    options = {"ftol": 1e-15, "gtol": 1e-9, "maxiter": 500}
    found = minimize(function, start, jac=True, bounds=bounds, method="L-BFGS-B", options=options)
    return found.fun, found.x


@pytest.mark.parametrize("psf", ["true", "reco"])
@pytest.mark.parametrize(
    "start",
    [(1.1, 0.07), (0.05, -1.0), (1.0, -2.0), (30.0, 0.0), (30.0, 2.0), (0.0, 1.0), (-2.0, 0.0)],
)
def test_equals_brute_force(psf, start):
    cube, models = cubes.make_cube(psf=psf), models_of()
    values = models.parameters.value
    places = np.flatnonzero(locals_of(models) & free_of(models))
    tilt, norm = places
    values[norm], values[tilt] = start
    evaluation = profiled(cube, models).evaluate(values, order=2)
    values[norm], values[tilt] = 1.0, 0.0
    stat, best = brute_force(cube, models, values, [(-5, 5), (0, np.inf)])
    assert evaluation.stat == pytest.approx(stat, abs=1e-8, rel=0)
    assert evaluation.stat <= stat + 1e-9
    sigma = np.sqrt(2 / np.diag(evaluation.observed))[-2:]
    assert (np.abs(evaluation.values[places] - best) < 1e-4 * sigma).all()
    # at the optimum, to 1e-6 of an error whatever the start
    assert (np.abs(evaluation.gradient[-2:] * sigma) < 2e-6).all()
    assert evaluation.active.all()
    at = profiled(cube, models).evaluate(evaluation.values, order=0)
    assert at.stat == pytest.approx(evaluation.stat, abs=1e-10, rel=0)


@pytest.mark.parametrize("frozen_tilt", [True, False])
@pytest.mark.parametrize("psf", ["true", "reco"])
def test_gradient_and_hessian_of_the_profile(psf, frozen_tilt):
    cube, models = cubes.make_cube(psf=psf), models_of(free_tilt=not frozen_tilt)
    values, local = models.parameters.value, locals_of(models)
    compiled = profiled(cube, models)
    columns = np.flatnonzero(free_of(models) & ~local)
    own = local[free_of(models)]

    def profile(x):
        e = compiled.evaluate(x, values, order=2)
        return e, *eliminate(e.gradient, e.observed, own, local_block(e.observed, own, e.active))

    _, gradient, hessian = profile(values)
    sigma = np.sqrt(2 / np.diag(hessian))
    steps = 0.01 * sigma
    slope = derivative(lambda x: compiled.evaluate(x, values, order=1).stat, values, columns, steps)
    np.testing.assert_allclose(gradient * sigma, slope * sigma, rtol=1e-6, atol=1e-6)
    curve = derivative(lambda x: profile(x)[1], values, columns, steps)
    unit = np.outer(sigma, sigma)
    # the inner optimum is found to about 1e-7 of an error, and a step is 0.01 of one
    np.testing.assert_allclose(hessian * unit, curve * unit, rtol=0, atol=2e-5)


@pytest.mark.parametrize(("lower", "upper", "bound"), [(1.5, 4.0, 1.5), (0.1, 0.6, 0.6)])
def test_a_limit_of_the_norm(lower, upper, bound):
    cube, models = cubes.make_cube(), models_of()
    norm = models["cube-bkg"].spectral_model.norm
    norm.value, norm.min, norm.max = 0.5 * (lower + upper), lower, upper
    values, local = models.parameters.value, locals_of(models)
    compiled = profiled(cube, models)
    evaluation = compiled.evaluate(values, order=2)
    place = models.parameters.names.index("cube-bkg.spectral.norm")
    assert evaluation.values[place] == bound
    column = np.flatnonzero(free_of(models)).tolist().index(place)
    assert np.flatnonzero(~evaluation.active).tolist() == [column]
    stat, best = brute_force(cube, models, values, [(-5, 5), (lower, upper)])
    assert evaluation.stat == pytest.approx(stat, abs=1e-8, rel=0)
    assert best[1] == bound
    # the shared parameters see a profile over what still moves, the tilt
    own = local[free_of(models)]
    block = local_block(evaluation.observed, own, evaluation.active)
    gradient, _ = eliminate(evaluation.gradient, evaluation.observed, own, block)
    columns = np.flatnonzero(free_of(models) & ~local)
    sigma = np.sqrt(2 / np.diag(evaluation.observed))[~own]
    slope = derivative(
        lambda x: compiled.evaluate(x, values, order=1).stat, values, columns, 0.01 * sigma
    )
    np.testing.assert_allclose(gradient * sigma, slope * sigma, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("start", [1.0, 0.0, 1e-12, -3.0])
@pytest.mark.parametrize("psf", ["true", "reco"])
def test_the_implied_limit_at_zero(psf, start):
    """More predicted by the source than there is: the norm ends at zero, never below."""
    cube = cubes.make_cube(psf=psf)
    models = DatasetModels([gauss(sigma=0.2), background()])
    values = models.parameters.value
    source = CompiledDataset(
        cube.drop_vars("background"), DatasetModels(list(models)[:1]), bins="all"
    )
    shape = cube["counts"].shape
    expected = source.npred(values[: len(values) - 3]).reshape(shape)
    cube["counts"].values[:] = np.round(0.7 * expected)
    place = models.parameters.names.index("cube-bkg.spectral.norm")
    values[place] = start
    for bins in ("occupied", "masked"):
        evaluation = profiled(cube, models, bins).evaluate(values, order=2)
        assert evaluation.values[place] == 0.0
        assert (~evaluation.active).sum() >= 1
        own = locals_of(models)[free_of(models)]
        block = local_block(evaluation.observed, own, evaluation.active)
        assert np.isfinite(block.inverse).all()
        assert block.inverse[1, 1] == 0
        full = CompiledDataset(cube, models).evaluate(evaluation.values, order=2)
        assert full.stat == pytest.approx(evaluation.stat, rel=1e-13)


def test_a_negative_amplitude_is_profiled_over_the_dense_function():
    cube = cubes.make_cube()
    models = DatasetModels([point(spectral=power_law("-1e-13 cm-2 s-1 TeV-1")), background()])
    values = models.parameters.value
    evaluation = profiled(cube, models).evaluate(values, order=1)
    stat, _ = brute_force(cube, models, values, [(-5, 5), (0, np.inf)])
    assert evaluation.stat == pytest.approx(stat, abs=1e-8, rel=0)


def test_frozen_local_parameters_are_not_touched():
    cube, models = cubes.make_cube(), models_of(free_tilt=False)
    values = models.parameters.value
    evaluation = profiled(cube, models).evaluate(values, order=1)
    changed = np.flatnonzero(evaluation.values != values)
    assert [models.parameters.names[k] for k in changed] == ["cube-bkg.spectral.norm"]
    assert values[changed] == 1.1  # what was given stays as it was


def test_minimise_local_on_a_valley():
    """Rosenbrock's valley, with and without a wall across it."""

    def function(x):
        a, b = x
        stat = 100 * (b - a * a) ** 2 + (1 - a) ** 2
        gradient = np.array([-400 * a * (b - a * a) - 2 * (1 - a), 200 * (b - a * a)])
        hessian = np.array([[1200 * a * a - 400 * b + 2, -400 * a], [-400 * a, 200.0]])
        return stat, gradient, hessian

    none = np.full(2, np.inf)
    found = minimise_bounded(function, np.array([-1.2, 1.0]), -none, none)
    np.testing.assert_allclose(found, 1.0, atol=1e-6)
    found = minimise_bounded(function, np.array([-1.2, 1.0]), -none, np.array([0.5, np.inf]))
    np.testing.assert_allclose(found, [0.5, 0.25], atol=1e-7)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_minimise_local_on_quadratics_within_limits(n):
    """Convex, so there is one minimum: that of the best set of parameters held at limits."""
    rng = np.random.default_rng(n)
    misses = []
    for _ in range(300):
        correlation, scale = rng.uniform(0, 0.99), 10.0 ** rng.uniform(-1, 1, n)
        hessian = 100 * ((1 - correlation) * np.eye(n) + correlation) * np.outer(scale, scale)
        centre, width = rng.normal(size=n) * 3 / scale, 1 / scale
        lower = np.where(rng.random(n) < 0.5, rng.normal(size=n) * width, -np.inf)
        upper = np.where(rng.random(n) < 0.3, np.maximum(lower, -5 * width) + width, np.inf)

        def function(x, hessian=hessian, centre=centre):
            slope = hessian @ (x - centre)
            return 0.5 * slope @ (x - centre), slope, hessian

        best = np.inf
        for held in itertools.product((None, lower, upper), repeat=n):
            free = np.array([h is None for h in held])
            x = np.array([0.0 if h is None else h[k] for k, h in enumerate(held)])
            if np.isfinite(x).all():
                pull = hessian[np.ix_(free, ~free)] @ (x - centre)[~free]
                x[free] = centre[free] - np.linalg.solve(hessian[np.ix_(free, free)], pull)
                if (x >= lower - 1e-12 * width).all() and (x <= upper + 1e-12 * width).all():
                    best = min(best, function(x)[0])
        found = minimise_bounded(function, rng.normal(size=n) * 5 / scale, lower, upper)
        misses.append(function(found)[0] - best)
    assert max(misses) < 1e-9
