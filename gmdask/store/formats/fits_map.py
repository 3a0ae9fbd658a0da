"""Read the HDUs of one sky map: image, axes, WCS, unit, metadata."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from gmdask.errors import InputError
from gmdask.geometry import Axis
from gmdask.geometry.fits_header import check_wcs, read_bands, vounit, wcs_cards
from gmdask.inputs import load_json
from gmdask.store.formats.region_map import (
    NOWHERE,
    is_region_table,
    read_region,
    read_values,
)

__all__ = ["SkyMap", "read_map", "same_wcs"]

WCS_RTOL = 1e-9


@dataclass(frozen=True)
class SkyMap:
    """A map on a WCS grid, or of a region as a single pixel; the data have the order (axes reversed, lat, lon)."""

    hdu: str
    data: NDArray[Any]
    axes: tuple[Axis, ...]
    wcs: dict[str, Any]
    unit: str
    meta: dict[str, Any] = field(default_factory=dict)
    region: dict[str, Any] | None = None


def read_map(hdus: fits.HDUList, name: str, where: str) -> SkyMap | None:
    """Read the map in HDU `name`.

    Parameters
    ----------
    hdus : astropy.io.fits.HDUList
        The open file.
    name : str
        Name of the HDU.
    where : str
        File and dataset, with which messages begin.

    Returns
    -------
    SkyMap or None
        None if there is no such HDU or it has no data.

    Raises
    ------
    InputError
        If the HDU is neither an image on a WCS grid nor a region table, or its axes do not match.
    """
    if name not in hdus:
        return None
    hdu = hdus[name]
    file, where = where, f"{where}: HDU {name}"
    if is_region_table(hdu):
        return _read_region_map(hdus, hdu, name, file)
    _check_is_image(hdu, where)
    if hdu.data is None:
        return None
    axes = _read_axes(hdus, hdu, where)
    shape = tuple(axis.nbin for axis in reversed(axes))
    if hdu.data.shape[:-2] != shape or hdu.data.ndim < 2:
        raise InputError(
            f"{where}: image of shape {hdu.data.shape}, expected "
            f"{(*shape, 'lat', 'lon')} from its axes ({', '.join(axis.name for axis in axes)})"
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


def _read_region_map(hdus: fits.HDUList, hdu: Any, name: str, file: str) -> SkyMap:
    where = f"{file}: HDU {name}"
    axes = _read_axes(hdus, hdu, where)
    region = read_region(hdus, f"{name}_REGION", file)
    index = hdu.columns.names.index("DATA")
    return SkyMap(
        hdu=name,
        data=read_values(hdu, axes, where),
        axes=axes,
        wcs=NOWHERE if region is None else region.pixel(),
        unit=vounit(hdu.columns[index].unit or "", where),
        meta=_read_meta(hdu.header, where),
        region={} if region is None else region.to_dict(),
    )


def _check_is_image(hdu: Any, where: str) -> None:
    if str(hdu.header.get("PIXTYPE", "")).upper() == "HEALPIX":
        raise InputError(f"{where}: HEALPix maps are not supported yet (a WCS image is expected)")
    if isinstance(hdu, fits.ImageHDU | fits.CompImageHDU | fits.PrimaryHDU):
        return
    raise InputError(f"{where}: maps as tables are not supported yet (a WCS image is expected)")


def _read_meta(header: fits.Header, where: str) -> dict[str, Any]:
    meta = load_json(str(header.get("META", "{}")).encode(), f"{where}: keyword META")
    if not isinstance(meta, dict):
        raise InputError(f"{where}: keyword META is not a JSON object")
    return meta


def _read_wcs(header: fits.Header, where: str) -> dict[str, Any]:
    cards = wcs_cards(header)
    check_wcs(cards, where)
    return cards


def _read_axes(hdus: fits.HDUList, hdu: Any, where: str) -> tuple[Axis, ...]:
    bands_name = hdu.header.get("BANDSHDU", f"{hdu.name}_BANDS")
    if bands_name not in hdus:
        raise InputError(f"{where}: its axes table, HDU {bands_name}, is missing")
    bands = hdus[bands_name]
    where = f"{where}: HDU {bands_name}"
    if not isinstance(bands, fits.BinTableHDU):
        raise InputError(f"{where} is not a table")
    if "NPIX" in bands.columns.names:
        raise InputError(f"{where}: grids that vary with energy are not supported yet")
    return read_bands(bands, where)


def same_wcs(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two sets of WCS cards are equivalent."""
    if one.keys() != other.keys():
        return False
    for key, value in one.items():
        if isinstance(value, str) or isinstance(other[key], str):
            if value != other[key]:
                return False
        elif not np.isclose(value, other[key], rtol=WCS_RTOL, atol=WCS_RTOL):
            return False
    return True
