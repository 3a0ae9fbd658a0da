"""What one evaluation over all data gives, by the derivatives that were asked for."""

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
        Per dataset, bins with counts that no component reaches.
    """

    values: Array
    shared: Array
    stat: float
    stats: Array
    floors: Index


@dataclass(frozen=True)
class Pass(Value):
    """Evaluation with first derivatives, local parameters at their optimum.

    Attributes
    ----------
    gradient, hessian : array of shape (S,), (S, S)
        Of the profile likelihood by the shared parameters; `hessian` is the Gauss-Newton one.
    observed : array of shape (S, S), or None
        Observed Hessian; only a `SecondOrderPass` has it.
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
        Empty where the evaluation was read from a checkpoint.
    """

    observed: Array = field()
    local: list[LocalPart] = field()
