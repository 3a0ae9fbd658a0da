"""Numbered commits: which blocks and datasets a store has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from gmdask.errors import CorruptStoreError, DuplicateNameError, StoreError, StoreNotFoundError
from gmdask.store.checksums import LAYOUT_VERSION, decode_sealed, encode_sealed, sha256
from gmdask.store.files import Files
from gmdask.store.manifest import manifest_path
from gmdask.store.records import BlockRecord, Row, rows_from_columns, rows_to_columns

__all__ = [
    "FIRST",
    "GROUP_JSON",
    "GROUP_PATH",
    "Commit",
    "commit_numbers",
    "commit_path",
    "newest_commit",
    "publish",
    "read_commit",
    "replace_blocks",
    "write_first",
]

FIRST = 1
GROUP_PATH = "blocks/zarr.json"
GROUP_JSON = b'{"zarr_format":3,"node_type":"group","attributes":{}}'
_FILE_NAME = re.compile(r"(\d{8})\.json")
_PACKAGES = ("gmdask", "numpy", "xarray", "zarr")


@dataclass(frozen=True)
class Commit:
    """One state of a store.

    Attributes
    ----------
    version : int
        Its number; the highest counts.
    parent : str
        SHA-256 of the commit before, ``""`` for the first.
    blocks : dict of str to str
        SHA-256 of the manifest, by name of the block.
    columns : dict of str to list
        The rows, as columns.
    digest : str
        SHA-256 of the file of the commit.
    """

    version: int
    parent: str
    blocks: dict[str, str]
    columns: dict[str, list[Any]]
    digest: str

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """The datasets."""
        return rows_from_columns(self.columns, list(self.blocks))


def commit_path(number: int) -> str:
    """Return where a commit is."""
    return f"commits/{number:08d}.json"


def commit_numbers(files: Files) -> list[int]:
    """Return the numbers of the commits that are there, in order."""
    matches = (_FILE_NAME.fullmatch(name) for name in files.names("commits"))
    return sorted(int(match[1]) for match in matches if match)


def read_commit(files: Files, number: int) -> Commit:
    """Read and check a commit.

    Raises
    ------
    CorruptStoreError
        It is missing or damaged.
    StoreError
        A newer version of gmdask wrote it.
    """
    where = f"{files.url}: file {commit_path(number)}"
    try:
        data = files.read(commit_path(number))
    except FileNotFoundError as error:
        raise CorruptStoreError(f"{where} is missing") from error
    except OSError as error:
        raise StoreError(f"{where} cannot be read ({error})") from error
    content = decode_sealed(data, where)
    if content.get("schema_version") != LAYOUT_VERSION:
        raise StoreError(
            f"{where}: written in version {content.get('schema_version')} of the layout, "
            f"this gmdask reads version {LAYOUT_VERSION}"
        )
    try:
        commit = Commit(
            version=content["version"],
            parent=content["parent"],
            blocks=dict(zip(content["blocks"]["id"], content["blocks"]["manifest"], strict=True)),
            columns=content["rows"],
            digest=sha256(data),
        )
        lengths = {len(column) for column in commit.columns.values()}
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptStoreError(f"{where}: not a commit ({error!r})") from error
    if commit.version != number or len(lengths) != 1:
        raise CorruptStoreError(f"{where}: not the commit of this number")
    return commit


def newest_commit(files: Files) -> Commit:
    """Read the commit that counts.

    Raises
    ------
    StoreNotFoundError
        There is none.
    CorruptStoreError
        It is damaged; the one before is not taken in its place.
    """
    numbers = commit_numbers(files)
    if not numbers:
        raise StoreNotFoundError(f"{files.url}: there is no store here (no file in commits/)")
    return read_commit(files, numbers[-1])


def write_first(files: Files) -> None:
    """Write the Zarr group and a commit without datasets, unless they are there."""
    files.put_if_absent(GROUP_PATH, GROUP_JSON)
    files.put_if_absent(commit_path(FIRST), _encode(FIRST, "", {}, ()))


def publish(files: Files, records: Sequence[BlockRecord], replaced: int | None = None) -> Commit:
    """Add finished blocks to a store under the next free number.

    Parameters
    ----------
    files : Files
        The store.
    records : sequence of BlockRecord
        The blocks, in order.
    replaced : int, optional
        Commits up to this number are left out: their datasets leave the store.

    Returns
    -------
    Commit
        The new state.

    Raises
    ------
    DuplicateNameError
        A dataset of this name is there already.
    CorruptStoreError
        The newest commit or the manifest of a block is missing or damaged.
    """
    for record in records:
        _check_sealed(files, record)
    while True:
        number, parent, blocks, rows = _state(files, replaced)
        added = [row for record in records for row in record.rows]
        _check_names(rows, added, files.url)
        blocks |= {record.block: record.manifest for record in records}
        data = _encode(number + 1, parent, blocks, (*rows, *added))
        if files.put_if_absent(commit_path(number + 1), data):
            return read_commit(files, number + 1)


def replace_blocks(
    files: Files, replacements: Sequence[tuple[Sequence[str], BlockRecord]]
) -> Commit:
    """Put finished blocks in the place of others that hold the same datasets.

    Parameters
    ----------
    files : Files
        The store.
    replacements : sequence
        Names of the blocks that go, and the block that comes in the place of their first dataset.

    Returns
    -------
    Commit
        The new state; what others added meanwhile is part of it.

    Raises
    ------
    StoreError
        A block that shall go is not there any more.
    CorruptStoreError
        The newest commit or the manifest of a block is missing or damaged.
    """
    for _, record in replacements:
        _check_sealed(files, record)
    comes = {old: record for blocks, record in replacements for old in blocks}
    while True:
        commit = newest_commit(files)
        if gone := set(comes) - set(commit.blocks):
            raise StoreError(f"{files.url}: block {min(gone)} was replaced by somebody else")
        rows: dict[str, Row] = {}
        blocks: dict[str, str] = {}
        for block, manifest in commit.blocks.items():
            new = comes.get(block)
            blocks[new.block if new else block] = new.manifest if new else manifest
        for row in commit.rows:
            added = comes[row.block].rows if row.block in comes else (row,)
            rows |= {one.name: one for one in added if one.name not in rows}
        if len(rows) != len(commit.rows):
            raise StoreError(f"{files.url}: the new blocks hold other datasets than the old ones")
        data = _encode(commit.version + 1, commit.digest, blocks, tuple(rows.values()))
        if files.put_if_absent(commit_path(commit.version + 1), data):
            return read_commit(files, commit.version + 1)


def _state(files: Files, replaced: int | None) -> tuple[int, str, dict[str, str], tuple[Row, ...]]:
    number = max(commit_numbers(files), default=0)
    if replaced is not None and number <= replaced:
        digest = sha256(files.read(commit_path(number))) if number else ""
        return number, digest, {}, ()
    commit = newest_commit(files)
    return commit.version, commit.digest, dict(commit.blocks), commit.rows


def _check_sealed(files: Files, record: BlockRecord) -> None:
    path = manifest_path(record.block)
    try:
        found = sha256(files.read(path))
    except FileNotFoundError as error:
        raise CorruptStoreError(f"{files.url}: file {path} is missing") from error
    if found != record.manifest:
        raise CorruptStoreError(f"{files.url}: file {path} is not the one that was written")


def _check_names(rows: Iterable[Row], added: Iterable[Row], url: str) -> None:
    seen = {row.name for row in rows}
    for row in added:
        if row.name in seen:
            raise DuplicateNameError(f"{url}: a dataset {row.name!r} is there already")
        seen.add(row.name)


def _encode(number: int, parent: str, blocks: dict[str, str], rows: Sequence[Row]) -> bytes:
    content = {
        "schema_version": LAYOUT_VERSION,
        "version": number,
        "parent": parent,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "provenance": {package: _version(package) for package in _PACKAGES},
        "blocks": {"id": list(blocks), "manifest": list(blocks.values())},
        "rows": rows_to_columns(rows, list(blocks)),
    }
    return encode_sealed(content)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from a checkout
        return "unknown"
