"""Counts, model and residuals of datasets in one figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from gmdask.datasets import Dataset
from gmdask.plot.maps import (
    Drawn,
    plot_counts_map,
    plot_model_map,
    plot_residuals_map,
    plot_significance_map,
)
from gmdask.plot.spectra import plot_counts_spectrum, plot_residuals_histogram
from gmdask.plot.style import new_figure
from gmdask.plot.sums import MAX_DATASETS, Sums, datasets_of, sum_up

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_maps", "plot_residuals"]

COLUMNS = 3  # number of spectra per row
F = TypeVar("F", bound=Any)


def plot_residuals(datasets: Drawn) -> Figure:
    """Draw counts, model and residuals: maps for map datasets, and a spectrum for each of the others.

    The first 24 maps at most are summed within their masks (see `sum_up`); the first 24 spectra at most are drawn.

    Parameters
    ----------
    datasets : `Dataset`, `Datasets` or `Sums`
        Datasets with models.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        It is not registered with pyplot, so that it need not be closed.
    """
    if isinstance(datasets, Sums):
        return _draw_sums(datasets, new_figure((14, 8)))
    given = datasets_of(datasets)
    maps, spectra = [d for d in given if d.is_map], [d for d in given if not d.is_map]
    if not spectra:
        return _draw_sums(sum_up(maps), new_figure((14, 8)))
    shown = spectra[:MAX_DATASETS]
    n_rows = -(-len(shown) // COLUMNS)
    height = 4.0 * n_rows + 0.3
    figure = new_figure((4.7 * min(len(shown), COLUMNS), height))
    if not maps:
        _draw_spectra(shown, len(spectra), figure)
        return figure
    figure.set_size_inches(14, height + 8)
    parts: Any = figure.subfigures(2, 1, height_ratios=(8, height))
    above, below = parts
    _draw_sums(sum_up(maps), above)
    _draw_spectra(shown, len(spectra), below)
    return figure


def _draw_sums(sums: Sums, figure: F) -> F:
    """Draw maps, spectrum and distribution of the residuals on a figure or subfigure."""
    layout = figure.add_gridspec(2, 3)
    maps = (plot_counts_map, plot_model_map, plot_significance_map)
    for column, draw in enumerate(maps):
        draw(sums, figure.add_subplot(layout[0, column], projection=sums.grid.wcs))
    rows = layout[1, :2].subgridspec(2, 1, height_ratios=(2, 1))
    plot_counts_spectrum(sums, figure.add_subplot(rows[0]), figure.add_subplot(rows[1]))
    plot_residuals_histogram(sums, figure.add_subplot(layout[1, 2]))
    return figure


def _draw_spectra(spectra: list[Dataset], n_all: int, figure: Any) -> None:
    """Draw each spectrum with its residuals on a figure or subfigure."""
    n_columns = min(len(spectra), COLUMNS)
    layout = figure.add_gridspec(-(-len(spectra) // n_columns), n_columns)
    for k, spectrum in enumerate(spectra):
        rows = layout[divmod(k, n_columns)].subgridspec(2, 1, height_ratios=(2.5, 1))
        upper, lower = figure.add_subplot(rows[0]), figure.add_subplot(rows[1])
        spectrum.plot_fit(upper, lower)
    if n_all > len(spectra):
        figure.suptitle(f"{len(spectra)} of {n_all} spectra")


def draw_maps(sums: Sums, size: tuple[float, float]) -> Figure:
    """Draw maps of counts, model and residuals side by side.

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
