"""Distributions of the parameters of a posterior, alone and in pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gmdask.errors import InputError
from gmdask.models.units import unit_text
from gmdask.plot.style import DATA, PALETTE, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_corner"]

Array = NDArray[np.float64]

MOST = 10  # parameters of a figure
BINS = 24
LEVELS = (0.9545, 0.6827)  # shares of the draws within contours


def plot_corner(
    posterior: Any,
    names: Sequence[str] | None = None,
    *,
    truth: Mapping[str, float] | None = None,
) -> Figure:
    """Draw the distribution of each parameter, and of each pair with contours that contain 68.3 % and 95.4 % of draws.

    Parameters
    ----------
    posterior : `gmdask.Posterior`
    names : sequence of str, optional
        Full names of at most ten parameters; by default those of sources, or all if they are few enough.
    truth : mapping of str to float, optional
        Values to mark, by full name, such as the fitted or the simulated ones.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        On the diagonal, titles give the median and the distances to the 16 % and 84 % quantiles.

    Raises
    ------
    InputError
        If a parameter was not sampled, or there are too many.
    """
    chosen = _chosen(posterior.names) if names is None else list(names)
    if not 0 < len(chosen) <= MOST:
        msg = f"a corner plot of {len(chosen)} parameters, expected 1 to {MOST}: give their names"
        raise InputError(msg)
    draws, n = posterior.values(chosen), len(chosen)
    units = [unit_text(posterior.posterior[name].attrs.get("units", "")) for name in chosen]
    # powers of ten in labels, so that ticks are short
    powers = [_power(column) for column in draws.T]
    scaled = draws / 10.0 ** np.array(powers)
    labels = [_label(*one) for one in zip(chosen, units, powers, strict=True)]
    marks = [
        None if (at := (truth or {}).get(name)) is None else at / 10.0**power
        for name, power in zip(chosen, powers, strict=True)
    ]
    height = min(max(1.4 * n, 4.0), 8.0)
    figure = new_figure((1.6 * height, height))
    size = 9 if n <= 6 else 7
    axes = figure.subplots(n, n, squeeze=False, sharex="col")
    ranges = [_range(column) for column in scaled.T]
    for row in range(n):
        for column in range(n):
            ax = axes[row, column]
            if column > row:
                ax.set_axis_off()
                continue
            if column == row:
                _histogram(ax, scaled[:, row], ranges[row], size)
            else:
                _pair(ax, scaled[:, column], scaled[:, row], ranges[column], ranges[row])
                if (at := marks[row]) is not None:
                    ax.axhline(at, color=PALETTE[1], lw=0.8)
            if (at := marks[column]) is not None:
                ax.axvline(at, color=PALETTE[1], lw=0.8)
            _ticks(ax, size, row == n - 1, column == 0 < row)
        if row:
            axes[row, 0].set_ylabel(labels[row], fontsize=size)
        axes[n - 1, row].set_xlabel(labels[row], fontsize=size)
    figure.align_labels()
    return figure


def _chosen(names: Sequence[str]) -> list[str]:
    """Names of all parameters, or of those that are not of backgrounds if there are too many."""
    if len(names) <= MOST:
        return list(names)
    return [name for name in names if not name.split(".")[0].endswith("-bkg")]


def _power(values: Array) -> int:
    largest = float(np.abs(values).max())
    if largest == 0 or 1e-2 <= largest < 1e4:
        return 0
    return int(np.floor(np.log10(largest)))


def _label(name: str, unit: str, power: int) -> str:
    """Name in two or three lines with its unit."""
    component, *middle, parameter = name.split(".")
    del middle
    factor = f"$10^{{{power}}}$ " if power else ""
    unit = f"{factor}{unit}".strip()
    return f"{component}\n{parameter}" + (f"\n[{unit}]" if unit else "")


def _range(values: Array) -> tuple[float, float]:
    low, high = np.quantile(values, [0.002, 0.998])
    room = 0.05 * (high - low) or max(abs(float(low)), 1.0) * 1e-3
    return float(low - room), float(high + room)


def _histogram(ax: Axes, values: Array, limits: tuple[float, float], size: int) -> None:
    ax.hist(values, bins=BINS, range=limits, histtype="stepfilled", color=DATA, alpha=0.35)
    low, median, high = np.quantile(values, [0.15866, 0.5, 0.84134])
    ax.axvspan(low, high, color=DATA, alpha=0.12, lw=0)
    ax.axvline(median, color=DATA, lw=0.8)
    digits = max(int(np.ceil(-np.log10(max(high - low, 1e-300) / 2))) + 1, 0)
    ax.set_title(
        f"${median:.{digits}f}_{{-{median - low:.{digits}f}}}^{{+{high - median:.{digits}f}}}$",
        fontsize=size + 1,
        pad=6,
    )
    ax.set_xlim(*limits)


def _pair(
    ax: Axes, x: Array, y: Array, x_limits: tuple[float, float], y_limits: tuple[float, float]
) -> None:
    """Draw the density of pairs with contours, from a smoothed histogram."""
    from scipy.ndimage import gaussian_filter

    counts, x_edges, y_edges = np.histogram2d(x, y, BINS, [x_limits, y_limits])
    density = gaussian_filter(counts.T, 1.0)
    ordered = np.sort(density.ravel())[::-1]
    inside = np.cumsum(ordered) / ordered.sum()
    levels = [
        float(ordered[min(int(np.searchsorted(inside, share)), len(ordered) - 1)])
        for share in LEVELS
    ]
    centres = [0.5 * (edges[1:] + edges[:-1]) for edges in (x_edges, y_edges)]
    if levels[0] < levels[1] < density.max():
        ax.contourf(*centres, density, [*levels, density.max()], colors=[DATA], alpha=0.3)
        ax.contour(*centres, density, levels, colors=[DATA], linewidths=[0.6, 1.0])
    else:
        ax.plot(x, y, ",", color=DATA)
    ax.set(xlim=x_limits, ylim=y_limits)


def _ticks(ax: Axes, size: int, bottom: bool, left: bool) -> None:
    """Two or three short ticks, with numbers on the outer panels only."""
    from matplotlib.ticker import MaxNLocator, ScalarFormatter

    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(3, prune="both"))
        formatter = ScalarFormatter(useOffset=False)
        formatter.set_scientific(False)
        axis.set_major_formatter(formatter)
    ax.tick_params(labelsize=size - 1, labelbottom=bottom, labelleft=left, left=left, length=2)
    ax.tick_params(axis="x", labelrotation=40)
