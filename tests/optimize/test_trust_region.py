"""The trust region on functions whose minima are known, or found by SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize as scipy_minimize

from gmdask.optimize.coordinates import Kinds
from gmdask.optimize.minimise import minimise
from gmdask.optimize.problem import Problem
from gmdask.optimize.status import Status, Tolerances
from gmdask.optimize.trust_region import TrustRegion
from tests.optimize.functions import (
    Counted,
    fading,
    parabola,
    poisson,
    powell,
    rosenbrock,
    scaled,
    separate,
    size,
)

INF = np.inf


def find(function, start, lower=-INF, upper=INF, *, passes=60, tolerances=None, **known):
    """Minimum, and the counted function."""
    start, counted = np.array(start, dtype=float), Counted(function)
    problem = Problem(
        *(np.broadcast_to(b, start.shape).astype(float) for b in (lower, upper)), **known
    )
    found = minimise(
        counted, start, problem, tolerances=tolerances or Tolerances(), more=lambda: counted.calls < passes
    )  # fmt: skip
    return found, counted


@pytest.mark.parametrize("start", [(-1.2, 1.0), (3.0, -2.0), (0.0, 0.0), (-2.0, 5.0)])
def test_banana(start):
    found, counted = find(rosenbrock, start, tolerances=Tolerances(edm=1e-12))
    assert found.status is Status.CONVERGED
    np.testing.assert_allclose(found.point.shared, 1, atol=1e-5)
    assert counted.calls <= 30


def test_banana_with_a_limit():
    found, _ = find(rosenbrock, (-1.2, 1.0), upper=[0.5, INF], tolerances=Tolerances(edm=1e-12))
    assert found.status is Status.AT_LIMITS
    np.testing.assert_array_equal(found.concerned, [True, False])
    np.testing.assert_allclose(found.point.shared, [0.5, 0.25], atol=1e-6)


def test_powell_is_as_low_as_asked_for():
    found, counted = find(powell, (3, -1, 0, 1))
    assert found.point.stat < 1e-4
    assert found.status is Status.CONVERGED
    assert counted.calls <= 15


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e8])
@pytest.mark.parametrize(("factor", "passes"), [(1e-6, 11), (0.05, 6), (20, 6), (1e6, 11)])
def test_amplitude_far_away(factor, passes, unit):
    best = 3 * unit
    function = poisson(np.array([900.0, 90, 9]), np.array([300.0, 30, 3]) / unit)
    found, counted = find(function, [factor * best], kinds=Kinds(amplitudes=np.array([True])))
    assert found.status is Status.CONVERGED
    assert counted.calls <= passes
    assert found.point.shared[0] == pytest.approx(best, rel=1e-4)


@pytest.mark.parametrize("factor", [0.05, 20.0])
def test_logarithm_of_an_amplitude(factor):
    def function(x):
        npred = 1000 * np.exp(x[0])
        stat = 2 * (npred - 1000 * np.log(max(npred, 1e-300)))
        return stat, np.array([2 * (npred - 1000)]), np.array([[2000.0]]), np.array([[2 * npred]])

    found, counted = find(function, [np.log(factor)])
    assert found.status is Status.CONVERGED
    assert abs(found.point.shared[0]) < 1e-3 * np.sqrt(1 / 1000)
    assert counted.calls <= 12


@pytest.mark.parametrize("amplitude", [True, False])
def test_a_plain_number_of_any_scale(amplitude):
    """A bound for the first step does not keep a norm from going from 1 to 49122."""
    found, counted = find(
        poisson(np.array([491220.0]), [10.0]), [1.0], kinds=Kinds(amplitudes=np.array([amplitude])),
        reach=lambda x: 3 * np.abs(x),
    )  # fmt: skip
    assert found.status is Status.CONVERGED
    assert found.point.shared[0] == pytest.approx(49122, rel=1e-5)
    assert counted.calls <= 25


def test_an_amplitude_on_a_background_may_end_below_zero():
    function = poisson(np.array([100.0, 80]), [0.0, 10.0], background=100.0)
    found, _ = find(function, [5.0], kinds=Kinds(amplitudes=np.array([True])))
    assert found.point.shared[0] == pytest.approx(-2, abs=1e-3)
    found, _ = find(function, [5.0], lower=0.0, kinds=Kinds(amplitudes=np.array([True])))
    assert found.point.shared[0] == 0
    assert found.status is Status.AT_LIMITS


def test_a_runaway_is_held_and_named():
    """The statistic falls towards infinity along one parameter; all others converge."""
    function = separate(fading(10.0), *(parabola(c, 10.0 * c) for c in range(1, 30)))
    found, counted = find(function, np.zeros(30), blocks=np.arange(30))
    assert found.status is Status.STALLED
    np.testing.assert_array_equal(np.flatnonzero(found.concerned), [0])
    np.testing.assert_allclose(found.point.shared[1:], np.arange(1, 30), atol=1e-4)
    assert found.edm < 1e-5
    assert counted.calls <= 12


def test_bad_steps_of_one_do_not_shorten_those_of_others():
    valley = lambda x: rosenbrock(x)  # noqa: E731

    def function(x):
        stat, gradient, hessian, observed = valley(x[:2])
        far = x[2] - 1e6
        full, full_observed = np.diag([0.0, 0, 2]), np.diag([0.0, 0, 2])
        full[:2, :2], full_observed[:2, :2] = hessian, observed
        return stat + far**2, np.r_[gradient, 2 * far], full, full_observed

    alone, own = find(rosenbrock, (-1.2, 1))
    both, counted = find(function, (-1.2, 1, 0), blocks=np.array([0, 0, 1]))
    assert both.status is alone.status is Status.CONVERGED
    assert counted.calls <= own.calls + 10


@pytest.mark.parametrize("lower", [0.0, -INF])
@pytest.mark.parametrize("width", [1e-6, 1.0, 1e6])
def test_a_saddle_is_left(lower, width):
    """At size 0 the slope vanishes, and the Gauss-Newton Hessian knows of nothing."""
    function = separate(size(-5e3, 1e6, width), parabola(1.0, 2.0))
    found, counted = find(function, [0.0, 0.0], lower=[lower, -INF], blocks=np.arange(2))
    assert found.status is Status.CONVERGED
    assert abs(found.point.shared[0]) == pytest.approx(0.05 * width, rel=1e-2)
    assert found.point.stat == pytest.approx(-6.25, abs=1e-4)
    assert counted.calls <= 20


def two_wells(x):
    """Minima at -1 and 1, and a saddle point between them."""
    rest, slope = x[0] ** 2 - 1, 2 * x[0]
    observed = np.array([[4 * slope**2 + 8 * rest]])
    return 2 * rest**2, np.array([4 * rest * slope]), np.array([[8.0]]), observed


@pytest.mark.parametrize("start", [1e-3, -1e-3])
def test_a_saddle_is_left_in_a_few_steps(start):
    """With its negative curvature made positive, each step would double the distance, and no more."""
    found, counted = find(two_wells, [start])
    assert found.status is Status.CONVERGED
    assert found.point.shared[0] == pytest.approx(np.sign(start), abs=1e-3)
    assert counted.calls <= 12


@pytest.mark.parametrize("start", [0.0, 0.02, 0.05])
def test_a_size_whose_minimum_is_at_zero(start):
    found, counted = find(size(5e3, 1e6), [start], lower=0.0)
    assert found.status.success
    assert found.point.stat < 1e-5
    assert counted.calls <= 12


def test_degenerate_parameters_share_the_step():
    found, counted = find(poisson(np.array([130.0]), [100.0], [100.0]), [0.3, 0.4])
    assert found.status is Status.CONVERGED
    assert found.point.shared.sum() == pytest.approx(1.3, rel=1e-4)
    assert counted.calls <= 8


def test_steps_out_of_the_domain():
    """A step to where the function is infinite, or not a number, is taken back."""

    def function(x):
        if x[0] <= 0:
            return (np.nan if x[0] < -1 else INF), np.array([np.nan]), *[np.array([[np.nan]])] * 2
        h = np.array([[1 / x[0] ** 2]])
        return x[0] - np.log(x[0]), np.array([1 - 1 / x[0]]), h, h

    found, counted = find(function, [50.0])
    assert found.status is Status.CONVERGED
    assert found.point.shared[0] == pytest.approx(1, abs=1e-2)
    assert counted.calls <= 20


def test_kinks():
    """A statistic with kinks: told as stalled, or good enough where kinks are to be expected."""

    def function(x):
        slope, d = np.array([3.0, 8.0]), x - 0.1
        h = 4 * np.eye(2)
        return np.abs(x - 0.3) @ slope + 2 * d @ d, np.sign(x - 0.3) * slope + 4 * d, h, h

    found, _ = find(function, [0, 0], rough=True)
    assert found.status is Status.CONVERGED
    assert found.point.stat == pytest.approx(0.16, abs=1e-3)
    found, _ = find(function, [0, 0])
    assert found.status is Status.STALLED
    assert found.concerned.all()


def test_no_parameter():
    nothing = np.zeros((0, 0))
    found, counted = find(lambda x: (1.0, np.zeros(0), nothing, nothing), [])
    assert (found.status, found.edm, counted.calls) == (Status.CONVERGED, 0, 1)


def test_as_many_passes_as_allowed():
    found, counted = find(rosenbrock, (-1.2, 1), passes=4)
    assert found.status is Status.MAX_PASSES
    assert counted.calls == 4
    assert found.point.stat <= counted.stats[0]


@pytest.mark.parametrize("at", range(1, 15))
def test_goes_on_from_a_state(at):
    """The path from any accepted point on is the same to the last bit."""
    problem = Problem(np.full(2, -INF), np.array([0.9, INF]), blocks=np.arange(2))
    states, ends = [], []
    for start in (np.array([-1.2, 1.0]), None):
        counted = Counted(rosenbrock)
        begin = states[min(at, len(states) - 1)] if start is None else start
        seen = [] if start is None else states
        ends.append(minimise(counted, begin, problem, on_accept=seen.append).point)
    assert ends[0].shared.tobytes() == ends[1].shared.tobytes()
    assert ends[0].stat == ends[1].stat


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(-8, 8), min_size=3, max_size=3))
@settings(max_examples=40, deadline=None)
def test_units_do_not_matter(seed, powers):
    """In other units the path is the same to rounding."""
    rng = np.random.default_rng(seed)
    jacobian, truth = rng.uniform(0.1, 2, size=(3, 20)), rng.uniform(20, 60, size=3)
    counts = rng.poisson(truth @ jacobian).astype(float)
    function, start = poisson(counts, *jacobian), truth * rng.uniform(0.3, 3, size=3)
    factors = 10.0 ** np.array(powers)
    amplitudes, paths = rng.random(3) < 0.5, []
    for f, x in ((function, start), (scaled(function, factors), start * factors)):
        _, counted = find(f, x, lower=0.0, kinds=Kinds(amplitudes=amplitudes))
        paths.append(counted.stats)
    assert len(paths[0]) == len(paths[1])
    np.testing.assert_allclose(paths[1], paths[0], rtol=1e-7)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_poisson_counts_within_limits(seed):
    """Convex: the minimum within limits is the one that SciPy finds."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 5))
    jacobian, truth = rng.uniform(0, 2, size=(n, 30)), rng.uniform(0, 20, size=n)
    counts = rng.poisson(truth @ jacobian + 2).astype(float)
    function = poisson(counts, *jacobian, background=2.0)
    lower, upper = np.zeros(n), np.where(rng.random(n) < 0.3, rng.uniform(1, 20, n), INF)
    start = np.minimum(10.0 ** rng.uniform(-2, 3, size=n), upper)
    found, counted = find(
        function, start, lower, upper, kinds=Kinds(amplitudes=np.ones(n, dtype=bool))
    )
    other = scipy_minimize(
        lambda x: function(x)[:2], np.minimum(truth + 1, upper), jac=True, method="L-BFGS-B",
        bounds=list(zip(lower, upper, strict=True)), options={"ftol": 1e-15, "gtol": 1e-8},
    )  # fmt: skip
    assert found.status.success
    assert found.point.stat <= other.fun + 2e-5
    assert counted.calls <= 25
    at = (found.point.shared <= lower) | (found.point.shared >= upper)
    np.testing.assert_array_equal(found.concerned, at)


def test_second_derivatives_are_evaluated_for_the_last_passes_only():
    """A far start with large residuals: the Gauss-Newton Hessian does until steps are short."""
    function = separate(
        *(poisson(np.array([900.0, 90, 9]), np.array([300.0, 20, 5])) for _ in range(4))
    )
    found, counted = find(
        function, np.full(4, 0.05), blocks=np.arange(4),
        kinds=Kinds(amplitudes=np.ones(4, dtype=bool)),
    )  # fmt: skip
    assert found.status is Status.CONVERGED
    assert found.point.observed is not None
    assert counted.seconds <= 3 < counted.calls - counted.seconds


def test_what_gained_is_kept_of_a_step_that_is_refused():
    """One block steps to where the function is enormous; the others need no more passes than alone."""

    def wall(x):
        """A slope down to a wall at -1, next to its minimum."""
        if x[0] < -1:
            return 1e6, np.array([-1e6]), np.array([[1e3]]), np.array([[1e3]])
        d = 1 + x[0]
        return 2 * (x[0] - 0.1 * np.log(d + 1e-9)), np.array([2 - 0.2 / (d + 1e-9)]), *[
            np.array([[0.2 / (d + 1e-9) ** 2]])
        ] * 2  # fmt: skip

    alone, own = find(poisson(np.array([900.0]), [300.0]), [0.05])
    both, counted = find(
        separate(wall, poisson(np.array([900.0]), [300.0])), [5.0, 0.05], blocks=np.arange(2)
    )
    assert both.status is alone.status is Status.CONVERGED
    assert both.point.shared[0] == pytest.approx(-0.9, abs=1e-3)
    np.testing.assert_allclose(both.point.shared[1], 3, rtol=1e-4)
    _, first = find(wall, [5.0])
    assert counted.calls <= max(own.calls, first.calls) + 2


def test_a_source_that_is_not_seen_keeps_its_place():
    """Its place follows fluctuations without end; held, its amplitude comes to its minimum."""

    def function(x):
        amplitude, place = x
        bump, slope, bend = np.cos(7 * place), -7 * np.sin(7 * place), -49 * np.cos(7 * place)
        grow = 1.0 + 0.5 * place**2  # more and more of it fits, and never enough
        stat = amplitude**2 - 0.2 * amplitude * (bump + grow)
        gradient = np.array(
            [2 * amplitude - 0.2 * (bump + grow), -0.2 * amplitude * (slope + place)]
        )
        cross = -0.2 * (slope + place)
        observed = np.array([[2.0, cross], [cross, -0.2 * amplitude * (bend + 1)]])
        return stat, gradient, np.array([[2.0, cross], [cross, 0.5 * cross**2 + 1e-4]]), observed

    found, counted = find(
        function, [0.1, 0.5], kinds=Kinds(amplitudes=np.array([True, False])),
        reach=lambda x: np.array([np.inf, 0.05]),
    )  # fmt: skip
    assert found.status is Status.STALLED
    np.testing.assert_array_equal(found.concerned, [False, True])
    assert abs(found.point.gradient[0]) < 1e-2
    assert counted.calls <= 15


def test_one_search_after_the_other_asks_for_one_evaluation_each():
    """Several searches may share the rounds of a cluster."""
    functions = [parabola(c, 2.0) for c in (1.0, 2.0, 3.0)]
    problem = Problem(np.full(1, -INF), np.full(1, INF))
    counted = [Counted(f) for f in functions]
    searches = [TrustRegion(problem, c(None, np.zeros(1), 1)) for c in counted]
    for _ in range(5):
        for search, own in zip(searches, counted, strict=True):
            if (proposal := search.propose()) is not None:
                search.take(own(search.point, *proposal))
    assert [s.status for s in searches] == [Status.CONVERGED] * 3
    np.testing.assert_allclose([s.point.shared[0] for s in searches], [1.0, 2.0, 3.0])


def test_success_is_told_for_minima_only():
    assert [s for s in Status if s.success] == [Status.CONVERGED, Status.AT_LIMITS]
