"""The folder a fit is written to."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gmdask.errors import InputError

if TYPE_CHECKING:  # commands that need none of these start without them
    from gmdask.datasets import Datasets
    from gmdask.fit import FitResult
    from gmdask.models import Models
    from gmdask.store import Store

__all__ = ["OutputFolder", "result_document"]

SCHEMA = "gmdask result 1.0"
RESULT = "result.json"
EVENTS = "events.jsonl"
JOB = ("job.sh", "job.json", "logs")  # of a fit on a batch system


def result_document(result: FitResult, store: Store) -> dict[str, Any]:
    """Content of ``result.json``; its schema is ``data_schemas/1.0/result.json``.

    Parameters
    ----------
    result : `FitResult`
    store : `Store`
    """
    from gmdask.fit.checkpoint import versions

    return {
        "schema": SCHEMA,
        **result.to_dict(),
        "backend": result.backend,
        "edm": result.edm,
        "versions": versions(),
        "store": {"url": store.url, "digest": store.digest},
    }


class OutputFolder:
    """The folder of a fit: its checkpoint while it runs, its files once it ended.

    Parameters
    ----------
    path : str or path
    overwrite : bool
        Whether a folder that is there may be replaced.
    resume : bool
        Whether it is that of a fit that goes on.

    Raises
    ------
    InputError
        If it is there and may not be replaced, or its parent is not a folder.
    """

    def __init__(self, path: str | Path, *, overwrite: bool = False, resume: bool = False) -> None:
        self.path = Path(path)
        if os.path.lexists(self.path) and not resume and not self._awaits_job():
            self._check_replaceable(overwrite)
        if not self.path.absolute().parent.is_dir():
            msg = f"{self.path}: its parent is not a folder"
            raise InputError(msg)

    def _check_replaceable(self, overwrite: bool) -> None:
        if not overwrite:
            unfinished = self.checkpoint.is_file()
            also = f", or go on: gmdask fit --resume {self.path}" if unfinished else ""
            msg = f"{self.path}: there is something of this name already (--overwrite replaces it{also})"
            raise InputError(msg)
        if not self.path.is_dir() or self.path.is_symlink():
            msg = f"{self.path}: is not a folder"
            raise InputError(msg)
        ours = any((self.path / name).is_file() for name in (RESULT, self.checkpoint.name, *JOB))
        if any(self.path.iterdir()) and not ours:
            msg = f"{self.path}: holds other things than a fit, and is not replaced"
            raise InputError(msg)

    @property
    def checkpoint(self) -> Path:
        """File from which a fit that did not end goes on."""
        return self.path / "checkpoint.json"

    @property
    def events(self) -> Path:
        """File of the events of the fit; see `gmdask.events.read_events`."""
        return self.path / EVENTS

    def _awaits_job(self) -> bool:
        """Whether there is nothing but what a batch job is started with."""
        found = {file.name for file in self.path.iterdir()} if self.path.is_dir() else set()
        return JOB[0] in found and found <= set(JOB)

    @contextmanager
    def begun(self, *, overwrite: bool) -> Iterator[None]:
        """Make the folder for the checkpoint; it goes again if the fit leaves nothing in it."""
        self.path.mkdir(exist_ok=True)
        if overwrite:  # results that are there stay until there are others
            self.checkpoint.unlink(missing_ok=True)
            self.events.unlink(missing_ok=True)
        try:
            yield
        finally:
            if {file.name for file in self.path.iterdir()} <= {EVENTS}:
                self.events.unlink(missing_ok=True)
                self.path.rmdir()

    def write(self, result: FitResult, models: Models, datasets: Datasets, store: Store) -> None:
        """Write models, result and figure in place of all that is there.

        The checkpoint goes last, so that a fit that is killed while it writes can still go on. Where
        the fit did not come to an end, it stays, and there is no figure.

        Parameters
        ----------
        result : `FitResult`
        models : `Models`
        datasets : `Datasets`
        store : `Store`
        """
        from gmdask.plot import plot_residuals

        self.path.mkdir(exist_ok=True)
        goes_on = self._goes_on()
        made = self.path / ".new"
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
        try:
            models.write(made / "models.yaml")
            document = json.dumps(result_document(result, store), indent=1, allow_nan=False)
            (made / RESULT).write_text(document + "\n", encoding="utf-8")
            if not goes_on:
                plot_residuals(datasets).savefig(made / "residuals.png", dpi=120)
            self._put(sorted(made.iterdir(), key=lambda file: file.name == RESULT))
        finally:
            shutil.rmtree(made, ignore_errors=True)
        if not goes_on:
            self.checkpoint.unlink(missing_ok=True)

    def _goes_on(self) -> bool:
        """Whether the checkpoint is that of a fit that did not come to an end."""
        if not self.checkpoint.is_file():
            return False
        return not json.loads(self.checkpoint.read_bytes())["done"]

    def _put(self, files: Sequence[Path]) -> None:
        """Move files into the folder, and remove what else there was."""
        kept = {file.name for file in files} | {
            self.checkpoint.name,
            EVENTS,
            *JOB,
            files[0].parent.name,
        }
        for file in files:
            file.replace(self.path / file.name)
        for old in self.path.iterdir():
            if old.name not in kept:
                if old.is_dir() and not old.is_symlink():
                    shutil.rmtree(old)
                else:
                    old.unlink()
