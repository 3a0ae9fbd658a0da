"""Safe reading of files from outside: opened, unpacked and parsed within limits.

All files written by others are read here: only regular files, whose compressed data and aliases
may not expand out of proportion, and whose headers may not claim more than the file contains.
"""

from __future__ import annotations

from gmdask.inputs.arrays import load_arrays
from gmdask.inputs.files import read_bytes, unpack
from gmdask.inputs.fits_files import fits_content, open_fits, read_table
from gmdask.inputs.plain_data import load_json, load_yaml

__all__ = [
    "fits_content",
    "load_arrays",
    "load_json",
    "load_yaml",
    "open_fits",
    "read_bytes",
    "read_table",
    "unpack",
]
