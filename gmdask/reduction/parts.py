"""Datasets of single observations on disk, until their block is written."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from gmdask.atomic_files import temporary_beside

__all__ = ["read_part", "write_part"]

DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


def write_part(path: Path, cubes: Sequence[xr.Dataset]) -> None:
    """Write the datasets of an observation to a file, completely or not at all.

    Parameters
    ----------
    path : path
        File ".npz".
    cubes : sequence of `xarray.Dataset`
        In memory.
    """
    arrays: dict[str, Any] = {}
    heads = []
    for number, cube in enumerate(cubes):
        heads.append(cube.to_dict(data=False))
        for key, variable in cube.variables.items():
            arrays[f"{number}/{key}"] = variable.values
    temporary = temporary_beside(path)
    try:
        np.savez(temporary, head=np.array(json.dumps(heads)), **arrays)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_part(path: Path) -> list[xr.Dataset] | None:
    """Read the datasets of an observation, and compare the checksums of the arrays.

    Parameters
    ----------
    path : path

    Returns
    -------
    cubes : list of `xarray.Dataset` or None
        None if the file is missing, or damaged.
    """
    try:
        with np.load(path) as found:
            heads = json.loads(str(found["head"]))
            return [
                xr.Dataset(
                    dict(_variables(found, f"{number}/", head["data_vars"])),
                    dict(_variables(found, f"{number}/", head["coords"])),
                    head["attrs"],
                )
                for number, head in enumerate(heads)
            ]
    except DAMAGED:
        return None


def _variables(found: Any, prefix: str, heads: dict[str, Any]) -> Iterator[tuple[str, xr.Variable]]:
    for key, head in heads.items():
        yield key, xr.Variable(head["dims"], found[prefix + key], head["attrs"])
