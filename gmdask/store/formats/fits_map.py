"""Reading the HDUs of one sky map: image, axes, WCS, unit, metadata."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.units import Unit
from astropy.wcs import WCS, WcsError
from numpy.typing import NDArray

from gmdask.errors import InputError

__all__ = ["Axis", "SkyMap", "read_map", "same_axis", "same_wcs", "vounit"]

AXIS_RTOL = 1e-6
WCS_RTOL = 1e-9
MAX_AXES = 5
WCS_CARDS = ("CTYPE", "CRPIX", "CRVAL", "CDELT", "CUNIT")
WCS_GLOBAL_CARDS = ("LONPOLE", "LATPOLE", "RADESYS", "EQUINOX")
AXIS_NAMES = {"e": "energy", "theta": "rad"}


@dataclass(frozen=True)
class Axis:
    """A non-spatial axis as a file gives it.

    Attributes
    ----------
    name : str
        ``energy``, ``energy_true``, ``rad``, ``migra``, ...
    nodes : numpy.ndarray
        The n+1 edges, or the n centres, in `unit`.
    unit : str
        VOUnit string.
    interp : str
        ``log`` or ``lin``.
    node_type : str
        ``edges`` or ``center``.
    """

    name: str
    nodes: NDArray[np.float64]
    unit: str
    interp: str
    node_type: str

    @property
    def size(self) -> int:
        """Number of bins."""
        return len(self.nodes) - (self.node_type == "edges")

    @property
    def centers(self) -> NDArray[np.float64]:
        """Bin centres in the space of interpolation (log: geometric mean)."""
        if self.node_type == "center":
            return self.nodes
        low, high = self.nodes[:-1], self.nodes[1:]
        return np.sqrt(low * high) if self.interp == "log" else 0.5 * (low + high)


@dataclass(frozen=True)
class SkyMap:
    """A map on a WCS grid: data in the order (axes reversed, lat, lon)."""

    hdu: str
    data: NDArray[Any]
    axes: tuple[Axis, ...]
    wcs: dict[str, Any]
    unit: str
    meta: dict[str, Any] = field(default_factory=dict)


def vounit(text: str, where: str) -> str:
    """Return a unit as a VOUnit string, or raise `InputError`."""
    try:
        return str(Unit(text, parse_strict="raise").to_string("vounit"))
    except (ValueError, TypeError) as error:
        raise InputError(f"{where}: {text!r} is not a unit") from error


def read_map(hdus: fits.HDUList, name: str, where: str) -> SkyMap | None:
    """Read the map in HDU `name`.

    Parameters
    ----------
    hdus : astropy.io.fits.HDUList
        The open file.
    name : str
        Name of the HDU.
    where : str
        File and dataset, to begin messages with.

    Returns
    -------
    SkyMap or None
        None if there is no such HDU or it has no data.

    Raises
    ------
    InputError
        The HDU is not an image on a WCS grid, or its axes do not fit it.
    """
    if name not in hdus:
        return None
    hdu = hdus[name]
    where = f"{where}: HDU {name}"
    _check_is_image(hdus, hdu, where)
    if hdu.data is None:
        return None
    axes = _read_axes(hdus, hdu, where)
    shape = tuple(axis.size for axis in reversed(axes))
    if hdu.data.shape[:-2] != shape or hdu.data.ndim < 2:
        raise InputError(
            f"{where}: image of shape {hdu.data.shape}, where its axes "
            f"({', '.join(axis.name for axis in axes)}) ask for {(*shape, 'lat', 'lon')}"
        )
    data = np.asarray(hdu.data)
    return SkyMap(
        hdu=name,
        data=data.astype(data.dtype.newbyteorder("="), copy=True, order="C"),
        axes=axes,
        wcs=_read_wcs(hdu.header, where),
        unit=vounit(hdu.header.get("BUNIT", ""), where),
        meta=_read_meta(hdu.header, where),
    )


def _check_is_image(hdus: fits.HDUList, hdu: Any, where: str) -> None:
    if str(hdu.header.get("PIXTYPE", "")).upper() == "HEALPIX":
        raise InputError(f"{where}: HEALPix maps are not supported yet (a WCS image is expected)")
    if isinstance(hdu, fits.ImageHDU | fits.CompImageHDU | fits.PrimaryHDU):
        return
    kind = "region maps" if f"{hdu.name}_REGION" in hdus else "maps as tables"
    raise InputError(f"{where}: {kind} are not supported yet (a WCS image is expected)")


def _read_meta(header: fits.Header, where: str) -> dict[str, Any]:
    try:
        meta = json.loads(header.get("META", "{}"))
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: keyword META is not JSON") from error
    if not isinstance(meta, dict):
        raise InputError(f"{where}: keyword META is not a JSON object")
    return meta


def _read_wcs(header: fits.Header, where: str) -> dict[str, Any]:
    cards: dict[str, Any] = {"WCSAXES": 2}
    for key in (f"{card}{axis}" for card in WCS_CARDS for axis in (1, 2)):
        if key in header:
            cards[key] = header[key]
    for key in header:
        if key[:2] in ("PC", "CD", "PV") and key[3:4] == "_" and key[2] in "12":
            number = key[4:]
            if number.isdigit() and (key[:2] == "PV" or number in "12"):
                cards[key] = header[key]
    cards.update({key: header[key] for key in WCS_GLOBAL_CARDS if key in header})
    missing = [key for key in ("CTYPE1", "CTYPE2", "CRVAL1", "CRVAL2") if key not in cards]
    if missing:
        raise InputError(f"{where}: WCS keywords {', '.join(missing)} are missing")
    try:
        WCS(fits.Header(list(cards.items())), naxis=2, fix=False).wcs.set()
    except (ValueError, MemoryError, WcsError) as error:
        raise InputError(f"{where}: its WCS keywords are not valid ({error})") from error
    return cards


def _read_axes(hdus: fits.HDUList, hdu: Any, where: str) -> tuple[Axis, ...]:
    bands_name = hdu.header.get("BANDSHDU", f"{hdu.name}_BANDS")
    if bands_name not in hdus:
        raise InputError(f"{where}: its table of axes, HDU {bands_name}, is missing")
    bands = hdus[bands_name]
    where = f"{where}: HDU {bands_name}"
    if not isinstance(bands, fits.BinTableHDU):
        raise InputError(f"{where} is not a table")
    if "NPIX" in bands.columns.names:
        raise InputError(f"{where}: grids that change with energy are not supported yet")
    axes = []
    for number in range(1, MAX_AXES + 1):
        columns = bands.header.get(f"AXCOLS{number}")
        if columns is None:
            break
        interp = bands.header.get(f"INTERP{number}", "lin")
        axes.append(_read_axis(bands, columns.split(","), interp, where))
    return tuple(axes)


def _read_axis(bands: Any, columns: list[str], interp: str, where: str) -> Axis:
    missing = [column for column in columns if column not in bands.columns.names]
    if missing or len(columns) > 2:
        raise InputError(f"{where}: axis columns {','.join(columns)} are not in the table")
    if interp not in ("log", "lin"):
        raise InputError(f"{where}: interpolation {interp!r}, where log or lin is expected")
    name = columns[0].removesuffix("_MIN").lower()
    name = AXIS_NAMES.get(name, name)
    values = [np.unique(np.asarray(bands.data[column], dtype=np.float64)) for column in columns]
    is_center = len(columns) == 1
    nodes = values[0] if is_center else _edges(values[0], values[1], f"{where}: axis {name}")
    if len(nodes) == 0 or not np.all(np.isfinite(nodes)) or (interp == "log" and nodes[0] <= 0):
        raise InputError(f"{where}: axis {name} is empty, or has values that cannot be")
    unit = vounit(bands.columns[columns[0]].unit or "", f"{where}: axis {name}")
    return Axis(name, nodes, unit, interp, "center" if is_center else "edges")


def _edges(low: NDArray[np.float64], high: NDArray[np.float64], where: str) -> NDArray[np.float64]:
    touching = len(low) == len(high) and np.allclose(
        low[1:], high[:-1], rtol=AXIS_RTOL, atol=AXIS_RTOL * float(np.ptp(high))
    )
    if len(low) == 0 or not touching:
        raise InputError(f"{where}: its bins do not follow one upon the other")
    return np.append(low, high[-1])


def same_axis(one: Axis, other: Axis) -> bool:
    """Whether two axes have the same bins, whatever their units and names."""
    if one.size != other.size or one.node_type != other.node_type:
        return False
    unit, other_unit = Unit(one.unit), Unit(other.unit)
    if not unit.is_equivalent(other_unit):
        return False
    nodes = other.nodes * other_unit.to(unit)
    return bool(np.allclose(one.nodes, nodes, rtol=AXIS_RTOL, atol=0))


def same_wcs(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two sets of WCS cards say the same."""
    if one.keys() != other.keys():
        return False
    for key, value in one.items():
        if isinstance(value, str) or isinstance(other[key], str):
            if value != other[key]:
                return False
        elif not np.isclose(value, other[key], rtol=WCS_RTOL, atol=WCS_RTOL):
            return False
    return True
