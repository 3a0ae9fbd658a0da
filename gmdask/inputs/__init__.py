"""Files that come from outside: opened, unpacked and parsed within bounds.

Whatever others wrote is read through this folder: regular files only, compressed data and aliases
that do not grow out of proportion, and headers that claim no more than the file holds.
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
