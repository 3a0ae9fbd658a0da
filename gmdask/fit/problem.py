"""What a minimiser is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from gmdask.fit.kinks import Kinks
from gmdask.likelihood.steps import amplitude_floor

__all__ = ["End", "Minimum", "Point", "Problem", "State"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Point(Protocol):
    """What the method needs to know of an evaluation."""

    @property
    def shared(self) -> Array:
        """Parameters (S,)."""

    @property
    def stat(self) -> float:
        """Statistic."""

    @property
    def gradient(self) -> Array | None:
        """Gradient (S,)."""

    @property
    def hessian(self) -> Array | None:
        """Hessian (S, S), positive semidefinite."""


P = TypeVar("P", bound=Point)


class End(Enum):
    """Why a minimisation ended."""

    CONVERGED = "converged"
    KINK = "converged at a kink of the statistic, where a point source or a rim crosses the centres of pixels"
    CYCLE = (
        "the response changes with the position as much as the statistic does: lowest value kept"
    )
    STUCK = "no step lowers the statistic although the gradient does not vanish"
    STALLED = "stopped: the statistic hardly falls any more, though not at a minimum"
    MAX_PASSES = "stopped at the largest number of passes"
    TIME_LIMIT = "stopped at the time limit: best point kept"
    INTERRUPTED = "interrupted: best point kept"


@dataclass(frozen=True)
class Minimum(Generic[P]):
    """Where a minimisation ended, and why."""

    point: P
    edm: float
    end: End


@dataclass(frozen=True)
class State(Generic[P]):
    """Where a minimisation stands after a point was accepted: all it needs to go on.

    Attributes
    ----------
    point : `Point`
        The accepted evaluation.
    passes : int
        Evaluations so far, refused ones included.
    damping : array of shape (S,)
        Of the next step: added to the diagonal of the Hessian as a share of it.
    held : boolean array of shape (S,)
        Parameters left where they are, at a kink.
    releases : int
        Times that some of what was held was let go.
    kinks : `Kinks`
        What is known of kinks.
    lowest : tuple of float
        Lowest statistic before each of the last few evaluations, and now.
    """

    point: P
    passes: int
    damping: Array
    held: Mask
    releases: int
    kinks: Kinks
    lowest: tuple[float, ...]


@dataclass(frozen=True)
class Problem:
    """What is known of the parameters of a minimisation.

    Attributes
    ----------
    lower, upper : array of shape (S,)
        Limits, infinite where there are none.
    amplitudes : boolean array of shape (S,), or None
        Parameters that scale: while one is significant, a step lowers it by a factor of ten at
        most, and never through zero.
    kinked : boolean array of shape (S,), or False
        Parameters along which the slope may jump.
    reach : callable, or None
        Gives the largest changes (S,) in one step at some values.
    blocks : integer array of shape (S,), or 0
        Which parameters belong together, as those of a source: steps are damped for each block.
    """

    lower: Array
    upper: Array
    amplitudes: Mask | None = None
    kinked: Mask | bool = False
    reach: Callable[[Array], Array] | None = None
    blocks: NDArray[np.intp] | int = 0

    def around(self, x: Array, curvature: Array) -> tuple[Array, Array]:
        """Limits (S,) of one step.

        Parameters
        ----------
        x, curvature : array of shape (S,)
            Where it begins, and the diagonal of the Hessian there.
        """
        lower, upper = self.lower, self.upper
        if self.reach is not None:
            reach = self.reach(x)
            lower, upper = np.maximum(lower, x - reach), np.minimum(upper, x + reach)
        if self.amplitudes is not None:
            lower = amplitude_floor(x, curvature, self.amplitudes, lower)
        return lower, upper
