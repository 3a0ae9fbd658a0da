"""NumPy archives whose arrays are not larger than the file that holds them allows."""

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
    """Arrays of a ``.npz`` archive.

    Parameters
    ----------
    content : bytes
        Of the file.
    where : str
        File, to begin messages with.
    error : type of GmdaskError
        What to raise.

    Raises
    ------
    InputError
        If it is not such an archive, or an array claims more than there is.
    """
    limit = allowed_size(len(content))
    try:
        with ZipFile(BytesIO(content)) as archive:
            if sum(member.file_size for member in archive.infolist()) > limit:
                raise error(f"{where}: arrays of more than {limit / MEGABYTE:.0f} MB in it")
            return {
                member.filename.removesuffix(".npy"): _array(archive.read(member))
                for member in archive.infolist()
            }
    except GmdaskError:
        raise
    # NumPy's parser of headers raises most of these
    except (
        BadZipFile, zlib.error, OSError, EOFError, ValueError, LookupError, TypeError, SyntaxError,
        NotImplementedError, RuntimeError,
    ) as failed:  # fmt: skip
        raise error(f"{where}: not an archive of arrays: {failed}") from failed


def _array(content: bytes) -> NDArray[Any]:
    """Array of a ``.npy`` file, whose header is compared with its size before it is read."""
    file = BytesIO(content)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0,
    }  # fmt: skip
    shape, _, dtype = read[np.lib.format.read_magic(file)](file)
    size = dtype.itemsize
    for n in shape:
        size *= n
    if any(n < 0 for n in shape) or size != len(content) - file.tell():
        raise ValueError(f"array of shape {shape} in {len(content)} bytes")
    file.seek(0)
    found: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    return found
