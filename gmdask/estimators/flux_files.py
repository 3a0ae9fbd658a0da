"""Files with tables of fluxes, as Gammapy reads and writes them."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table
from scipy.stats import norm as normal

from gmdask import inputs
from gmdask.errors import InputError
from gmdask.estimators.flux_data import SED_UNITS
from gmdask.models.io.gammapy_yaml import write_files

__all__ = ["check_ending", "meta_of", "read_table", "sed_type_of", "write_table"]

ENDINGS = (".fits", ".fits.gz", ".ecsv")


def check_ending(path: Path) -> None:
    """Reject a file whose ending is not that of a format that stores units and metadata.

    Parameters
    ----------
    path : path

    Raises
    ------
    InputError
        If it has none of the `ENDINGS`.
    """
    if not path.name.lower().endswith(ENDINGS):
        msg = f"{path}: expected the ending {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]} for a file of fluxes"
        raise InputError(msg)


def write_table(
    table: Table, path: Path, overwrite: bool, more: list[fits.BinTableHDU] | None = None
) -> None:
    """Write a table of fluxes.

    Parameters
    ----------
    table : `~astropy.table.Table`
    path : path
        FITS or ECSV, see `check_ending`.
    overwrite : bool
    more : list of HDU, optional
        Further HDUs to write to a FITS file.

    Raises
    ------
    InputError
        If the path has another ending.
    StoreExistsError
        If the file exists and may not be overwritten.
    """
    check_ending(path)
    if path.name.lower().endswith(".ecsv"):
        text = io.StringIO()
        table.write(text, format="ascii.ecsv")
        write_files({path: text.getvalue().encode()}, overwrite)
        return
    buffer = io.BytesIO()
    hdus = [fits.PrimaryHDU(), fits.BinTableHDU(table, name="FLUXPOINTS"), *(more or [])]
    fits.HDUList(hdus).writeto(buffer)
    content = buffer.getvalue()
    zipped = path.name.lower().endswith(".gz")
    write_files({path: gzip.compress(content, mtime=0) if zipped else content}, overwrite)


def read_table(path: Path) -> Table:
    """Read a table of fluxes, from FITS or ECSV."""
    return inputs.read_table(path, "FLUXPOINTS", "table of fluxes")


def sed_type_of(table: Table, given: str | None, path: str | Path) -> str:
    """Determine the SED type of a table: as given, as in its metadata, or from its columns."""
    kinds = ["likelihood", *SED_UNITS]
    kind = given or table.meta.get("SED_TYPE")
    if kind is None:
        names = {"likelihood": "norm"}
        found = [k for k in kinds if names.get(k, k) in table.colnames]
        kind = found[0] if found else None
    if kind not in kinds or ("e_ref" not in table.colnames and "e_min" not in table.colnames):
        msg = f"{path}: is not a table of fluxes: columns {', '.join(table.colnames)}"
        raise InputError(msg)
    return str(kind)


def meta_of(table: Table) -> dict[str, Any]:
    """Read from the header the level of upper limits, and how predicted counts were computed."""
    found: dict[str, Any] = {}
    if (confidence := table.meta.get("UL_CONF")) is not None:
        found["n_sigma_ul"] = float(np.round(normal.isf(0.5 * (1 - float(confidence))), 3))
    if (response := table.meta.get("RESPONSE")) is not None:
        found["response"] = str(response)
    return found
