"""Coordinates of steps against differences, and what is found in them."""

from __future__ import annotations

import numpy as np
import pytest

from gmdask.optimize.coordinates import Coordinates, Kinds, Turn
from gmdask.optimize.minimise import minimise
from gmdask.optimize.problem import Problem
from gmdask.optimize.status import Status
from tests.optimize.functions import Counted

INF = np.inf
DEGREE = np.pi / 180
KINDS = Kinds(
    np.array([True, False, False, False, False]),
    np.array([False, True, True, False, False]),
    (Turn(2, 3, DEGREE),),
)
LOWER, UPPER = np.array([-INF, 0.0, 0.0, -INF, -INF]), np.array([INF, INF, 1.0, INF, INF])
AT = [np.array([3.0, 0.2, e, 40.0, 1.0]) for e in (0.01, 0.3, 0.6, 0.9)]


def smooth(x):
    """A function of amplitude, size, eccentricity, angle and one more, and its derivatives by differences."""
    amplitude, size, e, angle, other = x
    along, across = size**2 * (1 - e**2 / 2), 0.5 * size**2 * e**2
    turned = 2 * DEGREE * angle
    return (
        np.sin(amplitude) + np.exp(3 * along) * (1 + other)
        + (20 * across * np.cos(turned) - 3 * other) ** 2 + np.sin(30 * across * np.sin(turned))
    )  # fmt: skip


def differences(function, x, steps):
    """Gradient and Hessian of fourth and second order."""
    n, unit = len(x), np.diag(steps)
    gradient = np.array([
        (8 * (function(x + h) - function(x - h)) - function(x + 2 * h) + function(x - 2 * h)) for h in unit
    ]) / (12 * steps)  # fmt: skip
    hessian = np.empty((n, n))
    for i in range(n):
        for j in range(n):
            a, b = unit[i], unit[j]
            hessian[i, j] = (
                function(x + a + b)
                - function(x + a - b)
                - function(x - a + b)
                + function(x - a - b)
            ) / (4 * steps[i] * steps[j])
    return gradient, hessian


@pytest.mark.parametrize("x", AT)
def test_derivatives(x):
    """Slopes, and second derivatives at the beginning, by the coordinates of a step."""
    coordinates = Coordinates(x, np.ones(5), KINDS, LOWER, UPPER, np.zeros(5, dtype=bool))
    steps = np.array([1e-3, 1e-4, 1e-3 * x[2], 1e-1, 1e-3])
    gradient, hessian = differences(smooth, x, steps)

    def stepped(step):
        return smooth(coordinates.values(step))

    slope, curvature = differences(stepped, np.zeros(5), steps)
    np.testing.assert_allclose(coordinates.slope(gradient, x), slope, rtol=1e-6, atol=1e-7)
    bent = hessian + coordinates.sizes_bend(gradient)
    bent[0, 0] += coordinates.amplitudes_bend(gradient, np.full(5, 1e9))[0]
    scale = np.sqrt(np.outer(np.diag(np.abs(curvature)), np.diag(np.abs(curvature)))) + 1e-3
    np.testing.assert_allclose(bent / scale, curvature / scale, atol=2e-4)
    away = np.array([0.3, 0.02, 0.1 * x[2], 4.0, 0.2])
    there = coordinates.values(away)
    assert ((there > LOWER) & (there < UPPER)).all()
    slope, _ = differences(lambda step: stepped(away + step), np.zeros(5), steps)
    gradient, _ = differences(smooth, there, steps)
    np.testing.assert_allclose(coordinates.slope(gradient, there), slope, rtol=1e-5, atol=1e-6)


def test_limits_are_met_exactly():
    x = np.array([3.0, 0.2, 0.9, 40.0, 1.0])
    lower, upper = np.array([1.0, 0.1, 0.0, -INF, 0.5]), np.array([4.0, 0.5, 0.95, INF, 1.5])
    coordinates = Coordinates(x, np.ones(5), KINDS, lower, upper, np.zeros(5, dtype=bool))
    low, high = coordinates.limits(lower, upper)
    found = coordinates.values(np.where(np.isfinite(high), high - x, 0.0))
    assert (found == np.where(np.isfinite(upper), upper, x)).all()
    found = coordinates.values(np.where(np.isfinite(low), low - x, 0.0))
    assert (found[[0, 1, 4]] == lower[[0, 1, 4]]).all()
    assert found[2] > 0.1  # a round shape has no angle


def ellipse(along, across):
    """Parabola in the second moments of a shape, whose minimum is an ellipse, as of a size and (e, angle)."""

    def moments(x):
        size, e, angle = x
        mean, part = size**2 * (1 - e**2 / 2), 0.5 * size**2 * e**2
        turned = 2 * DEGREE * angle
        return np.array([mean, part * np.cos(turned), part * np.sin(turned)])

    target, weight = moments(np.array([along, np.sqrt(1 - (across / along) ** 2), 63.0])), 1e6

    def function(x):
        size, e, angle = x
        c, s = np.cos(2 * DEGREE * angle), np.sin(2 * DEGREE * angle)
        q, p, w = size**2, e**2, 2 * DEGREE
        jacobian = np.array([
            [size * (2 - p), -q * e, 0.0],
            [size * p * c, q * e * c, -0.5 * q * p * w * s],
            [size * p * s, q * e * s, 0.5 * q * p * w * c],
        ])  # fmt: skip
        second = np.zeros((3, 3, 3))
        second[0] = [[2 - p, -2 * size * e, 0], [-2 * size * e, -q, 0], [0, 0, 0]]
        for k, (f, df) in enumerate(((c, -s), (s, c)), start=1):
            second[k] = [
                [p * f, 2 * size * e * f, size * p * w * df],
                [2 * size * e * f, q * f, q * e * w * df],
                [size * p * w * df, q * e * w * df, -0.5 * q * p * w**2 * f],
            ]
        residual = moments(x) - target
        hessian = 2 * weight * jacobian.T @ jacobian
        observed = hessian + 2 * weight * np.einsum("k,kij->ij", residual, second)
        return weight * residual @ residual, 2 * weight * jacobian.T @ residual, hessian, observed

    return function


@pytest.mark.parametrize("across", [0.02, 0.06, 0.095])
@pytest.mark.parametrize(
    "start", [(0.1, 0.01, 0.0), (0.1, 0.5, -27.0), (0.2, 0.9, -27.0), (0.02, 0.3, 0.0)]
)
def test_an_ellipse_from_any_angle(start, across):
    """Round shapes are no end: the worst start is turned by a quarter of a round."""
    counted = Counted(ellipse(0.1, across))
    lower, upper = np.array([0.0, 0.0, -INF]), np.array([INF, 1.0, INF])
    kinds = Kinds(False, np.array([True, True, False]), (Turn(1, 2, DEGREE),))
    problem = Problem(lower, upper, kinds)
    found = minimise(counted, np.array(start), problem, more=lambda: counted.calls < 40)
    assert found.status is Status.CONVERGED
    assert found.point.stat < 1e-5
    assert counted.calls <= 16
    assert abs((found.point.shared[2] - 63 + 90) % 180 - 90) < 1.0
