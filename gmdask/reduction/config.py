"""The configuration of a reduction: a YAML file with the keys of Gammapy's AnalysisConfig."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gmdask.errors import InputError
from gmdask.inputs import load_yaml, read_bytes
from gmdask.paths import expanded
from gmdask.schemas import schema_problems

__all__ = ["ReductionConfig", "read_config"]

RECIPE = 1  # changed when the same configuration leads to other numbers
METHODS = {
    "3d": ("irf", "fov_background", "ring", "adaptive_ring"),
    "1d": ("irf", "reflected", "phase"),
}
NEEDED = {
    "3d": ("wcs", ("binsize", "width")),
    "1d": ("on_region", ("lon", "lat")),
}


@dataclass(frozen=True)
class ReductionConfig:
    """A validated configuration.

    Attributes
    ----------
    file : str
        Text with which messages begin.
    observations : dict
        Selection of observations; paths are absolute.
    datasets : dict
        Description of the datasets.
    digest : str
        SHA-256 of everything that determines a dataset besides its input, including the version of Gammapy and the
        content of the exclusion file.
    """

    file: str
    observations: dict[str, Any]
    datasets: dict[str, Any]
    digest: str


def read_config(path: str | Path) -> ReductionConfig:
    """Read the configuration of a reduction.

    Parameters
    ----------
    path : str or path
        YAML in the format of ``data_schemas/1.0/reduction.json``; a configuration of Gammapy's ``AnalysisConfig`` is
        valid if it does not stack.

    Raises
    ------
    InputNotFoundError
        If the file does not exist.
    InputError
        If the configuration is invalid; the message names file, key and expectation.
    """
    path = expanded(path)
    data = _given(load_yaml(read_bytes(path, "configuration"), str(path)))
    if problems := schema_problems(data, "reduction.json"):
        msg = f"{path}: {'; '.join(problems)}"
        raise InputError(msg)
    observations, datasets = dict(data["observations"]), dict(data["datasets"])
    _check(observations, datasets, str(path))
    for key in ("datastore", "obs_file"):
        if key in observations:
            observations[key] = str(_beside(path, observations[key]))
    if "files" in observations:
        observations["files"] = [str(_beside(path, one)) for one in observations["files"]]
    content = ""
    exclusion = datasets.get("background", {}).get("exclusion")
    if isinstance(exclusion, str):
        file = _beside(path, exclusion)
        content = hashlib.sha256(read_bytes(file, "exclusion file")).hexdigest()
        datasets["background"] = {**datasets["background"], "exclusion": str(file)}
    return ReductionConfig(str(path), observations, datasets, _digest(data, content))


def _digest(data: Mapping[str, Any], content: str) -> str:
    datasets = dict(data["datasets"])
    if content:
        datasets["background"] = {**datasets["background"], "exclusion": content}
    times = data["observations"].get("obs_time")
    parts = [RECIPE, version("gammapy"), datasets, times]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _beside(path: Path, name: str) -> Path:
    return (path.parent / expanded(name)).absolute()


def _given(value: Any) -> Any:
    """Leave out keys without a value, as written by AnalysisConfig, and convert times to text."""
    if isinstance(value, dict):
        given = {key: _given(item) for key, item in value.items()}
        return {key: item for key, item in given.items() if item not in (None, {}, [])}
    if isinstance(value, list):
        return [_given(item) for item in value]
    return value.isoformat() if isinstance(value, date | datetime) else value


def _check(observations: dict[str, Any], datasets: dict[str, Any], file: str) -> None:
    """Check what a schema cannot express."""
    kind = datasets["type"]
    problems = []
    if ("datastore" in observations) == ("files" in observations):
        problems.append("observations: expected either datastore or files")
    if datasets.get("stack"):
        problems.append(
            "datasets stack: true, expected false; use gmdask stack to stack the datasets"
        )
    key, needed = NEEDED[kind]
    found = datasets["geom"].get("wcs", {}) if key == "wcs" else datasets.get("on_region", {})
    place = f"datasets {'geom ' if key == 'wcs' else ''}{key}"
    problems += [f"{place} {one} is missing (type {kind})" for one in needed if one not in found]
    method = datasets.get("background", {}).get("method", "irf")
    if method not in METHODS[kind]:
        expected = ", ".join(METHODS[kind])
        problems.append(
            f"datasets background method: {method}, expected one of {expected} with type {kind}"
        )
    nbins = datasets["geom"]["axes"]["energy"]["nbins"]
    if method == "adaptive_ring" and nbins != 1:
        problems.append(f"datasets geom axes energy nbins: {nbins}, expected 1 with adaptive_ring")
    if problems:
        msg = f"{file}: {'; '.join(problems)}"
        raise InputError(msg)
