"""Read one dataset's tiles directly from its shards.

Zarr reads the same bytes into the same arrays, but takes three times as long: its overhead
per chunk (event loop, threads and copies) exceeds the time of decoding.
"""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

import numpy as np
import zarr
from numcodecs import blosc
from numpy.typing import NDArray
from zarr.codecs import ShardingCodec
from zarr.core.metadata import ArrayV3Metadata

from gmdask.errors import CorruptStoreError
from gmdask.store.manifest import CHECKSUM_BYTES
from gmdask.store.verified_reads import CheckedFiles

__all__ = ["ShardedArray"]


class ShardedArray:
    """An array [dataset, ...] of a block, read one dataset at a time.

    Parameters
    ----------
    checked : CheckedFiles
        Files of the block.
    array : zarr.Array
        As written by gmdask: sharded, with each inner chunk belonging to one dataset and
        encoded by Blosc and CRC-32C.
    """

    def __init__(self, checked: CheckedFiles, array: zarr.Array[Any]) -> None:
        metadata = array.metadata
        codec = metadata.codecs[0] if isinstance(metadata, ArrayV3Metadata) else None
        if not isinstance(codec, ShardingCodec) or array.shards is None:
            raise TypeError(f"array {array.path} is not sharded")
        self.path = array.path
        self.shape: tuple[int, ...] = array.shape[1:]
        self.dtype: np.dtype[Any] = array.dtype
        self.chunk: tuple[int, ...] = codec.chunk_shape[1:]
        self.depth = array.shards[0]
        self.grid = tuple(n // c for n, c in zip(array.shards, codec.chunk_shape, strict=True))
        self._checked = checked
        self._indices: dict[str, NDArray[np.uint64]] = {}

    def read(self, row: int, key: tuple[Any, ...]) -> NDArray[Any]:
        """Return part of one dataset's array.

        Parameters
        ----------
        row : int
            The dataset's row in the block.
        key : tuple
            For each dimension an integer, a slice or an array of integers, applied
            independently (outer indexing).

        Returns
        -------
        numpy.ndarray
            A new array.

        Raises
        ------
        CorruptStoreError
            If a chunk is damaged.
        """
        indices = [_positions(part, size) for part, size in zip(key, self.shape, strict=True)]
        drop = tuple(axis for axis, part in enumerate(key) if isinstance(part, int | np.integer))
        if any(len(index) == 0 for index in indices):
            empty = np.empty([len(index) for index in indices], self.dtype)
            return empty.squeeze(axis=drop)
        tiles = [
            range(int(index.min()) // size, int(index.max()) // size + 1)
            for index, size in zip(indices, self.chunk, strict=True)
        ]
        origin = [tile.start * size for tile, size in zip(tiles, self.chunk, strict=True)]
        box = self._box(row, tiles)
        local = [index - start for index, start in zip(indices, origin, strict=True)]
        part = _outer(box, local).squeeze(axis=drop)
        return part if part.flags.c_contiguous else part.copy()

    def _box(self, row: int, tiles: list[range]) -> NDArray[Any]:
        """Read the part of a dataset that is covered by some chunks."""
        if prod(len(tile) for tile in tiles) == 1:
            return self._chunk(row, tuple(tile.start for tile in tiles))
        shape = [len(tile) * size for tile, size in zip(tiles, self.chunk, strict=True)]
        box = np.empty(shape, self.dtype)
        for place in product(*(range(len(tile)) for tile in tiles)):
            position = tuple(tile[p] for tile, p in zip(tiles, place, strict=True))
            where = tuple(slice(p * n, (p + 1) * n) for p, n in zip(place, self.chunk, strict=True))
            box[where] = self._chunk(row, position)
        return box

    def _chunk(self, row: int, position: tuple[int, ...]) -> NDArray[Any]:
        number, depth = divmod(row, self.depth)
        file = f"{self.path}/c/{number}{'/0' * len(self.shape)}"
        offset, size = self._index(file)[(depth, *position)].tolist()
        out = np.empty(self.chunk, self.dtype.newbyteorder("<"))
        data = self._checked.read(file, offset, offset + size)
        if int.from_bytes(data[4:8], "little") != out.nbytes:  # size in the header of Blosc
            raise CorruptStoreError(
                f"file {file}: a chunk of dataset {row} does not have the shape {self.chunk}"
            )
        blosc.decompress(data[:-CHECKSUM_BYTES], out)
        return out.astype(self.dtype, copy=False)

    def _index(self, file: str) -> NDArray[np.uint64]:
        if file not in self._indices:
            size = self._checked.manifest.files[file].size
            count = prod(self.grid)
            data = self._checked.read(file, size - 16 * count - CHECKSUM_BYTES, size)
            self._indices[file] = np.frombuffer(data, "<u8", 2 * count).reshape(*self.grid, 2)
        return self._indices[file]


def _positions(part: Any, size: int) -> NDArray[np.intp]:
    if isinstance(part, slice):
        return np.arange(size)[part]
    index = np.atleast_1d(np.asarray(part, dtype=np.intp))
    if index.size and (index.min() < -size or index.max() >= size):
        raise IndexError(f"index {part} is out of bounds for a dimension of size {size}")
    return np.where(index < 0, index + size, index)


def _outer(box: NDArray[Any], indices: list[NDArray[np.intp]]) -> NDArray[Any]:
    """Index each dimension independently; by slices, and so without a copy, if possible."""
    for axis, index in enumerate(indices):
        step = int(index[1] - index[0]) if len(index) > 1 else 1
        start, stop = int(index[0]), int(index[-1]) + 1
        if step > 0 and np.array_equal(index, np.arange(start, stop, step)):
            box = box[(slice(None),) * axis + (slice(start, stop, step),)]
        else:
            box = np.take(box, index, axis=axis)
    return box
