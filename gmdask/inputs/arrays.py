"""NumPy archives whose arrays may not be larger than the size of the file allows."""

from __future__ import annotations

import zlib
from io import BytesIO
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray

from gmdask.errors import GmdaskError, InputError
from gmdask.inputs.files import MEGABYTE, allowed_size

__all__ = ["load_arrays"]


def load_arrays(
    content: bytes, where: str, error: type[GmdaskError] = InputError
) -> dict[str, NDArray[Any]]:
    """Load the arrays of a ``.npz`` archive.

    Parameters
    ----------
    content : bytes
        Content of the file.
    where : str
        File, with which messages begin.
    error : type of GmdaskError
        Error to raise.

    Raises
    ------
    InputError
        If it is not such an archive, or an array claims more than the file contains.
    """
    limit = allowed_size(len(content))
    try:
        with ZipFile(BytesIO(content)) as archive:
            if sum(member.file_size for member in archive.infolist()) > limit:
                raise error(f"{where}: contains arrays of more than {limit / MEGABYTE:.0f} MB")
            return {
                member.filename.removesuffix(".npy"): _array(archive.read(member))
                for member in archive.infolist()
            }
    except GmdaskError:
        raise
    # exceptions of NumPy's header parser
    except (
        BadZipFile, zlib.error, OSError, EOFError, ValueError, LookupError, TypeError, SyntaxError,
        NotImplementedError, RuntimeError,
    ) as failed:  # fmt: skip
        raise error(f"{where}: not an archive of arrays: {failed}") from failed


def _array(content: bytes) -> NDArray[Any]:
    """Load the array of a ``.npy`` file, after comparing its header with its size."""
    file = BytesIO(content)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0,
    }  # fmt: skip
    shape, _, dtype = read[np.lib.format.read_magic(file)](file)
    size = dtype.itemsize
    for n in shape:
        size *= n
    if any(n < 0 for n in shape) or size != len(content) - file.tell():
        raise ValueError(f"array of shape {shape} in only {len(content)} bytes")
    file.seek(0)
    found: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    return found
