"""Covariance of all parameters from the Hessians of the joint fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gmdask.evaluation.joint_likelihood import Objective
from gmdask.evaluation.passes import Pass, SecondOrderPass
from gmdask.fit.sizes import at_zero, compatible, one_sided, upper_limits
from gmdask.models import Covariance, Models
from gmdask.models.block_matrix import Block, BlockMatrix
from gmdask.symmetric import eigh, from_eigen

__all__ = ["Uncertainty", "quick_errors", "set_covariance", "uncertainty"]

Array = NDArray[np.float64]

FLAT = 1e-10  # eigenvalue of a Hessian scaled to unit diagonal that counts as zero
DENSE = 1000  # parameters up to which the covariance is formed as a whole


@dataclass(frozen=True)
class Uncertainty:
    """Covariance at a minimum.

    Attributes
    ----------
    point : `SecondOrderPass`
        The minimum.
    matrix : `BlockMatrix` of size N
        Covariance of all parameters: of the shared ones, and of each dataset's local ones with
        their response to those, from which all cross terms follow. Zero for parameters that
        are frozen, at a limit, or without any effect.
    stand_in : boolean array of shape (S,)
        Shared parameters for which the Gauss-Newton Hessian replaces the observed one: those of models
        for which that is not positive definite, or all if this is not sufficient.
    undetermined : array
        Positions, among all parameters, of free ones without an error.
    upper_limits : dict
        By position among all parameters: upper limits of sizes that are compatible with 0.
    """

    point: SecondOrderPass
    matrix: BlockMatrix
    stand_in: NDArray[np.bool_]
    undetermined: NDArray[np.intp]
    upper_limits: dict[int, float]


def uncertainty(
    objective: Objective, point: SecondOrderPass, held: NDArray[np.bool_] | bool = False
) -> Uncertainty:
    """Compute the covariance from an evaluation with second derivatives.

    The covariance of the shared parameters is twice the inverse of the observed Hessian of the
    profile of ``-2 log L``; that of local ones follows from the arrow shape of the full Hessian.

    Parameters
    ----------
    objective : `Objective`
    point : `SecondOrderPass`
    held : boolean array of shape (S,)
        Shared parameters without a minimum, which get no error.

    Notes
    -----
    The likelihood is even in the size of a source: near 0 the error is the upper one, where
    the profile of the statistic has risen by 1, and not that of the parabola. An angle whose error exceeds
    a quarter of the period has no error: the shape is compatible with a round one.
    """
    lower, upper = objective.parameters.limits()
    inside = (point.shared > lower) & (point.shared < upper) & ~np.asarray(held)
    inside &= ~objective.parameters.flat_angles(point)
    zero = at_zero(objective, point) & ~np.asarray(held)
    inside &= ~zero
    stand_in = np.zeros(len(inside), dtype=bool)
    shared, ok = _invert(point.observed, inside)
    if not ok:
        stand_in = _not_positive(point, inside, objective.problem().blocks)
        mixed = np.where(stand_in[:, None] | stand_in, point.hessian, point.observed)
        shared, ok = _invert(mixed, inside)
    if not ok:
        stand_in[:] = True
        shared, _ = _invert(point.hessian, inside)
    errors, limits = np.sqrt(np.diag(shared)), {}
    factor = np.ones(len(inside))
    even = objective.parameters.even & (errors > 0)
    factor[even] = one_sided(point.shared[even], errors[even]) / errors[even]
    factor[objective.parameters.turned_round(errors)] = 0.0
    near = zero | compatible(objective, point, errors)
    shared = shared * np.outer(factor, factor)
    for some in _one_of_each(near, objective.problem().blocks):
        found = upper_limits(objective, point, some, errors)
        for k, error, limit in zip(
            np.flatnonzero(some), found.error, found.upper_limit, strict=True
        ):
            if np.isfinite(limit):
                limits[int(objective.parameters.shared[k])] = float(limit)
                shared[k, k] = error**2 if zero[k] else shared[k, k]
    blocks = [
        Block(part.index, 2 * part.block.inverse, part.shared, -part.block.slope)
        for part in point.local
    ]
    matrix = BlockMatrix(len(point.values), objective.parameters.shared, shared, blocks)
    undetermined = np.flatnonzero(objective.parameters.free & (matrix.diagonal() <= 0))
    return Uncertainty(point, matrix, stand_in, undetermined, limits)


def _one_of_each(
    which: NDArray[np.bool_], blocks: NDArray[np.intp] | int
) -> list[NDArray[np.bool_]]:
    """Split some parameters (S,) into parts, in each of which no two belong to one block."""
    of_block, left, parts = np.broadcast_to(blocks, which.shape), which.copy(), []
    while left.any():
        places = np.flatnonzero(left)
        part = np.zeros_like(which)
        part[places[np.unique(of_block[places], return_index=True)[1]]] = True
        parts.append(part)
        left &= ~part
    return parts


def _not_positive(
    point: SecondOrderPass, inside: NDArray[np.bool_], blocks: NDArray[np.intp] | int
) -> NDArray[np.bool_]:
    """Parameters (S,) of blocks within which the observed Hessian is not positive definite."""
    found, usable = np.zeros(len(inside), dtype=bool), inside & (np.diag(point.hessian) > 0)
    of_block = np.broadcast_to(blocks, inside.shape)
    for number in np.unique(of_block):
        own = np.flatnonzero(usable & (of_block == number))
        scale = np.sqrt(np.diag(point.hessian)[own])
        values = eigh(point.observed[np.ix_(own, own)] / np.outer(scale, scale))[0]
        found[own] = values.min(initial=np.inf) <= FLAT
    return found


def quick_errors(point: Pass, lower: Array, upper: Array) -> Array:
    """Return errors (S,) of the shared parameters from the Gauss-Newton Hessian, during a fit.

    Parameters
    ----------
    point : `Pass`
        An evaluation of order 1 or 2.
    lower, upper : array of shape (S,)
        Limits; parameters at a limit have no error (0).
    """
    covariance, _ = _invert(point.hessian, (point.shared > lower) & (point.shared < upper))
    return np.sqrt(np.diag(covariance))


def _invert(hessian: Array, inside: NDArray[np.bool_]) -> tuple[Array, bool]:
    """Return twice the inverse for the usable parameters, and whether the Hessian is positive definite."""
    diagonal = np.diag(hessian)
    usable = inside & (diagonal > 0)
    covariance = np.zeros_like(hessian)
    if not usable.any():
        return covariance, bool((~inside | (diagonal == 0)).all())
    scale = np.sqrt(diagonal[usable])
    values, vectors = eigh(hessian[np.ix_(usable, usable)] / np.outer(scale, scale))
    positive = values > FLAT
    inverse = from_eigen(1 / values[positive], vectors[:, positive])
    covariance[np.ix_(usable, usable)] = 2 * inverse / np.outer(scale, scale)
    return covariance, bool(positive.all() and (usable | ~inside | (diagonal == 0)).all())


def set_covariance(models: Models, matrix: BlockMatrix) -> Covariance:
    """Set the errors and covariance of the models, which is kept in blocks if there are many parameters."""
    if matrix.size > DENSE:
        models.covariance = matrix
    else:
        dense = matrix.to_dense()
        models.covariance = 0.5 * (dense + dense.T)
    return models.covariance
