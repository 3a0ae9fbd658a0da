"""OGIP files with several spectra (type II), one per row; ``file.fits{3}`` is the third, as in XSPEC."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from gmdask.errors import InputError
from gmdask.inputs import open_fits

__all__ = ["has_rows", "row_name", "spectra_of", "spectrum_of_row", "split_row"]

VECTORS = ("CHANNEL", "COUNTS", "QUALITY", "GROUPING", "BACKSCAL", "AREASCAL")
SCALARS = ("EXPOSURE", "BACKFILE", "RESPFILE", "ANCRFILE", "OBS_ID")
_ROW = re.compile(r"(.*[^{}])\{(\d{1,9})\}")


def split_row(path: str | Path) -> tuple[Path, int | None]:
    """Return the file of a path ``file{row}``, and the row from 1; None if the path has no row.

    Parameters
    ----------
    path : str or pathlib.Path
    """
    found = _ROW.fullmatch(str(path))
    return (Path(path), None) if found is None else (Path(found[1]), int(found[2]))


def has_rows(hdu: Any) -> bool:
    """Whether an HDU SPECTRUM contains several spectra.

    Parameters
    ----------
    hdu : astropy.io.fits.BinTableHDU
    """
    kind = str(hdu.header.get("HDUCLAS4", "")).upper().replace(" ", "")
    return "SPEC_NUM" in hdu.columns.names or kind in ("TYPE:II", "TYPEII", "TYPE:2")


def spectra_of(path: Path) -> list[tuple[str, Path]]:
    """Return the name and the path, ``file{row}`` if there are several, of each spectrum in a file.

    Parameters
    ----------
    path : pathlib.Path
        Path of a FITS file.

    Raises
    ------
    InputError
        If the file contains no OGIP spectrum.
    """
    with open_fits(path) as hdus:
        if "SPECTRUM" not in hdus:
            msg = f"{path}: expected a file of OGIP spectra, but it has no HDU SPECTRUM"
            raise InputError(msg)
        hdu = hdus["SPECTRUM"]
        if not has_rows(hdu):
            return [(row_name(hdu, path, None), path)]
        rows = range(1, len(hdu.data) + 1)
        return [(row_name(hdu, path, n), Path(f"{path}{{{n}}}")) for n in rows]


def row_name(hdu: Any, path: str | Path, row: int | None) -> str:
    """Return the default name of a spectrum: OBS_ID, else the stem of the file, with the row where needed.

    Parameters
    ----------
    hdu : astropy.io.fits.BinTableHDU
        The HDU SPECTRUM of the file.
    path : str or pathlib.Path
        Path of the file, without the row.
    row : int or None
        Row, from 1; None if the file contains one spectrum.
    """
    stem = Path(path).name.removesuffix(".gz").removesuffix(".fits").removesuffix(".pha")
    if row is not None and "OBS_ID" in hdu.columns.names:
        names = [str(name).strip() for name in hdu.data["OBS_ID"]]
        if all(names) and len(set(names)) == len(names):
            return names[row - 1]
    name = str(hdu.header.get("OBS_ID", "")).strip() or stem
    return name if row is None else f"{name}-{row}"


def spectrum_of_row(hdu: Any, row: int | None, where: str) -> Any:
    """Return an HDU SPECTRUM with one spectrum (type I), that of a row of a file with several.

    Parameters
    ----------
    hdu : astropy.io.fits.BinTableHDU
        HDU SPECTRUM of a file of either type.
    row : int or None
        Row, from 1; None if the file contains one spectrum.
    where : str
        Text with which messages begin.

    Raises
    ------
    InputError
        If there is no such row, or the file has several spectra and none is chosen.
    """
    if not has_rows(hdu):
        if row is not None:
            msg = f"{where}: row {row} is given, but HDU SPECTRUM contains one spectrum (type I)"
            raise InputError(msg)
        return hdu
    n = len(hdu.data)
    if row is None:
        msg = (
            f"{where}: HDU SPECTRUM contains {n} spectra (type II): append the number of one, as in "
            "'file.fits{1}', or read all of them by Datasets.read"
        )
        raise InputError(msg)
    if not 1 <= row <= n:
        msg = f"{where}: row {row} is not among the {n} spectra of HDU SPECTRUM"
        raise InputError(msg)
    if "BACKGROUND_UP" in hdu.columns.names:
        msg = f"{where}: HDU SPECTRUM: background in a column (BACKGROUND_UP) is not supported"
        raise InputError(msg)
    header, columns = fits.Header(), []
    for key in (*SCALARS, *VECTORS):
        if key not in hdu.columns.names:
            if key in hdu.header:
                header[key] = hdu.header[key]
            continue
        value = hdu.data[key][row - 1]
        if np.ndim(value) == 0:
            header[key] = value.item() if isinstance(value, np.generic) else value
        elif key in VECTORS:
            columns.append(fits.Column(key, "D", array=np.asarray(value, dtype=np.float64)))
    if len({len(column.array) for column in columns}) > 1:
        msg = f"{where}: HDU SPECTRUM: the columns of row {row} have different lengths"
        raise InputError(msg)
    return fits.BinTableHDU.from_columns(columns, header=header, name="SPECTRUM")
