"""A store of datasets."""

from __future__ import annotations

import os
from collections.abc import Sequence

import xarray as xr

from gmdask.attributes import KnownAttributes
from gmdask.errors import (
    CorruptStoreError,
    GmdaskError,
    InputError,
    StoreError,
    StoreExistsError,
    UnknownNameError,
)
from gmdask.events import counted
from gmdask.store.backends import TEMPORARY, Files, MemoryFiles, files_at
from gmdask.store.block import Block
from gmdask.store.commits import (
    Commit,
    commit_numbers,
    held_blocks,
    lost_commit,
    mark_numbers,
    newest_commit,
    publish,
    replace_blocks,
    write_first,
)
from gmdask.store.manifest import is_block_name, manifest_path, read_manifest
from gmdask.store.records import BlockRecord, Row
from gmdask.store.verify import Problem, block_problems, verify_files
from gmdask.store.writer import write_cubes

__all__ = ["Store", "open_block", "verify_store", "write_block"]

FILE_ENDINGS = (".yaml", ".yml", ".fits", ".gz", ".csv", ".ecsv", ".json", ".h5", ".hdf5", ".txt")


class Store(KnownAttributes):
    """Datasets on disk (or in memory) in the state of one commit.

    Created by `Store.create`, `Store.open` or `Store.memory`. It is pickled as its URL, so
    that the process that receives it sees the newest commit there.

    Parameters
    ----------
    files : Files
        Backend that contains the store; it must have a commit.
    replaced : int, optional
        The first commit of this object replaces the datasets of commits up to this number.
    """

    def __init__(self, files: Files, replaced: int | None = None) -> None:
        self._files = files
        self._replaced = replaced
        self._commit: Commit | None = None if replaced is not None else newest_commit(files)
        self._blocks: dict[str, Block] = {}

    @classmethod
    def create(cls, url: str | os.PathLike[str], overwrite: bool = False) -> Store:
        """Create a new store.

        Parameters
        ----------
        url : str or path
            A directory that does not exist or is empty, or a store without datasets
            (left by an unfinished import), whose finished blocks can be
            reused.
        overwrite : bool
            Whether an existing store may have datasets. They stay until the first
            `commit`, which replaces them in one step; `gc` then frees their space.

        Returns
        -------
        Store
            Without datasets.

        Raises
        ------
        StoreExistsError
            If there is a store with datasets, or something that is not a store.
        CorruptStoreError
            If there is a damaged store, and overwrite is False.
        InputError
            If the name has the ending of another kind of file, such as "x.yaml".
        """
        ending = os.path.splitext(str(url))[1].lower()  # noqa: PTH122  (of URLs, too)
        if ending in FILE_ENDINGS:
            raise InputError(
                f"{url}: a store is a folder, but {ending!r} is the ending of a file: expected a name such as x.zarr"
            )
        files = files_at(url)
        numbers = commit_numbers(files)
        foreign = [name for name in files.names("") if name not in ("blocks", "commits")]
        if not numbers and foreign:
            raise StoreExistsError(
                f"{files.url}: is neither empty nor a store: {foreign[0]!r} found"
            )
        if not overwrite and lost_commit(files):
            newest_commit(files)  # raises
        if not numbers:
            write_first(files)
        if overwrite:
            return cls(files, replaced=max(numbers, default=0))
        store = cls(files)
        if store.rows:
            raise StoreExistsError(
                f"{files.url}: a store with {counted(len(store.rows), 'dataset')} already exists"
            )
        return store

    @classmethod
    def open(cls, url: str | os.PathLike[str]) -> Store:
        """Open a store at its newest commit.

        Raises
        ------
        StoreNotFoundError
            If the store does not exist.
        CorruptStoreError
            If the newest commit is damaged.
        """
        return cls(files_at(url))

    @classmethod
    def memory(cls) -> Store:
        """Create a store in the memory of this process."""
        files = MemoryFiles()
        write_first(files)
        return cls(files)

    @property
    def url(self) -> str:
        """URL of the store."""
        return self._files.url

    @property
    def rows(self) -> tuple[Row, ...]:
        """Its datasets, in order."""
        return self._commit.rows if self._commit else ()

    @property
    def version(self) -> int:
        """Number of its commit (0 before the commit that overwrites a store)."""
        return self._commit.version if self._commit else 0

    @property
    def digest(self) -> str:
        """SHA-256 of its commit, which identifies the whole content down to the last bit."""
        return self._commit.digest if self._commit else ""

    def manifest_digest(self, block: str) -> str:
        """Return the SHA-256 of the manifest of one of its blocks.

        Raises
        ------
        UnknownNameError
            If the store has no such block.
        """
        blocks = self._commit.blocks if self._commit else {}
        if block not in blocks:
            raise UnknownNameError(f"{self.url}: there is no block {block!r} in this commit")
        return blocks[block]

    def open_block(self, block: str) -> Block:
        """Open one of its blocks; a block that was opened before is reused.

        Raises
        ------
        UnknownNameError
            If the store has no such block.
        CorruptStoreError
            If its manifest or metadata are missing or damaged.
        """
        if block not in self._blocks:
            self._blocks[block] = Block(self._files, block, self.manifest_digest(block))
        return self._blocks[block]

    def open_row(self, row: Row) -> xr.Dataset:
        """Return a dataset, lazily: each array is read when it is used.

        Parameters
        ----------
        row : Row
            One of `rows`.

        Returns
        -------
        xarray.Dataset
            As it was written.

        Raises
        ------
        CorruptStoreError
            If the stored bytes were changed; also raised later, when arrays are read.
        """
        block = self.open_block(row.block)
        there = block.manifest.rows
        if not 0 <= row.row < len(there) or there[row.row].name != row.name:
            raise CorruptStoreError(
                f"{self.url}: dataset {row.name!r} is not in row {row.row} of block {row.block}"
            )
        return block.open_row(row.row)

    def write_block(self, cubes: Sequence[xr.Dataset], source_digest: str) -> BlockRecord:
        """Write cubes of the same shape as a block; see `commit`.

        Parameters
        ----------
        cubes : sequence of xarray.Dataset
            In memory, with the same axes, shapes, dtypes and units.
        source_digest : str
            Digest of the input, by which `find_uncommitted` finds the block.

        Returns
        -------
        BlockRecord
            Plain data, to be committed in this process or another.
        """
        return write_cubes(self._files, cubes, source_digest)

    def commit(self, records: Sequence[BlockRecord]) -> None:
        """Add finished blocks to the store, either all of them or none.

        Parameters
        ----------
        records : sequence of BlockRecord
            In the order of the datasets, which follow the existing ones.

        Raises
        ------
        DuplicateNameError
            If a dataset of the same name exists already.
        """
        self._commit = publish(self._files, records, self._replaced)
        self._replaced = None

    def replace_blocks(self, replacements: Sequence[tuple[Sequence[str], BlockRecord]]) -> None:
        """Replace blocks by finished blocks with the same datasets, either all of them or none.

        Parameters
        ----------
        replacements : sequence of (sequence of str, BlockRecord)
            Names of the blocks to be replaced, and the block that replaces them.

        Raises
        ------
        StoreError
            If a block to be replaced no longer exists.
        """
        self._commit = replace_blocks(self._files, replacements)

    def find_uncommitted(self, source_digest: str) -> BlockRecord | None:
        """Return a finished, intact block made from the same input that was never committed."""
        committed = self._commit.blocks if self._commit else {}
        for block in self._sealed():
            if block in committed or not block.startswith(source_digest[:16]):
                continue
            try:
                manifest, digest = read_manifest(self._files, block)
            except GmdaskError:
                continue
            if manifest.source_digest != source_digest or block_problems(self._files, manifest):
                continue
            self._files.touch(f"blocks/{block}")  # so that a concurrent gc does not remove it
            return manifest.record(digest)
        return None

    def gc(self, older_than_s: float, unfinished_older_than_s: float | None = None) -> list[str]:
        """Remove blocks that are not in the newest commit.

        Parameters
        ----------
        older_than_s : float
            Only blocks that have not changed for this many seconds are removed: a younger one may
            belong to a running writer, or to a reader of an older commit.
        unfinished_older_than_s : float, optional
            The same for blocks that were never in a commit; by default the same time.

        Returns
        -------
        list of str
            Names of the removed blocks. Files that gmdask did not write are kept.

        Raises
        ------
        StoreError
            If the newest commit is lost or may be lost: there are finished blocks that no commit
            holds, and nothing proves that no commit is missing.
        """
        kept, held = newest_commit(self._files).blocks, held_blocks(self._files)
        never_held = [block for block in self._sealed() if block not in held]
        if never_held and not mark_numbers(self._files):
            raise StoreError(
                f"{self.url}: no commit holds {len(never_held)} finished blocks ({never_held[0]}, ...): either a "
                "writer was killed or a commit is lost; nothing is removed (see gmdask verify)"
            )
        blocks = {name for name in self._files.names("blocks") if is_block_name(name)}
        removed = []
        for block in sorted(blocks | set(self._sealed())):
            folder = f"blocks/{block}"
            least = older_than_s if block in held else unfinished_older_than_s
            least = older_than_s if least is None else least
            if block not in kept and self._files.age(folder) >= least:
                self._files.remove(manifest_path(block))
                self._files.remove(folder)
                removed.append(block)
        for folder in ("commits", "manifests"):
            for name in self._files.names(folder):
                path = f"{folder}/{name}"
                if name.startswith(TEMPORARY) and self._files.age(path) >= older_than_s:
                    self._files.remove(path)
        return removed

    def verify(self) -> list[Problem]:
        """Read every file and compare it with its checksums.

        Returns
        -------
        list of Problem
            All problems; empty if there are none.
        """
        return verify_files(self._files)

    def _sealed(self) -> list[str]:
        names = (name.removesuffix(".json") for name in self._files.names("manifests"))
        return [name for name in names if is_block_name(name)]

    def __repr__(self) -> str:
        return f"<Store {self.url}: {len(self.rows)} datasets, version {self.version}>"

    def __reduce__(self) -> tuple[type[Store], tuple[Files]]:
        return Store, (self._files,)


def write_block(
    url: str | os.PathLike[str], cubes: Sequence[xr.Dataset], source_digest: str
) -> BlockRecord:
    """Write a block into the store at a URL: `Store.write_block` for another process."""
    files = files_at(url)
    if not commit_numbers(files):
        newest_commit(files)  # raises: there is no store
    return write_cubes(files, cubes, source_digest)


def open_block(url: str | os.PathLike[str], block: str, manifest_digest: str) -> Block:
    """Open a block of a store, regardless of the current commit.

    Parameters
    ----------
    url : str or path
        The store.
    block : str
        Name of the block.
    manifest_digest : str
        SHA-256 of its manifest; see `Store.manifest_digest`.

    Raises
    ------
    CorruptStoreError
        If its manifest or metadata are missing or damaged.
    """
    return Block(files_at(url), block, manifest_digest)


def verify_store(url: str | os.PathLike[str]) -> list[Problem]:
    """Check a store that may be too damaged to be opened.

    Returns
    -------
    list of Problem
        All problems; empty if there are none.

    Raises
    ------
    StoreNotFoundError
        If the store does not exist.
    """
    files = files_at(url)
    if not commit_numbers(files) and not lost_commit(files):
        newest_commit(files)  # raises: there is no store
    return verify_files(files)
