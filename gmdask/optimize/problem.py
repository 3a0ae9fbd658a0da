"""Input and output of a minimiser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from gmdask.optimize.coordinates import Kinds
from gmdask.optimize.quadratic import decrease, newton_step
from gmdask.optimize.status import Status
from gmdask.sums import times

__all__ = ["Minimum", "P", "Pieces", "Point", "Problem", "Proposal", "State", "edm"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Index = NDArray[np.intp]


class Point(Protocol):
    """What a minimiser needs to know about an evaluation."""

    @property
    def shared(self) -> Array:
        """Parameters (S,)."""

    @property
    def stat(self) -> float:
        """Statistic."""

    @property
    def stats(self) -> Array:
        """Parts (part,) of the statistic, e.g. of datasets; needed only if the problem has `touches`."""

    @property
    def floors(self) -> Index | None:
        """Bins (part,) with counts for which nothing is predicted, if that is known."""

    @property
    def gradient(self) -> Array:
        """Gradient (S,)."""

    @property
    def hessian(self) -> Array:
        """Gauss-Newton Hessian (S, S), positive semidefinite."""

    @property
    def observed(self) -> Array | None:
        """Observed Hessian (S, S), if second derivatives were evaluated."""


PLAIN = Kinds()
P = TypeVar("P", bound=Point)
P_co = TypeVar("P_co", bound=Point, covariant=True)


class Pieces:
    """Where some parameters are at one evaluation and the others at another, by what is known of both.

    Attributes are those of a `Point`. The gradient is carried along by the Hessians, and the statistic by
    the slopes at both ends.

    Parameters
    ----------
    old, new : `Point`
    moved : boolean array of shape (S,)
        Parameters that are at the new one.
    """

    def __init__(self, old: Point, new: Point, moved: Mask) -> None:
        step = new.shared - old.shared
        slope, curvature = old.gradient, old.hessian
        slope_there, curvature_there = new.gradient, new.hessian
        self.shared = np.where(moved, new.shared, old.shared)
        onwards = slope + times(curvature, np.where(moved, step, 0.0))
        back = slope_there - times(curvature_there, np.where(moved, 0.0, step))
        self.gradient = np.where(moved, back, onwards)
        self.hessian = np.where(moved[:, None] & moved, curvature_there, curvature)
        self.stat = old.stat + 0.5 * float(times(slope + slope_there, np.where(moved, step, 0.0)))
        self.stats, self.floors, self.observed = old.stats, old.floors, None
        if old.observed is not None and new.observed is not None:
            self.observed = np.where(moved[:, None] & moved, new.observed, old.observed)


def edm(point: Point, lower: Array, upper: Array) -> float:
    """Compute the expected distance to the minimum: the expected decrease by a Gauss-Newton step.

    Parameters
    ----------
    point : `Point`
    lower, upper : array of shape (S,)
    """
    step = newton_step(point.shared, point.gradient, point.hessian, lower, upper)
    return decrease(point.gradient, point.hessian, step)


@dataclass(frozen=True)
class Problem:
    """Known properties of the parameters of a minimisation.

    Attributes
    ----------
    lower, upper : array of shape (S,)
        Limits, infinite for none.
    kinds : `Kinds`
        How the statistic depends on the parameters, which determines the coordinates of steps.
    reach : callable, or None
        Returns the largest changes (S,) in one step at some values, infinite for no bound.
    blocks : integer array of shape (S,), or 0
        Block of each parameter, such as its source: each block has a trust region of its own.
    touches : boolean array of shape (part, block), or None
        Which parts of the statistic depend on which blocks.
    rough : bool
        Whether the statistic has kinks and small steps, which limit the accuracy of a minimum.
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
    """State of a minimisation after a point was accepted, from which it can be continued.

    Attributes
    ----------
    point : `Point`
        The accepted evaluation.
    scale : array of shape (S,)
        Largest square root of the curvature along each parameter so far: step lengths are in units of its
        inverse.
    radius : array of shape (block,)
        Largest step along each parameter of a block, in that unit.
    length : array of shape (block,)
        Length of the Newton step at the point.
    expected : array of shape (block,)
        Expected decrease of the statistic by that step.
    drift : array of shape (block,)
        Number of consecutive steps that did not come closer to a minimum.
    slow : array of shape (block,)
        Number of consecutive points that were near a minimum, but not at it.
    kicks : array of shape (block,)
        Number of times that a saddle point was left.
    held : boolean array of shape (S,)
        Parameters that were given up, and stay where they are.
    second : array of shape (S, S), or None
        What the observed Hessian has besides the Gauss-Newton one where it was last evaluated.
    rate : float
        Expected distance to the minimum, as a fraction of that at the point before.
    unseen : array of shape (block,)
        Number of points in a row at which the amplitude of a block could not be told from zero.
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
    second: Array | None
    rate: float
    unseen: Index


class Proposal(NamedTuple):
    """The next point to evaluate.

    Attributes
    ----------
    target : array of shape (S,)
    order : {1, 2}
        2 if second derivatives are needed.
    """

    target: Array
    order: int


@dataclass(frozen=True)
class Minimum(Generic[P_co]):
    """End point of a minimisation, and the reason why it ended.

    Attributes
    ----------
    point : `Point`
    edm : float
        Expected distance to the minimum, without parameters that are no longer minimised.
    status : `Status`
    concerned : boolean array of shape (S,)
        Parameters that caused this status.
    """

    point: P_co
    edm: float
    status: Status
    concerned: Mask
