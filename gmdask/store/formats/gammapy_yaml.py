"""Read Gammapy's list of datasets in YAML."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gmdask.errors import DuplicateNameError, InputError, InputNotFoundError
from gmdask.inputs import load_yaml, read_bytes
from gmdask.paths import expanded
from gmdask.schemas import schema_problems
from gmdask.store.formats.ogip_rows import split_row

__all__ = ["DatasetEntry", "read_datasets_yaml"]


@dataclass(frozen=True)
class DatasetEntry:
    """One entry of a list of datasets.

    Attributes
    ----------
    name : str
        Name of the dataset.
    kind : str
        Gammapy's class name, such as ``MapDataset``.
    path : pathlib.Path
        Path of its file, absolute or relative to the working directory; ``file{row}`` for one of several
        OGIP spectra in a file.
    """

    name: str
    kind: str
    path: Path


def read_datasets_yaml(path: str | Path, kinds: Collection[str]) -> list[DatasetEntry]:
    """Read Gammapy's ``datasets.yaml``.

    Parameters
    ----------
    path : str or pathlib.Path
        The YAML file; the files it lists are relative to its folder.
    kinds : collection of str
        Kinds of datasets that can be read.

    Returns
    -------
    list of DatasetEntry
        In the order of the file.

    Raises
    ------
    InputNotFoundError
        If the YAML file, or a file it lists, does not exist.
    InputError
        If it is not YAML, or not a list of datasets, or lists a kind that cannot be read.
    DuplicateNameError
        If two datasets have the same name.
    """
    path = expanded(path)
    content = load_yaml(read_bytes(path, "list of datasets"), str(path))
    if not isinstance(content, dict) or not isinstance(content.get("datasets"), list):
        raise InputError(f"{path}: expected a mapping with a list 'datasets'")
    entries = [
        _entry(item, f"{path}: datasets[{number}]", path.parent, kinds)
        for number, item in enumerate(content["datasets"])
    ]
    if problems := schema_problems(content, "datasets.json"):
        raise InputError(f"{path}: {'; '.join(problems)}")
    seen: set[str] = set()
    for number, entry in enumerate(entries):
        if entry.name in seen:
            raise DuplicateNameError(
                f"{path}: datasets[{number}]: name {entry.name!r} is already used"
            )
        seen.add(entry.name)
    return entries


def _entry(item: Any, where: str, folder: Path, kinds: Collection[str]) -> DatasetEntry:
    if not isinstance(item, dict):
        raise InputError(f"{where}: expected a mapping")
    for key in ("name", "type", "filename"):
        if key not in item:
            raise InputError(f"{where}: key {key!r} is missing")
    name, kind = str(item["name"]), item["type"]
    if not isinstance(kind, str) or kind not in kinds:
        raise InputError(
            f"{where}: key 'type': dataset {name!r} is a {kind}; "
            f"only {', '.join(kinds)} can be read so far"
        )
    filename = item["filename"]
    if not isinstance(filename, str):
        raise InputError(f"{where}: key 'filename': expected a string, not {filename!r}")
    file = folder / expanded(filename)
    if not split_row(file)[0].is_file():
        raise InputNotFoundError(f"{where}: key 'filename': no such file: {split_row(file)[0]}")
    return DatasetEntry(name=name, kind=kind, path=file)
