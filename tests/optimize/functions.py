"""Functions with known minima, as evaluations of a statistic with exact derivatives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Point:
    """An evaluation."""

    shared: np.ndarray
    stat: float
    gradient: np.ndarray
    hessian: np.ndarray
    observed: np.ndarray | None
    stats: np.ndarray | None = None
    floors: np.ndarray | None = None


class Counted:
    """A function as the minimiser calls it: with the number of calls, and of those of order 2."""

    def __init__(self, function):
        self._function, self.calls, self.seconds, self.stats = function, 0, 0, []

    def __call__(self, accepted, x, order):
        self.calls += 1
        self.seconds += order == 2
        stat, gradient, hessian, observed = self._function(x)
        self.stats.append(stat)
        return Point(x, float(stat), gradient, hessian, observed if order == 2 else None)


def rosenbrock(x):
    """The banana valley as least squares."""
    residual = np.array([10 * (x[1] - x[0] ** 2), 1 - x[0]])
    jacobian = np.array([[-20 * x[0], 10.0], [-1.0, 0.0]])
    hessian = 2 * jacobian.T @ jacobian
    observed = hessian + 2 * residual[0] * np.diag([-20.0, 0.0])
    return residual @ residual, 2 * jacobian.T @ residual, hessian, observed


def powell(x):
    """Powell's singular function: no curvature at the minimum along two directions."""
    root5, root10 = np.sqrt(5), np.sqrt(10)
    d, e = x[1] - 2 * x[2], x[0] - x[3]
    residual = np.array([x[0] + 10 * x[1], root5 * (x[2] - x[3]), d**2, root10 * e**2])
    jacobian = np.array([
        [1, 10, 0, 0], [0, 0, root5, -root5], [0, 2 * d, -4 * d, 0],
        [2 * root10 * e, 0, 0, -2 * root10 * e],
    ])  # fmt: skip
    hessian = 2 * jacobian.T @ jacobian
    v, w = np.array([0, 1, -2, 0]), np.array([1, 0, 0, -1])
    bend = 4 * residual[2] * np.outer(v, v) + 4 * root10 * residual[3] * np.outer(w, w)
    return residual @ residual, 2 * jacobian.T @ residual, hessian, hessian + bend


def poisson(counts, *jacobians, background=0.0):
    """Cash statistic of counts whose prediction is linear in the parameters."""
    matrix = np.stack([np.asarray(j, dtype=float) for j in jacobians], axis=-1)

    def function(x):
        npred = matrix @ x + background
        if (npred <= 0).any():
            nan = np.full(len(x), np.nan)
            return np.inf, nan, np.diag(nan), np.diag(nan)
        hessian = 2 * matrix.T @ (matrix * (counts / npred**2)[:, None])
        stat = 2 * np.sum(npred - counts * np.log(npred))
        return stat, 2 * matrix.T @ (1 - counts / npred), hessian, hessian

    return function


def separate(*functions):
    """Sum of functions of one parameter each."""

    def function(x):
        found = [f(x[k : k + 1]) for k, f in enumerate(functions)]
        stat, gradient, hessian, observed = zip(*found, strict=True)
        diagonal = (np.diag(np.concatenate([m.ravel() for m in ms])) for ms in (hessian, observed))
        return sum(stat), np.concatenate(gradient), *diagonal

    return function


def parabola(centre, curvature):
    def function(x):
        d, h = x - centre, np.array([[curvature]])
        return float(0.5 * curvature * d @ d), curvature * d, h, h

    return function


def fading(height, rate=1.0):
    """Falls towards infinity for ever."""

    def function(x):
        value = height * np.exp(-rate * x[0])
        h = np.array([[rate**2 * value]])
        return value, np.array([-rate * value]), h, h

    return function


def size(a, b, width=1.0):
    """``a s² + b s⁴``: even in a size, as the likelihood of a Gaussian is in its sigma."""

    def function(x):
        s = x[0] / width
        gauss_newton = np.array([[24 * b * s * s / width**2]])
        observed = np.array([[(2 * a + 12 * b * s * s) / width**2]])
        return (
            a * s**2 + b * s**4,
            np.array([2 * a * s + 4 * b * s**3]) / width,
            gauss_newton,
            observed,
        )

    return function


def scaled(function, factors):
    """The same in other units: parameters are larger by some factors."""
    factors = np.asarray(factors, dtype=float)

    def other(x):
        stat, gradient, hessian, observed = function(x / factors)
        outer = np.outer(factors, factors)
        return stat, gradient / factors, hessian / outer, observed / outer

    return other
