"""The damped Newton method on problems with known answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import Point, Quadratic, Rosenbrock

from gmdask.fit.newton import damped_newton, edm
from gmdask.fit.problem import End, Problem
from gmdask.likelihood.steps import newton_step

FREE = Problem(np.full(2, -np.inf), np.full(2, np.inf))


@st.composite
def problems(draw, limits=None):
    """Return a quadratic function, a start, and limits around it for some parameters."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(1, 4))
    root = rng.normal(size=(n, n)) + 0.1 * np.eye(n)
    scale = 10.0 ** rng.uniform(-3, 3, size=n)
    hessian = np.outer(scale, scale) * (root @ root.T + 0.01 * np.eye(n))
    centre = rng.normal(size=n) / scale * draw(st.sampled_from([0.1, 1, 10]))
    lower, upper = np.full(n, -np.inf), np.full(n, np.inf)
    limited = rng.permutation(n)[: n if limits is None else limits]
    lower[limited] = -rng.exponential(size=len(limited)) / scale[limited]
    upper[limited] = rng.exponential(size=len(limited)) / scale[limited]
    start = np.where(rng.random(n) < 0.3, np.where(np.isfinite(lower), lower, 0.0), 0.0)
    return Quadratic(centre, hessian), start, lower, upper


@given(problems(limits=0))
@settings(max_examples=100, deadline=None)
def test_quadratic(problem):
    function, start, lower, upper = problem
    minimum = damped_newton(function, start, Problem(lower, upper))
    assert minimum.end is End.CONVERGED
    assert 0 <= minimum.edm < 1e-5
    assert minimum.point.stat < 1.1e-5
    point = function(None, start)
    step = newton_step(start, point.gradient, point.hessian, 0.0, lower, upper)
    np.testing.assert_allclose(
        start + step, function.centre, atol=1e-8 * np.abs(step).max() + 1e-12
    )
    assert edm(point, lower, upper) == pytest.approx(point.stat)


@given(problems(limits=1))
@settings(max_examples=100, deadline=None)
def test_quadratic_with_one_limited(problem):
    check_limits(*problem)


@given(problems())
@settings(max_examples=300, deadline=None)
def test_quadratic_with_limits(problem):
    check_limits(*problem)


def check_limits(function, start, lower, upper):
    best = function.brute_force(lower, upper)
    point = function(None, start)
    step = newton_step(start, point.gradient, point.hessian, 0.0, lower, upper)
    assert (start + step >= lower - 1e-12 * np.abs(step)).all()
    assert (start + step <= upper + 1e-12 * np.abs(step)).all()
    expected = edm(point, lower, upper)
    assert expected == pytest.approx(point.stat - function(None, start + step).stat, abs=1e-9)
    assert expected >= -1e-9
    minimum = damped_newton(function, start, Problem(lower, upper))
    assert minimum.end is End.CONVERGED
    assert minimum.point.stat <= best.stat + 1e-4
    assert edm(best, lower, upper) < 1e-6


def test_two_limited_parameters():
    hessian = np.array([[1.0, 0.9], [0.9, 1.0]])
    function = Quadratic([10.0, -8.0], hessian)
    lower, upper = np.array([-1.0, -5.0]), np.array([0.1, 1.0])
    best = function.brute_force(lower, upper)
    np.testing.assert_allclose(best.shared, [0.1, 0.91])
    minimum = damped_newton(function, np.zeros(2), Problem(lower, upper))
    np.testing.assert_allclose(minimum.point.shared, best.shared, atol=1e-3)


@given(problems(limits=0), st.floats(0, 1e3))
@settings(max_examples=50, deadline=None)
def test_damping_shortens_the_step(problem, damping):
    function, start, lower, upper = problem
    point = function(None, start)
    scale = np.sqrt(np.diag(point.hessian))
    step = newton_step(start, point.gradient, point.hessian, damping, lower, upper)
    longer = newton_step(start, point.gradient, point.hessian, 0.0, -np.inf, np.inf)
    assert (
        np.linalg.norm(step * scale) <= np.linalg.norm(longer * scale) * (1 + 1e-6) + 1e-9
        or (start + step <= lower).any()
        or (start + step >= upper).any()
    )
    assert function(None, start + step).stat <= point.stat + 1e-9


def test_what_nothing_depends_on_stays():
    gradient, hessian = np.array([0.0, 2.0]), np.diag([0.0, 4.0])
    lower, upper = np.full(2, -np.inf), np.full(2, np.inf)
    step = newton_step(np.ones(2), gradient, hessian, 0.0, lower, upper)
    np.testing.assert_array_equal(step, [0.0, -0.5])


def test_degenerate_pair_shares_the_step():
    gradient, hessian = np.array([2.0, 2.0]), np.full((2, 2), 2.0)
    lower, upper = np.full(2, -np.inf), np.full(2, np.inf)
    step = newton_step(np.zeros(2), gradient, hessian, 0.0, lower, upper)
    np.testing.assert_allclose(step, [-0.5, -0.5])


@pytest.mark.parametrize("start", [(-1.2, 1.0), (3.0, -2.0), (0.0, 0.0), (-2.0, 5.0)])
def test_banana(start):
    told = []
    minimum = damped_newton(
        Rosenbrock(), np.array(start), FREE,
        tolerance=1e-12, max_passes=200, on_pass=lambda *event: told.append(event),
    )  # fmt: skip
    assert minimum.end is End.CONVERGED
    np.testing.assert_allclose(minimum.point.shared, [1, 1], atol=1e-5)
    assert told[0][2]
    assert len(told) < 60
    best = np.inf
    for point, distance, accepted in told:
        assert np.isfinite(distance) == accepted
        assert accepted == (point.stat < best)
        best = min(best, point.stat)


def test_banana_with_a_limit():
    upper = np.array([0.5, np.inf])
    minimum = damped_newton(
        Rosenbrock(), np.array([-1.2, 1.0]), Problem(np.full(2, -np.inf), upper), tolerance=1e-12
    )
    assert minimum.end is End.CONVERGED
    np.testing.assert_allclose(minimum.point.shared, [0.5, 0.25], atol=1e-6)


def test_a_start_beyond_limits_is_taken_within():
    function = Quadratic([0.0], [[2.0]])
    minimum = damped_newton(function, np.array([5.0]), Problem(np.array([1.0]), np.array([2.0])))
    assert minimum.point.shared == 1.0
    assert minimum.end is End.CONVERGED


def test_at_most_so_many_passes():
    told = []
    minimum = damped_newton(
        Rosenbrock(), np.array([-1.2, 1.0]), FREE,
        max_passes=4, on_pass=lambda *event: told.append(event),
    )  # fmt: skip
    assert minimum.end is End.MAX_PASSES
    assert len(told) == 4
    assert minimum.point.stat == min(point.stat for point, _, _ in told)


def test_nothing_to_minimise():
    none = np.zeros(0)

    def evaluate(accepted, x, hold=False):
        return Quadratic(none, np.zeros((0, 0)))(accepted, x)

    minimum = damped_newton(evaluate, none, Problem(none, none))
    assert minimum.end is End.CONVERGED
    assert minimum.edm == 0


class Ridges:
    """A parabola with kinks at the minimum along some parameters, which sources share in pairs."""

    def __init__(self, n):
        rng = np.random.default_rng(3)
        self.at, self.jump = rng.uniform(-1, 1, n), rng.uniform(1, 6, n)
        self.jump[n // 2 :] = 0.0
        mixed = rng.normal(size=(n, 2 * n))
        self.hessian = mixed @ mixed.T / (2 * n) + np.eye(n)

    def __call__(self, accepted, x, hold=False):
        away = x - self.at
        stat = 0.5 * away @ self.hessian @ away + self.jump @ np.abs(away)
        gradient = self.hessian @ away + self.jump * np.where(away < 0, -1.0, 1.0)
        return Point(x, float(stat), gradient, self.hessian)


def test_kinks_along_many_parameters():
    n = 12
    function, free = Ridges(n), np.full(n, np.inf)
    problem = Problem(-free, free, kinked=function.jump > 0, blocks=np.arange(n) // 2)
    minimum = damped_newton(function, np.zeros(n), problem, max_passes=60)
    assert minimum.end is End.KINK
    assert 0 <= minimum.point.stat < n * 2e-3
    np.testing.assert_allclose(minimum.point.shared, function.at, atol=5e-3)


def test_promises_that_are_not_kept():
    calls = []

    def evaluate(accepted, x, hold=False):
        calls.append(x)
        return Point(x, -1e-4 * len(calls), np.array([-1.0, 0.0]), np.eye(2))

    minimum = damped_newton(evaluate, np.zeros(2), FREE)
    assert minimum.end is End.STALLED
    assert minimum.edm == pytest.approx(0.5)
    assert len(calls) < 15
    assert minimum.point.stat == -1e-4 * len(calls)
