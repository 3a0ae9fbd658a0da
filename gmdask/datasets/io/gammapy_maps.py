"""Conversion of Gammapy's datasets to cubes: WCS maps array by array, region maps by way of FITS in memory."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import numpy as np
import xarray as xr
from astropy.io import fits
from astropy.units import Quantity

from gmdask.geometry import Axis
from gmdask.geometry.fits_header import check_wcs, vounit, wcs_cards
from gmdask.store.formats.fits_map import SkyMap
from gmdask.store.formats.gadf import COUNTS_LIKE, cube_of_maps, read_content

__all__ = ["cube_of_dataset"]

RESPONSES = {"psf": "psf_map", "edisp": "edisp_map"}


def cube_of_dataset(dataset: Any, where: str) -> xr.Dataset:
    """Convert a dataset to the same cube that its FITS file would give.

    Parameters
    ----------
    dataset : ``gammapy.datasets.MapDataset``
        Its arrays are copied.
    where : str
        Text with which messages begin.

    Raises
    ------
    InputError
        If its values are invalid.
    """
    found = {
        key: getattr(dataset, key) for key in (*COUNTS_LIKE, "exposure") if hasattr(dataset, key)
    }
    for key, name in RESPONSES.items():
        response = getattr(dataset, key)
        if response is not None:
            found |= {key: getattr(response, name), f"{key}_exposure": response.exposure_map}
    if any(one is not None and one.geom.is_region for one in found.values()):
        return _by_fits(dataset, where)
    maps = {key: _sky_map(key, one, where) for key, one in found.items() if one is not None}
    header = fits.Header({"NAME": "dataset"})
    header.update(dataset.meta.to_header())
    tables = fits.HDUList([fits.PrimaryHDU(header=header)])
    if dataset.gti is not None:
        tables.append(dataset.gti.to_table_hdu())
    if dataset.meta_table is not None:
        tables.append(fits.BinTableHDU(dataset.meta_table, name="META_TABLE"))
    buffer = BytesIO()
    tables.writeto(buffer)  # so that numbers in headers are those of a file
    with fits.open(BytesIO(buffer.getvalue())) as written:
        return cube_of_maps(maps, written, dataset.name, where)


def _by_fits(dataset: Any, where: str) -> xr.Dataset:
    buffer = BytesIO()
    # FITS allows only ASCII
    written = dataset if dataset.name.isascii() else dataset.copy(name="dataset")
    written.to_hdulist().writeto(buffer)
    return read_content(buffer.getvalue(), where, dataset.name, dataset.name)


def _sky_map(key: str, theirs: Any, where: str) -> SkyMap:
    where = f"{where}: {key}"
    cards = wcs_cards(theirs.geom.wcs.to_header())
    check_wcs(cards, where)
    data = np.asarray(theirs.data)
    return SkyMap(
        hdu=key.upper(),
        data=data.astype(data.dtype.newbyteorder("="), copy=True, order="C"),
        axes=tuple(_axis(axis, where) for axis in theirs.geom.axes),
        wcs=cards,
        unit=vounit(theirs.unit.to_string("fits"), where),
        meta=json.loads(json.dumps(theirs.meta, default=_plain)),
    )


def _axis(axis: Any, where: str) -> Axis:
    nodes = axis.edges if axis.node_type == "edges" else axis.center
    unit = vounit(axis.unit.to_string("fits"), f"{where}: axis {axis.name}")
    return Axis(axis.name, np.asarray(nodes.value, float), axis.interp, axis.node_type, unit)


def _plain(value: Any) -> Any:
    """Convert a value that JSON cannot represent, as Gammapy does for headers."""
    return value.to_string() if isinstance(value, Quantity) else np.asarray(value).tolist()
