"""Why a minimisation ended, and the numbers that decide it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["Status", "Tolerances"]


class Status(Enum):
    """Why a minimisation ended. Only the first two are a success."""

    CONVERGED = "converged"
    """The gradient vanishes, and the observed curvature is positive."""
    AT_LIMITS = "at_limits"
    """The same for all parameters but those that the gradient pushes against a limit."""
    DEGENERATE = "degenerate"
    """A minimum along a direction that the statistic does not depend on."""
    UNRESOLVED = "unresolved"
    """A minimum at which the size of a source is compatible with zero: it has an upper limit."""
    STALLED = "stalled"
    """Some parameters did not come to a minimum: the data may not bound them."""
    UNCONSTRAINED = "unconstrained"
    """The data say nothing about some component, as about a source outside of all maps, or about any."""
    MAX_PASSES = "max_passes"
    """The largest number of evaluations was reached."""
    TIME_LIMIT = "time_limit"
    """The time was over."""
    INTERRUPTED = "interrupted"
    """The user interrupted it."""

    @property
    def success(self) -> bool:
        """Whether this is a minimum, within the limits."""
        return self in (Status.CONVERGED, Status.AT_LIMITS)

    @property
    def cut_short(self) -> bool:
        """Whether it may go on."""
        return self in (Status.MAX_PASSES, Status.TIME_LIMIT, Status.INTERRUPTED)


@dataclass(frozen=True)
class Tolerances:
    """Numbers that steer a minimisation; decreases are in the statistic, lengths in expected errors.

    Attributes
    ----------
    edm : float
        Expected distance to the minimum at which to stop.
    near : float
        Decrease that a step promises below which second derivatives are evaluated, for ten
        blocks; 0 for never.
    poor, good : float
        Gain of a step, as a fraction of the promised one, below which the next one is shorter, and
        above which it may be longer.
    least : float
        Gain, likewise, that a step needs at least if it leads beyond a minimum.
    shrink, grow : float
        Factors for the length of the next step.
    drift : float
        Decrease below which a block of parameters is given up that comes no closer to its minimum.
    drifts : int
        Number of steps in a row without coming closer after which it is.
    patience : int
        Number of points in a row near a minimum after which a block is given up that others wait for.
    contraction : float
        Length of a Newton step, as a fraction of the one before, that counts as coming closer; and
        curvature along it, that counts as falling.
    still : float
        Length of a Newton step, in the smallest expected errors seen, that counts as none.
    kicks : int
        Number of times that a saddle point is left along its negative curvature.
    rounding : float
        Relative accuracy of the statistic.
    """

    edm: float = 1e-5
    near: float = 3.0
    poor: float = 0.25
    good: float = 0.75
    least: float = 0.05
    shrink: float = 0.25
    grow: float = 4.0
    drift: float = 0.1
    drifts: int = 3
    patience: int = 8
    contraction: float = 0.7
    still: float = 1e-2
    kicks: int = 3
    rounding: float = 1e-14
