"""Figures of one dataset, used by its methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from gmdask.datasets import MapDataset
from gmdask.datasets.operations.smoothing import smoothed
from gmdask.datasets.prediction import RESIDUALS
from gmdask.errors import InputError, check_kind
from gmdask.geometry import WcsGrid
from gmdask.geometry.regions import Region
from gmdask.plot.irf import plot_energy_dispersion, plot_exposure, plot_psf_containment
from gmdask.plot.maps import plot_counts_map, plot_map, plot_model_map
from gmdask.plot.style import DATA, MODEL, PALETTE, axes_of, new_figure
from gmdask.plot.sums import sum_up

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "peek",
    "plot_counts",
    "plot_excess",
    "plot_masks",
    "plot_residuals_spatial",
    "plot_residuals_spectral",
]

Array = NDArray[np.float64]


def peek(dataset: MapDataset, figsize: tuple[float, float] | None = None) -> Figure:
    """Draw an overview of a dataset: exposure, counts, model, and the responses at the centre.

    Parameters
    ----------
    dataset : `MapDataset`
    figsize : tuple of float, optional
        Width and height in inches.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        It is not registered with pyplot, so that it need not be closed.
    """
    if _is_region(dataset):
        figure = new_figure(figsize or (15, 4))
        axes = [figure.add_subplot(1, 3, k + 1) for k in range(3)]
        plot_counts(dataset, axes[0])
        plot_exposure(dataset, axes[1])
        plot_energy_dispersion(dataset, axes[2])
        return figure
    figure = new_figure(figsize or (14, 7.5))
    grid, sums = _grid(dataset), sum_up(dataset)
    above = [figure.add_subplot(2, 3, k + 1, projection=grid.wcs) for k in range(3)]
    below = [figure.add_subplot(2, 3, k + 4) for k in range(3)]
    _plot_exposure_map(dataset, above[0])
    plot_counts_map(sums, above[1])
    plot_model_map(sums, above[2])
    plot_exposure(dataset, below[0])
    plot_energy_dispersion(dataset, below[2])
    if dataset.psf is None:
        below[1].remove()
    else:
        plot_psf_containment(dataset, below[1])
    return figure


def plot_counts(dataset: MapDataset, ax: Axes | None = None) -> Axes:
    """Draw the counts within the mask: a map, or for a region the spectrum with the background.

    Parameters
    ----------
    dataset : `MapDataset`
    ax : `matplotlib.axes.Axes`, optional
    """
    if not _is_region(dataset):
        return plot_counts_map(dataset, ax)
    ax = axes_of(ax)
    _draw_spectrum(ax, dataset, _per_energy(dataset, dataset.counts.values), "counts")
    background = dataset.npred_background()
    if background is not None:
        edges = dataset.cube["energy_edges"].values
        values = _per_energy(dataset, background.values)
        ax.stairs(values, edges, label="background", color=MODEL, baseline=None, lw=1.6)
    return _finished(ax, dataset, "counts")


def plot_excess(dataset: MapDataset, ax: Axes | None = None) -> Axes:
    """Draw counts above the background against energy, and the predicted counts of the sources.

    They are summed over the pixels within the mask; errors are square roots of the counts.

    Parameters
    ----------
    dataset : `MapDataset`
        A dataset with a background.
    ax : `matplotlib.axes.Axes`, optional

    Raises
    ------
    InputError
        If there is no background.
    """
    check_kind(dataset, MapDataset, "a dataset of counts to draw")
    background = dataset.npred_background()
    if background is None:
        msg = f"dataset {dataset.name!r} has no background, and so no excess"
        raise InputError(msg)
    ax = axes_of(ax)
    counts = _per_energy(dataset, dataset.counts.values)
    excess = counts - _per_energy(dataset, background.values)
    _draw_spectrum(ax, dataset, excess, "excess", np.sqrt(counts))
    signal = _per_energy(dataset, dataset.npred_signal().values)
    edges = dataset.cube["energy_edges"].values
    ax.stairs(signal, edges, label="predicted signal", color=MODEL, baseline=None, lw=1.6)
    ax.axhline(0, color="0.6", lw=0.8)
    return _finished(ax, dataset, "excess counts")


def plot_masks(
    dataset: MapDataset,
    ax: Axes | None = None,
    kwargs_fit: Mapping[str, Any] | None = None,
    kwargs_safe: Mapping[str, Any] | None = None,
) -> Axes:
    """Draw the masks: the number of energy bins inside them per pixel, or for a region the energies.

    Parameters
    ----------
    dataset : `MapDataset`
    ax : `matplotlib.axes.Axes`, optional
        For a region also those of its counts.
    kwargs_fit, kwargs_safe : mapping, optional
        Options of matplotlib's ``fill_between`` for the two masks of a region.
    """
    if not _is_region(dataset):
        kept = _mask(dataset).sum(axis=0)
        return plot_map(
            kept.astype(float), _grid(dataset), ax, label="energy bins within the masks",
            title=f"masks, {dataset.name}", limits=(0, dataset.counts.shape[0]),
        )  # fmt: skip
    ax = axes_of(ax)
    edges, unit = dataset.cube["energy_edges"].values, dataset.cube["energy"].attrs["unit"]
    _shade_masks(ax, dataset, kwargs_fit, kwargs_safe)
    ax.set(xscale="log", xlabel=f"Energy [{unit}]", xlim=(edges[0], edges[-1]))
    if not ax.lines:  # nothing else is drawn but the masks
        ax.set(yticks=[], title=f"masks, {dataset.name}")
    if ax.get_legend_handles_labels()[1]:
        ax.legend(loc="upper right")
    return ax


def _shade_masks(
    ax: Axes,
    dataset: MapDataset,
    kwargs_fit: Mapping[str, Any] | None,
    kwargs_safe: Mapping[str, Any] | None,
) -> None:
    """Shade the energies at which any pixel is inside the masks."""
    edges = dataset.cube["energy_edges"].values
    drawn = (
        ("safe", dataset.mask_safe, "0.3", kwargs_safe),
        ("fit", dataset.mask_fit, PALETTE[2], kwargs_fit),
    )
    for name, mask, color, given in drawn:
        if mask is not None:
            inside = np.repeat(mask.values.any(axis=(1, 2)), 2)
            style = {"alpha": 0.25, "color": color, "lw": 0, "label": f"mask {name}"}
            ax.fill_between(
                np.repeat(edges, 2)[1:-1], 0, 1, where=inside.tolist(),
                transform=ax.get_xaxis_transform(), **{**style, **(given or {})},
            )  # fmt: skip


def plot_residuals_spectral(
    dataset: MapDataset,
    ax: Axes | None = None,
    method: str = "diff",
    region: Any = None,
    kwargs_fit: Mapping[str, Any] | None = None,
    kwargs_safe: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> Axes:
    """Draw the residuals against energy: counts and model are summed before they are compared.

    Errors are those of the excess: square roots of the counts, including the off counts.

    Parameters
    ----------
    dataset : `MapDataset`
        A dataset with models.
    ax : `matplotlib.axes.Axes`, optional
    method : {"diff", "diff/sqrt(model)"}
        Normalisation of the residuals.
    region : SkyRegion, SkyCoord, list of SkyRegion, str or path, optional
        Region whose pixels (those with centres inside) are summed; see
        `gmdask.geometry.regions.read_region`; by default all pixels within the mask.
    kwargs_fit, kwargs_safe : mapping, optional
        See `plot_masks`.
    **kwargs
        Passed to matplotlib's ``errorbar``.

    Raises
    ------
    InputError
        If the method is unknown, or the region lies outside.
    """
    labels = {"diff": "counts - model", "diff/sqrt(model)": "(counts - model) / √model"}
    if method not in labels:
        msg = f"residuals of method {method!r}, expected one of {', '.join(labels)}"
        raise InputError(msg)
    check_kind(dataset, MapDataset, "a dataset of counts to draw")
    inside = np.ones(dataset.counts.shape[1:], bool)
    if region is not None:
        inside = Region(region).mask(_grid(dataset))
        if not inside.any():
            msg = f"region {region!r} contains no pixel of dataset {dataset.name!r}"
            raise InputError(msg)
    counts = _per_energy(dataset, dataset.counts.values * inside)
    npred = _per_energy(dataset, dataset.npred().values * inside)
    variance = _per_energy(dataset, dataset.excess_variance.values * inside)
    with np.errstate(invalid="ignore", divide="ignore"):
        residuals = np.asarray(RESIDUALS[method](counts, npred))
        error = np.sqrt(variance) / (1 if method == "diff" else np.sqrt(npred))
    ax, edges = axes_of(ax), dataset.cube["energy_edges"].values
    centre = np.sqrt(edges[:-1] * edges[1:])
    style = {"marker": "o", "ls": "none", "ms": 4, "color": kwargs.pop("c", DATA), **kwargs}
    sides = [centre - edges[:-1], edges[1:] - centre]
    ax.errorbar(centre, residuals, error, sides, **style)
    ax.axhline(0, color=style["color"], lw=0.5)
    _shade_masks(ax, dataset, kwargs_fit, kwargs_safe)
    unit = dataset.cube["energy"].attrs["unit"]
    ax.set(
        xscale="log", xlabel=f"Energy [{unit}]", ylabel=f"residuals ({labels[method]})",
        title=f"residuals, {dataset.name}",
    )  # fmt: skip
    if ax.get_legend_handles_labels()[1]:
        ax.legend(loc="best")
    return ax


def plot_residuals_spatial(
    dataset: MapDataset,
    ax: Axes | None = None,
    method: str = "diff",
    smooth_kernel: str = "gauss",
    smooth_radius: Any = "0.1 deg",
    **kwargs: Any,
) -> Axes:
    """Draw a map of the residuals; counts and model are smoothed before they are compared.

    Parameters
    ----------
    dataset : `MapDataset`
        A dataset with models.
    ax : `matplotlib.axes.Axes`, optional
    method : {"diff", "diff/model", "diff/sqrt(model)"}
        Normalisation of the residuals.
    smooth_kernel : {"gauss", "disk", "box"}
    smooth_radius : Quantity, str or float
        Width of the kernel; a number is in pixels.
    **kwargs
        Passed to matplotlib's ``imshow``, such as vmin and vmax.

    Raises
    ------
    InputError
        If the dataset is not a map, or method, kernel or radius are invalid.
    """
    if _is_region(dataset):
        msg = f"dataset {dataset.name!r} is a region: there is no map of its residuals"
        raise InputError(msg)
    if method not in RESIDUALS:
        msg = f"residuals of method {method!r}, expected one of {', '.join(RESIDUALS)}"
        raise InputError(msg)
    grid, mask = _grid(dataset), _mask(dataset)
    counts, npred = (
        smoothed((values * mask).sum(axis=0), grid, smooth_radius, smooth_kernel)
        for values in (dataset.counts.values.astype(float), dataset.npred().values)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.asarray(RESIDUALS[method](counts, npred))
    values = np.where(mask.any(axis=0) & np.isfinite(values), values, np.nan)
    top = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 1.0
    label = {"diff": "counts - model, per pixel", "diff/model": "(counts - model) / model"}
    return plot_map(
        values, grid, ax, label=label.get(method, "(counts - model) / √model"),
        title=f"residuals, {dataset.name}", limits=(-top, top), diverging=True, **kwargs,
    )  # fmt: skip


def _plot_exposure_map(dataset: MapDataset, ax: Axes) -> Axes:
    """Draw the exposure at the middle of the true energies."""
    exposure = dataset.exposure
    k = exposure.shape[0] // 2
    energy = dataset.cube["energy_true"]
    at = f"{float(energy.values[k]):.3g} {energy.attrs['unit']}"
    values = u.Quantity(exposure[k].values, exposure.attrs.get("unit", "")).to_value("cm2 s")
    top = float(np.nanmax(values))
    power = int(np.floor(np.log10(top))) if 0 < top < np.inf else 0
    return plot_map(
        values.astype(float) / 10.0**power, _grid(dataset), ax, label=f"exposure [1e{power} cm2 s]",
        title=f"exposure at {at}",
    )  # fmt: skip


def _draw_spectrum(
    ax: Axes, dataset: MapDataset, values: Array, label: str, error: Array | None = None
) -> None:
    edges = dataset.cube["energy_edges"].values
    centre = np.sqrt(edges[:-1] * edges[1:])
    sides = np.array([centre - edges[:-1], edges[1:] - centre])
    errors = np.sqrt(values) if error is None else error
    values = np.where(_mask(dataset).any(axis=(1, 2)), values, np.nan)
    ax.errorbar(centre, values, errors, sides, fmt="o", ms=4, label=label, color=DATA)


def _finished(ax: Axes, dataset: MapDataset, what: str) -> Axes:
    unit = dataset.cube["energy"].attrs["unit"]
    ax.set(
        xscale="log", xlabel=f"Energy [{unit}]", ylabel=f"{what} per bin",
        title=f"{what}, {dataset.name}",
    )  # fmt: skip
    ax.legend(loc="best")
    return ax


def _per_energy(dataset: MapDataset, values: NDArray[Any]) -> Array:
    """Sum over the pixels within the mask."""
    return np.asarray((values * _mask(dataset)).sum(axis=(1, 2), dtype=np.float64))


def _mask(dataset: MapDataset) -> NDArray[np.bool_]:
    mask = dataset.mask
    return np.ones(dataset.counts.shape, bool) if mask is None else np.asarray(mask.values)


def _grid(dataset: MapDataset) -> WcsGrid:
    rows, columns = dataset.counts.shape[-2:]
    return WcsGrid(dataset.cube.attrs["wcs"], (rows, columns))


def _is_region(dataset: MapDataset) -> bool:
    check_kind(dataset, MapDataset, "a dataset of counts to draw")
    return "region" in dataset.cube.attrs
