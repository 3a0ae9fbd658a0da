"""The rise of the statistic with the flux, against energy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gmdask.errors import InputError
from gmdask.estimators.flux_data import SED_UNITS
from gmdask.plot.sed import NAMES, check_sed_type
from gmdask.plot.style import axes_of, color_bar

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_ts_profiles"]

Array = NDArray[np.float64]

N_FLUXES = 500
DEPTH = 4.0  # largest rise of the statistic that is drawn


def plot_ts_profiles(
    points: Any,
    ax: Axes | None = None,
    sed_type: str = "dnde",
    *,
    add_cbar: bool = True,
    **kwargs: Any,
) -> Axes:
    """Draw the difference of the statistic to its minimum, up to 4, against energy and flux.

    Between the norms of the scan the signed square root of the difference is linear.

    Parameters
    ----------
    points : `FluxPoints`
        Flux points estimated with "scan".
    ax : `matplotlib.axes.Axes`, optional
    sed_type : {"dnde", "e2dnde", "flux", "eflux"}
    add_cbar : bool
        Whether to draw a colour bar.
    **kwargs
        Passed to matplotlib's ``pcolormesh``.

    Raises
    ------
    InputError
        If there is no scan, or the type is unknown.
    """
    check_sed_type(sed_type, tuple(SED_UNITS))
    table = points.to_table()
    if "stat_scan" not in table.colnames:
        msg = "the flux points contain no scan of the statistic: estimate them with selection_optional 'scan'"
        raise InputError(msg)
    unit = SED_UNITS[sed_type]
    if sed_type == "e2dnde":
        reference = (table["e_ref"].quantity ** 2 * table["ref_dnde"].quantity).to_value(unit)
    else:
        reference = table[f"ref_{sed_type}"].quantity.to_value(unit)
    norms, stats = np.asarray(table["norm_scan"]), np.asarray(table["stat_scan"])
    low, high = norms[norms > 0].min() * reference.min(), norms.max() * reference.max()
    edges = np.geomspace(low, high, N_FLUXES + 1)
    fluxes = np.sqrt(edges[1:] * edges[:-1])
    rise = np.array([
        _rise(fluxes / ref, scanned, stat, float(best), float(least))
        for ref, scanned, stat, best, least in zip(
            reference, norms, stats, table["norm"], table["stat"], strict=True
        )
    ])  # fmt: skip
    energy = np.append(
        table["e_min"].quantity.to_value("TeV"), table["e_max"].quantity.to_value("TeV")[-1]
    )
    ax = axes_of(ax)
    style = {"vmin": -DEPTH, "vmax": 0, "cmap": "Blues", "zorder": 0, **kwargs}
    shown = ax.pcolormesh(energy, edges, np.where(rise <= DEPTH, -rise, np.nan).T, **style)
    ax.set(xscale="log", yscale="log", xlabel="Energy [TeV]", ylabel=f"{NAMES[sed_type]} [{unit}]")
    if add_cbar:
        color_bar(ax, shown, "difference of the statistic")
    return ax


def _rise(at: Array, norms: Array, stats: Array, best: float, least: float) -> Array:
    """Return the difference of the statistic to its minimum at norms; NaN beyond the scan."""
    root = np.sign(norms - best) * np.sqrt(np.maximum(stats - least, 0.0))
    order = np.argsort(norms)
    found: Array = np.interp(at, norms[order], root[order], left=np.nan, right=np.nan) ** 2
    return found
