"""What likelihoods ask of the pixels of a dataset, however these lie on the sky."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gmdask.errors import InputError
from gmdask.geometry.wcs import WcsGrid

__all__ = ["GRIDS", "Grid", "grid_from", "wcs_of"]

Array = NDArray[np.float64]


class Grid(Protocol):
    """Pixels on the sky in rows and columns, whose directions vary smoothly along both.

    A map that is not one rectangle, such as one of all twelve base pixels of HEALPix, consists of several grids.
    """

    @property
    def shape(self) -> tuple[int, int]:
        """Number of pixels (lat, lon)."""

    @property
    def frame(self) -> str:
        """Celestial frame: "icrs" or "galactic"."""

    @property
    def pixel_scales(self) -> tuple[float, float]:
        """Typical distance in deg of a pixel from the next (column, row)."""

    @property
    def max_pixel_scale(self) -> float:
        """The larger of them."""

    @property
    def center(self) -> tuple[float, float]:
        """Position (lon, lat) of the centre of the grid, in deg."""

    @property
    def pixel_centers(self) -> tuple[Array, Array]:
        """Positions (lon, lat) of all pixel centres, each of shape (lat, lon), in deg."""

    def to_pixel(self, lon: Array | float, lat: Array | float) -> tuple[Array, Array]:
        """Return the pixel coordinates (x, y), from 0, of positions in deg; NaN where there are none.

        Parameters
        ----------
        lon, lat : array or float
            In the frame of the grid.
        """

    def to_sky(self, x: Array | float, y: Array | float) -> tuple[Array, Array]:
        """Return the positions (lon, lat) in deg of pixel coordinates from 0; NaN where there are none.

        Parameters
        ----------
        x, y : array or float
            They may lie up to one pixel beyond the grid.
        """

    def solid_angles(self, y: slice, x: slice) -> Array:
        """Solid angles of a rectangle of pixels in sr.

        Parameters
        ----------
        y, x : slice
        """


# by the attribute of a cube that describes its pixels
GRIDS: dict[str, Callable[[Mapping[str, Any], tuple[int, ...]], Grid]] = {"wcs": WcsGrid}


def grid_from(attrs: Mapping[Any, Any], shape: tuple[int, ...]) -> Grid:
    """Return the pixels of a cube.

    Parameters
    ----------
    attrs : mapping
        Attributes of the cube, of which one describes the pixels.
    shape : tuple of int
        Number of pixels (lat, lon).

    Raises
    ------
    InputError
        If none does.
    """
    for key, made in GRIDS.items():
        if key in attrs:
            return made(attrs[key], shape)
    where = f"dataset {attrs.get('name', '')!r}"
    msg = f"{where}: its pixels are not described, expected an attribute {' or '.join(GRIDS)}"
    raise InputError(msg)


def wcs_of(grid: Grid, what: str) -> WcsGrid:
    """Return a grid if it is one of a WCS projection.

    Parameters
    ----------
    grid : `Grid`
    what : str
        What needs that.

    Raises
    ------
    InputError
        If it is another.
    """
    if not isinstance(grid, WcsGrid):
        msg = f"{what} needs pixels of a WCS projection, these are of a {type(grid).__name__}"
        raise InputError(msg)
    return grid
