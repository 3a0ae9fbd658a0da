"""Correlations, and the statistic around its minimum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gmdask.errors import InputError
from gmdask.models import Covariance
from gmdask.plot.style import DATA, DIVERGING, MODEL, PALETTE, SEQUENTIAL, axes_of, color_bar

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_contour", "plot_correlation", "plot_profile", "plot_surface"]

MAX_PARAMETERS = 30
NUMBERS = 12  # largest number of parameters for which each element is printed


def plot_correlation(covariance: Covariance, ax: Axes | None = None) -> Axes:
    """Draw the correlation of the parameters that have an error, of the first 30 at most.

    Parameters
    ----------
    covariance : `Covariance`
        Such as ``models.covariance``.
    ax : `matplotlib.axes.Axes`, optional
    """
    ax = axes_of(ax)
    parameters, errors = covariance.parameters, covariance.errors
    some = np.flatnonzero(np.isfinite(errors) & (errors > 0))
    chosen = [parameters[int(k)] for k in some[:MAX_PARAMETERS]]
    names = [parameters.names[int(k)] for k in some[:MAX_PARAMETERS]]
    matrix = covariance.get_subcovariance(chosen).correlation if chosen else np.zeros((0, 0))
    shown = ax.imshow(
        matrix.reshape(len(names), -1) if names else [[np.nan]], vmin=-1, vmax=1, cmap=DIVERGING
    )
    color_bar(ax, shown, "correlation")
    size = max(4.0, min(9.0, 200 / max(len(names), 1)))
    ax.set_xticks(range(len(names)), names, rotation=90, fontsize=size)
    ax.set_yticks(range(len(names)), names, fontsize=size)
    if len(names) <= NUMBERS:
        for (row, column), value in np.ndenumerate(matrix):
            color = "white" if abs(value) > 0.6 else "black"
            ax.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7, color=color)
    more = f", {len(names)} of {len(some)}" if len(some) > len(names) else ""
    ax.set_title(f"correlation{more}")
    return ax


def plot_profile(profile: Mapping[str, Any], ax: Axes | None = None, *, unit: str = "") -> Axes:
    """Draw the rise of the statistic from its minimum against one parameter.

    Parameters
    ----------
    profile : mapping
        Result of `Fit.stat_profile`: ``"<parameter>_scan"`` and ``"stat_scan"``.
    ax : `matplotlib.axes.Axes`, optional
    unit : str
        Unit of the parameter.

    Raises
    ------
    InputError
        If it is not such a profile.
    """
    (name,), ax = _scanned(profile, 1), axes_of(ax)
    values, stat = (np.asarray(profile[key], dtype=float) for key in (f"{name}_scan", "stat_scan"))
    ax.plot(values, stat - np.nanmin(stat), "o-", ms=4, color=DATA)
    for sigma in (1, 2, 3):
        if sigma**2 < np.nanmax(stat) - np.nanmin(stat):
            ax.axhline(sigma**2, color=MODEL, lw=1, ls="--")
            ax.annotate(
                f"{sigma} σ", (0.98, sigma**2), xycoords=ax.get_yaxis_transform(), ha="right",
                va="bottom", color=MODEL,
            )  # fmt: skip
    ax.set(xlabel=_with_unit(name, unit), ylabel="statistic above its minimum")
    ax.margins(x=0.02)
    return ax


def plot_surface(
    surface: Mapping[str, Any], ax: Axes | None = None, *, units: tuple[str, str] = ("", "")
) -> Axes:
    """Draw the rise of the statistic from its minimum against two parameters.

    Parameters
    ----------
    surface : mapping
        Result of `Fit.stat_surface`: ``"<parameter>_scan"`` of both, and ``"stat_scan"`` with the first
        parameter along its first axis.
    ax : `matplotlib.axes.Axes`, optional
    units : tuple of str
        Units of the two parameters.

    Raises
    ------
    InputError
        If it is not such a surface.
    """
    names, ax = _scanned(surface, 2), axes_of(ax)
    x, y, stat = (
        np.asarray(surface[key], dtype=float)
        for key in (*(f"{n}_scan" for n in names), "stat_scan")
    )
    rise = (stat - np.nanmin(stat)).T
    shown = ax.pcolormesh(x, y, rise, cmap=SEQUENTIAL, vmin=0, shading="nearest", rasterized=True)
    color_bar(ax, shown, "statistic above its minimum")
    levels = [
        level for level in (2.30, 6.18, 11.83) if level < np.nanmax(rise)
    ]  # 1, 2, 3 sigma for two parameters
    if levels and min(rise.shape) > 1:
        ax.contour(x, y, rise, levels=levels, colors="white", linewidths=1)
    ax.set(xlabel=_with_unit(names[0], units[0]), ylabel=_with_unit(names[1], units[1]))
    return ax


def plot_contour(
    contour: Mapping[str, Any],
    ax: Axes | None = None,
    *,
    units: tuple[str, str] = ("", ""),
    best: tuple[float, float] | None = None,
    label: str | None = None,
) -> Axes:
    """Draw a contour of the statistic in two parameters; several can be drawn on the same axes.

    Parameters
    ----------
    contour : mapping
        Result of `Fit.stat_contour`: values of the two parameters, ``"<parameter>"`` or ``"<parameter>_scan"``.
    ax : `matplotlib.axes.Axes`, optional
    units : tuple of str
        Units of the two parameters.
    best : tuple of float, optional
        Position of the minimum.
    label : str, optional

    Raises
    ------
    InputError
        If it is not such a contour.
    """
    ax = axes_of(ax)
    keys = [key for key, v in contour.items() if np.ndim(v) == 1 and key != "stat_scan"]
    if len(keys) != 2:
        msg = (
            f"a contour with {', '.join(map(str, contour))}, expected two parameters and 'success'"
        )
        raise InputError(msg)
    x, y = (np.asarray(contour[key], dtype=float) for key in keys)
    color = PALETTE[len(ax.lines) % len(PALETTE)]
    closed = (np.append(v, v[:1]) for v in (x, y))
    ax.plot(*closed, "o-", ms=3, color=color, label=label)
    if best is not None:
        ax.plot(*best, "+", ms=10, color=PALETTE[6])
    names = [key.removesuffix("_scan") for key in keys]
    ax.set(xlabel=_with_unit(names[0], units[0]), ylabel=_with_unit(names[1], units[1]))
    if label is not None:
        ax.legend(loc="upper right")
    return ax


def _scanned(scan: Mapping[str, Any], number: int) -> list[str]:
    """Return the names of the parameters of a scan."""
    found = [
        key.removesuffix("_scan") for key in scan if key.endswith("_scan") and key != "stat_scan"
    ]
    if len(found) != number or "stat_scan" not in scan:
        msg = f"a scan with {', '.join(map(str, scan))}, expected 'stat_scan' and {number} '<parameter>_scan'"
        raise InputError(msg)
    return found


def _with_unit(name: str, unit: str) -> str:
    return f"{name} [{unit}]" if unit else name
