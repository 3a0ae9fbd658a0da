"""Fitted flux points with models and residuals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.table import Table

from gmdask.datasets.flux_points import FluxPointsDataset
from gmdask.models import SkyModel
from gmdask.plot.sed import plot_flux_points, plot_spectral_model
from gmdask.plot.style import DATA, MODEL, PALETTE, axes_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_flux_fit"]

PARTS = ("", "_err", "_errn", "_errp", "_ul")


def plot_flux_fit(
    dataset: FluxPointsDataset, ax: Axes | None = None, residuals: Axes | None = None
) -> Axes:
    """Draw flux points and the spectra of the models against energy, with the residuals below.

    Parameters
    ----------
    dataset : `FluxPointsDataset`
        A dataset with models.
    ax : `matplotlib.axes.Axes`, optional
        Axes of the spectra; by default those of a new figure, with further axes for the residuals.
    residuals : `matplotlib.axes.Axes`, optional
        Axes of the residuals, which are not drawn if only `ax` is given.
    """
    if ax is None:
        ax = axes_of(None)
        spec = ax.figure.add_gridspec(2, 1, height_ratios=(2.5, 1))
        ax.set_subplotspec(spec[0])
        residuals = ax.figure.add_subplot(spec[1], sharex=ax)
    models = [model for model in dataset.models if isinstance(model, SkyModel)]
    low, high = dataset.energy_range
    bounds = u.Quantity([0.9 * low, 1.1 * high], "TeV")
    for number, model in enumerate(models):
        color = MODEL if number == 0 else PALETTE[number % len(PALETTE)]
        plot_spectral_model(model.spectral_model, bounds, ax, label=model.name, color=color)
    plot_flux_points(_table(dataset), ax)
    ax.set_title(f"flux points, {dataset.name}")
    if residuals is not None:
        ax.set_xlabel("")
        ax.tick_params(axis="x", which="both", labelbottom=False)
        _plot_residuals(dataset, residuals)
        residuals.set_xlim(ax.get_xlim())
    return ax


def _table(dataset: FluxPointsDataset) -> Table:
    """Return the points as energy fluxes, with bins of zero width where the edges are unknown."""
    cube, energy = dataset.cube, dataset.energy_ref
    table = Table({"e_ref": energy})
    for key, name in (("e_min", "energy_min"), ("e_max", "energy_max")):
        table[key] = u.Quantity(cube[name].values, "TeV") if name in cube.coords else energy
    for part in PARTS:
        values = dataset.quantity(f"dnde{part}")
        if part == "" or np.isfinite(values).any():
            table[f"e2dnde{part}"] = (values * energy**2).to("erg cm-2 s-1")
    table["is_ul"] = dataset.is_ul
    return table


def _plot_residuals(dataset: FluxPointsDataset, ax: Axes) -> None:
    """Draw residuals relative to the model, with errors; points outside of the masks are pale."""
    model = dataset.flux_pred()
    residual = dataset.residuals("diff/model").value
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.abs((dataset.quantity("dnde_err") / model).to_value(""))
    energy, used = dataset.energy_ref.to_value("TeV"), dataset.mask
    for chosen, alpha in ((used, 1.0), (~used, 0.3)):
        ax.errorbar(
            energy[chosen], residual[chosen], error[chosen], fmt="o", ms=4, color=DATA, alpha=alpha
        )
    ax.axhline(0, color=MODEL)
    ax.set(xscale="log", xlabel="Energy [TeV]", ylabel="(flux - model) / model")
