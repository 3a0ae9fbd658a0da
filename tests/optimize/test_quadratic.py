"""Steps of quadratic models within limits, against brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gmdask.optimize.quadratic import decrease, moved, newton_step

FREE = np.full(2, np.inf)


def brute_force(centre, hessian, lower, upper):
    """Minimum within limits: the best of the minima with some parameters at limits."""
    best, found = np.inf, None
    for choice in itertools.product((-1, 0, 1), repeat=len(centre)):
        at = np.array(choice)
        x = np.where(at < 0, lower, np.where(at > 0, upper, centre))
        free = at == 0
        if not np.isfinite(x).all():
            continue
        if free.any():
            pull = hessian[np.ix_(free, ~free)] @ (x - centre)[~free]
            x[free] = centre[free] - np.linalg.solve(hessian[np.ix_(free, free)], pull)
        if (x < lower - 1e-12).any() or (x > upper + 1e-12).any():
            continue
        stat = 0.5 * (x - centre) @ hessian @ (x - centre)
        if stat < best:
            best, found = stat, x
    return best, found


@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
@settings(max_examples=300, deadline=None)
def test_minimum_within_limits(seed, n):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(n, n))
    scale = 10.0 ** rng.uniform(-3, 3, size=n)
    inner = root @ root.T + 0.05 * np.eye(n)
    centre = rng.normal(size=n)
    lower = np.where(rng.random(n) < 0.6, -rng.exponential(size=n), -np.inf)
    upper = np.where(rng.random(n) < 0.6, rng.exponential(size=n), np.inf)
    start = np.where((rng.random(n) < 0.3) & np.isfinite(lower), lower, 0.0)
    best, _ = brute_force(centre, inner, lower, upper)
    hessian, gradient = np.outer(scale, scale) * inner, scale * (inner @ (start - centre))
    step = newton_step(start / scale, gradient, hessian, lower / scale, upper / scale)
    at = moved(start / scale, step, lower / scale, upper / scale) * scale
    assert 0.5 * (at - centre) @ inner @ (at - centre) == pytest.approx(best, abs=1e-9)
    first = 0.5 * (start - centre) @ inner @ (start - centre)
    assert decrease(gradient, hessian, step) == pytest.approx(first - best, abs=1e-9)


def test_many_parameters_at_limits():
    """The conditions of a minimum, where there are too many parameters for brute force."""
    rng = np.random.default_rng(1)
    n = 200
    root = rng.normal(size=(n, n))
    hessian, gradient = root @ root.T / n + 0.01 * np.eye(n), rng.normal(size=n)
    lower, upper = np.full(n, -0.5), np.full(n, 0.3)
    step = newton_step(np.zeros(n), gradient, hessian, lower, upper)
    pull = gradient + hessian @ step
    inside = (step > lower) & (step < upper)
    assert 20 < inside.sum() < n - 20
    np.testing.assert_allclose(pull[inside], 0, atol=1e-9)
    assert (pull[step == lower] > 0).all()
    assert (pull[step == upper] < 0).all()


def test_what_nothing_depends_on_stays():
    step = newton_step(np.ones(2), np.array([0.0, 2.0]), np.diag([0.0, 4.0]), -FREE, FREE)
    np.testing.assert_array_equal(step, [0.0, -0.5])


def test_degenerate_pair_shares_the_step():
    step = newton_step(np.zeros(2), np.full(2, 2.0), np.full((2, 2), 2.0), -FREE, FREE)
    np.testing.assert_allclose(step, -0.5)


def test_a_hessian_that_is_not_positive_leads_down():
    hessian, gradient = np.array([[1.0, 3, 0], [3, 1, 0], [0, 0, 1]]), np.array([1.0, 0.2, 1])
    step = newton_step(np.zeros(3), gradient, hessian, -np.full(3, np.inf), np.full(3, np.inf))
    assert gradient @ step < 0


def test_limits_are_met_exactly():
    lower, upper = np.array([0.1, -np.inf, -0.3]), np.array([0.7, 0.2, 0.1])
    x, gradient = np.array([0.3, 0.1, 0.0]), np.array([5.0, -7.0, 11.0])
    step = newton_step(x, gradient, np.diag([0.3, 0.7, 1.1]), lower, upper)
    np.testing.assert_array_equal(moved(x, step, lower, upper), [0.1, 0.2, -0.3])


def test_what_stays_at_a_limit_does_not_shorten_the_step():
    """Negative curvature along a parameter that its limit holds is no matter to the others."""
    hessian = np.array([[-3.0, 1.0, 0.5], [1.0, 2.0, 0.3], [0.5, 0.3, 1.0]])
    gradient, x = np.array([5.0, 1.0, -2.0]), np.zeros(3)
    lower = np.array([0.0, -np.inf, -np.inf])
    step = newton_step(x, gradient, hessian, lower, np.full(3, np.inf))
    assert step[0] == 0
    np.testing.assert_allclose(step[1:], np.linalg.solve(hessian[1:, 1:], -gradient[1:]))
