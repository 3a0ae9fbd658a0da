"""Values, errors and limits of fluxes in tables, and how points are drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from gmdask.errors import InputError
from gmdask.estimators.flux_data import SED_UNITS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_points", "flux_table", "fluxes_of"]

Array = NDArray[np.float64]


def flux_table(points: Any, sed_type: str) -> Table:
    """Return the table of fluxes, or of an object that makes one.

    Raises
    ------
    InputError
        If it has no such flux.
    """
    table = points if isinstance(points, Table) else points.to_table(sed_type=sed_type)
    if sed_type not in table.colnames:
        msg = f"the points have no column {sed_type!r}, but {', '.join(table.colnames)}"
        raise InputError(msg)
    return table


def fluxes_of(table: Table, sed_type: str) -> dict[str, Array]:
    """Return value, lower and upper errors, and upper limit; NaN if missing."""
    unit = SED_UNITS[sed_type]

    def column(name: str) -> Array:
        return np.ma.filled(np.asarray(table[name].quantity.to_value(unit)), np.nan)

    def optional(name: str) -> Array | None:
        return column(name) if name in table.colnames else None

    value = column(sed_type)
    none = np.full(value.shape, np.nan)
    err, errn, errp, limit = (
        optional(f"{sed_type}_{key}") for key in ("err", "errn", "errp", "ul")
    )
    err, limit = none if err is None else err, none if limit is None else limit
    bound = np.zeros(value.shape, bool)
    if "is_ul" in table.colnames:
        bound = np.asarray(table["is_ul"], dtype=bool).reshape(value.shape)
    bound &= np.isfinite(limit)
    return {
        "value": np.where(bound, np.nan, value), "errn": err if errn is None else errn,
        "errp": err if errp is None else errp, "ul": np.where(bound, limit, np.nan),
    }  # fmt: skip


def draw_points(
    ax: Axes, x: Array, sides: Array, found: dict[str, Array], style: dict[str, Any]
) -> None:
    """Draw values with errors, and upper limits as arrows.

    Parameters
    ----------
    ax : `matplotlib.axes.Axes`
    x : array of shape (n,)
    sides : array of shape (2, n)
        Distances to the lower and the upper end of each bin.
    found : dict
        See `fluxes_of`.
    style : dict
        Options of ``errorbar``.
    """
    if "fmt" not in style:
        style = {"marker": "o", "linestyle": "none", **style}
    style = {"markersize": 4, **style}
    errors = np.nan_to_num(np.array([found["errn"], found["errp"]]))
    drawn = ax.errorbar(x, found["value"], errors, sides, **style)
    limit = found["ul"]
    if np.isfinite(limit).any():
        color = drawn.lines[0].get_color()
        ax.errorbar(x, limit, 0.3 * np.abs(limit), sides, fmt="none", uplims=True, color=color)
