"""Read and write models together with their files."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from gmdask.errors import ModelError
from gmdask.models.block_matrix import BlockMatrix
from gmdask.models.io import gammapy_yaml, template_files
from gmdask.models.io.serialization import locating
from gmdask.models.parameter import Parameter
from gmdask.models.registry import reading_file
from gmdask.schemas import schema_problems

__all__ = ["TABLE_LIMIT", "WriteOptions", "read_models", "write_models"]

log = logging.getLogger(__name__)

TABLE_LIMIT = 1000  # largest number of parameters of a covariance table, which then has 25 MB
_BLOCKS = "covariance_blocks"
_KEYS = {"components", "covariance", _BLOCKS, "metadata", "checksum"}
_KEYS |= {"OptimizeResult", "CovarianceResult"}  # of a fit of Gammapy

M = TypeVar("M", bound=Any)


@dataclass(frozen=True)
class WriteOptions:
    """Options of `Models.write`."""

    overwrite: bool = False
    full_output: bool = False
    overwrite_templates: bool = False
    checksum: bool = False


def read_models(cls: type[M], path: Path, checksum: bool) -> M:
    """Read models; see `Models.read`.

    Parameters
    ----------
    cls : type
        `Models`.
    path : Path
        File.
    checksum : bool
        Whether to verify its checksum.
    """
    raw = gammapy_yaml.read_yaml(path)
    for key in raw.keys() - _KEYS:
        log.warning("%s: unknown key %r is ignored", path, key)
    if checksum:
        gammapy_yaml.verify_checksum(path, raw)
    data = template_files.found_from(path.parent, raw)
    try:
        with locating(str(path)), reading_file():
            models: Any = cls.from_dict(data)
    except ModelError as error:
        problems = schema_problems(raw)
        if not problems:
            raise
        msg = f"{error} (models.json: {'; '.join(problems)})"
        raise ModelError(msg) from error
    table = gammapy_yaml.covariance_path(path, data)
    blocks = gammapy_yaml.covariance_path(path, data, _BLOCKS)
    if table is None and blocks is None:
        return models  # type: ignore[no-any-return]
    names = models.full_names
    first = _first_occurrences(models.named_parameters())
    if blocks is not None:
        rows, held = gammapy_yaml.read_blocks(blocks, data.get("metadata"))
        expected = [names[k] for k in first]
        with locating(str(blocks)):
            at = gammapy_yaml.match_rows(rows, expected)
        positions = np.empty(len(at), dtype=np.intp)
        positions[at] = np.arange(len(at))
        models.covariance = held.moved(positions, len(at))
    elif table is not None:
        rows, matrix = gammapy_yaml.read_covariance(table, data.get("metadata"))
        with locating(str(table)):
            at = gammapy_yaml.match_rows(rows, names)
        kept = [at[k] for k in first]
        models.covariance = matrix[np.ix_(kept, kept)]
    return models  # type: ignore[no-any-return]


def write_models(models: Any, path: Path, options: WriteOptions) -> None:
    """Write models; see `Models.write`.

    Parameters
    ----------
    models : Models
        Models.
    path : Path
        File.
    options : WriteOptions
        Options.
    """
    covariance, contents, key = None, {}, "covariance"
    if models.has_covariance:
        table, content = _render_covariance(models, path)
        key = "covariance" if table.suffix == ".dat" else _BLOCKS
        contents[table] = content
        covariance = (table.name, content)
    with reading_file():
        data = template_files.named_from(path.parent, models.to_dict(options.full_output))
    contents[path] = gammapy_yaml.render_yaml(data, covariance, key, options.checksum)
    template_files.write_missing(models, path.parent, options.overwrite_templates)
    gammapy_yaml.write_files(contents, options.overwrite)


def _render_covariance(models: Any, path: Path) -> tuple[Path, bytes]:
    """Return the path and content of the covariance file."""
    covariance = models.covariance
    pairs = models.named_parameters()
    if len(pairs) <= TABLE_LIMIT:
        table = path.with_name(f"{path.stem}_covariance.dat")
        at = [covariance.parameters.index(par) for _, par in pairs]
        return table, gammapy_yaml.render_covariance(
            models.full_names, covariance.data[np.ix_(at, at)]
        )
    table = path.with_name(f"{path.stem}_covariance.npz")
    log.warning(
        "the covariance of %d parameters is written in blocks to %s, which Gammapy cannot read",
        len(covariance.parameters),
        table.name,
    )
    blocks = covariance.blocks
    if blocks is None:
        some = np.flatnonzero(covariance.errors)
        inner = covariance.data[np.ix_(some, some)]
        blocks = BlockMatrix(len(covariance.parameters), some, inner)
    return table, gammapy_yaml.render_blocks(covariance.parameters.names, blocks)


def _first_occurrences(pairs: Sequence[tuple[str, Parameter]]) -> list[int]:
    """Return the position of the first occurrence of each parameter."""
    first: dict[int, int] = {}
    for k, (_, par) in enumerate(pairs):
        first.setdefault(id(par), k)
    return list(first.values())
