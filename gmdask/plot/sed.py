"""Spectral energy distributions with their uncertainty, flux points, and light curves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from astropy.table import Table
from astropy.time import Time
from numpy.typing import NDArray

from gmdask.errors import InputError
from gmdask.estimators.flux_data import SED_UNITS
from gmdask.models import Covariance, Models
from gmdask.models.spectral_base import SpectralModel
from gmdask.plot.style import DATA, MODEL, PALETTE, axes_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_flux_points", "plot_light_curve", "plot_sed", "plot_spectral_model"]

Array = NDArray[np.float64]

NAMES = {"dnde": "dN/dE", "e2dnde": "E² dN/dE", "flux": "Flux", "eflux": "Energy flux"}
N_POINTS = 200


def plot_spectral_model(
    model: SpectralModel,
    energy_bounds: Any,
    ax: Axes | None = None,
    *,
    covariance: Covariance | None = None,
    sed_type: str = "e2dnde",
    label: str = "model",
    color: str = MODEL,
) -> Axes:
    """Draw a spectral model, with its 1 σ butterfly.

    Parameters
    ----------
    model : `SpectralModel`
    energy_bounds : Quantity
        Lowest and highest energy.
    ax : `matplotlib.axes.Axes`, optional
    covariance : `Covariance`, optional
        Of its parameters, and maybe others; without it there is no butterfly.
    sed_type : {"e2dnde", "dnde"}
    label, color : str

    Raises
    ------
    InputError
        If the type is another one.
    """
    _check_type(sed_type, ("e2dnde", "dnde"))
    ax = axes_of(ax)
    low, high = u.Quantity(energy_bounds).to_value("TeV")
    energy = np.geomspace(low, high, N_POINTS)
    power = 2 if sed_type == "e2dnde" else 0
    scale = float((model.output_unit * u.TeV**power).to(SED_UNITS[sed_type])) * energy**power
    y, error = _with_error(model, energy, covariance)
    ax.plot(energy, scale * y, color=color, label=label)
    if covariance is not None and error.any():
        band = scale * np.maximum(y - error, 1e-3 * y), scale * (y + error)
        ax.fill_between(energy, *band, color=color, alpha=0.25, lw=0, label="1 σ")
    _finish(ax, sed_type)
    return ax


def plot_sed(
    models: Models,
    source: str,
    energy_bounds: Any = None,
    ax: Axes | None = None,
    *,
    points: Any = None,
    sed_type: str = "e2dnde",
) -> Axes:
    """Draw the spectrum of a source, with its 1 σ butterfly and flux points.

    Parameters
    ----------
    models : `Models`
        The global models, with their covariance.
    source : str
        Which.
    energy_bounds : Quantity, optional
        Lowest and highest energy; by default those of the points, or 0.1 to 100 TeV.
    ax : `matplotlib.axes.Axes`, optional
    points : `FluxPoints` or `~astropy.table.Table`, optional
        See `plot_flux_points`.
    sed_type : {"e2dnde", "dnde"}
    """
    table = None if points is None else _table(points, sed_type)
    if energy_bounds is None and table is not None:
        energy_bounds = u.Quantity(
            [np.min(table["e_min"].quantity), np.max(table["e_max"].quantity)]
        )
    elif energy_bounds is None:
        energy_bounds = u.Quantity([0.1, 100], "TeV")
    ax = plot_spectral_model(
        models[source].spectral_model, energy_bounds, ax, covariance=models.covariance,
        sed_type=sed_type, label=source,
    )  # fmt: skip
    if table is not None:
        plot_flux_points(table, ax, sed_type)
    ax.set_title(source)
    return ax


def plot_flux_points(points: Any, ax: Axes | None = None, sed_type: str = "e2dnde") -> Axes:
    """Draw flux points with their errors, and upper limits as arrows.

    Parameters
    ----------
    points : `FluxPoints` or `~astropy.table.Table`
        Or a table in the form that GADF gives to flux points of this type.
    ax : `matplotlib.axes.Axes`, optional
    sed_type : {"e2dnde", "dnde", "flux", "eflux"}

    Raises
    ------
    InputError
        If the type is another one, or the table lacks it.
    """
    _check_type(sed_type, tuple(SED_UNITS))
    table, ax = _table(points, sed_type), axes_of(ax)
    energy, e_min, e_max = (
        table[name].quantity.to_value("TeV") for name in ("e_ref", "e_min", "e_max")
    )
    found = _found(table, sed_type)
    sides = np.array([energy - e_min, e_max - energy])
    _draw_points(ax, energy, sides, found, DATA, "flux points")
    _finish(ax, sed_type)
    return ax


def plot_light_curve(curve: Any, ax: Axes | None = None, sed_type: str = "flux") -> Axes:
    """Draw a flux by time, one colour per range of energy; upper limits as arrows.

    Parameters
    ----------
    curve : `LightCurve` or `~astropy.table.Table`
        Or a table with ``time_min``, ``time_max`` (MJD), ``e_min``, ``e_max`` and the columns of the type.
    ax : `matplotlib.axes.Axes`, optional
    sed_type : {"flux", "eflux", "dnde", "e2dnde"}

    Raises
    ------
    InputError
        If the type is another one, or the table lacks it.
    """
    _check_type(sed_type, tuple(SED_UNITS))
    table, ax = _table(curve, sed_type), axes_of(ax)
    start, stop = (_mjd(table[name]) for name in ("time_min", "time_max"))
    found = _found(table, sed_type)
    low, high = (
        table[name].quantity.to_value("TeV").reshape(len(table), -1) for name in ("e_min", "e_max")
    )
    sides = np.array([(stop - start) / 2] * 2)
    for k in range(low.shape[1]):
        of_bin = {key: value.reshape(len(table), -1)[:, k] for key, value in found.items()}
        label = f"{low[0, k]:.3g} to {high[0, k]:.3g} TeV"
        _draw_points(ax, (start + stop) / 2, sides, of_bin, PALETTE[k % len(PALETTE)], label)
    ax.margins(y=0.15)
    ax.ticklabel_format(axis="x", useOffset=False)
    ax.tick_params(axis="x", labelrotation=20)
    ax.set(xlabel="Time [MJD]", ylabel=f"{NAMES[sed_type]} [{SED_UNITS[sed_type]}]")
    ax.legend(loc="upper right")
    return ax


def _with_error(
    model: SpectralModel, energy: Array, covariance: Covariance | None
) -> tuple[Array, Array]:
    """Value of a model and its standard deviation, in its own unit."""
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


def _check_type(sed_type: str, known: tuple[str, ...]) -> None:
    if sed_type not in known:
        msg = f"sed_type {sed_type!r}, expected one of {', '.join(known)}"
        raise InputError(msg)


def _table(points: Any, sed_type: str) -> Table:
    table = points if isinstance(points, Table) else points.to_table(sed_type=sed_type)
    if sed_type not in table.colnames:
        msg = f"the points have no column {sed_type!r}, but {', '.join(table.colnames)}"
        raise InputError(msg)
    return table


def _found(table: Table, sed_type: str) -> dict[str, Array]:
    """Value, errors to both sides, and upper limit; nan where there is none."""
    unit = SED_UNITS[sed_type]

    def column(name: str) -> Array | None:
        if name not in table.colnames:
            return None
        return np.ma.filled(np.asarray(table[name].quantity.to_value(unit)), np.nan)

    value = column(sed_type)
    assert value is not None
    none = np.full(value.shape, np.nan)
    err, errn, errp, limit = (column(f"{sed_type}_{key}") for key in ("err", "errn", "errp", "ul"))
    err, limit = none if err is None else err, none if limit is None else limit
    bound = np.zeros(value.shape, bool)
    if "is_ul" in table.colnames:
        bound = np.asarray(table["is_ul"], dtype=bool).reshape(value.shape)
    bound &= np.isfinite(limit)
    return {
        "value": np.where(bound, np.nan, value), "errn": err if errn is None else errn,
        "errp": err if errp is None else errp, "ul": np.where(bound, limit, np.nan),
    }  # fmt: skip


def _draw_points(
    ax: Axes, x: Array, sides: Array, found: dict[str, Array], color: str, label: str
) -> None:
    errors = np.nan_to_num(np.array([found["errn"], found["errp"]]))
    ax.errorbar(x, found["value"], errors, sides, fmt="o", ms=4, color=color, label=label)
    limit = found["ul"]
    if np.isfinite(limit).any():
        ax.errorbar(x, limit, 0.3 * limit, sides, fmt="none", uplims=True, color=color)


def _mjd(column: Any) -> Array:
    """Times in days."""
    if isinstance(column, Time):
        return np.asarray(column.mjd)
    return np.asarray(u.Quantity(column, column.unit or "d").to_value("d"))


def _finish(ax: Axes, sed_type: str) -> None:
    ax.set(
        xscale="log", yscale="log", xlabel="Energy [TeV]",
        ylabel=f"{NAMES[sed_type]} [{SED_UNITS[sed_type]}]",
    )  # fmt: skip
    ax.legend(loc="upper right")
