"""Numbered commits, which list the blocks and datasets of a store."""

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
        Its number; the commit with the highest number is the current one.
    parent : str
        SHA-256 of the previous commit, ``""`` for the first.
    blocks : dict of str to str
        SHA-256 of the manifest of each block, by name of the block.
    rows : tuple of Row
        The datasets.
    digest : str
        SHA-256 of the commit's file.
    """

    version: int
    parent: str
    blocks: dict[str, str]
    rows: tuple[Row, ...]
    digest: str


def commit_path(number: int) -> str:
    """Return the path of a commit."""
    return f"commits/{number:08d}.json"


def commit_numbers(files: Files) -> list[int]:
    """Return the numbers of the existing commits, in order."""
    matches = (_FILE_NAME.fullmatch(name) for name in files.names("commits"))
    return sorted(int(match[1]) for match in matches if match)


def read_commit(files: Files, number: int) -> Commit:
    """Read and check a commit.

    Raises
    ------
    CorruptStoreError
        If it is missing or damaged.
    StoreError
        If it was written by a newer version of gmdask.
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
        raise CorruptStoreError(f"{where}: contains a commit of another number")
    return commit


def _blocks(content: dict[str, Any]) -> dict[str, str]:
    """Return the manifests, by name of the block, from a commit's content."""
    found = dict(zip(content["blocks"]["id"], content["blocks"]["manifest"], strict=True))
    for block, manifest in found.items():
        if not isinstance(block, str) or not isinstance(manifest, str) or not is_block_name(block):
            raise ValueError(f"{block!r} is not the name of a block")
    return found


def mark_path(number: int) -> str:
    """Return the path of a commit's mark: a file that proves that the commit existed, should it be lost."""
    return f"commits/{number:08d}.mark"


def lost_commit(files: Files) -> int | None:
    """Return the number of the newest commit if its file is known to be lost."""
    newest = max(commit_numbers(files), default=0)
    marked = max(mark_numbers(files), default=0)
    return marked if marked > newest else None


def mark_numbers(files: Files) -> list[int]:
    """Return the numbers of the commits with a mark: the newest only, and none in old stores."""
    matches = (_MARK_NAME.fullmatch(name) for name in files.names("commits"))
    return sorted(int(match[1]) for match in matches if match)


def held_blocks(files: Files) -> set[str]:
    """Return the names of all blocks that any commit holds or held; damaged commits are skipped."""
    held: set[str] = set()
    for number in commit_numbers(files):
        with suppress(CorruptStoreError, OSError, KeyError, TypeError, ValueError):
            held |= _blocks(decode_sealed(files.read(commit_path(number)), "")).keys()
    return held


def _published(files: Files, number: int, data: bytes) -> bool:
    """Try to give a commit its number, and mark it on success."""
    if number > LAST:
        raise StoreError(f"{files.url}: no number is left for another commit")
    if not files.put_if_absent(commit_path(number), data):
        return False
    with suppress(StoreError):  # the store is valid without its mark, too
        mark = sha256(data).encode()
        if not files.put_if_absent(mark_path(number), mark):  # the mark of a lost commit
            files.remove(mark_path(number))
            files.put_if_absent(mark_path(number), mark)
        for old in mark_numbers(files):
            if old < number:
                files.remove(mark_path(old))
    return True


def newest_commit(files: Files) -> Commit:
    """Read the current commit.

    Raises
    ------
    StoreNotFoundError
        If there is no commit.
    CorruptStoreError
        If it is damaged; the previous one is not used instead.
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
    """Write the Zarr group and a commit without datasets, unless they exist."""
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
        Commits up to this number are not carried over: their datasets leave the store.

    Returns
    -------
    Commit
        The new state.

    Raises
    ------
    DuplicateNameError
        If the store already has a dataset of this name.
    CorruptStoreError
        If the newest commit or the manifest of a block is missing or damaged.
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
    """Replace blocks by finished blocks with the same datasets.

    Parameters
    ----------
    files : Files
        The store.
    replacements : sequence
        Names of the blocks to be replaced, and the block that takes the place of their first dataset.

    Returns
    -------
    Commit
        The new state, including what others added meanwhile.

    Raises
    ------
    StoreError
        If a block to be replaced no longer exists.
    CorruptStoreError
        If the newest commit or the manifest of a block is missing or damaged.
    """
    for _, record in replacements:
        _check_sealed(files, record)
    comes = {old: record for blocks, record in replacements for old in blocks}
    while True:
        commit = newest_commit(files)
        if gone := set(comes) - set(commit.blocks):
            raise StoreError(f"{files.url}: block {min(gone)} was replaced by another process")
        rows: dict[str, Row] = {}
        blocks: dict[str, str] = {}
        for block, manifest in commit.blocks.items():
            new = comes.get(block)
            blocks[new.block if new else block] = new.manifest if new else manifest
        for row in commit.rows:
            added = comes[row.block].rows if row.block in comes else (row,)
            rows |= {one.name: one for one in added if one.name not in rows}
        if len(rows) != len(commit.rows):
            raise StoreError(
                f"{files.url}: the datasets of the new blocks differ from those of the old ones"
            )
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
        raise CorruptStoreError(f"{files.url}: file {path} was changed since it was written")


def _check_names(rows: Iterable[Row], added: Iterable[Row], url: str) -> None:
    seen = {row.name for row in rows}
    for row in added:
        if row.name in seen:
            raise DuplicateNameError(f"{url}: a dataset {row.name!r} already exists")
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
    except PackageNotFoundError:  # gmdask is run from a source tree
        return "unknown"
