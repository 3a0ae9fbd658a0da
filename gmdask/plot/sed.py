"""Spectral energy distributions with their uncertainty, flux points, and light curves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from astropy.time import Time
from numpy.typing import NDArray

from gmdask.errors import InputError
from gmdask.estimators.flux_data import SED_UNITS
from gmdask.models import Covariance, Models, SkyModel
from gmdask.models.spectral.base import SpectralModel
from gmdask.models.units import unit_text
from gmdask.plot.fluxes import draw_points, flux_table, fluxes_of
from gmdask.plot.style import DATA, MODEL, PALETTE, axes_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "plot_flux_points",
    "plot_flux_profile",
    "plot_light_curve",
    "plot_sed",
    "plot_spectral_error",
    "plot_spectral_model",
]

Array = NDArray[np.float64]

NAMES = {"dnde": "dN/dE", "e2dnde": "E² dN/dE", "flux": "Flux", "eflux": "Energy flux"}
N_POINTS = 200
TINY = 1e-6  # values below this fraction of the highest E² dN/dE are not drawn


def plot_spectral_model(
    model: SpectralModel,
    energy_bounds: Any,
    ax: Axes | None = None,
    *,
    covariance: Covariance | None = None,
    sed_type: str = "e2dnde",
    energy_power: float = 0,
    label: str = "model",
    color: str = MODEL,
    **kwargs: Any,
) -> Axes:
    """Draw a spectral model, with its 1 σ butterfly.

    Energies at which ``E² dN/dE`` is below a millionth of its highest value are left out.

    Parameters
    ----------
    model : `SpectralModel`
    energy_bounds : Quantity
        Lowest and highest energy.
    ax : `matplotlib.axes.Axes`, optional
    covariance : `Covariance`, optional
        Covariance of its parameters, and possibly others; without it there is no butterfly.
    sed_type : {"e2dnde", "dnde"}
    energy_power : float
        Power of the energy in TeV by which it is multiplied.
    label, color : str
    **kwargs
        Passed to matplotlib's ``plot``.

    Raises
    ------
    InputError
        If the type is unknown, or the bounds are not energies.
    """
    ax = axes_of(ax)
    energy, y, error = _curve(model, energy_bounds, covariance, sed_type, energy_power)
    ax.plot(energy, y, **{"color": color, "label": label, **_line(kwargs)})
    if error.any():
        _draw_band(ax, energy, y, error, color)
    _finish(ax, sed_type, energy_power)
    return ax


def plot_spectral_error(
    model: SpectralModel,
    energy_bounds: Any,
    ax: Axes | None = None,
    *,
    covariance: Covariance,
    sed_type: str = "e2dnde",
    energy_power: float = 0,
    color: str = MODEL,
    **kwargs: Any,
) -> Axes:
    """Draw the 1 σ butterfly of a spectral model, without the model.

    Parameters
    ----------
    model, energy_bounds, ax, covariance, sed_type, energy_power, color
        See `plot_spectral_model`.
    **kwargs
        Passed to matplotlib's ``fill_between``.

    Raises
    ------
    InputError
        If the type is unknown, or the bounds are not energies.
    """
    ax = axes_of(ax)
    energy, y, error = _curve(model, energy_bounds, covariance, sed_type, energy_power)
    _draw_band(ax, energy, y, error, color, **kwargs)
    _finish(ax, sed_type, energy_power)
    return ax


def plot_sed(
    models: Models | SkyModel,
    source: Any = None,
    energy_bounds: Any = None,
    ax: Axes | None = None,
    *,
    points: Any = None,
    sed_type: str = "e2dnde",
) -> Axes:
    """Draw the spectrum of a source, with its 1 σ butterfly and flux points.

    Parameters
    ----------
    models : `Models` or `SkyModel`
        The global models, whose covariance gives the butterfly; or one source.
    source : str
        Name of the source. If a single source is given, its flux points may be given here.
    energy_bounds : Quantity, optional
        Lowest and highest energy; by default those of the points, or 0.1 to 100 TeV.
    ax : `matplotlib.axes.Axes`, optional
    points : `FluxPoints` or `~astropy.table.Table`, optional
        See `plot_flux_points`.
    sed_type : {"e2dnde", "dnde"}

    Raises
    ------
    InputError
        If `models` is something else, or does not contain the source.
    """
    model, covariance = _source(models, source)
    if isinstance(models, SkyModel) and source is not None and not isinstance(source, str):
        points = source
    table = None if points is None else flux_table(points, sed_type)
    if energy_bounds is None and table is not None:
        energy_bounds = u.Quantity(
            [np.min(table["e_min"].quantity), np.max(table["e_max"].quantity)]
        )
    elif energy_bounds is None:
        energy_bounds = u.Quantity([0.1, 100], "TeV")
    ax = plot_spectral_model(
        model.spectral_model, energy_bounds, ax, covariance=covariance, sed_type=sed_type,
        label=model.name,
    )  # fmt: skip
    if table is not None:
        plot_flux_points(table, ax, sed_type)
    ax.set_title(model.name)
    return ax


def plot_flux_points(
    points: Any,
    ax: Axes | None = None,
    sed_type: str = "e2dnde",
    *,
    energy_power: float = 0,
    **kwargs: Any,
) -> Axes:
    """Draw flux points with their errors, and upper limits as arrows.

    Parameters
    ----------
    points : `FluxPoints` or `~astropy.table.Table`
        Or a table in the GADF format of flux points of this type.
    ax : `matplotlib.axes.Axes`, optional
    sed_type : {"e2dnde", "dnde", "flux", "eflux"}
    energy_power : float
        Power of the energy in TeV by which they are multiplied.
    **kwargs
        Passed to matplotlib's ``errorbar``, such as color and label.

    Raises
    ------
    InputError
        If the type is unknown, or the table does not contain it.
    """
    check_sed_type(sed_type, tuple(SED_UNITS))
    table, ax = flux_table(points, sed_type), axes_of(ax)
    energy, e_min, e_max = (
        table[name].quantity.to_value("TeV") for name in ("e_ref", "e_min", "e_max")
    )
    found = {key: value * energy**energy_power for key, value in fluxes_of(table, sed_type).items()}
    sides = np.array([energy - e_min, e_max - energy])
    draw_points(ax, energy, sides, found, {"color": DATA, "label": "flux points", **_line(kwargs)})
    _finish(ax, sed_type, energy_power)
    return ax


def plot_light_curve(
    curve: Any, ax: Axes | None = None, sed_type: str = "flux", **kwargs: Any
) -> Axes:
    """Draw a flux against time, with one colour per energy range, and upper limits as arrows.

    Parameters
    ----------
    curve : `LightCurve` or `~astropy.table.Table`
        Or a table with ``time_min``, ``time_max`` (MJD), ``e_min``, ``e_max`` and the columns of the type.
    ax : `matplotlib.axes.Axes`, optional
    sed_type : {"flux", "eflux", "dnde", "e2dnde"}
    **kwargs
        Passed to matplotlib's ``errorbar``, such as color.

    Raises
    ------
    InputError
        If the type is unknown, or the table does not contain it.
    """
    check_sed_type(sed_type, tuple(SED_UNITS))
    table, ax = flux_table(curve, sed_type), axes_of(ax)
    start, stop = (_mjd(table[name]) for name in ("time_min", "time_max"))
    found = fluxes_of(table, sed_type)
    low, high = (
        table[name].quantity.to_value("TeV").reshape(len(table), -1) for name in ("e_min", "e_max")
    )
    sides = np.array([(stop - start) / 2] * 2)
    for k in range(low.shape[1]):
        of_bin = {key: value.reshape(len(table), -1)[:, k] for key, value in found.items()}
        label = f"{low[0, k]:.3g} to {high[0, k]:.3g} TeV"
        style = {"color": PALETTE[k % len(PALETTE)], "label": label, **_line(kwargs)}
        draw_points(ax, (start + stop) / 2, sides, of_bin, style)
    ax.margins(y=0.15)
    ax.ticklabel_format(axis="x", useOffset=False)
    ax.tick_params(axis="x", labelrotation=20)
    scale = getattr(table["time_min"], "scale", "")
    ax.set(
        xlabel=f"Time [{f'MJD {scale.upper()}'.rstrip()}]",
        ylabel=f"{NAMES[sed_type]} [{SED_UNITS[sed_type]}]",
    )
    ax.legend(loc="upper right")
    return ax


def plot_flux_profile(
    profile: Any, ax: Axes | None = None, sed_type: str = "flux", **kwargs: Any
) -> Axes:
    """Draw fluxes of regions against their distance, with one colour per energy range, and upper limits as arrows.

    Parameters
    ----------
    profile : `FluxProfile`
    ax : `matplotlib.axes.Axes`, optional
    sed_type : {"flux", "eflux", "dnde", "e2dnde"}
    **kwargs
        Passed to matplotlib's ``errorbar``, such as color.
    """
    check_sed_type(sed_type, tuple(SED_UNITS))
    table, ax = flux_table(profile, sed_type), axes_of(ax)
    found, x = fluxes_of(table, sed_type), np.asarray(table["x_ref"], dtype=float)
    sides = np.array([x - np.asarray(table["x_min"]), np.asarray(table["x_max"]) - x])
    edges = profile.energy_edges.value
    for k in range(len(edges) - 1):
        of_bin = {key: value.reshape(len(table), -1)[:, k] for key, value in found.items()}
        label = f"{edges[k]:.3g} to {edges[k + 1]:.3g} TeV"
        style = {"color": PALETTE[k % len(PALETTE)], "label": label, **_line(kwargs)}
        draw_points(ax, x, sides, of_bin, style)
    ax.margins(y=0.15)
    ax.set(xlabel="Distance [deg]", ylabel=f"{NAMES[sed_type]} [{SED_UNITS[sed_type]}]")
    ax.legend(loc="upper right")
    return ax


def _source(models: Any, source: Any) -> tuple[SkyModel, Covariance | None]:
    """Return a source, and its covariance if there is one."""
    if isinstance(models, SkyModel):
        return models, models.covariance
    if not isinstance(models, Models):
        msg = f"{models!r} is a {type(models).__name__}, expected Models and the name of a source, or a SkyModel"
        raise InputError(msg)
    names = [model.name for model in models if isinstance(model, SkyModel)]
    if source is None and len(names) == 1:
        source = names[0]
    if source not in names:
        msg = (
            f"source is {source!r}, expected the name of one: {', '.join(names) or 'there is none'}"
        )
        raise InputError(msg)
    return models[source], models.covariance


def _curve(
    model: SpectralModel,
    energy_bounds: Any,
    covariance: Covariance | None,
    sed_type: str,
    energy_power: float,
) -> tuple[Array, Array, Array]:
    """Return energies in TeV, and the model with its error; NaN where it is too small to be drawn."""
    check_sed_type(sed_type, ("e2dnde", "dnde"))
    try:
        low, high = (float(e) for e in u.Quantity(energy_bounds).to_value("TeV"))
    except (TypeError, ValueError, u.UnitsError) as problem:
        msg = f"energy_bounds is {energy_bounds!r}, expected the lowest and the highest energy"
        raise InputError(msg) from problem
    if not 0 < low < high < np.inf:
        msg = f"energy_bounds is {energy_bounds!r}, expected two positive increasing energies"
        raise InputError(msg)
    energy = np.geomspace(low, high, N_POINTS)
    y, error = _with_error(model, energy, covariance)
    tiny = energy**2 * y < TINY * np.max(energy**2 * y)
    power = 2 if sed_type == "e2dnde" else 0
    scale = float((model.output_unit * u.TeV**power).to(SED_UNITS[sed_type]))
    factor = scale * energy ** (power + energy_power)
    return energy, np.where(tiny, np.nan, factor * y), np.where(tiny, 0.0, factor * error)


def _draw_band(ax: Axes, energy: Array, y: Array, error: Array, color: str, **kwargs: Any) -> None:
    style = {"color": color, "alpha": 0.25, "lw": 0, "label": "1 σ", **kwargs}
    ax.fill_between(energy, np.maximum(y - error, 1e-3 * y), y + error, **style)


def _with_error(
    model: SpectralModel, energy: Array, covariance: Covariance | None
) -> tuple[Array, Array]:
    """Return the value of a model and its standard deviation, in its own unit."""
    values = model.internal_values.tolist()
    if covariance is None:
        return model.evaluate(energy, *values), np.zeros(len(energy))
    y, slopes = model.gradient(energy, *values)
    own = model.parameters
    matrix = covariance.get_subcovariance(list(own)).data
    at = [own.index(parameter) for _, parameter in model.named_parameters()]
    slopes = slopes * model.internal_factors[:, None]
    variance = np.einsum("pe,pq,qe->e", slopes, matrix[np.ix_(at, at)], slopes)
    return y, np.sqrt(np.maximum(variance, 0.0))


def check_sed_type(sed_type: str, known: tuple[str, ...]) -> None:
    """Raise an error for an unknown type of flux."""
    if sed_type not in known:
        msg = f"sed_type {sed_type!r}, expected one of {', '.join(known)}"
        raise InputError(msg)


def _line(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return options of a line with their long names: "c" and "color" are the same."""
    from matplotlib.cbook import normalize_kwargs
    from matplotlib.lines import Line2D

    return dict(normalize_kwargs(kwargs, Line2D))


def _mjd(column: Any) -> Array:
    """Return times in days."""
    if isinstance(column, Time):
        return np.asarray(column.mjd)
    return np.asarray(u.Quantity(column, column.unit or "d").to_value("d"))


def _finish(ax: Axes, sed_type: str, energy_power: float) -> None:
    name, unit = NAMES[sed_type], SED_UNITS[sed_type]
    if energy_power:
        name = f"E^{energy_power:g} {name}" if energy_power != 2 else f"E² {name}"
        unit = unit_text(u.Unit(unit) * u.TeV**energy_power)
    ax.set(xscale="log", yscale="log", xlabel="Energy [TeV]", ylabel=f"{name} [{unit}]")
    if ax.get_legend_handles_labels()[1]:
        ax.legend(loc="upper right")
