"""Figures of the instrument response: effective area, exposure, PSF, energy dispersion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from numpy.typing import NDArray

from gmdask.datasets import MapDataset
from gmdask.errors import InputError, check_kind
from gmdask.geometry import Window, rotate
from gmdask.likelihood.observation import Observation
from gmdask.plot.style import DATA, MODEL, PALETTE, SEQUENTIAL, axes_of, color_bar, scale_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "plot_effective_area",
    "plot_energy_dispersion",
    "plot_exposure",
    "plot_psf_containment",
]

Array = NDArray[np.float64]


def plot_exposure(
    dataset: MapDataset, ax: Axes | None = None, position: SkyCoord | None = None
) -> Axes:
    """Draw the exposure against true energy.

    Parameters
    ----------
    dataset : `MapDataset`
    ax : `matplotlib.axes.Axes`, optional
    position : `~astropy.coordinates.SkyCoord`, optional
        By default the centre of the maps.

    Raises
    ------
    InputError
        If the position is outside.
    """
    return _plot_exposure(dataset, ax, position, 1.0, "Exposure", "cm2 s")


def plot_effective_area(
    dataset: MapDataset, ax: Axes | None = None, position: SkyCoord | None = None
) -> Axes:
    """Draw the effective area against true energy: exposure divided by livetime.

    Parameters
    ----------
    dataset : `MapDataset`
    ax : `matplotlib.axes.Axes`, optional
    position : `~astropy.coordinates.SkyCoord`, optional
        By default the centre of the maps.

    Raises
    ------
    InputError
        If the livetime is not known, or the position is outside.
    """
    check_kind(dataset, MapDataset, "a dataset of counts to draw")
    livetime = dataset.exposure.attrs.get("meta", {}).get("livetime")
    if livetime is None:
        msg = f"dataset {dataset.name!r}: its livetime is not known; plot_exposure does not need it"
        raise InputError(msg)
    factor = 1e-4 / u.Quantity(livetime).to_value("s")
    return _plot_exposure(dataset, ax, position, factor, "Effective area", "m2")


def _plot_exposure(
    dataset: MapDataset, ax: Axes | None, position: SkyCoord | None, factor: float, name: str, unit: str
) -> Axes:  # fmt: skip
    seen, ax = _observation(dataset), axes_of(ax)
    values = factor * _exposure_at(seen, position)
    ax.plot(seen.energy_true.center, values, color=DATA)
    ax.set(
        xscale="log", yscale=scale_of(values), xlabel="True energy [TeV]", ylabel=f"{name} [{unit}]",
        title=f"{name.lower()}, {dataset.name}",
    )  # fmt: skip
    return ax


def plot_psf_containment(
    dataset: MapDataset,
    ax: Axes | None = None,
    position: SkyCoord | None = None,
    fractions: Sequence[float] = (0.68, 0.95),
) -> Axes:
    """Draw the containment radius of a point source against energy.

    Parameters
    ----------
    dataset : `MapDataset`
    ax : `matplotlib.axes.Axes`, optional
    position : `~astropy.coordinates.SkyCoord`, optional
        By default the centre of the maps.
    fractions : sequence of float
        Containment fractions.

    Raises
    ------
    InputError
        If there is no PSF.
    """
    seen = _observation(dataset)
    psf = seen.psf
    if psf is None:
        msg = f"dataset {dataset.name!r} has no PSF"
        raise InputError(msg)
    ax = axes_of(ax)
    lon, lat = _position(seen, position, psf.grid.frame)
    for fraction, color in zip(fractions, PALETTE, strict=False):
        radius = psf.containment_radius(lon, lat, psf.energy.center, fraction)
        ax.plot(
            psf.energy.center,
            np.where(radius > 0, radius, np.nan),
            color=color,
            label=f"{fraction:.0%}",
        )
    which = "True energy" if seen.psf_energy == "energy_true" else "Energy"
    ax.set(
        xscale="log", xlabel=f"{which} [TeV]", ylabel="Containment radius [deg]",
        title=f"PSF, {dataset.name}",
    )  # fmt: skip
    ax.set_ylim(0, 1.2 * ax.get_ylim()[1])  # room for the legend
    ax.legend(loc="upper right")
    return ax


def plot_energy_dispersion(
    dataset: MapDataset, ax: Axes | None = None, position: SkyCoord | None = None
) -> Axes:
    """Draw the probability of reconstructed energies against true energy.

    Parameters
    ----------
    dataset : `MapDataset`
    ax : `matplotlib.axes.Axes`, optional
    position : `~astropy.coordinates.SkyCoord`, optional
        By default the centre of the maps.
    """
    seen, ax = _observation(dataset), axes_of(ax)
    frame = seen.grid.frame
    matrix = seen.edisp_at(_position(seen, position, frame), frame, True)
    true, energy = seen.energy_true.edges, seen.energy.edges
    shown = ax.pcolormesh(true, energy, matrix.T, cmap=SEQUENTIAL, vmin=0, rasterized=True)
    color_bar(ax, shown, "probability per energy bin")
    both = max(true[0], energy[0]), min(true[-1], energy[-1])
    ax.plot(both, both, color=MODEL, lw=1, ls="--", label="no dispersion")
    ax.set(
        xscale="log", yscale="log", xlabel="True energy [TeV]", ylabel="Energy [TeV]",
        title=f"energy dispersion, {dataset.name}",
    )  # fmt: skip
    ax.legend(loc="upper left")
    return ax


def _position(seen: Observation, position: SkyCoord | None, frame: str) -> tuple[float, float]:
    """Return longitude and latitude in deg in a frame."""
    if position is None:
        lon, lat = rotate(*seen.grid.center, seen.grid.frame, frame)
    else:
        at = position.icrs
        lon, lat = rotate(float(at.ra.deg), float(at.dec.deg), "icrs", frame)
    return float(lon), float(lat)


def _exposure_at(seen: Observation, position: SkyCoord | None) -> Array:
    """Return the exposure in cm2 s of the pixel at a position, per true energy."""
    x, y = seen.grid.to_pixel(*_position(seen, position, seen.grid.frame))
    column, row = round(float(x)), round(float(y))
    if not (0 <= row < seen.grid.shape[0] and 0 <= column < seen.grid.shape[1]):
        msg = f"dataset {seen.name!r}: the position {position} is outside its maps"
        raise InputError(msg)
    window = Window(row, row + 1, column, column + 1)
    return seen.exposure_and_mask(window, None)[0][:, 0, 0]


def _observation(dataset: MapDataset) -> Observation:
    check_kind(dataset, MapDataset, "a dataset of counts to draw")
    return Observation(dataset.open())
