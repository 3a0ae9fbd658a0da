"""The reasons why a minimisation ends, and its tolerances."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["Status", "Tolerances"]


class Status(Enum):
    """Reason why a minimisation ended. Only the first two are a success."""

    CONVERGED = "converged"
    """The gradient vanishes, and the observed curvature is positive."""
    AT_LIMITS = "at_limits"
    """As converged, except for parameters that the gradient pushes against a limit."""
    DEGENERATE = "degenerate"
    """A minimum along a direction that the statistic does not depend on."""
    UNRESOLVED = "unresolved"
    """A minimum at which the size of a source is compatible with zero: it has an upper limit."""
    STALLED = "stalled"
    """Some parameters did not reach a minimum: the data may not constrain them."""
    UNCONSTRAINED = "unconstrained"
    """The data do not depend on some component, such as a source outside of all maps, or on any."""
    MAX_PASSES = "max_passes"
    """The largest number of evaluations was reached."""
    TIME_LIMIT = "time_limit"
    """The time limit was reached."""
    INTERRUPTED = "interrupted"
    """The user interrupted the fit."""

    @property
    def success(self) -> bool:
        """Whether this is a minimum, within the limits."""
        return self in (Status.CONVERGED, Status.AT_LIMITS)

    @property
    def cut_short(self) -> bool:
        """Whether the minimisation can be continued."""
        return self in (Status.MAX_PASSES, Status.TIME_LIMIT, Status.INTERRUPTED)


@dataclass(frozen=True)
class Tolerances:
    """Tolerances of a minimisation; decreases are in the statistic, lengths in expected errors.

    Attributes
    ----------
    edm : float
        Expected distance to the minimum at which to stop, for up to ten blocks, and in proportion for more.
    near : float
        Decrease that a step promises below which second derivatives are evaluated, for up to ten
        blocks, and as the root of their number for more; 0 for never.
    stale : float
        Number of passes that are expected before the minimum above which second derivatives are evaluated
        again.
    poor, good : float
        Decrease by a step, relative to the expected one, below which the next step is shorter, and
        above which it may be longer.
    least : float
        Relative decrease that a step needs at least if it leads beyond a minimum.
    shrink, grow : float
        Factors on the length of the next step.
    drift : float
        Decrease below which a block of parameters is given up that comes no closer to its minimum.
    drifts : int
        Number of consecutive steps without coming closer after which it is given up.
    patience : int
        Number of points in a row near a minimum after which a block is given up that others wait for; a point
        from which next to nothing is to be gained counts twice, and one from which no step leads on thrice.
    seen, clearly : float
        Amplitude, in its errors with all else fixed, from which a source counts as seen; and from which it is not
        given up because others wait for it.
    unseen : int
        Number of points in a row at which one is not after which its place and shape are held.
    pieces : int
        Number of refused steps in a row of which the blocks that gained are kept.
    contraction : float
        Length of a Newton step, relative to the previous one, that counts as coming closer; and
        curvature along it that counts as decreasing.
    still : float
        Length of a Newton step, in the smallest expected errors so far, that counts as zero.
    kicks : int
        Number of times that a saddle point is left along its negative curvature.
    rounding : float
        Relative accuracy of the statistic.
    """

    edm: float = 1e-5
    near: float = 10.0
    stale: float = 2.5
    poor: float = 0.25
    good: float = 0.75
    least: float = 0.05
    shrink: float = 0.25
    grow: float = 4.0
    drift: float = 0.1
    drifts: int = 3
    patience: int = 6
    seen: float = 1.0
    clearly: float = 3.0
    unseen: int = 5
    pieces: int = 3
    contraction: float = 0.7
    still: float = 0.1
    kicks: int = 3
    rounding: float = 1e-14
