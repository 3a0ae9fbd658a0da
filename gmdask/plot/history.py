"""The progress of a fit, reconstructed from its events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gmdask.events import counted, line_of
from gmdask.plot.style import DATA, MODEL, axes_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["History", "plot_passes"]

Record = Mapping[str, Any]
LOG_LINES = 500


@dataclass
class History:
    """State of a fit from its events, as returned by `gmdask.events.record`.

    Attributes
    ----------
    start : dict
        The last ``FitStart``; empty before it.
    passes : list of dict
        All ``FitPass``.
    accepted : list of dict
        All ``Accepted``.
    workers : dict
        The last ``Workers``; empty if there are none.
    progress : dict
        The last ``DatasetsProgress``; empty if there is none.
    end : dict or None
        ``FitEnd`` or ``FitFailed``.
    log : list of tuple
        Time (ISO 8601, UTC) and text of the last 500 events that have a text.
    """

    start: dict[str, Any] = field(default_factory=dict)
    passes: list[dict[str, Any]] = field(default_factory=list)
    accepted: list[dict[str, Any]] = field(default_factory=list)
    workers: dict[str, Any] = field(default_factory=dict)
    progress: dict[str, Any] = field(default_factory=dict)
    end: dict[str, Any] | None = None
    log: list[tuple[str, str]] = field(default_factory=list)

    def add(self, records: Iterable[Record]) -> None:
        """Add further events, in their order."""
        for record in records:
            kind = record["event"]
            if kind == "FitStart":
                self._begin(dict(record))
            elif kind == "FitPass":
                self.passes.append(dict(record))
            elif kind == "Accepted":
                self.accepted = [a for a in self.accepted if a["number"] != record["number"]]
                self.accepted.append(dict(record))
            elif kind == "Workers":
                self.workers = dict(record)
            elif kind == "DatasetsProgress":
                self.progress = dict(record)
            elif kind in ("FitEnd", "FitFailed"):
                self.end = dict(record)
            text = line_of(record)
            if text is not None:
                self.log.append((str(record["time"]), text))
        del self.log[:-LOG_LINES]

    def _begin(self, start: dict[str, Any]) -> None:
        """Start or resume a fit: passes after the checkpoint will be repeated, and are removed."""
        before = start.get("passes", 0)
        self.start, self.end, self.workers, self.progress = start, None, {}, {}
        self.passes = [p for p in self.passes if p["number"] <= before]
        self.accepted = [a for a in self.accepted if a["number"] <= before]

    def rises(self) -> tuple[float, list[tuple[Record, float]]]:
        """Lowest statistic; and finite passes, with their distance from it (at least 1e-6, for logarithms)."""
        known = [p for p in self.passes if p["stat"] is not None]
        lowest = min((p["stat"] for p in known), default=0.0)
        return lowest, [(p, max(p["stat"] - lowest, 1e-6)) for p in known]

    @property
    def status(self) -> str:
        """State of the fit, in a few words."""
        if self.end is not None and self.end["event"] == "FitFailed":
            return f"failed: {self.end['error']}"
        if self.end is not None:
            return f"{'done' if self.end['success'] else 'stopped'}: {self.end['message']}"
        if self.passes:
            return f"pass {self.passes[-1]['number']}"
        if self.progress:
            return f"compiling: {self.progress['done']} of {counted(self.progress['total'], 'dataset')}"
        return "compiling" if self.start else "waiting for the first event"


def plot_passes(history: History, ax: Axes | None = None) -> Axes:
    """Draw the statistic against the pass.

    Parameters
    ----------
    history : `History`
    ax : `matplotlib.axes.Axes`, optional
    """
    from matplotlib.ticker import MaxNLocator

    ax = axes_of(ax)
    lowest, known = history.rises()
    for taken, marker, color, label in (
        (True, "o-", DATA, "accepted"),
        (False, "x", MODEL, "refused"),
    ):
        points = [(p["number"], rise) for p, rise in known if p["accepted"] is taken]
        if points:
            ax.plot(*zip(*points, strict=True), marker, ms=5, color=color, label=label)
    if known:
        ax.set_yscale("log")
        ax.legend(loc="upper right")
    ax.set(xlabel="Pass", ylabel=f"statistic - {lowest:.4f}", title="statistic by pass")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return ax
