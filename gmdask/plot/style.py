"""Colours and axes that all figures have in common."""

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

# Okabe and Ito's, which people with any kind of colour vision tell apart
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
DATA, MODEL = PALETTE[:2]
SEQUENTIAL, DIVERGING = "viridis", "RdBu_r"


def new_figure(size: tuple[float, float] = (6.4, 4.8)) -> Figure:
    """Figure that pyplot does not know, so that nothing is left open.

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
    """Axes to draw on: those given, or those of a new figure of pyplot.

    Parameters
    ----------
    ax : `matplotlib.axes.Axes`, optional
        Where they are given, pyplot is not touched.
    **options
        Passed to ``add_subplot``.
    """
    if ax is not None:
        return _checked(ax)
    import matplotlib.pyplot as plt

    made: Axes = plt.figure(layout="constrained").add_subplot(**options)
    return made


def sky_axes(ax: Axes | None, wcs: WCS) -> Axes:
    """Axes with a WCS; plain ones that are given are replaced by such in the same place.

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
    """Scale of an axis: logarithmic, where there is anything above zero to draw on it.

    Parameters
    ----------
    *values : array
        What is drawn.
    """
    return "log" if any((value > 0).any() for value in values) else "linear"


def color_bar(ax: Axes, shown: Any, label: str) -> None:
    """Put a colour bar as high as the axes beside them.

    Parameters
    ----------
    ax : `matplotlib.axes.Axes`
    shown : `matplotlib.cm.ScalarMappable`
    label : str
        What is shown, with its unit.
    """
    ax.figure.colorbar(shown, ax=ax, label=label, fraction=0.046, pad=0.03)


def png_tag(figure: Figure, text: str, dpi: float) -> str:
    """Figure as an element of HTML that holds the whole picture.

    Parameters
    ----------
    figure : `matplotlib.figure.Figure`
    text : str
        What it shows, for those who cannot see it.
    dpi : float
    """
    content = BytesIO()
    figure.savefig(content, format="png", dpi=dpi)
    data = base64.b64encode(content.getvalue()).decode()
    return f'<img alt="{escape(text)}" src="data:image/png;base64,{data}">'
