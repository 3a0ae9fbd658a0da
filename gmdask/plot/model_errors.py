"""Errors of spatial models on a map."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from gmdask.errors import InputError
from gmdask.models import SpatialModel
from gmdask.plot.models import axes_around
from gmdask.plot.style import MODEL

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_position_error", "plot_spatial_error"]

ERRORS = ("position", "extension", "all")


def plot_spatial_error(
    model: SpatialModel,
    ax: Axes | None = None,
    which: str | Collection[str] = "position",
    size_factor: float = 1.0,
    kwargs_position: Mapping[str, Any] | None = None,
    kwargs_extension: Mapping[str, Any] | None = None,
) -> Axes:
    """Draw the errors of a spatial model on a map; unknown ones are left out.

    Parameters
    ----------
    model : `SpatialModel`
        A model with a position.
    ax : `matplotlib.axes.Axes`, optional
        Celestial axes, e.g. of a counts map; by default those of a new map around the model.
    which : {"position", "extension", "all"} or list of these
    size_factor : float
        Factor on the extension; see `SpatialModel.to_region`.
    kwargs_position : mapping, optional
        Options of `plot_position_error`.
    kwargs_extension : mapping, optional
        Options of matplotlib's patches.

    Raises
    ------
    InputError
        If the model has no position, or the kind of error is unknown.
    """
    chosen = {which} if isinstance(which, str) else set(which)
    if not chosen or not chosen <= set(ERRORS):
        msg = f"which is {which!r}, expected one of {', '.join(ERRORS)}"
        raise InputError(msg)
    ax = axes_around(model, ax)
    if chosen & {"position", "all"}:
        plot_position_error(model, ax, **(kwargs_position or {}))
    ring = model.extension_error(size_factor) if chosen & {"extension", "all"} else None
    if ring is not None:
        style = {"facecolor": MODEL, "edgecolor": MODEL, "alpha": 0.15, "fill": True}
        patch = ring.to_pixel(ax.wcs).as_artist(**{**style, **(kwargs_extension or {})})  # type: ignore[attr-defined]
        ax.add_artist(patch)
    return ax


def plot_position_error(model: SpatialModel, ax: Axes | None = None, **kwargs: Any) -> Axes:
    """Mark the position of a spatial model, with the ellipse that contains it with 95 % probability.

    Parameters
    ----------
    model : `SpatialModel`
        A model with a position.
    ax : `matplotlib.axes.Axes`, optional
        See `plot_spatial_error`.
    **kwargs
        Passed to matplotlib's ``scatter``.

    Raises
    ------
    InputError
        If the model has no position.
    """
    ax = axes_around(model, ax)
    wcs: Any = ax.wcs  # type: ignore[attr-defined]
    style = {"marker": "x", "color": MODEL, "label": "position", **kwargs}
    x, y = model.position.to_pixel(wcs)
    ax.scatter([x], [y], **style)
    ellipse = model.position_error
    if ellipse is not None:
        patch = ellipse.to_pixel(wcs).as_artist(facecolor="none", edgecolor=style["color"])
        ax.add_artist(patch)
    return ax
