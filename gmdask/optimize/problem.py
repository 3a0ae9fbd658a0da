"""What a minimiser is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from gmdask.optimize.coordinates import Kinds
from gmdask.optimize.quadratic import decrease, newton_step
from gmdask.optimize.status import Status

__all__ = ["Minimum", "P", "Point", "Problem", "Proposal", "State", "edm"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Index = NDArray[np.intp]


class Point(Protocol):
    """What the method needs to know of an evaluation."""

    @property
    def shared(self) -> Array:
        """Parameters (S,)."""

    @property
    def stat(self) -> float:
        """Statistic."""

    @property
    def stats(self) -> Array:
        """Parts (part,) of the statistic, as of datasets; only of a problem that knows which touch which."""

    @property
    def gradient(self) -> Array:
        """Gradient (S,)."""

    @property
    def hessian(self) -> Array:
        """Gauss-Newton Hessian (S, S), positive semidefinite."""

    @property
    def observed(self) -> Array | None:
        """Hessian (S, S), where second derivatives were evaluated."""


PLAIN = Kinds()
P = TypeVar("P", bound=Point)
P_co = TypeVar("P_co", bound=Point, covariant=True)


def edm(point: Point, lower: Array, upper: Array) -> float:
    """Compute the expected distance to the minimum: the decrease a Gauss-Newton step promises.

    Parameters
    ----------
    point : `Point`
    lower, upper : array of shape (S,)
    """
    step = newton_step(point.shared, point.gradient, point.hessian, lower, upper)
    return decrease(point.gradient, point.hessian, step)


@dataclass(frozen=True)
class Problem:
    """What is known of the parameters of a minimisation.

    Attributes
    ----------
    lower, upper : array of shape (S,)
        Limits, infinite where there are none.
    kinds : `Kinds`
        How the statistic depends on them, which decides in which coordinates steps are taken.
    reach : callable, or None
        Gives the largest changes (S,) in one step at some values, infinite for no bound.
    blocks : integer array of shape (S,), or 0
        Which parameters belong together, as those of a source: each block has a trust region of its own.
    touches : boolean array of shape (part, block), or None
        Which parts of the statistic depend on which blocks.
    rough : bool
        Whether the statistic has kinks and small steps, so that a minimum is only found to within them.
    """

    lower: Array
    upper: Array
    kinds: Kinds = PLAIN
    reach: Callable[[Array], Array] | None = None
    blocks: Index | int = 0
    touches: Mask | None = None
    rough: bool = False


@dataclass(frozen=True)
class State(Generic[P]):
    """Where a minimisation stands after a point was accepted: all it needs to go on.

    Attributes
    ----------
    point : `Point`
        The accepted evaluation.
    scale : array of shape (S,)
        Largest root of the curvature along each parameter so far: lengths of steps are in units of its
        inverse.
    radius : array of shape (block,)
        Longest step along each parameter of a block, in that unit.
    length : array of shape (block,)
        Of the Newton step at the point.
    expected : array of shape (block,)
        Decrease of the statistic that it promises.
    drift : array of shape (block,)
        Number of steps in a row that did not come closer to a minimum.
    slow : array of shape (block,)
        Number of points in a row that were near a minimum, but not at it.
    kicks : array of shape (block,)
        Number of times that a saddle point was left.
    held : boolean array of shape (S,)
        Parameters that were given up, and stay where they are.
    """

    point: P
    scale: Array
    radius: Array
    length: Array
    expected: Array
    drift: Index
    slow: Index
    kicks: Index
    held: Mask


class Proposal(NamedTuple):
    """Where to evaluate next.

    Attributes
    ----------
    target : array of shape (S,)
    order : {1, 2}
        2 where second derivatives are wanted.
    """

    target: Array
    order: int


@dataclass(frozen=True)
class Minimum(Generic[P_co]):
    """Where a minimisation ended, and why.

    Attributes
    ----------
    point : `Point`
    edm : float
        Expected distance to the minimum, without parameters that were given up.
    status : `Status`
    concerned : boolean array of shape (S,)
        Parameters because of which it is not another one.
    """

    point: P_co
    edm: float
    status: Status
    concerned: Mask
