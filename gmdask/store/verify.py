"""Check every byte of a store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from gmdask.errors import GmdaskError
from gmdask.schemas import schema_problems
from gmdask.store.backends import Files
from gmdask.store.block import Block
from gmdask.store.checksums import sha256
from gmdask.store.commits import (
    FIRST,
    GROUP_JSON,
    GROUP_PATH,
    Commit,
    commit_numbers,
    commit_path,
    held_blocks,
    lost_commit,
    mark_numbers,
    mark_path,
    read_commit,
)
from gmdask.store.manifest import (
    Manifest,
    is_block_name,
    is_piece_sound,
    manifest_path,
    read_manifest,
)
from gmdask.store.records import Row

__all__ = ["Problem", "block_problems", "verify_files"]


@dataclass(frozen=True)
class Problem:
    """A deviation of a store from what was written.

    Attributes
    ----------
    dataset : str
        Name, or names separated by commas; ``""`` if it concerns no dataset.
    array : str
        The array; ``""`` if it concerns no array.
    file : str
        Path within the store.
    message : str
        What is wrong.
    """

    dataset: str
    array: str
    file: str
    message: str

    def __str__(self) -> str:
        owner = f"dataset {self.dataset}, array {self.array}, " if self.array else ""
        return f"{owner}file {self.file}: {self.message}"


def verify_files(files: Files) -> list[Problem]:
    """Read every file of a store and compare it with its checksums.

    Parameters
    ----------
    files : Files
        The store, however damaged.

    Returns
    -------
    list of Problem
        All problems; empty if the store is intact. Files left by a killed writer are not a
        problem.
    """
    problems, newest = _commit_problems(files)
    problems += _group_problems(files)
    committed = newest.blocks if newest else {}
    names = (name.removesuffix(".json") for name in files.names("manifests"))
    held, may_be_lost = held_blocks(files), newest is None or not mark_numbers(files)
    for block in dict.fromkeys((*committed, *filter(is_block_name, names))):
        path = manifest_path(block)
        rows = [row for row in newest.rows if row.block == block] if newest else []
        try:
            manifest, digest = read_manifest(files, block, committed.get(block))
        except GmdaskError as error:
            owners = ", ".join(row.name for row in rows)
            problems.append(Problem(owners, "", path, _short(error, path)))
            continue
        problems += _schema_problems(files, path, "manifest.json")
        if newest:
            problems += _row_problems(rows, manifest, commit_path(newest.version))
        if may_be_lost and block not in held:
            datasets = ", ".join(row.name for row in manifest.rows)
            message = "its block is finished, but no commit holds it: a commit is lost, or a writer was killed"
            problems.append(Problem(datasets, "", path, message))
        found = block_problems(files, manifest)
        if not found:
            found = _schema_problems(files, f"blocks/{block}/zarr.json", "block.json")
        problems += found or _reading_problems(files, manifest, digest)
    return problems


def _row_problems(rows: Sequence[Row], manifest: Manifest, path: str) -> list[Problem]:
    """Datasets of a commit that differ from those of their block."""
    return [
        Problem(row.name, "", path, f"differs from row {row.row} of block {row.block}")
        for row in rows
        if row.row >= len(manifest.rows) or manifest.rows[row.row] != row
    ]


def _reading_problems(files: Files, manifest: Manifest, digest: str) -> list[Problem]:
    """Reasons why a block with intact bytes cannot be opened."""
    try:
        block = Block(files, manifest.block, digest)
        for row in range(len(manifest.rows)):
            block.open_row(row)
    except (GmdaskError, ValueError, TypeError, KeyError) as error:
        return [Problem("", "", f"blocks/{manifest.block}/zarr.json", f"cannot be opened: {error}")]
    return []


def _schema_problems(files: Files, path: str, schema: str) -> list[Problem]:
    """Deviations of an intact file from its schema."""
    found = schema_problems(json.loads(files.read(path)), schema)
    return [Problem("", "", path, f"{message} ({schema})") for message in found]


def block_problems(files: Files, manifest: Manifest) -> list[Problem]:
    """Compare every file of a block with its manifest."""
    folder = f"blocks/{manifest.block}"
    problems = []
    for path in manifest.files:
        problems += _file_problems(files, manifest, path)
    problems += [
        Problem("", "", f"{folder}/{path}", "is not part of the block")
        for path in files.walk(folder)
        if path not in manifest.files
    ]
    return problems


def _file_problems(files: Files, manifest: Manifest, path: str) -> list[Problem]:
    file = f"blocks/{manifest.block}/{path}"
    sums = manifest.files[path]
    try:
        data = files.read(file)
    except FileNotFoundError:
        return [Problem(*manifest.describe(path), file, "missing")]
    except OSError as error:
        return [Problem(*manifest.describe(path), file, f"cannot be read ({error})")]
    if len(data) != sums.size:
        message = f"{len(data)} bytes, but {sums.size} were written"
        return [Problem(*manifest.describe(path), file, message)]
    if sha256(data) == sums.sha256:
        return []
    problems = []
    start = 0
    for piece, end in enumerate(sums.ends):
        if not is_piece_sound(path, data[start:end], sums.crc32c[piece]):
            message = f"bytes {start} to {end} are damaged"
            problems.append(Problem(*manifest.describe(path, piece), file, message))
        start = end
    return problems or [Problem(*manifest.describe(path), file, "damaged")]


def _commit_problems(files: Files) -> tuple[list[Problem], Commit | None]:
    """Return the problems of all commits, and the newest commit if it is intact."""
    problems = []
    newest: Commit | None = None
    before: str | None = ""
    expected = FIRST
    for number in commit_numbers(files):
        path = commit_path(number)
        if number > expected:
            problems.append(_gap(expected, number - 1))
            before = None
        newest, expected = None, number + 1
        try:
            newest = read_commit(files, number)
        except GmdaskError as error:
            problems.append(Problem("", "", path, _short(error, path)))
        if newest:
            problems += _schema_problems(files, path, "commit.json")
        if newest and before is not None and newest.parent != before:
            problems.append(Problem("", "", path, "does not follow the previous commit"))
        before = newest.digest if newest else None
    if lost := lost_commit(files):
        return [*problems, _gap(expected, lost)], None
    for number in mark_numbers(files):
        path = mark_path(number)
        if files.read(path) != sha256(files.read(commit_path(number))).encode():
            problems.append(Problem("", "", path, "does not match its commit"))
    return problems, newest


def _gap(first: int, last: int) -> Problem:
    """Return the problem of missing commits."""
    more = "" if first == last else f", and so are those up to {commit_path(last)}"
    return Problem("", "", commit_path(first), f"missing{more}")


def _group_problems(files: Files) -> list[Problem]:
    try:
        if files.read(GROUP_PATH) == GROUP_JSON:
            return []
        message = "damaged"
    except FileNotFoundError:
        message = "missing"
    except OSError as error:
        message = f"cannot be read ({error})"
    return [Problem("", "", GROUP_PATH, message)]


def _short(error: GmdaskError, path: str) -> str:
    """Return a message without its leading path."""
    return str(error).rpartition(f"file {path}")[2].lstrip(": ")
