"""Covariance of all parameters from the Hessians of the joint fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gmdask.fit.objective import Objective, Pass
from gmdask.likelihood.arrow import local_covariance

__all__ = ["Uncertainty", "uncertainty"]

Array = NDArray[np.float64]

DENSE = 5000  # parameters up to which the full matrix is formed


@dataclass(frozen=True)
class Uncertainty:
    """Covariance at a minimum.

    Attributes
    ----------
    errors : array of shape (N,)
        Of all parameters; 0 for those that are frozen, at a limit, or that
        nothing depends on.
    shared : array of shape (S, S)
        Covariance of the shared parameters.
    matrix : array of shape (N, N) or None
        Covariance of all parameters; None where there are more than 5000.
    observed : bool
        Whether the observed Hessian was used; the Gauss-Newton one stands in for it
        where it is not positive definite.
    undetermined : array
        Positions among all parameters of free ones without an error.
    """

    errors: Array
    shared: Array
    matrix: Array | None
    observed: bool
    undetermined: NDArray[np.intp]


def uncertainty(objective: Objective, point: Pass) -> Uncertainty:
    """Covariance from an evaluation of order 2.

    The covariance of the shared parameters is twice the inverse of the observed Hessian of the
    profile of ``-2 log L``; that of local ones follows from the arrow shape of the full Hessian.

    Parameters
    ----------
    objective : `Objective`
    point : `Pass`
    """
    assert point.observed is not None
    assert point.hessian is not None
    lower, upper = objective.limits()
    inside = (point.shared > lower) & (point.shared < upper)
    shared, ok = _invert(point.observed, inside)
    if not ok:
        shared, _ = _invert(point.hessian, inside)
    n = len(point.values)
    errors = np.zeros(n)
    errors[objective.shared] = np.sqrt(np.diag(shared))
    for part in point.local:
        block = local_covariance(part.block, shared[np.ix_(part.shared, part.shared)])
        errors[part.index] = np.sqrt(np.maximum(np.diag(block), 0.0))
    matrix = _full(objective, point, shared) if n <= DENSE else None
    undetermined = np.flatnonzero(objective.free & (errors == 0))
    return Uncertainty(errors, shared, matrix, ok, undetermined)


def _invert(hessian: Array, inside: NDArray[np.bool_]) -> tuple[Array, bool]:
    """Twice the inverse over the usable parameters, and whether it is positive definite."""
    diagonal = np.diag(hessian)
    usable = inside & (diagonal > 0)
    covariance = np.zeros_like(hessian)
    if not usable.any():
        return covariance, not inside.any()
    scale = np.sqrt(diagonal[usable])
    values, vectors = np.linalg.eigh(hessian[np.ix_(usable, usable)] / np.outer(scale, scale))
    positive = values > 1e-10
    inverse = (vectors[:, positive] / values[positive]) @ vectors[:, positive].T
    covariance[np.ix_(usable, usable)] = 2 * inverse / np.outer(scale, scale)
    return covariance, bool(positive.all() and (usable | ~inside | (diagonal == 0)).all())


def _full(objective: Objective, point: Pass, shared: Array) -> Array:
    """Covariance of all parameters: local blocks, and all cross terms through the shared ones."""
    n, n_shared = len(point.values), len(objective.shared)
    follow = np.zeros((n, n_shared))
    follow[objective.shared] = np.eye(n_shared)
    matrix = np.zeros((n, n))
    for part in point.local:
        follow[np.ix_(part.index, part.shared)] = -part.block.slope
        matrix[np.ix_(part.index, part.index)] = 2 * part.block.inverse
    matrix += follow @ shared @ follow.T
    return 0.5 * (matrix + matrix.T)
