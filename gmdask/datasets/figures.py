"""Figures of a dataset: methods of `MapDataset`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import xarray as xr

from gmdask.datasets.operations.smoothing import smoothed
from gmdask.drawing import draw
from gmdask.geometry import WcsGrid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gmdask.datasets.map_dataset import MapDataset

__all__ = [
    "peek",
    "plot_counts",
    "plot_excess",
    "plot_fit",
    "plot_masks",
    "plot_residuals",
    "plot_residuals_spatial",
    "plot_residuals_spectral",
    "smooth",
]


def smooth(dataset: MapDataset, width: Any, kernel: str = "gauss") -> xr.DataArray:
    """Smooth the counts of each energy over the pixels, as Gammapy's ``Map.smooth`` does.

    Parameters
    ----------
    dataset : `MapDataset`
    width : Quantity, str or float
        Standard deviation of the Gaussian, radius of the disk, or side length of the box; a number is in
        pixels.
    kernel : {"gauss", "disk", "box"}

    Returns
    -------
    counts : `xarray.DataArray` of shape (energy, lat, lon)

    Raises
    ------
    InputError
        If width or kernel are invalid.
    """
    rows, columns = dataset.counts.shape[-2:]
    grid = WcsGrid(dataset.cube.attrs["wcs"], (rows, columns))
    values = smoothed(dataset.counts.values, grid, width, kernel)
    return dataset.labelled("counts", xr.Variable(dataset.counts.dims, values))


def peek(dataset: MapDataset, figsize: tuple[float, float] | None = None) -> Figure:
    """Draw an overview of the dataset; see `gmdask.plot.peek`.

    Parameters
    ----------
    dataset : `MapDataset`
    figsize : tuple of float, optional
        Width and height in inches.
    """
    figure: Figure = draw("peek", dataset, figsize)
    return figure


def plot_counts(dataset: MapDataset, ax: Axes | None = None) -> Axes:
    """Draw the counts; see `gmdask.plot.plot_counts`."""
    axes: Axes = draw("plot_counts", dataset, ax)
    return axes


def plot_excess(dataset: MapDataset, ax: Axes | None = None) -> Axes:
    """Draw counts above the background against energy; see `gmdask.plot.plot_excess`."""
    axes: Axes = draw("plot_excess", dataset, ax)
    return axes


def plot_masks(dataset: MapDataset, ax: Axes | None = None, **kwargs: Any) -> Axes:
    """Draw the masks; see `gmdask.plot.plot_masks`."""
    axes: Axes = draw("plot_masks", dataset, ax, **kwargs)
    return axes


def plot_fit(
    dataset: MapDataset, ax_spectrum: Axes | None = None, ax_residuals: Axes | None = None
) -> Axes:
    """Draw counts and model against energy, with residuals; see `gmdask.plot.plot_counts_spectrum`."""
    axes: Axes = draw("plot_counts_spectrum", dataset, ax_spectrum, ax_residuals)
    return axes


def plot_residuals(dataset: MapDataset) -> Figure:
    """Draw counts, model and residuals in one figure; see `gmdask.plot.plot_residuals`."""
    figure: Figure = draw("plot_residuals", dataset)
    return figure


def plot_residuals_spatial(dataset: MapDataset, ax: Axes | None = None, **kwargs: Any) -> Axes:
    """Draw a map of the residuals; see `gmdask.plot.plot_residuals_spatial`.

    Parameters
    ----------
    dataset : `MapDataset`
    ax : `matplotlib.axes.Axes`, optional
    **kwargs
        method, smooth_kernel, smooth_radius, add_cbar, and options of matplotlib's ``imshow``.
    """
    axes: Axes = draw("plot_residuals_spatial", dataset, ax, **kwargs)
    return axes


def plot_residuals_spectral(dataset: MapDataset, ax: Axes | None = None, **kwargs: Any) -> Axes:
    """Draw the residuals against energy; see `gmdask.plot.plot_residuals_spectral`.

    Parameters
    ----------
    dataset : `MapDataset`
    ax : `matplotlib.axes.Axes`, optional
    **kwargs
        method, region, kwargs_fit, kwargs_safe, and options of matplotlib's ``errorbar``.
    """
    axes: Axes = draw("plot_residuals_spectral", dataset, ax, **kwargs)
    return axes
