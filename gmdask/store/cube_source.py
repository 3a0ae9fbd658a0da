"""Source of the cube of a dataset: one protocol for stored and derived cubes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import xarray as xr

from gmdask.store.block import Block
from gmdask.store.store import open_block

__all__ = ["CubeSource", "StoredCube", "named_cube"]


class CubeSource(Protocol):
    """Location of the cube of a dataset, or how it is computed: plain data that can be sent."""

    @property
    def url(self) -> str | None:
        """URL of the store that contains the dataset; None if it is derived from others."""

    @property
    def block(self) -> str | None:
        """Block of the store, whose cubes have the same shape; None if it is derived from others."""

    def identity(self) -> list[Any]:
        """Return plain data that identify the content of the cube, wherever it is."""

    def open(self) -> xr.Dataset:
        """Return the cube."""


@dataclass(frozen=True)
class StoredCube:
    """Location of the cube of a dataset in a store.

    Attributes
    ----------
    url : str
        URL of the store.
    block, manifest : str
        Block of the store, and the digest of its manifest, which identifies its content.
    row : int
        Row of the block.
    """

    url: str
    block: str
    manifest: str
    row: int

    def identity(self) -> list[Any]:
        """Return plain data that identify the content of the cube."""
        return [self.manifest, self.row]

    def open(self) -> xr.Dataset:
        """Return the cube, lazily."""
        return _block(self.url, self.block, self.manifest).open_row(self.row)

    def nbytes_stored(self) -> float:
        """Bytes in the store: those of its block, shared evenly."""
        manifest = _block(self.url, self.block, self.manifest).manifest
        return sum(file.size for file in manifest.files.values()) / max(len(manifest.rows), 1)


@cache
def _block(url: str, block: str, manifest: str) -> Block:
    return open_block(url, block, manifest)


def named_cube(name: str, cube: CubeSource | xr.Dataset) -> xr.Dataset:
    """Return the cube of a dataset, with the name of the dataset."""
    found = cube if isinstance(cube, xr.Dataset) else cube.open()
    return found.assign_attrs(name=name)
