"""What happens during long work, as plain data for whoever wants to show or keep it.

Nothing that sends an event knows of a screen, a file or a notebook.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = [
    "CompileEnd",
    "Event",
    "FitEnd",
    "FitPass",
    "Listener",
]


@dataclass(frozen=True)
class Event:
    """Base of all events."""


@dataclass(frozen=True)
class DatasetsProgress(Event):
    """Some datasets of a collection went through long work.

    Attributes
    ----------
    work : {"import", "simulate", "write", "stack", "export"}
        What is done with them.
    done, total : int
        How many of how many.
    """

    work: str
    done: int
    total: int


@dataclass(frozen=True)
class CompileEnd(Event):
    """The operators of all datasets were requested."""

    datasets: int
    groups: int


@dataclass(frozen=True)
class FitPass(Event):
    """One evaluation over all data ended.

    Attributes
    ----------
    number : int
        Passes so far.
    stat : float
        Statistic at this point.
    best : float
        Lowest statistic so far.
    edm : float
        Expected distance to the minimum, nan where it is not known.
    accepted : bool
        Whether the fit goes on from this point.
    """

    number: int
    stat: float
    best: float
    edm: float
    accepted: bool


@dataclass(frozen=True)
class FitEnd(Event):
    """A fit ended."""

    success: bool
    message: str
    passes: int


Listener = Callable[[Event], None]
