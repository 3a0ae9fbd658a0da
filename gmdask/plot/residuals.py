"""Counts, model and residuals of datasets."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from gmdask.datasets import Datasets, MapDataset
from gmdask.geometry import WcsGrid, rotate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_residuals"]

Array = NDArray[np.float64]

MAX_DATASETS = 24
MAX_PIXELS = 4000  # per side
SMOOTH = 3  # pixels


class _Sums(NamedTuple):
    """Counts and model summed over datasets: images on one grid, and spectra."""

    grid: WcsGrid
    counts: Array
    npred: Array
    spectrum_counts: Array
    spectrum_npred: Array
    n_datasets: int
    n_spectra: int


def plot_residuals(datasets: Datasets) -> Figure:
    """Draw counts, model and residuals.

    Sums over the first 24 datasets at most, within their masks: images, where the content of a pixel
    goes to the pixel of a common grid its centre falls in, and spectra of those that share the
    energy axis of the first.

    Parameters
    ----------
    datasets : `Datasets`
        With models set.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        Not known to pyplot: nothing is left open.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    sums = _sum_up(datasets)
    figure = Figure(figsize=(13, 8), layout="constrained")
    FigureCanvasAgg(figure)
    layout = figure.add_gridspec(2, 3)
    axes = [figure.add_subplot(layout[0, i], projection=sums.grid.wcs) for i in range(3)]
    top = max(float(np.percentile(sums.counts, 99.9)), 1.0)
    _image(
        figure,
        axes[0],
        sums.counts,
        f"counts, {sums.n_datasets} of {len(datasets)} datasets",
        "counts",
        0,
        top,
    )
    _image(figure, axes[1], sums.npred, "model", "predicted counts", 0, top)
    significance = _significance(sums.counts, sums.npred)
    _image(
        figure,
        axes[2],
        significance,
        f"residuals, {SMOOTH} × {SMOOTH} pixels",
        "(counts - model) / √model",
        -5,
        5,
    )
    rows = layout[1, :2].subgridspec(2, 1, height_ratios=(2, 1))
    _spectrum(figure.add_subplot(rows[0]), figure.add_subplot(rows[1]), datasets[0], sums)
    _histogram(figure.add_subplot(layout[1, 2]), significance[::SMOOTH, ::SMOOTH])
    return figure


def _common_grid(datasets: list[MapDataset]) -> WcsGrid:
    """Grid with the pixels of the first dataset that holds all of them."""
    first = datasets[0]
    own = WcsGrid(first.cube.attrs["wcs"], first.counts.shape[-2:])
    limits = []
    for dataset in datasets:
        grid = WcsGrid(dataset.cube.attrs["wcs"], dataset.counts.shape[-2:])
        n_y, n_x = grid.shape
        corners = grid.to_sky(
            np.array([0, 0, n_x - 1, n_x - 1.0]), np.array([0, n_y - 1, 0, n_y - 1.0])
        )
        x, y = own.to_pixel(*rotate(*corners, grid.frame, own.frame))
        limits.append((x.min(), y.min(), x.max(), y.max()))
    low, high = np.min(limits, axis=0)[:2], np.max(limits, axis=0)[2:]
    x0, y0 = (math.floor(v) for v in low)
    n_x, n_y = (min(math.ceil(b) - a + 1, MAX_PIXELS) for a, b in zip((x0, y0), high, strict=True))
    header = {
        **own.header,
        "CRPIX1": own.header["CRPIX1"] - x0,
        "CRPIX2": own.header["CRPIX2"] - y0,
    }
    return WcsGrid(header, (n_y, n_x))


def _sum_up(datasets: Datasets) -> _Sums:
    chosen = list(datasets)[:MAX_DATASETS]
    common = _common_grid(chosen)
    energy = chosen[0].cube["energy_edges"].values
    images, spectra, n_spectra = np.zeros((2, *common.shape)), np.zeros((2, len(energy) - 1)), 0
    for dataset in chosen:
        cubes = np.stack([dataset.counts.values.astype(float), dataset.npred().values]) * _mask(
            dataset
        )
        grid = WcsGrid(dataset.cube.attrs["wcs"], dataset.counts.shape[-2:])
        x, y = common.to_pixel(*rotate(*grid.pixel_centers, grid.frame, common.frame))
        column, row = np.rint(x).astype(int), np.rint(y).astype(int)
        inside = (row >= 0) & (row < common.shape[0]) & (column >= 0) & (column < common.shape[1])
        for image, cube in zip(images, cubes.sum(axis=1), strict=True):
            np.add.at(image, (row[inside], column[inside]), cube[inside])
        if np.array_equal(dataset.cube["energy_edges"].values, energy):
            spectra += cubes.sum(axis=(2, 3))
            n_spectra += 1
    (counts, npred), (spectrum_counts, spectrum_npred) = images, spectra
    return _Sums(common, counts, npred, spectrum_counts, spectrum_npred, len(chosen), n_spectra)


def _mask(dataset: MapDataset) -> Array:
    mask = np.ones(dataset.counts.shape)
    for array in (dataset.mask_safe, dataset.mask_fit):
        if array is not None:
            mask *= array.values
    return mask


def _significance(counts: Array, npred: Array) -> Array:
    """Residual in standard deviations over squares of pixels; nan where nothing is expected."""
    n, mu = (uniform_filter(a, SMOOTH, mode="constant") * SMOOTH**2 for a in (counts, npred))
    enough = mu > 1e-3
    return np.where(enough, (n - mu) / np.sqrt(np.where(enough, mu, 1.0)), np.nan)


def _image(
    figure: Figure, axes: Axes, values: Array, title: str, label: str, low: float, high: float
) -> None:
    cmap = "RdBu_r" if low < 0 else "viridis"
    shown = axes.imshow(
        values, origin="lower", vmin=low, vmax=high, cmap=cmap, interpolation="nearest"
    )
    figure.colorbar(shown, ax=axes, label=label, shrink=0.85)
    axes.set(title=title, xlabel="longitude [deg]", ylabel="latitude [deg]")


def _spectrum(above: Axes, below: Axes, first: MapDataset, sums: _Sums) -> None:
    edges, unit = first.cube["energy_edges"].values, first.cube["energy"].attrs["unit"]
    centre, mu = np.sqrt(edges[:-1] * edges[1:]), sums.spectrum_npred
    above.stairs(mu, edges, label="model", color="C1", baseline=None)
    above.errorbar(
        centre,
        sums.spectrum_counts,
        np.sqrt(sums.spectrum_counts),
        fmt="o",
        ms=4,
        label="counts",
        color="C0",
    )
    above.set(
        xscale="log",
        yscale="log",
        ylabel="counts per bin",
        title=f"spectrum, {sums.n_spectra} datasets",
    )
    above.tick_params(labelbottom=False)
    above.legend()
    residual = np.where(
        mu > 0, (sums.spectrum_counts - mu) / np.sqrt(np.where(mu > 0, mu, 1.0)), np.nan
    )
    below.axhline(0, color="C1")
    below.errorbar(centre, residual, np.where(np.isnan(residual), np.nan, 1.0), fmt="o", ms=4)
    top = max(3.5, float(np.max(np.abs(residual), initial=0.0, where=np.isfinite(residual))) + 1.5)
    below.set(
        xscale="log",
        xlabel=f"energy [{unit}]",
        ylabel="residual [σ]",
        ylim=(-top, top),
        xlim=above.get_xlim(),
    )


def _histogram(axes: Axes, significance: Array) -> None:
    values = significance[np.isfinite(significance)]
    bins = np.linspace(-5, 5, 41)
    axes.hist(
        values,
        bins=bins.tolist(),
        density=True,
        color="C0",
        alpha=0.7,
        label=f"{len(values)} squares",
    )
    axes.plot(bins, np.exp(-0.5 * bins**2) / np.sqrt(2 * np.pi), color="C1", label="normal")
    axes.set(xlabel="(counts - model) / √model", ylabel="density per unit", title="residuals")
    axes.legend()
