"""Checking every byte of a store."""

from __future__ import annotations

import json
from dataclasses import dataclass

from gmdask.errors import GmdaskError
from gmdask.schemas import schema_problems
from gmdask.store.checksums import sha256
from gmdask.store.commits import (
    FIRST,
    GROUP_JSON,
    GROUP_PATH,
    Commit,
    commit_numbers,
    commit_path,
    read_commit,
)
from gmdask.store.files import Files
from gmdask.store.manifest import Manifest, is_piece_sound, manifest_path, read_manifest

__all__ = ["Problem", "block_problems", "verify_files"]


@dataclass(frozen=True)
class Problem:
    """Something in a store is not what was written.

    Attributes
    ----------
    dataset : str
        Name, or names with commas; ``""`` if it is of none.
    array : str
        The array; ``""`` if the file is of none.
    file : str
        Path within the store.
    message : str
        What is wrong with it.
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
        The store, which may be damaged in any way.

    Returns
    -------
    list of Problem
        All that was found; empty if the store is sound. What a writer that was
        killed has left behind is no problem.
    """
    problems, newest = _commit_problems(files)
    problems += _group_problems(files)
    committed = newest.blocks if newest else {}
    sealed = [name.removesuffix(".json") for name in files.names("manifests")]
    uncommitted = [name for name in sealed if name not in committed and name[0] != "."]
    for block in (*committed, *uncommitted):
        try:
            manifest, _ = read_manifest(files, block, committed.get(block))
        except GmdaskError as error:
            names = [row.name for row in newest.rows if row.block == block] if newest else []
            path = manifest_path(block)
            problems.append(Problem(", ".join(names), "", path, _short(error, path)))
        else:
            problems += _schema_problems(files, manifest_path(block), "manifest.json")
            found = block_problems(files, manifest)
            if not found:
                found = _schema_problems(files, f"blocks/{block}/zarr.json", "block.json")
            problems += found
    return problems


def _schema_problems(files: Files, path: str, schema: str) -> list[Problem]:
    """Where a file that is as it was written is not what its schema expects."""
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
        message = f"{len(data)} bytes, where {sums.size} were written"
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
    problems = []
    numbers = commit_numbers(files)
    newest: Commit | None = None
    before: str | None = ""
    for number in range(FIRST, max(numbers, default=FIRST) + 1):
        path = commit_path(number)
        newest = None
        try:
            newest = read_commit(files, number)
        except GmdaskError as error:
            problems.append(Problem("", "", path, _short(error, path)))
        if newest:
            problems += _schema_problems(files, path, "commit.json")
        if newest and before is not None and newest.parent != before:
            problems.append(Problem("", "", path, "does not follow the commit before it"))
        before = newest.digest if newest else None
    return problems, newest


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
    """Return a message without the path it begins with."""
    return str(error).rpartition(f"file {path}")[2].lstrip(": ")
