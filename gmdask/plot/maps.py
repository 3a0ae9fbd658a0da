"""Maps of counts, model, residuals and significance, with celestial axes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gmdask.datasets import Dataset
from gmdask.geometry import WcsGrid
from gmdask.plot.style import DIVERGING, SEQUENTIAL, color_bar, sky_axes
from gmdask.plot.sums import SMOOTH, Sums, significance, sum_up

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "Drawn",
    "plot_counts_map",
    "plot_map",
    "plot_model_map",
    "plot_residuals_map",
    "plot_significance_map",
    "sums_of",
]

Array = NDArray[np.float64]
Drawn = Dataset | Iterable[Dataset] | Sums
NAMES = {
    "RA": "Right ascension", "DEC": "Declination",
    "GLON": "Galactic longitude", "GLAT": "Galactic latitude",
}  # fmt: skip


def sums_of(datasets: Drawn) -> Sums:
    """Return the sums of datasets, if they are not sums already."""
    return datasets if isinstance(datasets, Sums) else sum_up(datasets)


def plot_map(
    values: Array,
    grid: WcsGrid,
    ax: Axes | None = None,
    *,
    label: str = "",
    title: str = "",
    limits: tuple[float, float] | None = None,
    diverging: bool = False,
    add_cbar: bool = True,
    **kwargs: Any,
) -> Axes:
    """Draw an image on the sky.

    Parameters
    ----------
    values : array of shape (lat, lon)
        NaN values are not drawn.
    grid : `WcsGrid`
        Pixels of the image.
    ax : `matplotlib.axes.Axes`, optional
        By default those of a new figure; plain axes are replaced by celestial ones.
    label, title : str
        Label of the colour bar, with the unit; title of the axes.
    limits : tuple of float, optional
        Lowest and highest value of the colours.
    diverging : bool
        Whether to use a diverging colour map.
    add_cbar : bool
        Whether to draw a colour bar.
    **kwargs
        Passed to matplotlib's ``imshow``.
    """
    ax = sky_axes(ax, grid.wcs)
    low, high = limits if limits is not None else (None, None)
    colours = {"vmin": low, "vmax": high, "cmap": DIVERGING if diverging else SEQUENTIAL}
    if "norm" in kwargs:  # it has its own limits
        del colours["vmin"], colours["vmax"]
    style = {"origin": "lower", "interpolation": "nearest", **colours, **kwargs}
    shown = ax.imshow(values, **style)
    if add_cbar:
        color_bar(ax, shown, label)
    lon, lat = (str(grid.header[card]).split("-")[0] for card in ("CTYPE1", "CTYPE2"))
    ax.set(
        title=title, xlabel=f"{NAMES.get(lon, lon)} [deg]", ylabel=f"{NAMES.get(lat, lat)} [deg]"
    )
    coords: Any = ax.coords  # type: ignore[attr-defined]
    for axis in coords:  # decimal degrees, as in models
        axis.set_format_unit("deg", decimal=True)
        axis.set_ticks(number=5)
        axis.set_ticklabel(exclude_overlapping=True)
    return ax


def plot_counts_map(datasets: Drawn, ax: Axes | None = None) -> Axes:
    """Draw the counts within the masks, summed over energy.

    Parameters
    ----------
    datasets : `MapDataset`, `Datasets` or `Sums`
        Datasets with models.
    ax : `matplotlib.axes.Axes`, optional
        See `plot_map`.
    """
    sums = sums_of(datasets)
    return plot_map(
        sums.counts, sums.grid, ax, label="counts per pixel", title=f"counts, {sums.title}",
        limits=(0, _top(sums)),
    )  # fmt: skip


def plot_model_map(datasets: Drawn, ax: Axes | None = None) -> Axes:
    """Draw the predicted counts within the masks, summed over energy, on the colour scale of the counts.

    Parameters
    ----------
    datasets : `MapDataset`, `Datasets` or `Sums`
        Datasets with models.
    ax : `matplotlib.axes.Axes`, optional
        See `plot_map`.
    """
    sums = sums_of(datasets)
    return plot_map(
        sums.npred, sums.grid, ax, label="predicted counts per pixel", title=f"model, {sums.title}",
        limits=(0, _top(sums)),
    )  # fmt: skip


def plot_residuals_map(datasets: Drawn, ax: Axes | None = None) -> Axes:
    """Draw counts above the model within the masks, summed over energy.

    Parameters
    ----------
    datasets : `MapDataset`, `Datasets` or `Sums`
        Datasets with models.
    ax : `matplotlib.axes.Axes`, optional
        See `plot_map`.
    """
    sums = sums_of(datasets)
    difference = np.where(sums.mask, sums.counts - sums.npred, np.nan)
    top = max(float(np.nanpercentile(np.abs(difference), 99.5)) if sums.mask.any() else 1.0, 0.1)
    return plot_map(
        difference, sums.grid, ax, label="counts - model, per pixel",
        title=f"residuals, {sums.title}", limits=(-top, top), diverging=True,
    )  # fmt: skip


def plot_significance_map(datasets: Drawn, ax: Axes | None = None) -> Axes:
    """Draw the residuals in standard deviations, smoothed over squares of 3 × 3 pixels.

    Parameters
    ----------
    datasets : `MapDataset`, `Datasets` or `Sums`
        Datasets with models.
    ax : `matplotlib.axes.Axes`, optional
        See `plot_map`.
    """
    sums = sums_of(datasets)
    return plot_map(
        significance(sums), sums.grid, ax, label="(counts - model) / √model  [σ]",
        title=f"significance, {SMOOTH} × {SMOOTH} pixels", limits=(-5, 5), diverging=True,
    )  # fmt: skip


def _top(sums: Sums) -> float:
    return max(float(np.percentile(sums.counts, 99.9)), 1.0)
