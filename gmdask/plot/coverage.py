"""Pulls, test statistics and the goodness of fit of simulated fits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from gmdask.plot.style import DATA, MODEL, PALETTE, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_coverage"]

MOST = 20  # parameters that are drawn one by one
RANGE = 4.0  # of pulls


def plot_coverage(coverage: Any) -> Figure:
    """Draw the pulls of parameters, their distribution, the TS of sources, and the statistic beside that of the data.

    Parameters
    ----------
    coverage : `gmdask.Coverage`

    Returns
    -------
    figure : `matplotlib.figure.Figure`
    """
    has_ts = coverage.data.sizes["source"] > 0
    figure = new_figure((12.8, 8.0))
    axes = figure.subplots(2, 2)
    _widths(axes[0, 0], coverage)
    _pulls(axes[0, 1], coverage)
    _stats(axes[1, 0], coverage)
    if has_ts:
        _ts(axes[1, 1], coverage)
    else:
        axes[1, 1].set_axis_off()
    return figure


def _widths(ax: Axes, coverage: Any) -> None:
    """Mean and root mean square of the pulls per parameter."""
    table = coverage.summary()[:MOST]
    at = np.arange(len(table))[::-1]
    ax.axvspan(-1, 1, color=PALETTE[6], alpha=0.06, lw=0)
    ax.axvline(0, color=PALETTE[6], lw=0.8)
    ax.errorbar(
        table["pull_mean"], at, xerr=table["pull_width"], fmt="none", color=DATA, lw=4, alpha=0.3,
        label="width of pulls",
    )  # fmt: skip
    ax.errorbar(
        table["pull_mean"], at, xerr=table["pull_mean_err"], fmt="o", ms=4, color=DATA, label="mean"
    )
    ax.set_yticks(at, list(table["name"]), fontsize=8)
    ax.set(xlabel="pull", xlim=(-2, 2))
    ax.legend(fontsize=8)


def _pulls(ax: Axes, coverage: Any) -> None:
    pulls = coverage.pulls.values.ravel()
    pulls = pulls[np.isfinite(pulls)]
    edges = np.linspace(-RANGE, RANGE, 33)
    ax.hist(pulls, bins=edges.tolist(), density=True, color=DATA, alpha=0.4, label="all parameters")
    x = np.linspace(-RANGE, RANGE, 201)
    ax.plot(x, stats.norm.pdf(x), color=MODEL, label="normal")
    ax.set(xlabel="pull", ylabel="density")
    ax.legend(fontsize=8)


def _stats(ax: Axes, coverage: Any) -> None:
    found = coverage.data["stat"].values
    ax.hist(found[np.isfinite(found)], bins=30, color=DATA, alpha=0.4, label="simulations")
    observed = float(coverage.data["observed_stat"])
    share = coverage.goodness_of_fit()
    ax.axvline(observed, color=MODEL, label=f"data (as high in {100 * share:.1f} %)")
    ax.set(xlabel="statistic at the minimum", ylabel="simulations")
    ax.ticklabel_format(axis="x", useOffset=False)
    ax.legend(fontsize=8)


def _ts(ax: Axes, coverage: Any) -> None:
    """Share of simulations above a TS, for each source."""
    largest = 1.0
    for number, name in enumerate(coverage.data["source"].values):
        ts = np.sort(coverage.data["ts"].sel(source=name).values)
        ts = np.maximum(ts[np.isfinite(ts)], 0)
        largest = max(largest, float(ts.max(initial=1.0)))
        above = 1 - np.arange(len(ts)) / max(len(ts), 1)
        ax.step(ts, above, where="post", color=PALETTE[number % len(PALETTE)], label=str(name))
    x = np.linspace(0, largest, 300)
    ax.plot(x, 0.5 * stats.chi2(1).sf(x), color=PALETTE[6], ls="--", label="½ χ² of 1: no source")
    ax.set(xlabel="TS", ylabel="share above", yscale="log", ylim=(3e-4, 1.3))
    ax.legend(fontsize=8)
