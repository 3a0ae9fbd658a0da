"""Sizes of sources that may be zero: errors and upper limits against the profile of the statistic."""

from __future__ import annotations

import numpy as np
import pytest

from gmdask.evaluation.passes import SecondOrderPass
from gmdask.fit.sizes import at_zero, compatible, one_sided, upper_limits


class Even:
    """Statistic ``a s² + b s⁴`` of a size and an amplitude that follows ``s²``, in degrees."""

    def __init__(self, a, b):
        self.a, self.b, self.passes = a, b, 0
        self.parameters = self
        self.sizes = self.even = np.array([False, True])

    def degrees(self):
        return np.array([np.nan, 1.0])

    def with_shared(self, values, shared):
        return shared

    def __call__(self, x):
        self.passes += 1
        amplitude, s = x
        away = amplitude - 40 * s**2  # at its optimum for any size where this vanishes
        stat = self.a * s**2 + self.b * s**4 + 3 * away**2
        gradient = np.array([6 * away, 2 * self.a * s + 4 * self.b * s**3 - 480 * s * away])
        jacobian = np.array([1.0, -80 * s])
        hessian = 6 * np.outer(jacobian, jacobian) + np.diag([0.0, 24 * self.b * s**2])
        observed = 6 * np.outer(jacobian, jacobian)
        observed[1, 1] += 2 * self.a + 12 * self.b * s**2 - 480 * away
        floors = np.zeros(1, dtype=int)
        stats = np.array([stat])
        return SecondOrderPass(x, x, stat, stats, floors, gradient, hessian, observed, [])


@pytest.mark.parametrize("a", [0.0, 10.0, 1e3, 1e5])
@pytest.mark.parametrize("b", [1e3, 1e6, 1e9])
def test_where_the_profile_has_risen(a, b):
    even = Even(a, b)
    point = even(np.zeros(2))
    assert at_zero(even, point).tolist() == [False, a > 0]
    found = upper_limits(even, point, np.array([False, True]), np.zeros(2))
    for s, rise in ((found.error[0], 1), (found.upper_limit[0], 4)):
        assert a * s**2 + b * s**4 == pytest.approx(rise, rel=1e-6)
    assert even.passes <= 6


def test_a_size_far_from_zero_is_resolved():
    even = Even(-5e3, 1e6)
    point = even(np.array([40 * 0.05**2, 0.05]))
    assert np.abs(point.gradient).max() < 1e-9
    assert not at_zero(even, point).any()
    errors = np.sqrt(2 / np.array([6.0, 8 * 1e6 * 0.05**2]))
    assert not compatible(even, point, errors).any()


@pytest.mark.parametrize("size", [0.005, 0.01, 0.02])
def test_the_limit_of_a_size_that_is_hardly_resolved(size):
    """Of ``b (s² - m²)²``, which is below 1 at 0: the limit lies where it has risen by 4."""
    b = 0.7 / size**4
    even = Even(-2 * b * size**2, b)
    point = even(np.array([40 * size**2, size]))
    errors = np.array([0.0, np.sqrt(2 / (8 * b * size**2))])
    assert compatible(even, point, errors).tolist() == [False, True]
    found = upper_limits(even, point, np.array([False, True]), errors)
    assert b * (found.upper_limit[0] ** 2 - size**2) ** 2 == pytest.approx(4, rel=1e-6)
    assert b * ((size + found.error[0]) ** 2 - size**2) ** 2 == pytest.approx(1, rel=1e-6)
    one = one_sided(np.array([size]), errors[1:])
    assert one == pytest.approx(found.error, rel=1e-6)


def test_a_size_that_nothing_depends_on_has_no_limit():
    even = Even(0.0, 0.0)
    point = even(np.zeros(2))
    assert not at_zero(even, point).any()
    found = upper_limits(even, point, np.array([False, True]), np.zeros(2))
    assert np.isinf(found.upper_limit).all()


@pytest.mark.parametrize("size", [1e-5, 1e-3, 0.01, 0.05, 0.3])
def test_the_error_is_where_the_statistic_rises_by_one(size):
    """Of ``b (s² - m²)²``: the parabola at a tiny minimum would say degrees."""
    b = 1e6
    by_curvature = np.sqrt(2 / (8 * b * size**2))
    error = float(one_sided(np.array([size]), np.array([by_curvature]))[0])
    rise = b * ((size + error) ** 2 - size**2) ** 2
    assert rise == pytest.approx(1, rel=1e-6 if by_curvature > 0.5 * size else 0.3)
    assert error < 0.04
