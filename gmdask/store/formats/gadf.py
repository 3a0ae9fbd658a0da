"""Read Gammapy's MapDataset and SpectrumDataset in FITS ("gadf") as one `xarray.Dataset`.

No Gammapy is needed: the file is read with astropy alone. Arrays are ordered
(energy, lat, lon), keep their dtype and their units, and come in native byte
order; masks are boolean.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from astropy.io import fits
from astropy.units import Unit, UnitsError
from astropy.utils.exceptions import AstropyWarning

from gmdask.errors import InputError
from gmdask.geometry import Axis
from gmdask.inputs import fits_content
from gmdask.paths import expanded
from gmdask.quiet import caught_warnings
from gmdask.store.axes import axis_coords, same_axis
from gmdask.store.formats.fits_map import SkyMap, read_map, same_wcs
from gmdask.store.formats.ogip import is_ogip, read_ogip
from gmdask.store.formats.ogip_rows import split_row
from gmdask.store.formats.validity import check_values

__all__ = ["COUNTS_LIKE", "cube_of_maps", "open_fits", "read_content", "read_map_dataset"]

log = logging.getLogger(__name__)

OFF = ("counts_off", "acceptance", "acceptance_off")
COUNTS_LIKE = ("counts", "background", *OFF, "mask_safe", "mask_fit")
MAPS = (*COUNTS_LIKE, "exposure", "psf", "psf_exposure", "edisp", "edisp_exposure")
TABLES = ("GTI", "META_TABLE")
STRUCTURAL = {"SIMPLE", "BITPIX", "NAXIS", "EXTEND", "NAME", "CHECKSUM", "DATASUM", "COMMENT"}

# astropy's warnings go through a process-wide filter: only one file at a time may change it


def read_map_dataset(path: str | Path, name: str | None = None) -> xr.Dataset:
    """Read one MapDataset or spectrum from a FITS file (plain or gzipped), or from OGIP files.

    Parameters
    ----------
    path : str or pathlib.Path
        The file; in one with several OGIP spectra, the third is ``file{3}``.
    name : str, optional
        Name of the dataset; by default the keyword NAME of the file, else the
        stem of the file name.

    Returns
    -------
    xarray.Dataset
        In memory: ``counts(energy, lat, lon)``, ``exposure(energy_true, lat, lon)``
        and, where present, ``background``, ``mask_safe``, ``mask_fit``, ``psf``,
        ``psf_exposure``, ``edisp``, ``edisp_exposure``, ``gti_start``, ``gti_stop``.

    Raises
    ------
    InputNotFoundError
        If the file does not exist.
    InputError
        If the file is damaged, or its content is not a dataset.
    """
    file, row = split_row(expanded(path))
    with open_fits(fits_content(file), str(file)) as hdus:
        if is_ogip(hdus):
            return read_ogip(file, hdus, name, row)
        if row is not None:
            msg = f"{file}: row {row} is given, but the file has no HDU SPECTRUM"
            raise InputError(msg)
        return _read(hdus, str(file), name, _stem(file))


def read_content(content: bytes, file: str, name: str | None, default: str) -> xr.Dataset:
    """Read one MapDataset or SpectrumDataset from the bytes of a FITS file.

    Parameters
    ----------
    content : bytes
        Content of the file, not gzipped.
    file : str
        Its name, with which messages begin.
    name : str or None
        Name of the dataset; by default the keyword NAME.
    default : str
        Name of the dataset if there is no such keyword.

    Raises
    ------
    InputError
        If the file is damaged, or its content is not a dataset.
    """
    with open_fits(content, file) as hdus:
        return _read(hdus, file, name, default)


def _read(hdus: fits.HDUList, file: str, name: str | None, default: str) -> xr.Dataset:
    name = name or str(hdus[0].header.get("NAME", "")).strip() or default
    where = f"{file}: dataset {name!r}"
    _check_hdus(hdus, where)
    maps = {key: read_map(hdus, key.upper(), where) for key in MAPS}
    found = {key: sky_map for key, sky_map in maps.items() if sky_map is not None}
    return cube_of_maps(found, hdus, name, where)


def cube_of_maps(
    maps: dict[str, SkyMap], tables: fits.HDUList, name: str, where: str
) -> xr.Dataset:
    """Put the maps of a dataset together, and check them.

    Parameters
    ----------
    maps : dict of SkyMap
        By the names of the HDUs that they are of, in lower case.
    tables : astropy.io.fits.HDUList
        The first with keywords of the dataset, and those named GTI and META_TABLE, if there are any.
    name : str
        Name of the dataset.
    where : str
        Text with which messages begin.

    Returns
    -------
    xarray.Dataset
        See `read_map_dataset`.

    Raises
    ------
    InputError
        Maps do not fit together, or their values cannot be used.
    """
    dataset = _assemble(maps, where)
    _add_tables(dataset, tables, where)
    dataset.attrs = {"name": name, **_kind(dataset, where), **dataset.attrs}
    dataset.attrs["primary"] = _primary_keywords(tables[0].header)
    return check_values(dataset, where)


def _kind(cube: xr.Dataset, where: str) -> dict[str, str]:
    """Kind of a dataset, and its statistic if it is not the default of the kind.

    Raises
    ------
    InputError
        If it has only some of the off counts and acceptances, or has them and is a map.
    """
    spectrum = "region" in cube.attrs and "psf" not in cube
    found = [key for key in OFF if key in cube]
    if not found:
        kind = {"kind": "SpectrumDataset" if spectrum else "MapDataset"}
        return kind | ({"stat_type": "cash_weighted"} if "weights" in cube else {})
    if "weights" in cube:
        msg = f"{where}: a mask has values other than 0 and 1, but weights of on/off data are not supported"
        raise InputError(msg)
    if not spectrum:
        msg = f"{where}: HDU {found[0].upper()} found: on/off maps are not supported yet"
        raise InputError(msg)
    for key in OFF:
        if key not in found:
            msg = f"{where}: HDU {key.upper()} is missing, although there is {found[0].upper()}"
            raise InputError(msg)
    return {"kind": "SpectrumDatasetOnOff", "stat_type": "wstat"}


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".fits")


@contextmanager
def open_fits(content: bytes, file: str) -> Iterator[fits.HDUList]:
    """Open a FITS file; astropy's warnings are logged or, for a truncated file, raised."""
    with caught_warnings(AstropyWarning) as caught:
        try:
            with fits.open(io.BytesIO(content), memmap=False, lazy_load_hdus=False) as hdus:
                _check_complete(hdus, len(content), file)
                yield hdus
        except InputError:
            raise
        except Exception as error:  # astropy raises any exception on damaged bytes
            raise InputError(f"{file}: not a FITS file, or damaged ({error})") from error
    for message in caught:
        log.warning("%s: %s", file, message.message)


def _check_complete(hdus: fits.HDUList, size: int, file: str) -> None:
    last = hdus[-1].fileinfo()
    end = last["datLoc"] + last["datSpan"]
    if end > size:
        raise InputError(f"{file}: truncated, {size} bytes instead of the {end} of its headers")
    if end < size:
        raise InputError(f"{file}: damaged, bytes {end} to {size} belong to no HDU")


def _check_hdus(hdus: fits.HDUList, where: str) -> None:
    names = [hdu.name for hdu in hdus[1:]]
    known = {key.upper() for key in MAPS} | set(TABLES)
    known |= {f"{key}_{table}" for key in known for table in ("BANDS", "REGION")}
    known |= {hdu.header["BANDSHDU"] for hdu in hdus[1:] if "BANDSHDU" in hdu.header}
    for unknown in (name for name in names if name not in known):
        log.warning("%s: unknown HDU %s is ignored", where, unknown or "(no name)")


def _assemble(maps: dict[str, SkyMap], where: str) -> xr.Dataset:
    for key in ("counts", "exposure"):
        if key not in maps:
            raise InputError(f"{where}: HDU {key.upper()} is missing or has no data")
    counts = maps["counts"]
    energy = _expect_axes(counts, (("energy",),), where)[0]
    dataset = xr.Dataset(coords=axis_coords("energy", energy))
    dataset.attrs["wcs"] = counts.wcs
    if counts.region is not None:
        dataset.attrs["region"] = counts.region
    weights: Any = None
    for key in COUNTS_LIKE:
        if key in maps:
            axes = _expect_axes(maps[key], (("energy",),), where)
            _expect_same_axis(maps[key], axes[0], counts, energy, where)
            _expect_same_grid(maps[key], counts, where)
            data = maps[key].data
            if key.startswith("mask"):
                if not np.isin(data, (0, 1)).all():
                    weights = data.astype(np.float64) * (1.0 if weights is None else weights)
                data = data.astype(bool)
            _put(dataset, key, ("energy", "lat", "lon"), maps[key], data)
    if weights is not None:
        log.info(
            "%s: its masks have values other than 0 and 1, which are used as weights of the statistic",
            where,
        )
        dataset["weights"] = xr.Variable(("energy", "lat", "lon"), weights, {"unit": ""})
    exposure = maps["exposure"]
    axis = _expect_axes(exposure, (("energy_true", "energy"),), where)[0]
    _expect_same_grid(exposure, counts, where)
    dataset = dataset.assign_coords(axis_coords("energy_true", axis))
    _put(dataset, "exposure", ("energy_true", "lat", "lon"), exposure, exposure.data)
    for key in ("psf", "edisp"):
        if key in maps:
            dataset = _add_irf(dataset, key, maps, where)
        elif f"{key}_exposure" in maps:
            log.warning(
                "%s: HDU %s_EXPOSURE is ignored, as there is no %s", where, key.upper(), key
            )
    return dataset


def _add_irf(dataset: xr.Dataset, key: str, maps: dict[str, SkyMap], where: str) -> xr.Dataset:
    irf = maps[key]
    if key == "psf":
        expected: tuple[tuple[str, ...], ...] = (("rad",), ("energy_true", "energy"))
    else:
        expected = (("energy", "migra"), ("energy_true",))
    inner, outer = _expect_axes(irf, expected, where)
    grid = (f"{key}_lat", f"{key}_lon")
    dims = (f"{key}_{outer.name}", inner.name, *grid)
    coords = axis_coords(dims[0], outer)
    if inner.name == "energy":
        counts = maps["counts"]
        _expect_same_axis(irf, inner, counts, counts.axes[0], where)
    else:
        coords |= axis_coords(inner.name, inner)
    dataset = dataset.assign_coords(coords)
    _put(dataset, key, dims, irf, irf.data)
    dataset.attrs[f"{key}_wcs"] = irf.wcs
    exposure = maps.get(f"{key}_exposure")
    if exposure is not None:
        axes = _expect_axes(exposure, ((inner.name,), (outer.name,)), where)
        if axes[0].nbin != 1:
            raise InputError(
                f"{where}: HDU {exposure.hdu}: axis {inner.name} has {axes[0].nbin} bins, not one"
            )
        _expect_same_axis(exposure, axes[1], irf, outer, where)
        _expect_same_grid(exposure, irf, where)
        _put(dataset, f"{key}_exposure", (dims[0], *grid), exposure, exposure.data[:, 0])
    return dataset


def _put(dataset: xr.Dataset, key: str, dims: tuple[str, ...], sky_map: SkyMap, data: Any) -> None:
    attrs: dict[str, Any] = {"unit": sky_map.unit}
    if sky_map.meta:
        attrs["meta"] = sky_map.meta
    dataset[key] = xr.Variable(dims, data, attrs)


def _expect_axes(
    sky_map: SkyMap, expected: tuple[tuple[str, ...], ...], where: str
) -> tuple[Axis, ...]:
    names = [axis.name for axis in sky_map.axes]
    fits_ = len(names) == len(expected) and all(
        name in allowed for name, allowed in zip(names, expected, strict=True)
    )
    if not fits_:
        wanted = ", ".join(" or ".join(allowed) for allowed in expected)
        raise InputError(
            f"{where}: HDU {sky_map.hdu} has axes ({', '.join(names)}), expected ({wanted})"
        )
    return sky_map.axes


def _expect_same_axis(
    sky_map: SkyMap, axis: Axis, reference: SkyMap, expected: Axis, where: str
) -> None:
    if not same_axis(axis, expected):
        raise InputError(
            f"{where}: HDU {sky_map.hdu}: axis {axis.name} ({axis.nbin} bins) differs from "
            f"that of HDU {reference.hdu} ({expected.nbin} bins)"
        )


def _expect_same_grid(sky_map: SkyMap, reference: SkyMap, where: str) -> None:
    shape, expected = sky_map.data.shape[-2:], reference.data.shape[-2:]
    if shape != expected:
        raise InputError(
            f"{where}: HDU {sky_map.hdu} has {shape} pixels (lat, lon), but HDU "
            f"{reference.hdu} has {expected}"
        )
    if None not in (sky_map.region, reference.region):
        return  # a spectrum has the region of its counts; its background may come from other regions
    if not same_wcs(sky_map.wcs, reference.wcs):
        raise InputError(
            f"{where}: the WCS of HDU {sky_map.hdu} differs from that of HDU {reference.hdu}; "
            "they must be the same"
        )


def _add_tables(dataset: xr.Dataset, hdus: fits.HDUList, where: str) -> None:
    if "GTI" in hdus and hdus["GTI"].data is not None:
        gti = hdus["GTI"]
        for column in ("START", "STOP"):
            values = _seconds(gti, column, f"{where}: HDU GTI")
            dataset[f"gti_{column.lower()}"] = xr.Variable(("gti",), values, {"unit": "s"})
        keys = ("MJDREFI", "MJDREFF", "TIMESYS")
        if any(key not in gti.header for key in keys):
            raise InputError(f"{where}: HDU GTI: expected the keywords {', '.join(keys)}")
        dataset.attrs["gti"] = {key.lower(): gti.header[key] for key in keys}
    if "META_TABLE" in hdus and hdus["META_TABLE"].data is not None:
        table = hdus["META_TABLE"]
        dataset.attrs["meta_table"] = {
            "columns": {
                column.name: {
                    "unit": column.unit or "",
                    "values": [_plain(value) for value in table.data[column.name]],
                }
                for column in table.columns
            }
        }


def _seconds(gti: Any, column: str, where: str) -> Any:
    if column not in gti.columns.names:
        raise InputError(f"{where}: column {column} is missing")
    try:
        factor = Unit(gti.columns[column].unit or "s").to("s")
    except (ValueError, UnitsError) as error:
        raise InputError(f"{where}: column {column} does not have a unit of time") from error
    values = np.asarray(gti.data[column], dtype=np.float64)
    return values if factor == 1 else values * factor


def _plain(value: Any) -> Any:
    """Return a table cell as a value that JSON can represent."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").rstrip()
    if isinstance(value, np.ndarray):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def _primary_keywords(header: fits.Header) -> dict[str, Any]:
    skip = STRUCTURAL | {"HISTORY", ""}
    keys = [key for key in header if key not in skip]
    return {key: header[key] for key in keys if isinstance(header[key], str | int | float)}
