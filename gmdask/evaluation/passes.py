"""Results of one evaluation over all data, by the order of derivatives."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gmdask.likelihood.arrow_hessian import LocalBlock

__all__ = ["LocalPart", "Pass", "SecondOrderPass", "Value"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]


@dataclass(frozen=True)
class LocalPart:
    """Local parameters of one dataset, and their response to the shared ones.

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
class Value:
    """Value of the joint likelihood.

    Attributes
    ----------
    values : array of shape (N,)
        All parameters.
    shared : array of shape (S,)
        The shared free parameters among them.
    stat : float
        Joint statistic, priors included.
    stats : array
        Statistic per dataset.
    floors : array
        Number of bins per dataset with counts, but without predicted counts from any component.
    """

    values: Array
    shared: Array
    stat: float
    stats: Array
    floors: Index


@dataclass(frozen=True)
class Pass(Value):
    """Evaluation with first derivatives, and local parameters at their optimum.

    Attributes
    ----------
    gradient, hessian : array of shape (S,), (S, S)
        Derivatives of the profile likelihood with respect to the shared parameters; `hessian` is the Gauss-Newton one.
    observed : array of shape (S, S), or None
        Observed Hessian, of a `SecondOrderPass` only.
    """

    gradient: Array
    hessian: Array
    observed: Array | None = None


@dataclass(frozen=True)
class SecondOrderPass(Pass):
    """Evaluation with second derivatives.

    Attributes
    ----------
    local : list of `LocalPart`
        Empty if the evaluation was read from a checkpoint.
    """

    observed: Array = field()
    local: list[LocalPart] = field()
