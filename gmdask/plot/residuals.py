"""Counts, model and residuals of datasets."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from gmdask.datasets import Datasets, MapDataset
from gmdask.geometry import WcsGrid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_residuals"]

Array = NDArray[np.float64]

MAX_DATASETS = 24
SMOOTH = 3  # pixels


class _Sums(NamedTuple):
    """Counts and model summed over datasets: images of one grid, and spectra."""

    counts: Array
    npred: Array
    spectrum_counts: Array
    spectrum_npred: Array
    n_images: int
    n_spectra: int


def plot_residuals(datasets: Datasets) -> Figure:
    """Draw counts, model and residuals.

    Images are summed over energy and over the datasets that share the grid of the first, at most 24;
    spectra over those with its energy axis. Bins outside the mask are left out.

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

    first = datasets[0]
    sums = _sum_up(datasets)
    grid = WcsGrid(first.cube.attrs["wcs"], first.counts.shape[-2:])
    figure = Figure(figsize=(13, 8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(2, 3, i + 1, projection=grid.wcs) for i in range(3)]
    top = float(np.percentile(sums.counts, 99.9)) or 1.0
    _image(figure, axes[0], sums.counts, f"counts, {sums.n_images} of {len(datasets)} datasets", "counts", 0, top)
    _image(figure, axes[1], sums.npred, "model", "predicted counts", 0, top)
    significance = _significance(sums.counts, sums.npred)
    _image(figure, axes[2], significance, f"residuals, {SMOOTH} × {SMOOTH} pixels", "(counts - model) / √model", -5, 5)
    _spectrum(figure, first, sums)
    _histogram(figure.add_subplot(2, 3, 6), significance[::SMOOTH, ::SMOOTH])
    return figure


def _sum_up(datasets: Datasets) -> _Sums:
    first = datasets[0]
    energy = first.cube["energy_edges"].values
    images = np.zeros((2, *first.counts.shape[-2:]))
    spectra = np.zeros((2, len(energy) - 1))
    n_images = n_spectra = 0
    for dataset in list(datasets)[:MAX_DATASETS]:
        same_grid = dataset.cube.attrs["wcs"] == first.cube.attrs["wcs"] and dataset.counts.shape == first.counts.shape
        same_energy = np.array_equal(dataset.cube["energy_edges"].values, energy)
        if not (same_grid or same_energy):
            continue
        cubes = np.stack([dataset.counts.values.astype(float), dataset.npred().values]) * _mask(dataset)
        if same_grid:
            images += cubes.sum(axis=1)
            n_images += 1
        if same_energy:
            spectra += cubes.sum(axis=(2, 3))
            n_spectra += 1
    return _Sums(*images, *spectra, n_images, n_spectra)


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


def _image(figure: Figure, axes: Axes, values: Array, title: str, label: str, low: float, high: float) -> None:
    cmap = "RdBu_r" if low < 0 else "viridis"
    shown = axes.imshow(values, origin="lower", vmin=low, vmax=high, cmap=cmap, interpolation="nearest")
    figure.colorbar(shown, ax=axes, label=label, shrink=0.85)
    axes.set(title=title, xlabel="longitude [deg]", ylabel="latitude [deg]")


def _spectrum(figure: Figure, first: MapDataset, sums: _Sums) -> None:
    edges, unit = first.cube["energy_edges"].values, first.cube["energy"].attrs["unit"]
    centre = np.sqrt(edges[:-1] * edges[1:])
    below = figure.add_subplot(2, 3, (4, 5))
    above = below.inset_axes((0, 0.4, 1, 0.6), sharex=below)
    above.stairs(sums.spectrum_npred, edges, label="model", color="C1")
    above.errorbar(centre, sums.spectrum_counts, np.sqrt(sums.spectrum_counts), fmt="o", ms=4, label="counts", color="C0")
    above.set(yscale="log", ylabel="counts", title=f"spectrum, {sums.n_spectra} datasets")
    above.tick_params(labelbottom=False)
    above.legend()
    mu = sums.spectrum_npred
    residual = np.where(mu > 0, (sums.spectrum_counts - mu) / np.sqrt(np.where(mu > 0, mu, 1.0)), np.nan)
    below.axhline(0, color="C1")
    below.errorbar(centre, residual, np.where(np.isnan(residual), np.nan, 1.0), fmt="o", ms=4)
    top = max(4.0, np.nanmax(np.abs(residual), initial=0.0) + 1)
    below.set(xscale="log", xlabel=f"energy [{unit}]", ylim=(-top, top / 0.4 * 1.2 - top))
    below.set_yticks([-np.floor(top - 1), 0, np.floor(top - 1)])
    below.set_ylabel("residual [σ]", loc="bottom")


def _histogram(axes: Axes, significance: Array) -> None:
    values = significance[np.isfinite(significance)]
    bins = np.linspace(-5, 5, 41)
    axes.hist(values, bins=bins, density=True, color="C0", alpha=0.7, label=f"{len(values)} squares")
    axes.plot(bins, np.exp(-0.5 * bins**2) / np.sqrt(2 * np.pi), color="C1", label="normal")
    axes.set(xlabel="(counts - model) / √model", ylabel="density per unit", title="residuals")
    axes.legend()
