"""Model files: Gammapy's YAML, and the covariance table beside it.

Both are written to temporary names first. The YAML contains the digest of its table, so that it is
noticed if only one of the two was replaced.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import md5, sha256
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import yaml
from numpy.typing import NDArray

from gmdask.errors import ModelError, StoreExistsError
from gmdask.inputs import load_arrays, load_yaml, read_bytes
from gmdask.models.block_matrix import BlockMatrix

__all__ = [
    "covariance_path",
    "match_rows",
    "read_blocks",
    "read_covariance",
    "read_yaml",
    "render_blocks",
    "render_covariance",
    "render_yaml",
    "verify_checksum",
    "write_files",
]

Array = NDArray[np.float64]

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_DIGEST = "covariance_sha256"


# --- reading ----------------------------------------------------------------------------


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file of models.

    Raises
    ------
    InputNotFoundError
        If the file does not exist.
    ModelError
        If it is not YAML, exceeds the limits of `load_yaml`, or is not a mapping.
    """
    data = load_yaml(read_bytes(path, "file of models", ModelError), str(path), ModelError)
    if not isinstance(data, dict) or "components" not in data:
        msg = f"{path}: not a models file, expected a mapping with the key 'components'"
        raise ModelError(msg)
    return data


def verify_checksum(path: Path, data: dict[str, Any]) -> None:
    """Compare the checksum of a models YAML with its content, as Gammapy does.

    Raises
    ------
    ModelError
        If there is no checksum, or it does not match.
    """
    rest = {key: value for key, value in data.items() if key != "checksum"}
    if data.get("checksum") != _checksum(_dumped(rest)):
        msg = f"{path}: the checksum does not match the content"
        raise ModelError(msg)


def _dumped(data: dict[str, Any]) -> str:
    """Return YAML as Gammapy dumps it for verification."""
    return str(yaml.dump(data, sort_keys=False, indent=4, width=80, default_flow_style=False))


def _checksum(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()


def covariance_path(path: Path, data: dict[str, Any], key: str = "covariance") -> Path | None:
    """Return the path of the covariance that a models file refers to, None if there is none.

    Raises
    ------
    ModelError
        If it is not a file name.
    """
    name = data.get(key)
    if name is None:
        return None
    if not isinstance(name, str) or not name:
        msg = f"{path}: {key} is {name!r}, expected the name of a file"
        raise ModelError(msg)
    return path.parent / name


def _covariance_bytes(path: Path, metadata: object) -> bytes:
    """Read a covariance file, and check that it belongs to the YAML."""
    raw = read_bytes(path, "covariance file", ModelError)
    digest = metadata.get(_DIGEST) if isinstance(metadata, dict) else None
    if digest is not None and digest != sha256(raw).hexdigest():
        msg = (
            f"{path}: is not the covariance that was written together with the YAML "
            f"(remove {_DIGEST} from its metadata to read it anyway)"
        )
        raise ModelError(msg)
    return raw


def read_blocks(path: Path, metadata: object = None) -> tuple[list[str], BlockMatrix]:
    """Read a block covariance.

    Parameters
    ----------
    path : Path
        File.
    metadata : dict, optional
        Metadata of the YAML that refers to it.

    Returns
    -------
    names : list of str
        Names of the parameters in the order of the rows, each shared one once.
    matrix : BlockMatrix

    Raises
    ------
    InputNotFoundError
        If the file does not exist.
    ModelError
        If it is not such a file, or belongs to another YAML.
    """
    raw = _covariance_bytes(path, metadata)
    try:
        found = load_arrays(raw, str(path), ModelError)
        return found.pop("names").tolist(), BlockMatrix.from_arrays(found)
    except ModelError:
        raise
    except (KeyError, TypeError, ValueError, IndexError) as error:
        msg = f"{path}: not a block covariance: {error}"
        raise ModelError(msg) from error


def read_covariance(path: Path, metadata: object = None) -> tuple[list[str], Array]:
    """Read a covariance table (Astropy's "ascii.fixed_width" with "|").

    Parameters
    ----------
    path : Path
        File.
    metadata : dict, optional
        Metadata of the YAML that refers to it; if it contains a digest, this is compared.

    Returns
    -------
    names : list of str
        Full names of the parameters in the order of the rows.
    matrix : ndarray [rows, rows]

    Raises
    ------
    InputNotFoundError
        If the file does not exist.
    ModelError
        If it is not such a table, or belongs to another YAML.
    """
    raw = _covariance_bytes(path, metadata)
    try:
        lines = [line.strip() for line in raw.decode().splitlines() if line.strip()]
        size = len(lines) - 1
        cells = [line.removeprefix("|").removesuffix("|").rsplit("|", size) for line in lines]
        names = [row[0].strip() for row in cells[1:]]
        matrix = np.array([[float(cell) for cell in row[1:]] for row in cells[1:]], dtype=float)
    except (ValueError, UnicodeDecodeError) as error:
        msg = f"{path}: not a table of numbers: {error}"
        raise ModelError(msg) from error
    if matrix.shape != (size, size):
        msg = f"{path}: expected a square table with one row per parameter"
        raise ModelError(msg)
    return names, matrix


def match_rows(found: Sequence[str], expected: Sequence[str]) -> list[int]:
    """Find the row of each parameter in a covariance table.

    Rows are matched by name. If a name is missing (e.g. a background model had a name of its own), they are
    matched by order, provided that every row is of the same kind.

    Parameters
    ----------
    found : list of str
        Names in the order of the rows.
    expected : list of str
        Full names of all parameters; shared ones are repeated.

    Raises
    ------
    ModelError
        If the rows belong to other models.
    """
    rows = {name: k for k, name in reversed(list(enumerate(found)))}
    if len(rows) == len(found) and set(expected) == set(rows):
        return [rows[name] for name in expected]
    same = len(found) == len(expected) and all(
        a.rsplit(".", 2)[-2:] == b.rsplit(".", 2)[-2:] for a, b in zip(found, expected, strict=True)
    )
    if same:
        return list(range(len(found)))
    missing = [name for name in expected if name not in rows]
    msg = f"covariance of other parameters: {len(found)} rows, expected {len(expected)}" + (
        f", without {', '.join(missing[:3])}" if missing else ""
    )
    raise ModelError(msg)


# --- writing ----------------------------------------------------------------------------


def render_covariance(names: Sequence[str], matrix: Array) -> bytes:
    """Return a covariance table as Gammapy writes it.

    Parameters
    ----------
    names : list of str
        Full names in the order of the rows.
    matrix : ndarray [rows, rows]
    """
    numbers = [[str(k), *map(repr, column)] for k, column in enumerate(matrix.T.tolist())]
    columns = [["Parameters", *names], *numbers]
    padded = []
    for column in columns:
        width = max(map(len, column))
        padded.append([cell.rjust(width) for cell in column])
    lines = ["| " + " | ".join(row) + " |" for row in zip(*padded, strict=True)]
    return ("\n".join(lines) + "\n").encode()


def render_blocks(names: Sequence[str], matrix: BlockMatrix) -> bytes:
    """Return a block covariance as a compressed NumPy archive.

    Parameters
    ----------
    names : list of str
        Names in the order of the rows.
    matrix : BlockMatrix
    """
    buffer = BytesIO()
    arrays: dict[str, Any] = {"names": np.array(names, dtype=str), **matrix.to_arrays()}
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def render_yaml(
    data: dict[str, Any],
    covariance: tuple[str, bytes] | None = None,
    key: str = "covariance",
    checksum: bool = False,
) -> bytes:
    """Return models as YAML, with metadata.

    Parameters
    ----------
    data : dict
        Plain data of the models.
    covariance : tuple of str and bytes, optional
        Name and content of the covariance file.
    key : str
        Key under which the YAML refers to it.
    checksum : bool
        Whether to add a checksum.
    """
    metadata: dict[str, Any] = {
        "creator": "gmdask",
        "date": datetime.now(UTC).replace(tzinfo=None).isoformat(),
        "origin": None,
    }
    whole = dict(data)
    if covariance is not None:
        name, content = covariance
        whole[key] = name
        metadata[_DIGEST] = sha256(content).hexdigest()
    whole["metadata"] = metadata
    if checksum:
        text = _dumped(yaml.load(_dumped(whole), Loader=_Loader))  # noqa: S506
        return (text + f"checksum: {_checksum(text)}\n").encode()
    text = yaml.dump(whole, Dumper=_Dumper, sort_keys=False, indent=4, default_flow_style=False)
    return str(text).encode()


def write_files(contents: dict[Path, bytes], overwrite: bool) -> None:
    """Write files that belong together, either all of them or none.

    Parameters
    ----------
    contents : dict
        Content of each file; the file that refers to the others is the last.
    overwrite : bool
        Whether to replace existing files.

    Raises
    ------
    StoreExistsError
        If a file exists and ``overwrite`` is False, or there is a directory of this name.
    """
    for path in contents:
        if path.is_dir() or (path.exists() and not overwrite):
            msg = f"{path} already exists"
            raise StoreExistsError(msg)
        path.parent.mkdir(parents=True, exist_ok=True)
    mark = uuid4().hex[:12]
    fresh = {path: path.with_name(f".{path.name}.{mark}.new") for path in contents}
    aside = {path: path.with_name(f".{path.name}.{mark}.old") for path in contents}
    done: list[Path] = []
    try:
        for path, content in contents.items():
            with fresh[path].open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        *others, last = contents
        for path in others:
            if path.exists():
                path.replace(aside[path])
            done.append(path)
            fresh[path].replace(path)
        fresh[last].replace(last)
    except BaseException:
        for path in done:
            _put_back(path, aside[path])
        raise
    finally:
        for path in (*fresh.values(), *aside.values()):
            path.unlink(missing_ok=True)


def _put_back(path: Path, old: Path) -> None:
    if old.exists():
        old.replace(path)
    else:
        with suppress(FileNotFoundError):
            path.unlink()
