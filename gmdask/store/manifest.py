"""The manifest of a block: checksums of all its bytes, and its rows."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

import numpy as np

from gmdask.errors import CorruptStoreError
from gmdask.store.backends import Files
from gmdask.store.checksums import LAYOUT_VERSION, crc32c, decode_sealed, encode_sealed, sha256
from gmdask.store.records import BlockRecord, Row, rows_from_columns, rows_to_columns

__all__ = [
    "FileSums",
    "Manifest",
    "is_block_name",
    "is_piece_sound",
    "manifest_path",
    "read_manifest",
    "seal",
]

CHECKSUM_BYTES = 4
NO_CHUNK = 2**64 - 1
NO_ROW = -1
_BLOCK_NAME = re.compile(r"[0-9A-Za-z]{16}-[0-9a-f]{32}")


@dataclass(frozen=True)
class FileSums:
    """Checksums of one file.

    Attributes
    ----------
    size : int
        In bytes.
    sha256 : str
        SHA-256 of the whole file.
    array : str
        The array it belongs to, or ``""``.
    ends : list of int
        End of each of its consecutive pieces (inner chunks, and last the index of the
        shard).
    crc32c : list of int
        CRC-32C of each piece; for chunks and indices, which end with their own CRC-32C,
        without those bytes (with them, the CRC-32C is the same number for all).
    rows : list of int
        The dataset of each piece; -1 if it belongs to several.
    """

    size: int
    sha256: str
    array: str
    ends: list[int]
    crc32c: list[int]
    rows: list[int]


@dataclass(frozen=True)
class Manifest:
    """The content of a sealed block.

    Attributes
    ----------
    block : str
        Its name.
    source_digest : str
        Digest of the input from which it was made.
    rows : tuple of Row
        Its datasets.
    files : dict of str to FileSums
        Checksums, by path within the block.
    """

    block: str
    source_digest: str
    rows: tuple[Row, ...]
    files: dict[str, FileSums]

    def encode(self) -> bytes:
        """Return the bytes of the manifest's file."""
        content = {
            "schema_version": LAYOUT_VERSION,
            "block": self.block,
            "source_digest": self.source_digest,
            "rows": rows_to_columns(self.rows, [self.block]),
            "files": {path: vars(sums) for path, sums in self.files.items()},
        }
        return encode_sealed(content)

    def record(self, digest: str) -> BlockRecord:
        """Return the information that a commit needs about the block."""
        return BlockRecord(self.block, digest, self.source_digest, self.rows)

    def describe(self, path: str, piece: int | None = None) -> tuple[str, str]:
        """Return the names of the datasets, and the array, that a file or a piece of it belongs to."""
        sums = self.files[path]
        row = NO_ROW if piece is None else sums.rows[piece]
        if row != NO_ROW:
            return self.rows[row].name, sums.array
        rows = sorted(set(sums.rows) - {NO_ROW}) or range(len(self.rows))
        return ", ".join(self.rows[row].name for row in rows), sums.array


def is_piece_sound(path: str, piece: bytes, expected: int) -> bool:
    """Whether a piece of a file is unchanged.

    Parameters
    ----------
    path : str
        The file, within the block.
    piece : bytes
        The piece.
    expected : int
        Its recorded CRC-32C.
    """
    if not _is_chunk(path):
        return crc32c(piece) == expected
    body, own = piece[:-CHECKSUM_BYTES], piece[-CHECKSUM_BYTES:]
    return crc32c(body) == expected and own == expected.to_bytes(CHECKSUM_BYTES, "little")


def _is_chunk(path: str) -> bool:
    return "/c/" in path


def is_block_name(name: str) -> bool:
    """Whether a name has the form of the block names of gmdask."""
    return _BLOCK_NAME.fullmatch(name) is not None


def manifest_path(block: str) -> str:
    """Return the path of the manifest of a block."""
    return f"manifests/{block}.json"


def read_manifest(files: Files, block: str, digest: str | None = None) -> tuple[Manifest, str]:
    """Read and check the manifest of a block.

    Parameters
    ----------
    files : Files
        The store.
    block : str
        Name of the block.
    digest : str, optional
        The SHA-256 that its file must have.

    Returns
    -------
    manifest : Manifest
        Content of the block.
    digest : str
        SHA-256 of its file.

    Raises
    ------
    CorruptStoreError
        If it is missing or damaged.
    """
    path = manifest_path(block)
    where = f"{files.url}: file {path}"
    try:
        data = files.read(path)
    except FileNotFoundError as error:
        raise CorruptStoreError(f"{where} is missing") from error
    found = sha256(data)
    if digest is not None and found != digest:
        raise CorruptStoreError(f"{where}: damaged, its SHA-256 differs from that of the commit")
    content = decode_sealed(data, where)
    try:
        manifest = Manifest(
            block=content["block"],
            source_digest=content["source_digest"],
            rows=rows_from_columns(content["rows"], [content["block"]]),
            files={key: FileSums(**sums) for key, sums in content["files"].items()},
        )
        _check_sums(manifest)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise CorruptStoreError(f"{where}: not a manifest ({error!r})") from error
    if manifest.block != block:
        raise CorruptStoreError(f"{where}: it is the manifest of block {manifest.block}")
    return manifest, found


def _check_sums(manifest: Manifest) -> None:
    """Raise a ValueError if the checksums of a file are inconsistent, or it lies outside the block."""
    n_rows = len(manifest.rows)
    for path, sums in manifest.files.items():
        ends, crcs, rows = (np.asarray(x) for x in (sums.ends, sums.crc32c, sums.rows))
        fits = len({ends.shape, crcs.shape, rows.shape, (len(sums.ends),)}) == 1
        whole = all(x.dtype.kind in "iu" for x in (ends, crcs, rows)) and isinstance(sums.size, int)
        if not (fits and whole and ends.size and ends[-1] == sums.size):
            raise ValueError(f"checksums of {path} are inconsistent")
        if (np.diff(ends, prepend=0) < 0).any() or rows.min() < NO_ROW or rows.max() >= n_rows:
            raise ValueError(f"pieces of {path} are not in order, or belong to missing datasets")
        if path.startswith("/") or ".." in path.split("/"):
            raise ValueError(f"{path} lies outside of the block")


def seal(files: Files, block: str, source_digest: str, rows: Sequence[Row]) -> BlockRecord:
    """Compute the checksums of a written block and write its manifest.

    Parameters
    ----------
    files : Files
        The store.
    block : str
        Name of the block; all its files are complete.
    source_digest : str
        Digest of the input from which it was made.
    rows : sequence of Row
        Its datasets.

    Returns
    -------
    BlockRecord
        Record for a commit.
    """
    folder = f"blocks/{block}"
    files.sync(folder)
    sums = {path: _file_sums(files, folder, path) for path in files.walk(folder)}
    manifest = Manifest(block, source_digest, tuple(rows), sums)
    data = manifest.encode()
    files.put_if_absent(manifest_path(block), data)
    return manifest.record(sha256(data))


def _file_sums(files: Files, folder: str, path: str) -> FileSums:
    data = files.read(f"{folder}/{path}")
    array, is_chunk, key = path.partition("/c/")
    if not is_chunk:
        array = path.rpartition("/")[0]
    metadata = json.loads(
        files.read(f"{folder}/{array}/zarr.json" if array else f"{folder}/{path}")
    )
    codecs = metadata.get("codecs", [])
    bounds, rows = [0, len(data)], [NO_ROW]
    own_checksum = CHECKSUM_BYTES if is_chunk else 0
    if is_chunk and codecs[0]["name"] == "sharding_indexed":
        shard = metadata["chunk_grid"]["configuration"]["chunk_shape"]
        chunk = codecs[0]["configuration"]["chunk_shape"]
        first = int(key.split("/")[0]) * shard[0]
        grid = tuple(n // c for n, c in zip(shard, chunk, strict=True))
        bounds, rows = _cut_shard(data, grid, first)
    return FileSums(
        size=len(data),
        sha256=sha256(data),
        array=array,
        ends=bounds[1:],
        crc32c=[crc32c(data[start : end - own_checksum]) for start, end in pairwise(bounds)],
        rows=rows,
    )


def _cut_shard(data: bytes, grid: tuple[int, ...], first: int) -> tuple[list[int], list[int]]:
    """Return the ends of the pieces of a shard, and the dataset of each piece."""
    index_start = len(data) - 16 * prod(grid) - CHECKSUM_BYTES
    index = np.frombuffer(data, "<u8", 2 * prod(grid), index_start).reshape(-1, 2)
    order = np.argsort(index[:, 0])
    order = order[index[order, 0] != NO_CHUNK]  # without places beyond the last dataset
    starts = index[order, 0].tolist()
    ends = index[order].sum(axis=1).tolist()
    if [*starts, index_start] != [0, *ends]:
        raise CorruptStoreError("a shard just written has gaps; the block is not sealed")
    rows = (first + np.unravel_index(order, grid)[0]).tolist()
    return [*starts, index_start, len(data)], [*rows, NO_ROW]
