"""The checkpoint, from which a fit is resumed after its process ended."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gmdask.atomic_files import write_atomically
from gmdask.datasets import Datasets
from gmdask.errors import CorruptStoreError, InputError, InputNotFoundError
from gmdask.evaluation.joint_likelihood import Objective
from gmdask.evaluation.passes import Pass, SecondOrderPass
from gmdask.inputs import read_bytes
from gmdask.lock import Lock
from gmdask.models import Models
from gmdask.optimize.problem import State
from gmdask.paths import expanded
from gmdask.schemas import schema_problems
from gmdask.store.checksums import decode_sealed, encode_sealed, sha256

__all__ = ["Checkpoint", "Stage", "identity", "stage_from", "unlike", "versions"]

SCHEMA = "gmdask checkpoint 1.0"
PACKAGES = (
    "gmdask", "numpy", "scipy", "astropy", "xarray", "zarr", "dask", "distributed", "iminuit",
)  # fmt: skip

Plain = dict[str, Any]


@dataclass(frozen=True)
class Stage:
    """State of the minimisation of a fit after a point was accepted.

    Attributes
    ----------
    passes : int
        Evaluations over all data so far.
    search : `State`
        State of the minimiser.
    """

    passes: int
    search: State[Pass]


class Checkpoint:
    """A file that is replaced as a whole at every accepted point, and from which a fit can be resumed.

    It is written only while its lock is held.

    Parameters
    ----------
    path : str or path
        Path of the file; its folder must exist.
    asked : mapping, optional
        Plain data to store in it, such as the paths of the inputs.
    lock : `Lock`, optional
        A lock of the folder, if one is held already; by default a lock beside the file is used.

    Attributes
    ----------
    changed : list of str
        After resuming: the versions that differ from those with which the fit was started.
    lock : `Lock`
        Held by a fit that writes the file.

    Notes
    -----
    Numbers are stored without rounding, and the file contains its own checksum. The schema is
    ``data_schemas/1.0/checkpoint.json``.
    """

    def __init__(
        self, path: str | Path, asked: Mapping[str, Any] | None = None, lock: Lock | None = None
    ) -> None:
        self.path, self._asked = expanded(path), None if asked is None else dict(asked)
        self.lock = lock or Lock(self.path.with_name(f".{self.path.name}.lock"))
        self._fit: Plain = {}
        self._empty = False
        self.changed: list[str] = []

    def __repr__(self) -> str:
        return f"<Checkpoint {self.path}>"

    def begin(self, fit: Plain) -> None:
        """Create the file of a new fit.

        Raises
        ------
        InputError
            If the file is the checkpoint of an unfinished fit, or something else.
        """
        if os.path.lexists(self.path) and not self._read()["done"]:
            msg = f"{self.path}: is the checkpoint of an unfinished fit: resume it, or remove the file"
            raise InputError(msg)
        self._fit, self._empty = fit, True
        self._write(None, done=False)

    def resume(self, fit: Plain) -> Plain | None:
        """Return the state of the fit in the file, None if no point was accepted yet.

        Raises
        ------
        InputNotFoundError
            If the file does not exist.
        InputError
            If it belongs to another fit, or is not a checkpoint.
        """
        found = self._read()
        for key, expected in fit.items():
            if found["fit"].get(key) != expected:
                raise InputError(f"{self.path}: {unlike(key, found['fit'].get(key), expected)}")
        self._fit = fit
        self._asked = found["asked"] if self._asked is None else self._asked
        before, now = found["versions"], versions()
        self.changed = [
            f"{key} {before.get(key)}, now {now[key]}" for key in now if before.get(key) != now[key]
        ]
        state: Plain | None = found["state"]
        return state

    @property
    def asked(self) -> Plain:
        """Data that was stored at the start of the fit; for errors see `resume`."""
        return dict(self._read()["asked"] or {})

    @property
    def done(self) -> bool:
        """Whether the fit has finished; for errors see `resume`."""
        return bool(self._read()["done"])

    def write(self, stage: Stage, *, done: bool = False) -> None:
        """Replace the file atomically, so that there is a complete one at any time."""
        self._write(_plain_stage(stage), done=done)
        self._empty = False

    def discard_empty(self) -> None:
        """Remove the file of a fit that was started but accepted no point."""
        if self._empty and self.lock.in_place():
            self.path.unlink(missing_ok=True)

    def _write(self, state: Plain | None, *, done: bool) -> None:
        document = {
            "schema": SCHEMA, "done": done, "fit": self._fit, "asked": self._asked,
            "versions": versions(), "state": state,
        }  # fmt: skip
        if not self.lock.in_place():
            msg = (
                f"{self.path}: the checkpoint cannot be written: its folder was removed or replaced"
            )
            raise InputError(msg)
        try:
            write_atomically(self.path, encode_sealed(document, allow_nan=True))
        except OSError as error:
            msg = f"{self.path}: the checkpoint cannot be written: {error.strerror or error}"
            raise InputError(msg) from error

    def _read(self) -> Plain:
        try:
            data = read_bytes(self.path)
        except InputNotFoundError:
            msg = f"{self.path}: there is no checkpoint to resume from"
            raise InputNotFoundError(msg) from None
        try:
            found = decode_sealed(data, str(self.path))
        except (CorruptStoreError, ValueError, RecursionError) as error:
            msg = f"{self.path}: is not a checkpoint, or is damaged: its checksum does not match its content"
            raise InputError(msg) from error
        if found.get("schema") != SCHEMA:
            msg = f"{self.path}: is not a checkpoint, expected the schema {SCHEMA!r}"
            raise InputError(msg)
        # the state may be large, and is checked later against its fit
        state = {"state": None} if isinstance(found.get("state"), dict) else {}
        problems = schema_problems({"sha256": sha256(data)} | found | state, "checkpoint.json", 1)
        if problems:
            raise InputError(f"{self.path}: is not a checkpoint: {problems[0]}")
        return found


# --- identity of a fit -----------------------------------------------------------------


def identity(datasets: Datasets, models: Models, backend: str) -> Plain:
    """Return what must be the same when a fit is resumed.

    Datasets are identified by their stored content, or by their data if they are in memory; models
    by everything except the values of free parameters and the errors.
    """
    return {
        "response": datasets.response,
        "datasets": _digest([_dataset(dataset) for dataset in datasets]),
        "models": _digest(_without_values(models.to_dict())),
        "backend": backend,
    }


def unlike(key: str, found: object, expected: object) -> str:
    """Explain why a fit cannot be resumed when a part of its identity differs."""
    if key in ("response", "backend"):
        return f"is the checkpoint of a fit with {key} {found!r}, and cannot be resumed with {expected!r}"
    return f"is the checkpoint of a fit with another {key}, and cannot be resumed with this"


def _dataset(dataset: Any) -> list[Any]:
    if dataset.stored is not None:
        return [dataset.name, dataset.response, *dataset.stored.identity()]
    data = [np.ascontiguousarray(dataset.cube[key].values) for key in dataset.data_names]
    digest = hashlib.sha256(b"".join(values.tobytes() for values in data)).hexdigest()
    return [dataset.name, dataset.response, digest, list(data[0].shape)]


def _without_values(data: Any) -> Any:
    if isinstance(data, dict):
        left_out = {"error"} if data.get("frozen") else {"error", "value"}
        left_out = left_out if "value" in data and "name" in data else set()
        return {key: _without_values(item) for key, item in data.items() if key not in left_out}
    if isinstance(data, list | tuple):
        return [_without_values(item) for item in data]
    return data


def _digest(data: Any) -> str:
    text = json.dumps(data, sort_keys=True, default=lambda held: getattr(held, "digest", str(held)))
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def versions() -> dict[str, str]:
    """Return the versions of libraries, and the processor type, which may affect the last bits."""
    found = {"python": platform.python_version(), "processor": _processor()}
    return found | {package: version(package) for package in PACKAGES}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


# --- states as plain data --------------------------------------------------------------


NUMBERS = ("scale", "radius", "length", "expected")
COUNTS = ("drift", "slow", "kicks", "unseen")


def _plain_stage(stage: Stage) -> Plain:
    search = stage.search
    kept = {key: getattr(search, key).tolist() for key in (*NUMBERS, *COUNTS)}
    kept["held"] = np.flatnonzero(search.held).tolist()
    kept["second"] = None if search.second is None else search.second.tolist()
    kept["rate"] = search.rate
    return {"passes": stage.passes, "search": {"point": _plain_pass(search.point), **kept}}


def stage_from(data: Plain, objective: Objective, path: str | Path) -> Stage:
    """Return the stage that was stored, for the same objective.

    Parameters
    ----------
    data : dict
        State of a checkpoint.
    objective : `Objective`
    path : str or path
        The checkpoint, for error messages.

    Raises
    ------
    InputError
        If something is missing, or has another type or shape than the objective requires.
    """
    try:
        return _stage_from(data, objective)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        msg = f"{path}: the state of the fit is invalid: {reason}"
        raise InputError(msg) from error


def _stage_from(data: Plain, objective: Objective) -> Stage:
    search, n = data["search"], len(objective.parameters.shared)
    n_blocks = len(np.unique(objective.problem().blocks))
    held: NDArray[np.bool_] = np.zeros(n, dtype=bool)
    held[_indices(search, "held", n)] = True
    scale, *blocks = (
        _numbers(search, key, (n if key == "scale" else n_blocks,)) for key in (*NUMBERS, *COUNTS)
    )
    radius, length, expected = blocks[:3]
    drift, slow, kicks, unseen = (counts.astype(np.intp) for counts in blocks[3:])
    second = None if search["second"] is None else _numbers(search, "second", (n, n))
    rate = float(_numbers(search, "rate", ()))
    if rate < 0:
        msg = f"'rate' is {rate}, expected a number from 0"
        raise ValueError(msg)
    point = _pass_from(search["point"], objective)
    state = State(
        point, scale, radius, length, expected, drift, slow, kicks, held, second, rate, unseen
    )
    return Stage(_count(data, "passes"), state)


def _numbers(
    data: Plain, key: str, shape: tuple[int, ...] | None, *, finite: bool = True
) -> NDArray[np.float64]:
    """Return an array from plain data, of any length if no shape is given; a ValueError names what is wrong."""
    array: NDArray[Any] = np.array(data[key])
    expected = (len(array),) if shape is None else shape
    fits = array.size == np.prod(expected) and (array.shape == expected or array.size == 0)
    if not fits or (array.size and array.dtype.kind not in "if"):
        msg = f"{key!r} is an array {array.shape} of {array.dtype}, expected numbers {expected}"
        raise ValueError(msg)
    numbers = array.astype(float).reshape(expected)
    if not (np.isfinite(numbers) if finite else ~np.isnan(numbers)).all():
        msg = f"{key!r} is not finite"
        raise ValueError(msg)
    return numbers


def _indices(data: Plain, key: str, size: int) -> NDArray[np.intp]:
    found = _numbers(data, key, None)
    index: NDArray[np.intp] = found.astype(np.intp)
    if (index != found).any() or (index < 0).any() or (index >= size).any():
        msg = f"{key!r} has {found.tolist()}, expected whole numbers below {size}"
        raise ValueError(msg)
    return index


def _count(data: Plain, key: str) -> int:
    found = data[key]
    if not isinstance(found, int) or isinstance(found, bool) or found < 0:
        msg = f"{key!r} is {found!r}, expected a count"
        raise ValueError(msg)
    return found


def _plain_pass(point: Pass) -> Plain:
    return {
        "values": point.values.tolist(), "stat": point.stat, "stats": point.stats.tolist(),
        "gradient": point.gradient.tolist(), "hessian": point.hessian.tolist(),
        "observed": None if point.observed is None else point.observed.tolist(),
        "floors": point.floors.tolist(),
    }  # fmt: skip


def _pass_from(data: Plain, objective: Objective) -> Pass:
    n, n_datasets = len(objective.parameters.shared), objective.n_datasets
    values = _numbers(data, "values", objective.parameters.start.shape)
    objective.parameters.check_values(values)
    floors = _numbers(data, "floors", (n_datasets,)).astype(np.intp)
    first = Pass(
        values, values[objective.parameters.shared], float(_numbers(data, "stat", ())),
        _numbers(data, "stats", (n_datasets,)), floors, _numbers(data, "gradient", (n,)),
        _numbers(data, "hessian", (n, n)),
    )  # fmt: skip
    if data["observed"] is None:
        return first
    return SecondOrderPass(
        **vars(first) | {"observed": _numbers(data, "observed", (n, n))}, local=[]
    )
