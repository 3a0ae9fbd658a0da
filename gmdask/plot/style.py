"""Colours and axes common to all figures."""

from __future__ import annotations

import base64
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING, Any

from gmdask.errors import check_kind

if TYPE_CHECKING:
    from astropy.wcs import WCS
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "DATA",
    "DIVERGING",
    "MODEL",
    "PALETTE",
    "SEQUENTIAL",
    "axes_of",
    "color_bar",
    "new_figure",
    "png_tag",
    "scale_of",
    "sky_axes",
]

# Okabe and Ito's palette, which is distinguishable with any kind of colour vision
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
DATA, MODEL = PALETTE[:2]
SEQUENTIAL, DIVERGING = "viridis", "RdBu_r"


def new_figure(size: tuple[float, float] = (6.4, 4.8)) -> Figure:
    """Create a figure that is not registered with pyplot, so that it need not be closed.

    Parameters
    ----------
    size : tuple of float
        Width and height in inches.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def axes_of(ax: Axes | None, **options: Any) -> Axes:
    """Return axes to draw on: the given ones, or those of a new pyplot figure.

    Parameters
    ----------
    ax : `matplotlib.axes.Axes`, optional
        If they are given, pyplot is not used.
    **options
        Passed to ``add_subplot``.
    """
    if ax is not None:
        return _checked(ax)
    import matplotlib.pyplot as plt

    made: Axes = plt.figure(layout="constrained").add_subplot(**options)
    return made


def sky_axes(ax: Axes | None, wcs: WCS) -> Axes:
    """Return axes with a WCS; plain axes are replaced by such axes in the same place.

    Parameters
    ----------
    ax : `matplotlib.axes.Axes`, optional
    wcs : `astropy.wcs.WCS`
    """
    if ax is None or hasattr(ax, "wcs"):
        return axes_of(ax, projection=wcs)
    figure: Any = _checked(ax).figure
    place, bounds = ax.get_subplotspec(), ax.get_position().bounds
    ax.remove()
    made: Axes = (
        figure.add_axes(bounds, projection=wcs)
        if place is None
        else figure.add_subplot(place, projection=wcs)
    )
    return made


def _checked(ax: Axes) -> Axes:
    """Refuse what are no axes to draw on.

    Raises
    ------
    InputError
        If something else is given.
    """
    from matplotlib.axes import Axes

    check_kind(ax, Axes, "axes of matplotlib to draw on")
    return ax


def scale_of(*values: Any) -> str:
    """Return the scale of an axis: logarithmic, if any value is positive.

    Parameters
    ----------
    *values : array
        Values to draw.
    """
    return "log" if any((value > 0).any() for value in values) else "linear"


def color_bar(ax: Axes, shown: Any, label: str) -> None:
    """Draw a colour bar beside the axes, of the same height.

    Parameters
    ----------
    ax : `matplotlib.axes.Axes`
    shown : `matplotlib.cm.ScalarMappable`
    label : str
        Label with the unit.
    """
    ax.figure.colorbar(shown, ax=ax, label=label, fraction=0.046, pad=0.03)


def png_tag(figure: Figure, text: str, dpi: float) -> str:
    """Return a figure as an HTML element that contains the whole image.

    Parameters
    ----------
    figure : `matplotlib.figure.Figure`
    text : str
        Alternative text.
    dpi : float
    """
    content = BytesIO()
    figure.savefig(content, format="png", dpi=dpi)
    data = base64.b64encode(content.getvalue()).decode()
    return f'<img alt="{escape(text)}" src="data:image/png;base64,{data}">'
