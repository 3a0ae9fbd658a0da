"""Figures of spatial and temporal models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord, UnitSphericalRepresentation
from astropy.time import Time
from regions import PointPixelRegion

from gmdask.errors import InputError, check_kind
from gmdask.geometry import WcsGrid
from gmdask.models import (
    Models,
    SpatialModel,
    TemplatePhaseCurveTemporalModel,
    TemporalModel,
)
from gmdask.models.units import unit_text
from gmdask.plot.maps import NAMES, plot_map
from gmdask.plot.style import MODEL, axes_of, new_figure, sky_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "axes_around",
    "plot_phasogram",
    "plot_positions",
    "plot_regions",
    "plot_spatial_grid",
    "plot_spatial_model",
    "plot_temporal_model",
]

N_PIXELS = 101
MAX_SIDE = 150.0  # deg; largest size of a tangential map


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
        A model with a position and an extension.
    ax : `matplotlib.axes.Axes`, optional
        See `plot_map`.
    width : Quantity or float, optional
        Side length of the map (a number is in deg); by default that of the whole model.
    energy : Quantity, optional
        Energy at which an energy-dependent model is drawn.
    **kwargs
        Passed to matplotlib's ``imshow``.

    Raises
    ------
    InputError
        If the model is a point source or has no position, or the width is not positive.
    """
    check_kind(model, SpatialModel, "a spatial model to draw")
    grid = _grid_of(model, width)
    at_lon, at_lat = (u.Quantity(v, "deg") for v in grid.pixel_centers)
    values = model(at_lon, at_lat, energy)
    unit = unit_text(values.unit)
    return plot_map(
        values.value, grid, ax, label=f"density [{unit}]", title=type(model).__name__, **kwargs
    )


def plot_spatial_grid(
    model: SpatialModel,
    energy: Any = None,
    *,
    figsize: tuple[float, float] | None = None,
    ncols: int = 3,
    **kwargs: Any,
) -> Figure:
    """Draw maps of an energy-dependent model at several energies.

    Parameters
    ----------
    model : `SpatialModel`
        A template, or another model with a position and an extension.
    energy : Quantity of shape (n,), optional
        By default those of the template.
    figsize : tuple of float, optional
        Width and height in inches.
    ncols : int
        Number of maps in a row.
    **kwargs
        Passed to matplotlib's ``imshow``.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        It is not registered with pyplot, so that it need not be closed.

    Raises
    ------
    InputError
        If the model does not depend on energy, or there are no energies.
    """
    check_kind(model, SpatialModel, "a spatial model to draw")
    kind = type(model).__name__
    sky_map: Any = getattr(model, "map", None)
    if not model.is_energy_dependent:
        msg = f"{kind} does not depend on energy: use plot()"
        raise InputError(msg)
    if energy is None and sky_map is None:
        msg = f"{kind} depends on energy: give the energies at which to draw it"
        raise InputError(msg)
    if energy is None:
        axis = sky_map.axes[sky_map.axis_names.index("energy_true")]
        energy = u.Quantity(axis.center, axis.unit or "TeV")
    energies = np.atleast_1d(u.Quantity(energy))
    grid = _grid_of(model, None) if sky_map is None else sky_map.grid
    lon, lat = (u.Quantity(v, "deg") for v in grid.pixel_centers)
    values = model(lon, lat, energies)
    n_rows = -(-len(energies) // ncols)
    figure = new_figure(figsize or (4.6 * ncols, 3.8 * n_rows))
    for k, (at, image) in enumerate(zip(energies, values, strict=True)):
        ax = figure.add_subplot(n_rows, ncols, k + 1, projection=grid.wcs)
        label = f"density [{unit_text(values.unit)}]"
        plot_map(image.value, grid, ax, label=label, title=f"{at:.3g}", **kwargs)
    return figure


def _grid_of(model: SpatialModel, width: Any) -> WcsGrid:
    """Return the pixels around the position of a model, for the whole model or for a given width."""
    position, radius = model.position, model.evaluation_radius(model.internal_values)
    if position is None or not radius:
        msg = f"{type(model).__name__} is a point source or has no position: it cannot be drawn as a map"
        raise InputError(msg)
    try:
        side = 2.2 * radius if width is None else float(u.Quantity(width, "deg").value)
    except (TypeError, ValueError, u.UnitsError):
        side = np.nan
    if not 0 < side <= 180:
        msg = f"width is {width!r}, expected an angle of up to 180 deg"
        raise InputError(msg)
    return _grid_around(position, side, model.frame)


def axes_around(model: SpatialModel, ax: Axes | None) -> Axes:
    """Return celestial axes: the given ones, or those of a map around the position of a model.

    Raises
    ------
    InputError
        If the model has no position.
    """
    check_kind(model, SpatialModel, "a spatial model to draw")
    position = model.position
    if position is None:
        msg = f"{type(model).__name__} has no position that could be drawn"
        raise InputError(msg)
    if ax is not None and hasattr(ax, "wcs"):
        return ax
    ellipse, radius = model.position_error, model.evaluation_radius(model.internal_values) or 0.0
    reach = 0.0 if ellipse is None else float(ellipse.height.to_value("deg"))
    grid = _grid_around(position, min(2.4 * max(reach, radius) or 1.0, MAX_SIDE), model.frame)
    return _drawn_on(grid, ax)


def _drawn_on(grid: WcsGrid, ax: Axes | None) -> Axes:
    ax = sky_axes(ax, grid.wcs)
    ax.set(xlim=(-0.5, N_PIXELS - 0.5), ylim=(-0.5, N_PIXELS - 0.5))
    names = [NAMES[str(grid.header[card]).split("-")[0]] for card in ("CTYPE1", "CTYPE2")]
    ax.set(xlabel=names[0], ylabel=names[1])
    return ax


def _grid_around(position: SkyCoord, side: float, frame: str) -> WcsGrid:
    """Return the pixels of a tangential map of a side length in deg, with axes in the frame of the position."""
    lon, lat = float(position.data.lon.deg), float(position.data.lat.deg)
    kind = ("GLON", "GLAT") if frame == "galactic" else ("RA--", "DEC-")
    middle = (N_PIXELS + 1) / 2
    header = {
        "CTYPE1": f"{kind[0]}-TAN", "CTYPE2": f"{kind[1]}-TAN", "CUNIT1": "deg", "CUNIT2": "deg",
        "CRVAL1": lon, "CRVAL2": lat, "CRPIX1": middle, "CRPIX2": middle,
        "CDELT1": -side / N_PIXELS, "CDELT2": side / N_PIXELS,
    }  # fmt: skip
    return WcsGrid(header, (N_PIXELS, N_PIXELS))


def plot_positions(models: Models, ax: Axes | None = None, **kwargs: Any) -> Axes:
    """Mark the positions of sources on a map.

    Parameters
    ----------
    models : `Models`
    ax : `matplotlib.axes.Axes`, optional
        Celestial axes, e.g. of a counts map; by default those of a new map around the sources.
    **kwargs
        Passed to matplotlib's ``scatter``.

    Raises
    ------
    InputError
        If no model has a position.
    """
    ax = _map_of(models, ax)
    x, y = models.positions.to_pixel(ax.wcs)  # type: ignore[attr-defined]
    ax.scatter(x, y, **{"marker": "*", "color": MODEL, **kwargs})
    return ax


def plot_regions(
    models: Models,
    ax: Axes | None = None,
    *,
    size_factor: float = 1.0,
    kwargs_point: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> Axes:
    """Draw the outlines of sources on a map, and markers for point sources.

    Parameters
    ----------
    models : `Models`
    ax : `matplotlib.axes.Axes`, optional
        See `plot_positions`.
    size_factor : float
        Factor on the sizes; see `Models.to_regions`.
    kwargs_point : mapping, optional
        Options of matplotlib's lines, for points.
    **kwargs
        Options of matplotlib's patches, for outlines.

    Raises
    ------
    InputError
        If no model has a position.
    """
    ax = _map_of(models, ax)
    for region in models.to_regions(size_factor):
        drawn = region.to_pixel(ax.wcs)  # type: ignore[attr-defined]
        style = kwargs if "color" in kwargs else {"edgecolor": MODEL, **kwargs}
        if isinstance(drawn, PointPixelRegion):
            style = {"color": MODEL, "marker": "+", "linestyle": "none", **(kwargs_point or {})}
        drawn.plot(ax=ax, **style)
    return ax


def _map_of(models: Models, ax: Axes | None) -> Axes:
    """Return celestial axes: the given ones, or those of a map that contains all sources."""
    check_kind(models, Models, "models to draw")
    places = models.positions
    if not len(places):
        msg = "no model has a position that could be drawn"
        raise InputError(msg)
    if ax is not None and hasattr(ax, "wcs"):
        return ax
    middle = SkyCoord(places.cartesian.mean().represent_as(UnitSphericalRepresentation))
    shapes = [getattr(component, "spatial_model", None) for component in models]
    sizes = [s.evaluation_radius(s.internal_values) or 0.0 for s in shapes if s is not None]
    reach = float(places.separation(middle).deg.max()) + max(sizes)
    return _drawn_on(_grid_around(middle, min(max(2.4 * reach, 1.0), MAX_SIDE), "icrs"), ax)


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
        If the range is not a pair of increasing times.
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
        msg = f"time_range is {time_range!r}, expected two increasing Time"
        raise InputError(msg)
    ax = axes_of(ax)
    ax.plot(days, model(times).value, **{"color": MODEL, **kwargs})
    ax.ticklabel_format(axis="x", useOffset=False)
    ax.tick_params(axis="x", labelrotation=20)
    ax.set(xlabel=f"Time [MJD, {scale.upper()}]", ylabel="norm", title=type(model).__name__)
    return ax


def plot_phasogram(
    model: TemporalModel, ax: Axes | None = None, n_points: int = 100, **kwargs: Any
) -> Axes:
    """Draw the norm of a phase curve over one rotation.

    Parameters
    ----------
    model : `TemplatePhaseCurveTemporalModel`
    ax : `matplotlib.axes.Axes`, optional
    n_points : int
        Number of phases, which are the centres of bins from 0 to 1.
    **kwargs
        Passed to matplotlib's ``plot``.

    Raises
    ------
    InputError
        If the model is not a phase curve, or there are no points.
    """
    if not isinstance(model, TemplatePhaseCurveTemporalModel):
        msg = f"{type(model).__name__} is not a phase curve: plot(time_range) draws it against time"
        raise InputError(msg)
    if n_points < 1:
        msg = f"n_points is {n_points}, expected at least 1"
        raise InputError(msg)
    phase = (np.arange(n_points) + 0.5) / n_points
    ax = axes_of(ax)
    ax.plot(phase, model.at_phase(phase), **{"color": MODEL, **kwargs})
    ax.set(xlabel="Phase", ylabel="norm", title=type(model).__name__, xlim=(0, 1))
    return ax
