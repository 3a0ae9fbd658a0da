"""Read the files of a block, with every byte checked."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from typing import NoReturn

from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

from gmdask.errors import CorruptStoreError
from gmdask.store.backends import Files
from gmdask.store.manifest import Manifest, is_piece_sound

__all__ = ["CheckedFiles", "CheckedStore"]


class CheckedFiles:
    """The files of one sealed block, checked at each read.

    The manifest alone defines which files exist. Every range that is read is extended
    to whole pieces (inner chunks, shard indices, files), whose CRC-32C must match the
    recorded one.

    Parameters
    ----------
    files : Files
        The store.
    manifest : Manifest
        Manifest of the block.
    """

    def __init__(self, files: Files, manifest: Manifest) -> None:
        self.files = files
        self.manifest = manifest
        self.folder = f"blocks/{manifest.block}"

    def read(self, key: str, start: int, end: int) -> bytes:
        """Return some bytes of a file.

        Parameters
        ----------
        key : str
            Its path within the block, which must be in the manifest.
        start, end : int
            Range of bytes, within the size of the file.

        Returns
        -------
        bytes
            The bytes, as they were written.

        Raises
        ------
        CorruptStoreError
            If the file is missing, truncated or damaged.
        """
        sums = self.manifest.files[key]
        if not 0 <= start <= end <= sums.size:
            self._fail(key, f"has no bytes {start} to {end}")
        first = bisect_right(sums.ends, start)
        last = bisect_left(sums.ends, end)
        begin = sums.ends[first - 1] if first else 0
        stop = sums.ends[last]
        try:
            # one byte more than expected is read, to notice a file that has grown
            more = stop == sums.size
            data = self.files.read_range(f"{self.folder}/{key}", begin, stop + more)
        except FileNotFoundError:
            self._fail(key, "missing")
        except OSError as error:
            self._fail(key, f"cannot be read ({error.strerror or error})")
        if len(data) != stop - begin:
            self._fail(key, f"truncated or grown ({sums.size} bytes were written)")
        position = begin
        for piece in range(first, last + 1):
            piece_end = sums.ends[piece]
            content = data[position - begin : piece_end - begin]
            if not is_piece_sound(key, content, sums.crc32c[piece]):
                self._fail(key, f"bytes {position} to {piece_end} are damaged", piece)
            position = piece_end
        return data[start - begin : end - begin]

    def _fail(self, key: str, message: str, piece: int | None = None) -> NoReturn:
        names, array = self.manifest.describe(key, piece)
        owner = f"dataset {names}, array {array}, " if array else ""
        raise CorruptStoreError(f"{self.files.url}: {owner}file {self.folder}/{key}: {message}")


class CheckedStore(WrapperStore[Store]):
    """The same checks for reads through Zarr.

    Zarr by itself takes a missing shard as zeros, and does not notice two swapped
    shards.

    Parameters
    ----------
    store : zarr.abc.store.Store
        The block's folder, read only.
    checked : CheckedFiles
        The same folder.
    """

    def __init__(self, store: Store, checked: CheckedFiles) -> None:
        super().__init__(store)
        self._checked = checked

    def _with_store(self, store: Store) -> CheckedStore:
        return CheckedStore(store, self._checked)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return the requested bytes of a file, None if the block has no such file.

        Raises
        ------
        CorruptStoreError
            If the file is missing, truncated or damaged.
        """
        sums = self._checked.manifest.files.get(key)
        if sums is None:
            return None
        start, end = _bounds(byte_range, sums.size)
        return prototype.buffer.from_bytes(self._checked.read(key, start, end))

    async def get_partial_values(
        self,
        prototype: BufferPrototype,
        key_ranges: Iterable[tuple[str, ByteRequest | None]],
    ) -> list[Buffer | None]:
        """Return several ranges, each checked."""
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]

    async def _get_many(
        self, requests: Iterable[tuple[str, BufferPrototype, ByteRequest | None]]
    ) -> AsyncGenerator[tuple[str, Buffer | None], None]:
        for key, prototype, byte_range in requests:
            yield key, await self.get(key, prototype, byte_range)

    async def exists(self, key: str) -> bool:
        """Whether the manifest contains a file."""
        return key in self._checked.manifest.files

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """List the files of the manifest whose path begins with a prefix."""
        for key in self._checked.manifest.files:
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """List the direct members of a folder, according to the manifest."""
        folder = f"{prefix.rstrip('/')}/" if prefix else ""
        names = self._checked.manifest.files
        below = {key[len(folder) :].split("/", 1)[0] for key in names if key.startswith(folder)}
        for name in sorted(below):
            yield name

    async def list(self) -> AsyncIterator[str]:
        """List the files of the manifest."""
        for key in self._checked.manifest.files:
            yield key


def _bounds(byte_range: ByteRequest | None, size: int) -> tuple[int, int]:
    if isinstance(byte_range, RangeByteRequest):
        return min(byte_range.start, size), min(byte_range.end, size)
    if isinstance(byte_range, OffsetByteRequest):
        return min(byte_range.offset, size), size
    if isinstance(byte_range, SuffixByteRequest):
        return max(0, size - byte_range.suffix), size
    return 0, size
