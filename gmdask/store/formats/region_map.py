"""HDUs of a map of one region: a table of values, an axes table, and a table of the region's shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import regions
from astropy.io import fits
from astropy.table import QTable
from astropy.units import UnitsError
from astropy.wcs import WCS
from numpy.typing import NDArray
from regions.io.fits.core import FITSParserError

from gmdask.errors import InputError
from gmdask.geometry import Axis
from gmdask.geometry.fits_header import wcs_cards
from gmdask.geometry.regions import Region

__all__ = ["NOWHERE", "is_region_table", "read_region", "read_values", "region_table"]

# pixel of a spectrum whose region is not known
NOWHERE: dict[str, Any] = {
    "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": 1.0, "CRPIX2": 1.0, "CRVAL1": 0.0, "CRVAL2": 0.0,
    "CDELT1": -1.0, "CDELT2": 1.0, "CUNIT1": "deg", "CUNIT2": "deg", "RADESYS": "ICRS",
}  # fmt: skip


def is_region_table(hdu: Any) -> bool:
    """Whether an HDU is a region's table of values."""
    return isinstance(hdu, fits.BinTableHDU) and {"CHANNEL", "DATA"} <= set(hdu.columns.names)


def read_values(hdu: fits.BinTableHDU, axes: tuple[Axis, ...], where: str) -> NDArray[Any]:
    """Return the values of a region, as a map of one pixel.

    Parameters
    ----------
    hdu : astropy.io.fits.BinTableHDU
        Table with a column DATA.
    axes : tuple of Axis
        The axes, fastest first.
    where : str
        Text with which messages begin.

    Returns
    -------
    values : array of shape (axes reversed, 1, 1)
    """
    values = np.asarray(hdu.data["DATA"])
    shape = tuple(axis.nbin for axis in reversed(axes))
    if values.size != np.prod(shape):
        names = ", ".join(axis.name for axis in axes)
        raise InputError(
            f"{where}: {values.size} values, but its axes ({names}) have shape {shape}"
        )
    return values.astype(values.dtype.newbyteorder("=")).reshape(*shape, 1, 1)


def read_region(hdus: fits.HDUList, name: str, where: str) -> Region | None:
    """Return the region of a map, from the HDU of its shapes.

    Parameters
    ----------
    hdus : astropy.io.fits.HDUList
        The open file.
    name : str
        Name of the HDU.
    where : str
        Text with which messages begin.

    Returns
    -------
    Region or None
        None if the file does not contain it.

    Raises
    ------
    InputError
        If the shapes cannot be read.
    """
    if name not in hdus:
        return None
    hdu = hdus[name]
    where = f"{where}: HDU {name}"
    cards = wcs_cards(hdu.header)
    wcs = WCS(fits.Header(list(cards.items())), naxis=2, fix=False)
    try:
        found = regions.Regions.parse(QTable.read(hdu), format="fits")
        for shape in found:
            shape.meta["include"] = True  # "+" in the table; needed to convert it to a sky region
        return Region([shape.to_sky(wcs) for shape in found], cards)
    except (ValueError, KeyError, TypeError, UnitsError, FITSParserError) as error:
        raise InputError(f"{where}: its shapes cannot be read ({error})") from error


def region_table(region: Region, name: str) -> fits.BinTableHDU:
    """Return the HDU of the shapes of a region, in pixels of its projection.

    Parameters
    ----------
    region : Region
    name : str
        Name of the HDU.
    """
    wcs = WCS(fits.Header(list(region.cards.items())), naxis=2, fix=False)
    pixels = [shape.to_pixel(wcs) for shape in region.shapes]
    hdu = fits.BinTableHDU(regions.Regions(pixels).serialize(format="fits"), name=name)
    hdu.header.update(region.cards)
    y0, y1, x0, x1 = region.box
    hdu.header["WCSSHAPE"] = f"({x1 - x0},{y1 - y0})"  # required by Gammapy
    return hdu
