"""Write a cube as Gammapy's MapDataset or SpectrumDataset in FITS ("gadf"), without Gammapy."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import xarray as xr
from astropy.io import fits
from astropy.table import Column, Table
from astropy.units import Unit
from numpy.typing import NDArray

from gmdask.geometry import Axis
from gmdask.geometry.fits_header import bands_table
from gmdask.geometry.regions import Region
from gmdask.store.axes import cube_axis
from gmdask.store.formats.gadf import COUNTS_LIKE
from gmdask.store.formats.region_map import region_table

__all__ = ["gti_table", "to_hdulist"]


def to_hdulist(cube: xr.Dataset) -> fits.HDUList:
    """Return the HDUs of a dataset, as `read_map_dataset` and Gammapy read them.

    Parameters
    ----------
    cube : xarray.Dataset
        In memory. Arrays keep their dtype, except masks of maps, which become bytes. Weights are written as
        the fit mask.

    Returns
    -------
    astropy.io.fits.HDUList
        Maps with their axes and regions, good time intervals and metadata.
    """
    primary = fits.PrimaryHDU()
    if cube.attrs[
        "name"
    ].isascii():  # FITS allows only ASCII; datasets.yaml has the name in any case
        primary.header["NAME"] = cube.attrs["name"]
    primary.header.update(cube.attrs.get("primary", {}))
    hdus = [primary]
    if "weights" in cube:  # written as the fit mask, as in Gammapy
        fit = cube["mask_fit"].variable if "mask_fit" in cube else 1.0
        cube = cube.assign(mask_fit=cube["weights"].variable * fit)
    for key in (*COUNTS_LIKE, "exposure"):
        if key in cube:
            hdus += _map_hdus(cube, key, cube[key].values, [_axis(cube, cube[key].dims[0])])
    for key in ("psf", "edisp"):
        if key in cube:
            inner, outer = _axis(cube, cube[key].dims[1]), _axis(cube, cube[key].dims[0])
            hdus += _map_hdus(cube, key, cube[key].values, [inner, outer])
            if f"{key}_exposure" in cube:
                one = Axis(inner.name, inner.edges[[0, -1]], inner.interp, "edges", inner.unit)
                values = cube[f"{key}_exposure"].values[:, None]
                hdus += _map_hdus(cube, f"{key}_exposure", values, [one, outer])
    if "gti_start" in cube:
        hdus.append(gti_table(cube))
    if "meta_table" in cube.attrs:
        hdus.append(_meta_table(cube.attrs["meta_table"]["columns"]))
    return fits.HDUList(hdus)


def _axis(cube: xr.Dataset, dim: Any) -> Axis:
    """Return the axis of a dimension, under the name it has in files."""
    axis = cube_axis(cube, str(dim))
    name = axis.name.removeprefix("psf_").removeprefix("edisp_")
    return Axis(name, axis.nodes, axis.interp, axis.node_type, _fits_unit(axis.unit))


def _fits_unit(unit: str) -> str:
    return str(Unit(unit).to_string("fits"))


def _map_hdus(
    cube: xr.Dataset, key: str, values: NDArray[Any], axes: list[Axis]
) -> list[Any]:  # fmt: skip
    """Return the HDUs of a map: its values, its axes table (fastest axis first) and its region."""
    name, attrs = key.upper(), cube[key].attrs
    unit = _fits_unit(attrs.get("unit", ""))
    hdus: list[Any]
    if "region" in cube.attrs:
        flat = values.reshape(len(values), -1)
        table = Table({"CHANNEL": np.arange(len(flat), dtype=np.int16)})
        table["DATA"] = Column(flat.reshape(values.shape), unit=unit or None)
        hdus = [fits.BinTableHDU(table, name=name)]
        if cube.attrs["region"]:
            hdus.append(region_table(Region.from_dict(cube.attrs["region"]), f"{name}_REGION"))
    else:
        values = values.astype(np.uint8) if values.dtype == bool else values
        hdus = [fits.ImageHDU(values, name=name)]
        prefix = next((p for p in ("psf", "edisp") if key.startswith(p)), "")
        hdus[0].header.update(cube.attrs[f"{prefix}_wcs" if prefix else "wcs"])
        hdus[0].header["BUNIT"] = unit
    header = hdus[0].header
    header["BANDSHDU"] = f"{name}_BANDS"
    if "meta" in attrs:
        header["META"] = json.dumps(attrs["meta"])
    return [*hdus, bands_table(axes, f"{name}_BANDS")]


def gti_table(cube: xr.Dataset) -> fits.BinTableHDU:
    """Return the HDU of the good time intervals.

    Parameters
    ----------
    cube : xarray.Dataset
        With ``gti_start`` and ``gti_stop``.
    """
    columns = [
        fits.Column(name, "D", unit="s", array=cube[f"gti_{name.lower()}"].values)
        for name in ("START", "STOP")
    ]
    hdu = fits.BinTableHDU.from_columns(columns, name="GTI")
    hdu.header.update({key.upper(): value for key, value in cube.attrs["gti"].items()})
    return hdu


def _meta_table(columns: dict[str, Any]) -> fits.BinTableHDU:
    table = Table(
        {name: Column(column["values"], unit=column["unit"] or None) for name, column in columns.items()}
    )  # fmt: skip
    return fits.BinTableHDU(table, name="META_TABLE")
