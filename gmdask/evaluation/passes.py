"""What one evaluation over all data gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gmdask.likelihood.arrow_hessian import LocalBlock

__all__ = ["LocalPart", "Pass"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]


@dataclass(frozen=True)
class LocalPart:
    """Local parameters of one dataset, and how they depend on the shared ones.

    Attributes
    ----------
    index : array of shape (L,)
        Positions among all parameters.
    shared : array of shape (S,)
        Positions among the shared parameters that `block` refers to.
    block : `LocalBlock`
    """

    index: Index
    shared: Index
    block: LocalBlock


@dataclass(frozen=True)
class Pass:
    """One evaluation over all data.

    Attributes
    ----------
    values : array of shape (N,)
        All parameters, local ones at their optimum.
    shared : array of shape (S,)
        The shared free parameters among them.
    stat : float
        Joint statistic, priors included.
    stats : array
        Statistic per dataset.
    gradient, hessian, observed : array, or None
        Of the profile likelihood by the shared parameters; `hessian` is Gauss-Newton's.
    floors : array
        Per dataset, bins with counts that no component reaches.
    local : list of `LocalPart`
        In an evaluation of order 2.
    """

    values: Array
    shared: Array
    stat: float
    stats: Array
    gradient: Array | None
    hessian: Array | None
    observed: Array | None
    floors: Index
    local: list[LocalPart]
