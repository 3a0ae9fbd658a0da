"""Counts spectra, and the distribution of residuals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gmdask.plot.maps import Drawn, sums_of
from gmdask.plot.style import DATA, MODEL, axes_of, scale_of
from gmdask.plot.sums import SMOOTH, Sums, significance

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_counts_spectrum", "plot_residuals_histogram", "plot_residuals_spectrum"]


def plot_counts_spectrum(
    datasets: Drawn, ax: Axes | None = None, residuals: Axes | None = None
) -> Axes:
    """Draw counts and predicted counts against energy, with the residuals below.

    Parameters
    ----------
    datasets : `MapDataset`, `Datasets` or `Sums`
        Datasets with models; those with the energies of the first are drawn.
    ax : `matplotlib.axes.Axes`, optional
        Axes of the counts; by default those of a new figure, with further axes for the residuals.
    residuals : `matplotlib.axes.Axes`, optional
        Axes of the residuals, which are not drawn if only `ax` is given.
    """
    sums = sums_of(datasets)
    if ax is None:
        ax = axes_of(None)
        spec = ax.figure.add_gridspec(2, 1, height_ratios=(2.5, 1))
        ax.set_subplotspec(spec[0])
        residuals = ax.figure.add_subplot(spec[1], sharex=ax)
    centre, n = np.sqrt(sums.energy[:-1] * sums.energy[1:]), sums.spectrum_counts
    ax.stairs(sums.spectrum_npred, sums.energy, label="model", color=MODEL, baseline=None, lw=1.6)
    ax.errorbar(centre, n, np.sqrt(n), fmt="o", ms=4, label="counts", color=DATA)
    more = "" if sums.n_spectra == len(sums.names) else f", {sums.n_spectra} with these energies"
    ax.set(
        xscale="log", yscale=scale_of(n, sums.spectrum_npred), xlabel=f"Energy [{sums.unit}]",
        ylabel="counts per bin",
        title=f"counts, {sums.title}{more}",
    )  # fmt: skip
    ax.legend(loc="upper right")
    if residuals is not None:
        ax.set_xlabel("")
        ax.tick_params(axis="x", which="both", labelbottom=False)
        plot_residuals_spectrum(sums, residuals)
        residuals.set_xlim(ax.get_xlim())
    return ax


def plot_residuals_spectrum(datasets: Drawn, ax: Axes | None = None) -> Axes:
    """Draw the residuals against energy, in standard deviations.

    Parameters
    ----------
    datasets : `MapDataset`, `Datasets` or `Sums`
        Datasets with models.
    ax : `matplotlib.axes.Axes`, optional
    """
    sums, ax = sums_of(datasets), axes_of(ax)
    mu = sums.spectrum_npred
    some = mu > 0
    residual = np.where(
        some, (sums.spectrum_counts - mu) / np.sqrt(np.where(some, mu, 1.0)), np.nan
    )
    ax.axhline(0, color=MODEL)
    centre = np.sqrt(sums.energy[:-1] * sums.energy[1:])
    ax.errorbar(centre, residual, np.where(some, 1.0, np.nan), fmt="o", ms=4, color=DATA)
    largest = float(np.max(np.abs(residual), initial=0.0, where=np.isfinite(residual)))
    top = max(3.5, largest + 1.5)
    ax.set(
        xscale="log", xlabel=f"Energy [{sums.unit}]", ylabel="residual [σ]", ylim=(-top, top),
        xlim=(sums.energy[0], sums.energy[-1]),
    )  # fmt: skip
    return ax


def plot_residuals_histogram(datasets: Drawn, ax: Axes | None = None) -> Axes:
    """Draw the distribution of the residuals in squares of 3 × 3 pixels.

    Parameters
    ----------
    datasets : `MapDataset`, `Datasets` or `Sums`
        Datasets with models.
    ax : `matplotlib.axes.Axes`, optional
    """
    sums: Sums = sums_of(datasets)
    ax = axes_of(ax)
    values = significance(sums)[::SMOOTH, ::SMOOTH]
    values = values[np.isfinite(values)]
    bins = np.linspace(-5, 5, 41)
    ax.hist(
        values, bins=bins.tolist(), density=len(values) > 0, color=DATA, alpha=0.7,
        label=f"{len(values)} squares",
    )  # fmt: skip
    ax.plot(bins, np.exp(-0.5 * bins**2) / np.sqrt(2 * np.pi), color=MODEL, label="normal")
    ax.set(xlabel="(counts - model) / √model  [σ]", ylabel="density per σ", title="residuals")
    ax.set_ylim(top=1.3 * ax.get_ylim()[1])  # room for the legend
    ax.legend(loc="upper right")
    return ax
