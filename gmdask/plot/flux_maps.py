"""Flux maps: significance, fluxes and limits on the sky."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gmdask.estimators import FluxMaps
from gmdask.plot.maps import plot_map

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_flux_map"]

LABELS = {
    "ts": "TS", "sqrt_ts": "√TS  [σ]", "norm": "norm", "npred": "predicted counts", "counts": "counts",
    "npred_excess": "excess counts", "niter": "passes",
}  # fmt: skip
SIGNED = ("sqrt_ts", "npred_excess", "norm", "flux", "dnde", "e2dnde", "eflux")
LEAST = 5.0  # standard deviations that the colours of a map of √TS reach at least


def plot_flux_map(
    maps: FluxMaps, name: str = "sqrt_ts", energy: int = 0, ax: Axes | None = None, **kwargs: Any
) -> Axes:
    """Draw a map of one energy bin.

    Parameters
    ----------
    maps : `FluxMaps`
    name : str
        See `FluxMaps.quantity`.
    energy : int
        Number of the energy bin.
    ax : `matplotlib.axes.Axes`, optional
        See `plot_map`.
    **kwargs
        Passed to `plot_map`.
    """
    quantity = maps.quantity(name)
    values = np.asarray(quantity.value[energy], dtype=float)
    low, high = maps.energy_edges.value[energy : energy + 2]
    unit = f" [{quantity.unit.to_string('unicode')}]" if quantity.unit.to_string() else ""
    options: dict[str, Any] = {
        "label": LABELS.get(name, name) + unit, "title": f"{maps.reference_model.name}, {low:.3g} to {high:.3g} TeV"
    }  # fmt: skip
    if name in SIGNED:
        top = float(np.nanpercentile(np.abs(values), 99.8)) if np.isfinite(values).any() else 1.0
        top = max(top, LEAST) if name == "sqrt_ts" else top
        options |= {"limits": (-top, top), "diverging": True}
    return plot_map(values, maps.grid, ax, **(options | kwargs))
