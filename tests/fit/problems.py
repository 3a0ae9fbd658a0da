"""Problems for minimisers, and what the tests of fits share."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import gmdask as gm
from gmdask.fit.objective import Objective

FOLDERS = ["crab", "pks2155", "hawc", "fermi_crab"]


@dataclass(frozen=True)
class Point:
    """An evaluation of a problem."""

    shared: np.ndarray
    stat: float
    gradient: np.ndarray
    hessian: np.ndarray


class Quadratic:
    """A strictly convex quadratic function."""

    def __init__(self, centre, hessian):
        self.centre, self.hessian = np.asarray(centre, float), np.asarray(hessian, float)

    def __call__(self, accepted, x, hold=False):
        d = x - self.centre
        return Point(x, float(0.5 * d @ self.hessian @ d), self.hessian @ d, self.hessian)

    def brute_force(self, lower, upper):
        """Minimum within limits: the best of the minima with some parameters at limits."""
        best, n = None, len(self.centre)
        for choice in itertools.product((-1, 0, 1), repeat=n):
            at = np.array(choice)
            x = np.where(at < 0, lower, np.where(at > 0, upper, self.centre))
            if not np.isfinite(x).all():
                continue
            free = at == 0
            if free.any():
                pull = self.hessian[np.ix_(free, ~free)] @ (x - self.centre)[~free]
                x[free] = self.centre[free] - np.linalg.solve(
                    self.hessian[np.ix_(free, free)], pull
                )
            if ((x < lower - 1e-12) | (x > upper + 1e-12)).any():
                continue
            point = self(None, np.clip(x, lower, upper))
            if best is None or point.stat < best.stat:
                best = point
        return best


class Rosenbrock:
    """The banana valley as least squares, with the Gauss-Newton Hessian."""

    def __call__(self, accepted, x, hold=False):
        residuals = np.array([10 * (x[1] - x[0] ** 2), 1 - x[0]])
        jacobian = np.array([[-20 * x[0], 10.0], [-1.0, 0.0]])
        return Point(
            x, float(residuals @ residuals), 2 * jacobian.T @ residuals, 2 * jacobian.T @ jacobian
        )


def real_models(folder: Path) -> gm.Models:
    """Models of a real analysis at the start."""
    return gm.Models.read(folder / "models_start.yaml")


def reference(folder: Path) -> dict:
    """What Gammapy found."""
    return json.loads((folder / "reference.json").read_text())


def bits(result, models) -> dict[str, bytes]:
    """What has to be the same to the last bit."""
    return {
        "total": np.float64(result.total_stat).tobytes(),
        "stat": np.array(list(result.stat.values())).tobytes(),
        "values": models.parameters.value.tobytes(),
        "errors": models.parameters.error.tobytes(),
        "covariance": result.covariance.data.tobytes(),
    }


def numeric_gradient(objective: Objective, point, anchor, steps) -> np.ndarray:
    """Gradient by the shared parameters: differences of fourth order at a fixed anchor."""
    gradient = []
    for index, step in zip(objective.shared, steps, strict=True):

        def stat(factor, index=index, step=step):
            values = point.values.copy()
            values[index] += factor * step
            # of order 1: the value at the optimum of the local parameters
            return objective(values, anchor=anchor, order=1).stat

        gradient.append((8 * (stat(1) - stat(-1)) - (stat(2) - stat(-2))) / (12 * step))
    return np.array(gradient)


def numeric_hessian(objective: Objective, point, anchor, steps) -> np.ndarray:
    """Hessian by the shared parameters: differences of the exact gradient."""
    rows = []
    for index, step in zip(objective.shared, steps, strict=True):

        def gradient(factor, index=index, step=step):
            values = point.values.copy()
            values[index] += factor * step
            return objective(values, anchor=anchor, order=1).gradient

        rows.append((8 * (gradient(1) - gradient(-1)) - (gradient(2) - gradient(-2))) / (12 * step))
    rows = np.array(rows)
    return 0.5 * (rows + rows.T)
