"""Counts, model and residuals of datasets in one figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gmdask.plot.maps import (
    Drawn,
    plot_counts_map,
    plot_model_map,
    plot_residuals_map,
    plot_significance_map,
    sums_of,
)
from gmdask.plot.spectra import plot_counts_spectrum, plot_residuals_histogram
from gmdask.plot.style import new_figure
from gmdask.plot.sums import Sums

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_maps", "plot_residuals"]


def plot_residuals(datasets: Drawn) -> Figure:
    """Draw counts, model and residuals.

    Sums over the first 24 datasets at most, within their masks; see `sum_up`.

    Parameters
    ----------
    datasets : `MapDataset`, `Datasets` or `Sums`
        With models set.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        Not known to pyplot: nothing is left open.
    """
    sums = sums_of(datasets)
    figure = new_figure((14, 8))
    layout = figure.add_gridspec(2, 3)
    maps = (plot_counts_map, plot_model_map, plot_significance_map)
    for column, draw in enumerate(maps):
        draw(sums, figure.add_subplot(layout[0, column], projection=sums.grid.wcs))
    rows = layout[1, :2].subgridspec(2, 1, height_ratios=(2, 1))
    plot_counts_spectrum(sums, figure.add_subplot(rows[0]), figure.add_subplot(rows[1]))
    plot_residuals_histogram(sums, figure.add_subplot(layout[1, 2]))
    return figure


def draw_maps(sums: Sums, size: tuple[float, float]) -> Figure:
    """Draw maps of counts, model and residuals beside each other.

    Parameters
    ----------
    sums : `Sums`
    size : tuple of float
        Width and height in inches.
    """
    figure = new_figure(size)
    for k, draw in enumerate((plot_counts_map, plot_model_map, plot_residuals_map)):
        draw(sums, figure.add_subplot(1, 3, k + 1))
    return figure
