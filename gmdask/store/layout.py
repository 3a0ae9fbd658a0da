"""Layout of cubes in blocks, shards and chunks, and their codecs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod, sqrt
from typing import Any, Literal

import numpy as np
import xarray as xr
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, ShardingCodec

__all__ = ["CubeShape", "Grid", "describe", "flat_codecs", "plan_blocks", "shard_grid", "sharding"]

MB = 2**20
BLOCK_BYTES = 256 * MB
SHARD_BYTES = 64 * MB
CHUNK_BYTES = 4 * MB
SKY_TILE = 100
MIN_SKY_TILE = 32
IRF_TILE = 5
IRF_CHUNK_BYTES = 64 * 1024
GTI_DIM = "gti"
FLAT_CHUNK = 2**16
BLOSC_BYTES = 2**31


@dataclass(frozen=True)
class CubeShape:
    """Properties of a cube that decide in which block it is stored.

    Attributes
    ----------
    signature : str
        Digest of the axes, shapes, dtypes, units and names of its arrays; only
        cubes with the same signature share a block.
    nbytes : int
        Total size of its arrays in bytes.
    """

    signature: str
    nbytes: int


def describe(cube: xr.Dataset) -> CubeShape:
    """Return the properties of a cube that decide its block.

    Parameters
    ----------
    cube : xarray.Dataset
        One dataset.

    Returns
    -------
    CubeShape
        Properties of this cube.
    """
    arrays = {}
    nbytes = 0
    for key in sorted(map(str, cube.data_vars)):
        variable = cube[key].variable
        shape = None if variable.dims == (GTI_DIM,) else variable.shape
        unit = variable.attrs.get("unit")
        arrays[key] = [list(variable.dims), shape, variable.dtype.str, unit]
        nbytes += variable.nbytes
    coords = {}
    for key in sorted(map(str, cube.coords)):
        coord = cube.coords[key]
        values = hashlib.sha256(np.ascontiguousarray(coord.values).tobytes()).hexdigest()
        coords[key] = [list(coord.dims), coord.dtype.str, values, dict(coord.attrs)]
    text = json.dumps([arrays, coords], sort_keys=True)
    return CubeShape(hashlib.sha256(text.encode()).hexdigest(), nbytes)


def plan_blocks(shapes: Sequence[CubeShape], max_bytes: int = BLOCK_BYTES) -> list[range]:
    """Divide a sequence of cubes into blocks.

    Parameters
    ----------
    shapes : sequence of CubeShape
        Properties of all cubes, in the order in which they will be stored.
    max_bytes : int
        Largest size of a block, unless a single cube is larger.

    Returns
    -------
    list of range
        The cubes of each block: consecutive runs with the same signature.
    """
    blocks: list[range] = []
    start, size = 0, 0
    for number, shape in enumerate(shapes):
        full = size + shape.nbytes > max_bytes
        if number > start and (full or shape.signature != shapes[start].signature):
            blocks.append(range(start, number))
            start, size = number, 0
        size += shape.nbytes
    if shapes:
        blocks.append(range(start, len(shapes)))
    return blocks


@dataclass(frozen=True)
class Grid:
    """Shape of the shards and inner chunks of one array (first dimension: dataset)."""

    shard: tuple[int, ...]
    chunk: tuple[int, ...]


def shard_grid(dims: Sequence[str], shape: Sequence[int], dtype: np.dtype[Any], rows: int) -> Grid:
    """Choose the shards and inner chunks of an array.

    Parameters
    ----------
    dims : sequence of str
        Dimensions of one dataset's array, without ``dataset``.
    shape : sequence of int
        Shape of one dataset's array.
    dtype : numpy.dtype
        Type of the array.
    rows : int
        Number of datasets.

    Returns
    -------
    Grid
        A shard holds as many complete datasets as fit in 64 MB; an inner chunk holds
        a tile of one dataset, about 100 pixels wide for maps and about 5 for IRF
        maps, of which a fit reads only the surroundings of one position.
    """
    chunk = list(shape)
    sky = [axis for axis, dim in enumerate(dims) if dim.endswith(("lat", "lon"))]
    is_irf = any(dim.startswith(("psf_", "edisp_")) for dim in dims)
    per_pixel = dtype.itemsize * prod(n for axis, n in enumerate(shape) if axis not in sky)
    if is_irf:
        tile = max(IRF_TILE, int(sqrt(IRF_CHUNK_BYTES / max(per_pixel, 1))))
    else:
        tile = int(np.clip(sqrt(CHUNK_BYTES / max(per_pixel, 1)), MIN_SKY_TILE, SKY_TILE * 1.2))
    for axis in sky:
        chunk[axis] = ceil(shape[axis] / ceil(shape[axis] / tile))
    for axis in range(len(shape)):  # split in energy only if a tile is too large
        excess = ceil(prod(chunk) * dtype.itemsize / CHUNK_BYTES)
        if excess > 1 and axis not in sky:
            chunk[axis] = ceil(chunk[axis] / min(excess, chunk[axis]))
    whole = [ceil(n / c) * c for n, c in zip(shape, chunk, strict=True)]
    per_shard = max(1, SHARD_BYTES // (prod(shape) * dtype.itemsize))
    depth = ceil(rows / ceil(rows / per_shard))
    return Grid(shard=(depth, *whole), chunk=(1, *chunk))


def check_array(key: str, array: Any, manifest: Any, *, is_sharded: bool) -> None:
    """Compare the metadata of an array of a block with the files that exist.

    Nothing is allocated on the word of the metadata alone.

    Parameters
    ----------
    key : str
        Path of the array in the block.
    array : zarr.Array
    manifest : Manifest
        Manifest of the block.
    is_sharded : bool
        Whether its first dimension is the dataset.

    Raises
    ------
    ValueError
        If its shards or chunks differ from those that the writer makes, or chunks are missing.
    """
    counts = [ceil(n / c) for n, c in zip(array.shape, array.shards or array.chunks, strict=True)]
    files = [p for p in manifest.files if p == f"{key}/c" or p.startswith(f"{key}/c/")]
    if prod(counts) != len(files):
        raise ValueError(
            f"array {key} of shape {array.shape} has {len(files)} files, expected {prod(counts)}"
        )
    if not is_sharded:
        if max(array.chunks, default=1) > FLAT_CHUNK:
            raise ValueError(f"array {key} has chunks of {array.chunks}, at most {FLAT_CHUNK}")
        return
    grid = [ceil(s / c) for s, c in zip(array.shards, array.chunks, strict=True)]
    whole = [ceil(n / c) * c for n, c in zip(array.shape[1:], array.chunks[1:], strict=True)]
    is_cut = array.chunks[0] == 1 and list(array.shards[1:]) == whole
    is_small = prod(array.chunks) * array.dtype.itemsize < BLOSC_BYTES
    has_indices = all(manifest.files[path].size >= 16 * prod(grid) for path in files)
    if array.shape[0] != len(manifest.rows) or not (is_cut and is_small and has_indices):
        raise ValueError(f"array {key} of shape {array.shape} does not have the chunks of a block")


def flat_codecs(dtype: np.dtype[Any]) -> list[Any]:
    """Return the codecs of a chunk: Blosc (zstd), and crc32c as the last."""
    shuffle: Literal["shuffle", "bitshuffle"] = "shuffle" if dtype.kind == "f" else "bitshuffle"
    return [
        BytesCodec(endian="little" if dtype.itemsize > 1 else None),
        BloscCodec(cname="zstd", clevel=5, shuffle=shuffle, typesize=dtype.itemsize),
        Crc32cCodec(),
    ]


def sharding(grid: Grid, dtype: np.dtype[Any]) -> ShardingCodec:
    """Return the codec that packs the inner chunks of a grid into shards."""
    return ShardingCodec(
        chunk_shape=grid.chunk,
        codecs=flat_codecs(dtype),
        index_codecs=[BytesCodec(endian="little"), Crc32cCodec()],
        index_location="end",
    )
