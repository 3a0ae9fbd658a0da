"""Numbered commits: which blocks and datasets a store has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from gmdask.errors import CorruptStoreError, DuplicateNameError, StoreError, StoreNotFoundError
from gmdask.store.backends import Files
from gmdask.store.checksums import LAYOUT_VERSION, decode_sealed, encode_sealed, sha256
from gmdask.store.manifest import is_block_name, manifest_path
from gmdask.store.records import BlockRecord, Row, rows_from_columns, rows_to_columns

__all__ = [
    "FIRST",
    "GROUP_JSON",
    "GROUP_PATH",
    "Commit",
    "commit_numbers",
    "commit_path",
    "held_blocks",
    "lost_commit",
    "mark_numbers",
    "mark_path",
    "newest_commit",
    "publish",
    "read_commit",
    "replace_blocks",
    "write_first",
]

FIRST = 1
LAST = 99_999_999
GROUP_PATH = "blocks/zarr.json"
GROUP_JSON = b'{"zarr_format":3,"node_type":"group","attributes":{}}'
_FILE_NAME = re.compile(r"(\d{8})\.json")
_MARK_NAME = re.compile(r"(\d{8})\.mark")
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
    rows : tuple of Row
        The datasets.
    digest : str
        SHA-256 of the file of the commit.
    """

    version: int
    parent: str
    blocks: dict[str, str]
    rows: tuple[Row, ...]
    digest: str


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
            blocks=_blocks(content),
            rows=rows_from_columns(content["rows"], content["blocks"]["id"]),
            digest=sha256(data),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptStoreError(f"{where}: not a commit ({error!r})") from error
    if len({row.name for row in commit.rows}) != len(commit.rows):
        raise CorruptStoreError(f"{where}: not a commit (two datasets have the same name)")
    if commit.version != number:
        raise CorruptStoreError(f"{where}: not the commit of this number")
    return commit


def _blocks(content: dict[str, Any]) -> dict[str, str]:
    """Manifests by name of the block, of a commit's content."""
    found = dict(zip(content["blocks"]["id"], content["blocks"]["manifest"], strict=True))
    for block, manifest in found.items():
        if not isinstance(block, str) or not isinstance(manifest, str) or not is_block_name(block):
            raise ValueError(f"{block!r} is not the name of a block")
    return found


def mark_path(number: int) -> str:
    """Return where the mark of a commit is: a file that tells, if the commit is lost, that it was there."""
    return f"commits/{number:08d}.mark"


def lost_commit(files: Files) -> int | None:
    """Return the number of the newest commit if its file is lost, as far as that can be known."""
    newest = max(commit_numbers(files), default=0)
    marked = max(mark_numbers(files), default=0)
    return marked if marked > newest else None


def mark_numbers(files: Files) -> list[int]:
    """Return the numbers of the commits that have a mark: the newest, and none in a store of old."""
    matches = (_MARK_NAME.fullmatch(name) for name in files.names("commits"))
    return sorted(int(match[1]) for match in matches if match)


def held_blocks(files: Files) -> set[str]:
    """Return the names of all blocks that any commit holds, or held; damaged commits are passed over."""
    held: set[str] = set()
    for number in commit_numbers(files):
        with suppress(CorruptStoreError, OSError, KeyError, TypeError, ValueError):
            held |= _blocks(decode_sealed(files.read(commit_path(number)), "")).keys()
    return held


def _published(files: Files, number: int, data: bytes) -> bool:
    """Whether a commit could be given its number; it is marked then."""
    if number > LAST:
        raise StoreError(f"{files.url}: there is no number left for another commit")
    if not files.put_if_absent(commit_path(number), data):
        return False
    with suppress(StoreError):  # the store is what it should be without its mark, too
        mark = sha256(data).encode()
        if not files.put_if_absent(mark_path(number), mark):  # of a commit that was lost
            files.remove(mark_path(number))
            files.put_if_absent(mark_path(number), mark)
        for old in mark_numbers(files):
            if old < number:
                files.remove(mark_path(old))
    return True


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
    if lost := lost_commit(files):
        raise CorruptStoreError(
            f"{files.url}: file {commit_path(lost)}, the newest commit, is missing"
        )
    if not numbers:
        raise StoreNotFoundError(f"{files.url}: there is no store here (no file in commits/)")
    return read_commit(files, numbers[-1])


def write_first(files: Files) -> None:
    """Write the Zarr group and a commit without datasets, unless they are there."""
    files.put_if_absent(GROUP_PATH, GROUP_JSON)
    _published(files, FIRST, _encode(FIRST, "", {}, ()))


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
        if _published(files, number + 1, data):
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
        if _published(files, commit.version + 1, data):
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
