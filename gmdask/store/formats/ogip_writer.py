"""Write on/off spectra as OGIP files (PHA, BKG, ARF, RMF), in keV and cm2, as XSPEC and Sherpa expect."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from astropy.io import fits
from astropy.units import Quantity, Unit
from numpy.typing import NDArray

from gmdask.errors import InputError
from gmdask.geometry import Axis
from gmdask.geometry.regions import Region
from gmdask.store.axes import cube_axis
from gmdask.store.formats.gadf_writer import gti_table
from gmdask.store.formats.region_map import region_table

__all__ = ["ogip_contents"]

Array = NDArray[np.float64]
CLASS = {"HDUCLASS": "OGIP", "TELESCOP": "unknown", "INSTRUME": "unknown", "FILTER": "none"}


def ogip_contents(cube: xr.Dataset, path: Path, edisp: Array) -> dict[Path, bytes]:
    """Return the contents of the PHA, BKG, ARF and RMF files of a spectrum, the PHA last.

    Parameters
    ----------
    cube : xarray.Dataset
        A SpectrumDatasetOnOff in memory.
    path : pathlib.Path
        Path of the PHA file; the names of the others end with _bkg, _arf and _rmf.
    edisp : array of shape (energy_true, energy)
        Energy dispersion.

    Raises
    ------
    InputError
        If there is no livetime, which OGIP files require.
    """
    livetime = cube["exposure"].attrs.get("meta", {}).get("livetime")
    if livetime is None:
        msg = f"dataset {cube.attrs['name']!r}: there is no livetime, which OGIP files require"
        raise InputError(msg)
    seconds = float(Quantity(livetime).to_value("s"))
    ending = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    stem = path.name.removesuffix(ending)
    files = {key: path.with_name(f"{stem}_{key}{ending}") for key in ("bkg", "arf", "rmf")}
    names = {
        "BACKFILE": files["bkg"].name, "ANCRFILE": files["arf"].name,
        "RESPFILE": files["rmf"].name,
    }  # fmt: skip
    energy, true = cube_axis(cube, "energy", "keV"), cube_axis(cube, "energy_true", "keV")
    safe = cube["mask_safe"].values if "mask_safe" in cube else np.ones(cube["counts"].shape, bool)
    bad = (~safe[:, 0, 0].astype(bool)).astype(np.int16)
    found: dict[Path, list[Any]] = {
        files["bkg"]: [
            _counts(cube, "counts_off", "acceptance_off", bad, seconds, {}),
            _bounds(energy),
        ],
        files["arf"]: [_area(cube, true, seconds)],
        files["rmf"]: [_matrix(edisp, true), _bounds(energy)],
    }
    pha = [_counts(cube, "counts", "acceptance", bad, seconds, names), _bounds(energy)]
    if cube.attrs.get("region"):
        pha.append(region_table(Region.from_dict(cube.attrs["region"]), "REGION"))
    if "gti_start" in cube:
        pha.append(gti_table(cube))
    found[path] = pha
    return {file: _bytes(hdus) for file, hdus in found.items()}


def _bytes(hdus: list[Any]) -> bytes:
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(buffer, checksum=True)
    return buffer.getvalue()


def _table(name: str, columns: list[fits.Column], header: dict[str, Any]) -> fits.BinTableHDU:
    hdu = fits.BinTableHDU.from_columns(columns, name=name)
    hdu.header.update(CLASS | header)
    return hdu


def _counts(
    cube: xr.Dataset,
    key: str,
    acceptance: str,
    bad: NDArray[np.int16],
    seconds: float,
    files: dict[str, str],
) -> fits.BinTableHDU:
    counts = cube[key].values[:, 0, 0].astype(np.float64)
    columns = [
        fits.Column("CHANNEL", "J", array=np.arange(len(counts))),
        fits.Column("COUNTS", "D", unit="count", array=counts),
        fits.Column("QUALITY", "I", array=bad),
        fits.Column("BACKSCAL", "D", array=cube[acceptance].values[:, 0, 0].astype(np.float64)),
    ]
    name = str(cube.attrs["name"])
    header = {
        "HDUCLAS1": "SPECTRUM", "HDUCLAS2": "TOTAL" if files else "BKG", "HDUCLAS3": "COUNT",
        "HDUCLAS4": "TYPE:I", "HDUVERS": "1.2.1", "EXPOSURE": seconds, "AREASCAL": 1.0,
        "CORRSCAL": 1.0, "CORRFILE": "none", "CHANTYPE": "PHA", "DETCHANS": len(counts),
        "POISSERR": True, "SYS_ERR": 0, "GROUPING": 0, "TLMIN1": 0, "TLMAX1": len(counts) - 1,
        "BACKFILE": "none", "ANCRFILE": "none", "RESPFILE": "none",
        **({"OBS_ID": name} if name.isascii() else {}), **files,
    }  # fmt: skip
    return _table("SPECTRUM", columns, header)


def _bounds(axis: Axis) -> fits.BinTableHDU:
    columns = [
        fits.Column("CHANNEL", "J", array=np.arange(axis.nbin)),
        fits.Column("E_MIN", "D", unit="keV", array=axis.edges[:-1]),
        fits.Column("E_MAX", "D", unit="keV", array=axis.edges[1:]),
    ]
    header = {
        "HDUCLAS1": "RESPONSE", "HDUCLAS2": "EBOUNDS", "HDUVERS": "1.2.0", "CHANTYPE": "PHA",
        "DETCHANS": axis.nbin, "TLMIN1": 0, "TLMAX1": axis.nbin - 1,
    }  # fmt: skip
    return _table("EBOUNDS", columns, header)


def _energies(axis: Axis) -> list[fits.Column]:
    return [
        fits.Column("ENERG_LO", "D", unit="keV", array=axis.edges[:-1]),
        fits.Column("ENERG_HI", "D", unit="keV", array=axis.edges[1:]),
    ]


def _area(cube: xr.Dataset, axis: Axis, seconds: float) -> fits.BinTableHDU:
    factor = Unit(cube["exposure"].attrs["unit"]).to("cm2 s")
    area = cube["exposure"].values[:, 0, 0].astype(np.float64) * factor / seconds
    columns = [*_energies(axis), fits.Column("SPECRESP", "D", unit="cm2", array=area)]
    header = {"HDUCLAS1": "RESPONSE", "HDUCLAS2": "SPECRESP", "HDUVERS": "1.1.0"}
    return _table("SPECRESP", columns, header)


def _cells(arrays: list[NDArray[Any]]) -> NDArray[np.object_]:
    """Return arrays of different lengths as the cells of a column."""
    cells = np.empty(len(arrays), dtype=object)
    cells[:] = arrays
    return cells


def _matrix(matrix: Array, axis: Axis) -> fits.BinTableHDU:
    """Return the table of a matrix, each row as one group of channels without the zeros at its ends."""
    first, last = np.zeros(len(matrix), dtype=int), np.zeros(len(matrix), dtype=int)
    for row, values in enumerate(matrix):
        filled = np.flatnonzero(values)
        if len(filled):
            first[row], last[row] = filled[0], filled[-1] + 1
    groups = [(first[row : row + 1], (last - first)[row : row + 1]) for row in range(len(matrix))]
    parts = [row[a:b] for row, a, b in zip(matrix, first, last, strict=True)]
    columns = [
        *_energies(axis),
        fits.Column("N_GRP", "I", array=(last > first).astype(np.int16)),
        fits.Column("F_CHAN", "PJ()", array=_cells([start for start, _ in groups])),
        fits.Column("N_CHAN", "PJ()", array=_cells([length for _, length in groups])),
        fits.Column("MATRIX", "PD()", array=_cells(parts)),
    ]
    header = {
        "HDUCLAS1": "RESPONSE", "HDUCLAS2": "RSP_MATRIX", "HDUCLAS3": "REDIST", "HDUVERS": "1.3.0",
        "CHANTYPE": "PHA", "DETCHANS": matrix.shape[1], "TLMIN4": 0, "TLMAX4": matrix.shape[1] - 1,
        "NUMGRP": int((last > first).sum()), "NUMELT": int((last - first).sum()), "LO_THRES": 0.0,
    }  # fmt: skip
    return _table("MATRIX", columns, header)
