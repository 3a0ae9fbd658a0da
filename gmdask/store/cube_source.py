"""Where the cube of a dataset comes from: one protocol for stored and derived cubes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import xarray as xr

from gmdask.store.block import Block
from gmdask.store.store import open_block

__all__ = ["CubeSource", "StoredCube", "named_cube"]


class CubeSource(Protocol):
    """Where the cube of a dataset is found, or how it is made: plain data that travels."""

    @property
    def url(self) -> str | None:
        """Place of the store that holds the dataset; None if it is made from others."""

    @property
    def block(self) -> str | None:
        """Block of the store, whose cubes are alike; None if it is made from others."""

    def identity(self) -> list[Any]:
        """Plain data that stand for the content of the cube, wherever it is."""

    def open(self) -> xr.Dataset:
        """The cube."""


@dataclass(frozen=True)
class StoredCube:
    """Where the cube of a dataset is found in a store.

    Attributes
    ----------
    url : str
        Place of the store.
    block, manifest : str
        Block of the store, and digest of its manifest, which stands for its content.
    row : int
        Row of the block.
    """

    url: str
    block: str
    manifest: str
    row: int

    def identity(self) -> list[Any]:
        """Plain data that stand for the content of the cube."""
        return [self.manifest, self.row]

    def open(self) -> xr.Dataset:
        """The cube, lazy."""
        return _block(self.url, self.block, self.manifest).open_row(self.row)

    def nbytes_stored(self) -> float:
        """Bytes it takes in the store: those of its block, shared evenly."""
        manifest = _block(self.url, self.block, self.manifest).manifest
        return sum(file.size for file in manifest.files.values()) / max(len(manifest.rows), 1)


@cache
def _block(url: str, block: str, manifest: str) -> Block:
    return open_block(url, block, manifest)


def named_cube(name: str, cube: CubeSource | xr.Dataset) -> xr.Dataset:
    """The cube of a dataset, under the name the dataset has."""
    found = cube if isinstance(cube, xr.Dataset) else cube.open()
    return found.assign_attrs(name=name)
