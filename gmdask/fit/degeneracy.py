"""Degenerate directions, along which parameters change together without a change of the statistic."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr

from gmdask.evaluation.joint_likelihood import Objective
from gmdask.evaluation.passes import LocalPart, SecondOrderPass

__all__ = ["degeneracies", "described"]

Array = NDArray[np.float64]

FLAT = (
    1e-8  # curvature along a direction, relative to that along one parameter, that counts as zero
)
SMALL = 0.05  # weights below this fraction of the largest are not listed
SHOWN = 4


def degeneracies(
    objective: Objective, point: SecondOrderPass, names: list[str]
) -> list[dict[str, float]]:
    """Find the degenerate directions at a point.

    Parameters
    ----------
    objective : `Objective`
    point : `SecondOrderPass`
    names : list of str
        Names of all parameters.

    Returns
    -------
    directions : list of dict
        Weight of each participating parameter, the largest being 1, in units of the error that the
        parameter has with all others fixed. Local parameters that respond are included.

    Notes
    -----
    They are found from the eigenvectors of the Gauss-Newton Hessian of the profile likelihood, scaled to its
    value with all else fixed: a parameter that local ones can compensate is degenerate by itself. If there
    are several directions, they are combined such that each has a parameter of its own.
    """
    lower, upper = objective.parameters.limits()
    diagonal = np.diag(point.hessian)
    alone = diagonal + _given_to_local(point.local, len(diagonal))
    usable = (point.shared > lower) & (point.shared < upper) & (alone > 0)
    if not usable.any():
        return []
    scale = np.sqrt(alone[usable])
    values, vectors = np.linalg.eigh(point.hessian[np.ix_(usable, usable)] / np.outer(scale, scale))
    flat = vectors[:, values < FLAT].T
    if not len(flat):
        return []
    own = qr(flat, mode="r", pivoting=True)[1][: len(flat)]
    shared = objective.parameters.shared[usable]
    found = []
    for weights in np.linalg.solve(flat[:, own], flat):
        moved = np.zeros(len(diagonal))
        moved[usable] = weights / scale
        pairs = [
            *zip(shared.tolist(), weights.tolist(), strict=True),
            *_followers(point.local, moved),
        ]
        largest = max((weight for _, weight in pairs), key=abs)
        direction = {names[i]: w / largest for i, w in pairs if abs(w) > SMALL * abs(largest)}
        found.append(dict(sorted(direction.items(), key=lambda item: -abs(item[1]))))
    return found


def _given_to_local(parts: list[LocalPart], n: int) -> Array:
    """Part of the curvature along the shared parameters (S,) that local parameters take up."""
    taken = np.zeros(n)
    for part in parts:
        curvature = np.linalg.pinv(part.block.inverse, hermitian=True)
        taken[part.shared] += np.einsum(
            "ls,lm,ms->s", part.block.slope, curvature, part.block.slope
        )
    return taken


def _followers(parts: list[LocalPart], moved: Array) -> list[tuple[int, float]]:
    """Positions of local parameters, and how far they respond, in units of their errors."""
    found: list[tuple[int, float]] = []
    for part in parts:
        variance = np.diag(part.block.inverse)
        step = -(part.block.slope @ moved[part.shared])
        weights = np.where(variance > 0, step / np.sqrt(np.where(variance > 0, variance, 1.0)), 0.0)
        found += zip(part.index.tolist(), weights.tolist(), strict=True)
    return found


def described(direction: dict[str, float]) -> str:
    """Describe a direction in words."""
    some = list(direction.items())[:SHOWN]
    text = " ".join(f"{weight:+.2f} {name}" for name, weight in some)
    return text + (f" and {len(direction) - SHOWN} more" if len(direction) > SHOWN else "")
