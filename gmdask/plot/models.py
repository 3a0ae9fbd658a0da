"""Figures of spatial and temporal models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from astropy.time import Time

from gmdask.errors import InputError
from gmdask.geometry import WcsGrid
from gmdask.models import SpatialModel, TemporalModel
from gmdask.models.parameter import unit_text
from gmdask.plot.maps import plot_map
from gmdask.plot.style import MODEL, axes_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_spatial_model", "plot_temporal_model"]

N_PIXELS = 101


def plot_spatial_model(
    model: SpatialModel,
    ax: Axes | None = None,
    width: Any = None,
    energy: Any = None,
    **kwargs: Any,
) -> Axes:
    """Draw a map of a spatial model around its position.

    Parameters
    ----------
    model : `SpatialModel`
        With a position and an extension.
    ax : `matplotlib.axes.Axes`, optional
        See `plot_map`.
    width : Quantity or float, optional
        Side of the map, a number in deg; by default that of all of the model.
    energy : Quantity, optional
        At which a model is drawn that depends on it.
    **kwargs
        Passed to matplotlib's ``imshow``.

    Raises
    ------
    InputError
        If the model is a point or has no position, or the width is not positive.
    """
    position, radius = model.position, model.evaluation_radius(model.internal_values)
    if position is None or not radius:
        msg = f"{type(model).__name__} is a point or has no position: there is no map of it"
        raise InputError(msg)
    side = 2.2 * radius if width is None else float(u.Quantity(width, "deg").value)
    if not 0 < side <= 180:
        msg = f"width is {width!r}, expected an angle of up to 180 deg"
        raise InputError(msg)
    lon, lat = float(position.data.lon.deg), float(position.data.lat.deg)
    kind = ("GLON", "GLAT") if model.frame == "galactic" else ("RA--", "DEC-")
    middle = (N_PIXELS + 1) / 2
    header = {
        "CTYPE1": f"{kind[0]}-TAN", "CTYPE2": f"{kind[1]}-TAN", "CUNIT1": "deg", "CUNIT2": "deg",
        "CRVAL1": lon, "CRVAL2": lat, "CRPIX1": middle, "CRPIX2": middle,
        "CDELT1": -side / N_PIXELS, "CDELT2": side / N_PIXELS,
    }  # fmt: skip
    grid = WcsGrid(header, (N_PIXELS, N_PIXELS))
    at_lon, at_lat = (u.Quantity(v, "deg") for v in grid.pixel_centers)
    values = model(at_lon, at_lat, energy)
    unit = unit_text(values.unit)
    return plot_map(
        values.value, grid, ax, label=f"density [{unit}]", title=type(model).__name__, **kwargs
    )


def plot_temporal_model(
    model: TemporalModel, time_range: Any, ax: Axes | None = None, n_points: int = 100, **kwargs: Any
) -> Axes:  # fmt: skip
    """Draw the norm of a temporal model.

    Parameters
    ----------
    model : `TemporalModel`
    time_range : `~astropy.time.Time` of shape (2,), or pair of these
        First and last time.
    ax : `matplotlib.axes.Axes`, optional
    n_points : int
    **kwargs
        Passed to matplotlib's ``plot``.

    Raises
    ------
    InputError
        If the range is no pair of times that increase.
    """
    try:
        start, stop = time_range
        times = start + (stop - start) * np.linspace(0, 1, n_points)
        days = np.asarray(times.mjd, dtype=float)
        scale = str(times.scale)
    except (TypeError, ValueError, AttributeError) as error:
        msg = f"time_range is {time_range!r}, expected two Time"
        raise InputError(msg) from error
    if not isinstance(times, Time) or not days[-1] > days[0]:
        msg = f"time_range is {time_range!r}, expected two Time that increase"
        raise InputError(msg)
    ax = axes_of(ax)
    ax.plot(days, model(times).value, **{"color": MODEL, **kwargs})
    ax.ticklabel_format(axis="x", useOffset=False)
    ax.tick_params(axis="x", labelrotation=20)
    ax.set(xlabel=f"Time [MJD, {scale.upper()}]", ylabel="norm", title=type(model).__name__)
    return ax
