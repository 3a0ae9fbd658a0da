"""Description of pixels in FITS files of maps: WCS cards, and tables of axes.

In the format of Gammapy's maps ("gadf") the image has two celestial axes, and the other axes are in a
table with one row per bin of their product, the first axis varying fastest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.units import Unit
from astropy.wcs import WCS, WcsError
from numpy.typing import NDArray

from gmdask.errors import InputError
from gmdask.geometry.axes import Axis

__all__ = ["bands_table", "check_wcs", "read_bands", "vounit", "wcs_cards"]

Array = NDArray[np.float64]

AXIS_RTOL = 1e-6
MAX_AXES = 5
CARDS = ("CTYPE", "CRPIX", "CRVAL", "CDELT", "CUNIT", "CROTA")
GLOBAL_CARDS = ("LONPOLE", "LATPOLE", "RADESYS", "EQUINOX")
AXIS_NAMES = {"e": "energy", "theta": "rad"}


def vounit(text: str, where: str) -> str:
    """Return a unit as a VOUnit string, or raise `InputError`."""
    try:
        return str(Unit(text, parse_strict="raise").to_string("vounit"))
    except (ValueError, TypeError) as error:
        raise InputError(f"{where}: {text!r} is not a unit") from error


def wcs_cards(header: fits.Header) -> dict[str, Any]:
    """Return the WCS cards of the two celestial axes of an image.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Header of an image that may have further axes.
    """
    cards: dict[str, Any] = {"WCSAXES": 2}
    for key in (f"{card}{axis}" for card in CARDS for axis in (1, 2)):
        if key in header:
            cards[key] = header[key]
    for key in header:
        if key[:2] in ("PC", "CD", "PV") and key[3:4] == "_" and key[2] in "12":
            number = key[4:]
            if number.isdigit() and (key[:2] == "PV" or number in "12"):
                cards[key] = header[key]
    cards.update({key: header[key] for key in GLOBAL_CARDS if key in header})
    return cards


def check_wcs(cards: Mapping[str, Any], where: str) -> None:
    """Reject WCS cards that do not define two celestial axes.

    Parameters
    ----------
    cards : mapping
    where : str
        Text with which messages begin.

    Raises
    ------
    InputError
        If keywords are missing or invalid.
    """
    missing = [key for key in ("CTYPE1", "CTYPE2", "CRVAL1", "CRVAL2") if key not in cards]
    if missing:
        raise InputError(f"{where}: WCS keywords {', '.join(missing)} are missing")
    try:
        wcs = WCS(fits.Header(list(cards.items())), naxis=2, fix=False)
        wcs.wcs.set()
    except (ValueError, MemoryError, WcsError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{where}: its WCS keywords are not valid ({reason})") from error
    if not wcs.has_celestial:
        raise InputError(f"{where}: its WCS keywords do not define celestial axes")


def read_bands(bands: fits.BinTableHDU, where: str) -> tuple[Axis, ...]:
    """Read the axes of an axes table.

    Parameters
    ----------
    bands : astropy.io.fits.BinTableHDU
        Table with keywords AXCOLSn and INTERPn.
    where : str
        File and HDU, with which messages begin.

    Raises
    ------
    InputError
        If columns are missing, or do not define an axis.
    """
    axes = []
    for number in range(1, MAX_AXES + 1):
        columns = bands.header.get(f"AXCOLS{number}")
        if columns is None:
            break
        names = [name.strip() for name in columns.split(",")]
        axes.append(_read_axis(bands, names, bands.header.get(f"INTERP{number}", "lin"), where))
    return tuple(axes)


def _read_axis(bands: Any, columns: list[str], interp: str, where: str) -> Axis:
    missing = [column for column in columns if column not in bands.columns.names]
    if missing or len(columns) > 2:
        raise InputError(f"{where}: axis columns {','.join(columns)} are not in the table")
    name = columns[0].removesuffix("_MIN").lower()
    name = AXIS_NAMES.get(name, name)
    values = [np.unique(np.asarray(bands.data[column], dtype=np.float64)) for column in columns]
    is_center = len(columns) == 1
    nodes = values[0] if is_center else _edges(values[0], values[1], f"{where}: axis {name}")
    if len(nodes) == 0 or not np.all(np.isfinite(nodes)) or (interp == "log" and nodes[0] <= 0):
        raise InputError(f"{where}: axis {name} is empty, or has invalid values")
    unit = vounit(bands.columns[columns[0]].unit or "", f"{where}: axis {name}")
    try:
        return Axis(name, nodes, interp, "center" if is_center else "edges", unit)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _edges(low: Array, high: Array, where: str) -> Array:
    touching = len(low) == len(high) and np.allclose(
        low[1:], high[:-1], rtol=AXIS_RTOL, atol=AXIS_RTOL * float(np.ptp(high))
    )
    if len(low) == 0 or not touching:
        raise InputError(f"{where}: its bins are not consecutive")
    return np.append(low, high[-1])


def bands_table(axes: Sequence[Axis], name: str) -> fits.BinTableHDU:
    """Return the axes table that `read_bands` and Gammapy read.

    Parameters
    ----------
    axes : sequence of Axis
        The axes, fastest first.
    name : str
        Name of the HDU.
    """
    sizes = [axis.nbin for axis in axes]
    index = np.unravel_index(np.arange(int(np.prod(sizes))), sizes, order="F")
    columns = [fits.Column("CHANNEL", "K", array=np.arange(len(index[0])))]
    cards: dict[str, str] = {}
    for k, (axis, at) in enumerate(zip(axes, index, strict=True), 1):
        center = axis.name.upper()
        columns.append(fits.Column(center, "D", unit=axis.unit, array=axis.center[at]))
        cards[f"AXCOLS{k}"] = center
        if axis.node_type == "edges":
            stem = "E" if axis.name == "energy" else center
            for suffix, values in (("MIN", axis.edges[:-1]), ("MAX", axis.edges[1:])):
                column = fits.Column(f"{stem}_{suffix}", "D", unit=axis.unit, array=values[at])
                columns.append(column)
            cards[f"AXCOLS{k}"] = f"{stem}_MIN,{stem}_MAX"
        cards[f"INTERP{k}"] = axis.interp
    hdu = fits.BinTableHDU.from_columns(columns, name=name)
    hdu.header.update(cards)
    return hdu
