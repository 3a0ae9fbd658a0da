"""FITS files whose headers may not claim more than the file contains, and tables in FITS or ECSV."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from astropy.io import fits

from gmdask.errors import GmdaskError, InputError
from gmdask.inputs.files import allowed_size, read_bytes, unpack
from gmdask.inputs.plain_data import check_yaml
from gmdask.quiet import no_warnings

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["check_fits", "fits_content", "open_fits", "read_table"]

BLOCK, CARD = 2880, 80
MAX_AXES = 32
BITPIX = (8, 16, 32, 64, -32, -64)
_FORM = re.compile(r"\s*(\d{0,12})([LXBIJKAEDCMPQ])")
_WIDTHS = {
    "L": 1, "B": 1, "A": 1, "I": 2, "J": 4, "K": 8, "E": 4, "D": 8, "C": 8, "M": 16, "P": 8, "Q": 16,
}  # fmt: skip
_START, _END = (b"SIMPLE  ", b"XTENSION"), b"END".ljust(CARD)


def fits_content(
    path: str | Path, what: str = "file", error: type[GmdaskError] = InputError
) -> bytes:
    """Read and unpack a FITS file, and check the sizes in its headers.

    Parameters
    ----------
    path : str or Path
        File, plain or gzipped.
    what : str
        Description of the file, for the message if it does not exist.
    error : type of GmdaskError
        Error to raise.

    Raises
    ------
    InputNotFoundError
        If it does not exist.
    InputError
        If it is not a FITS file, or a header claims more than the file contains.
    """
    content = unpack(read_bytes(path, what, error), str(path), error)
    check_fits(content, str(path), error)
    return content


@contextmanager
def open_fits(
    path: str | Path, what: str = "file", error: type[GmdaskError] = InputError
) -> Iterator[fits.HDUList]:
    """Open a FITS file that was read by `fits_content`; any damage raises the same error.

    Parameters
    ----------
    path : str or Path
        File, plain or gzipped.
    what : str
        Description of the file, for the message if it does not exist.
    error : type of GmdaskError
        Error to raise.
    """
    with _opened(fits_content(path, what, error), path, error) as hdus:
        yield hdus


@contextmanager
def _opened(content: bytes, path: str | Path, error: type[GmdaskError]) -> Iterator[fits.HDUList]:
    try:
        with no_warnings(), fits.open(BytesIO(content), memmap=False) as hdus:
            yield hdus
    except GmdaskError:
        raise
    except Exception as failed:  # astropy raises any exception on damaged bytes
        raise error(f"{path}: not a FITS file of this kind, or damaged ({failed})") from failed


def read_table(
    path: str | Path, hdu: str = "", what: str = "file", error: type[GmdaskError] = InputError
) -> Table:
    """Read a table from FITS or ECSV.

    Parameters
    ----------
    path : str or Path
        File.
    hdu : str
        Name of its HDU; if there is none of this name, the first table is read.
    what, error
        See `open_fits`.

    Raises
    ------
    InputNotFoundError
        If it does not exist.
    InputError
        If it contains no table.
    """
    from astropy.table import Table

    content = unpack(read_bytes(path, what, error), str(path), error)
    if content.startswith(b"# %ECSV"):
        return _read_ecsv(content, str(path), error)
    check_fits(content, str(path), error)
    with _opened(content, path, error) as hdus:
        tables = [one for one in hdus if isinstance(one, fits.BinTableHDU | fits.TableHDU)]
        if not tables:
            raise error(f"{path}: contains no table")
        return Table.read(next((one for one in tables if one.name == hdu), tables[0]))


def _read_ecsv(content: bytes, where: str, error: type[GmdaskError]) -> Table:
    from astropy.table import Table

    try:
        lines = content.decode().splitlines()
        header = [line.removeprefix("# ") for line in lines[1:] if line.startswith("# ")]
        check_yaml("\n".join(header), where, error)
        return Table.read(lines, format="ascii.ecsv")
    except GmdaskError:
        raise
    except Exception as failed:  # astropy raises any exception on damaged text
        raise error(f"{where}: not a table in ECSV ({failed})") from failed


# --- headers ------------------------------------------------------------------------------


def check_fits(content: bytes, file: str, error: type[GmdaskError] = InputError) -> None:
    """Compare the sizes claimed by headers with the size of the file.

    Parameters
    ----------
    content : bytes
        Content of the file, not gzipped.
    file : str
        Its name, with which messages begin.
    error : type of GmdaskError
        Error to raise.

    Raises
    ------
    InputError
        If it is not a FITS file, or a header claims an impossible size.
    """
    if not content.startswith(_START[0]):
        raise error(f"{file}: not a FITS file (plain or gzipped)")
    at, number = 0, 0
    while content.startswith(_START, at):
        where = f"{file}: HDU {number}"
        end = _end_of_header(content, at)
        if end is None:
            raise error(f"{where}: its header has no END")
        header = fits.Header.fromstring(content[at:end])
        try:
            size = _data_size(header)
        except (ValueError, fits.VerifyError) as failed:
            raise error(f"{where}: {failed}") from failed
        if end + size > len(content):
            raise error(
                f"{where}: truncated, {len(content)} bytes instead of the {end + size} of its header"
            )
        at, number = end + -(-size // BLOCK) * BLOCK, number + 1


def _end_of_header(content: bytes, at: int) -> int | None:
    """Return the position at which the data of an HDU begin."""
    for block in range(at, len(content), BLOCK):
        cards = content[block : block + BLOCK]
        if any(cards.startswith(_END, card) for card in range(0, len(cards), CARD)):
            return block + BLOCK
    return None


def _data_size(header: fits.Header) -> int:
    """Return the size in bytes of the data of an HDU; raises ValueError for an invalid keyword."""
    size = _size(header, "")
    if size and _whole(header, "GCOUNT", 1) != 1:
        raise ValueError(f"keyword GCOUNT is {header['GCOUNT']!r}, expected 1")
    size += _whole(header, "PCOUNT", 0) if header.get("NAXIS") else 0
    if header.get("ZIMAGE") and _size(header, "Z") > allowed_size(size):
        raise ValueError("the image claims more than its compressed data can contain")
    if header.get("XTENSION") == "BINTABLE":
        _check_columns(header)
    return size


def _check_columns(header: fits.Header) -> None:
    """Reject columns of a binary table that do not fit into its rows."""
    width = 0
    for column in range(1, _whole(header, "TFIELDS", 0) + 1):
        form = header.get(f"TFORM{column}")
        match = _FORM.match(form) if isinstance(form, str) else None
        if match is None:
            raise ValueError(f"keyword TFORM{column} is {form!r}, expected a format such as '1D'")
        repeat = int(match[1] or 1)
        width += -(-repeat // 8) if match[2] == "X" else repeat * _WIDTHS[match[2]]
    if width > _whole(header, "NAXIS1"):
        raise ValueError(f"columns of {width} bytes in rows of {header['NAXIS1']} bytes")


def _size(header: fits.Header, prefix: str) -> int:
    """Return the size in bytes of an array, whose axes and type are given by keywords with a prefix."""
    bitpix = header.get(f"{prefix}BITPIX")
    if bitpix not in BITPIX or isinstance(bitpix, bool):
        raise ValueError(f"keyword {prefix}BITPIX is {bitpix!r}, expected one of {BITPIX}")
    naxis = _whole(header, f"{prefix}NAXIS")
    if naxis > MAX_AXES:
        raise ValueError(f"keyword {prefix}NAXIS is {naxis}, expected at most {MAX_AXES}")
    size = abs(bitpix) // 8 if naxis else 0
    for axis in range(1, naxis + 1):
        size *= _whole(header, f"{prefix}NAXIS{axis}")
    return size


def _whole(header: fits.Header, key: str, default: int | None = None) -> int:
    value = header.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"keyword {key} is {value!r}, expected a non-negative integer")
    return value
