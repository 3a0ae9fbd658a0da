"""The output folder of a fit."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gmdask.atomic_files import is_temporary, naming, temporary_beside
from gmdask.errors import InputError, InputNotFoundError
from gmdask.lock import Lock
from gmdask.own_files import LIST, OwnFiles
from gmdask.paths import expanded

if TYPE_CHECKING:  # imported late, for a quick start of commands that do not need them
    from gmdask.datasets import Datasets
    from gmdask.fit import FitResult
    from gmdask.models import Models
    from gmdask.store import Store

__all__ = ["OutputFolder", "result_document"]

SCHEMA = "gmdask result 1.0"
RESULT = "result.json"
MODELS = "models.yaml"
FIGURE = "residuals.png"
RESULTS = (MODELS, "models_covariance.dat", "models_covariance.npz", RESULT, FIGURE)
CHECKPOINT = "checkpoint.json"
LOCK = f".{CHECKPOINT}.lock"
EVENTS = "events.jsonl"
REPORT = "report.html"
JOB = "job.sh"
JOB_FILES = {JOB, "job.json", "logs/"}  # files of a fit on a batch system


def result_document(result: FitResult, store: Store) -> dict[str, Any]:
    """Return the content of ``result.json``; its schema is ``data_schemas/1.0/result.json``.

    Parameters
    ----------
    result : `FitResult`
    store : `Store`
    """
    from gmdask.fit.checkpoint import versions
    from gmdask.reduction.provenance import reduction_of

    reduction = reduction_of(store, result.stat)
    return {
        "schema": SCHEMA,
        **result.to_dict(),
        "backend": result.backend,
        "edm": result.edm,
        "versions": versions(),
        "store": {"url": store.url, "digest": store.digest},
        **({"reduction": reduction} if reduction else {}),
    }


class OutputFolder:
    """The output folder of a fit: its checkpoint during the fit, its result files afterwards.

    A lock excludes other fits while one runs, and only files that gmdask itself wrote are replaced
    or removed.

    Parameters
    ----------
    path : str or path
    overwrite : bool
        Whether the files of an earlier fit may be replaced.
    resume : bool
        Whether the folder is that of a fit to be resumed.

    Raises
    ------
    InputError
        If the folder contains files that may not be replaced, or its parent is not a folder.
    """

    def __init__(self, path: str | Path, *, overwrite: bool = False, resume: bool = False) -> None:
        self.path = expanded(path)
        self.lock = Lock(self.path / LOCK)
        self._own = OwnFiles(self.path)
        self._overwrite, self._resume = overwrite, resume
        if not self.path.absolute().parent.is_dir():
            msg = f"{self.path}: its parent is not a folder"
            raise InputError(msg)
        if os.path.lexists(self.path) and not resume:  # a resumed folder is checked after locking
            self._check()

    def _check(self) -> None:
        """Reject a folder in which the fit would have to replace files that gmdask did not write."""
        if self._resume or (self._awaits_job() and not self._overwrite):
            self._refuse_foreign([name for name in RESULTS if self._is_foreign(name)])
            return
        found = self._found()
        held = self.lock.holder()
        if held is not None and held.runs() and not self.lock.in_place():
            msg = f"{self.path}: another fit is running here ({held})"
            raise InputError(msg)
        if not self.path.is_dir() or self.path.is_symlink():
            msg = f"{self.path}: already exists, and is not a folder"
            raise InputError(msg)
        if not self._overwrite and (found or not self.lock.in_place()):
            also = f", or resume it: gmdask fit --resume {self.path}" if CHECKPOINT in found else ""
            msg = f"{self.path}: already exists (--overwrite replaces it{also})"
            raise InputError(msg)
        self._refuse_foreign([name for name in self._own.foreign() if name.split("/")[0] in found])

    def _found(self) -> set[str]:
        """Names in the folder, except temporary files and the lock."""
        if not self.path.is_dir():
            return set()
        names = {file.name for file in self.path.iterdir()}
        return {name for name in names if name != LOCK and not is_temporary(name)}

    def _is_foreign(self, name: str) -> bool:
        return os.path.lexists(self.path / name) and not self._own.owns(name)

    def _refuse_foreign(self, names: list[str]) -> None:
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            msg = (
                f"{self.path}: contains {', '.join(names[:3])}{more}, which gmdask did not write, or "
                "which changed since; choose another folder, or move it away"
            )
            raise InputError(msg)

    def refuse_input(self, path: str | Path) -> None:
        """Raise an error if an input file of the fit would be replaced by its output.

        Parameters
        ----------
        path : str or path
            The input file.
        """
        where = expanded(path).resolve()
        if where in {self.path.resolve() / name for name in RESULTS}:
            msg = f"{path}: is an input of the fit and would be replaced by its output; choose another folder"
            raise InputError(msg)

    @property
    def checkpoint(self) -> Path:
        """File from which an unfinished fit is resumed."""
        return self.path / CHECKPOINT

    @property
    def events(self) -> Path:
        """Log of the events of the fit; see `gmdask.events.read_events`."""
        return self.path / EVENTS

    def ended(self) -> dict[str, Any] | None:
        """Return the result of a finished fit, None if there is none or the fit can be resumed.

        Raises
        ------
        InputError
            If its files cannot be read.
        """
        from gmdask.inputs import read_bytes
        from gmdask.optimize.status import Status

        if (
            self.checkpoint.exists()
            or not (self.path / RESULT).is_file()
            or self._is_foreign(RESULT)
        ):
            return None
        try:
            found = json.loads(read_bytes(self.path / RESULT, "result"))
            return None if Status(found["status"]).cut_short else dict(found)
        except (KeyError, TypeError, ValueError) as error:
            msg = f"{self.path / RESULT}: is not the result of a fit"
            raise InputError(msg) from error

    def _awaits_job(self) -> bool:
        """Whether it was made for a batch job that has written neither a checkpoint nor a result."""
        written = any(os.path.lexists(self.path / name) for name in (*RESULTS, CHECKPOINT))
        return JOB in self._own.names() and not written

    def write_job(self, script: str) -> Path:
        """Create the folder of a batch job.

        Parameters
        ----------
        script : str
            Content of ``job.sh``.

        Returns
        -------
        path
            Path of the script.

        Raises
        ------
        InputError
            If the script in the folder was edited since gmdask wrote it.
        """
        self._refuse_foreign([name for name in (JOB,) if self._is_foreign(name)])
        (self.path / "logs").mkdir(parents=True, exist_ok=True)
        self._own.add("job.json", "logs/")
        self._own.write(JOB, script.encode())
        path = self.path.absolute() / JOB
        path.chmod(0o755)
        return path

    @contextmanager
    def begun(self) -> Iterator[None]:
        """Create and lock the folder; it is removed again if the fit leaves nothing in it.

        Raises
        ------
        InputError
            If another fit runs in it.
        InputNotFoundError
            If a fit is to be resumed and the folder does not exist.
        """
        if self._resume and not self.path.is_dir():
            msg = f"{self.checkpoint}: there is no checkpoint to resume from"
            raise InputNotFoundError(msg)
        is_new = not os.path.lexists(self.path)
        self.path.mkdir(exist_ok=True)
        try:
            with self.lock:
                self._check()
                for name in [file.name for file in self.path.iterdir() if is_temporary(file.name)]:
                    self._remove_temporary(self.path / name)
                try:
                    yield
                finally:
                    if self.lock.in_place() and self._found() <= {EVENTS, LIST}:
                        self._own.remove([EVENTS, CHECKPOINT])
        finally:
            if is_new:
                with suppress(OSError):  # the folder is not empty
                    self.path.rmdir()

    def _remove_temporary(self, path: Path) -> None:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)

    def prepare(self) -> None:
        """List the files that the fit writes while it runs, and remove those of the previous fit.

        Previous results stay until they are replaced by new ones.
        """
        if self._overwrite:
            self._own.remove([CHECKPOINT, EVENTS])
        self._own.add(CHECKPOINT, EVENTS)

    def write(self, result: FitResult, models: Models, datasets: Datasets, store: Store) -> Path:
        """Write models, result and figure, replacing those of the previous fit.

        The checkpoint is removed last, so that a fit that is killed while writing can still be
        resumed. If the fit did not finish, the checkpoint is kept and no figure is drawn.

        Parameters
        ----------
        result : `FitResult`
        models : `Models`
        datasets : `Datasets`
        store : `Store`

        Returns
        -------
        path
            The folder, or a new one beside it if the folder was removed or replaced during the fit,
            or now contains files of the same names that gmdask did not write.
        """
        from gmdask.plot import plot_residuals

        goes_on = self._goes_on()
        folder = self._place()
        own = OwnFiles(folder)
        made = temporary_beside(folder / "result")
        made.mkdir()
        try:
            with naming(folder):
                models.write(made / MODELS)
                document = json.dumps(result_document(result, store), indent=1, allow_nan=False)
                (made / RESULT).write_text(document + "\n", encoding="utf-8")
                if not goes_on:
                    plot_residuals(datasets).savefig(made / FIGURE, dpi=120)
                written = own.take(made)
        finally:
            shutil.rmtree(made, ignore_errors=True)
        kept = {*written, EVENTS, CHECKPOINT, *JOB_FILES, *([] if self._overwrite else [REPORT])}
        own.remove(set(own.names()) - kept)
        if not goes_on:
            own.remove([CHECKPOINT])
        return folder

    def _place(self) -> Path:
        """Return the folder if gmdask still owns it, else a new one beside it."""
        if self.lock.in_place() and not any(map(self._is_foreign, RESULTS)):
            return self.path
        for number in count(1):
            path = self.path if number == 1 else self.path.with_name(f"{self.path.name}-{number}")
            try:
                path.mkdir()
            except FileExistsError:
                continue
            except OSError as error:
                msg = f"{self.path}: was removed, and no other folder can be created beside it: {error.strerror}"
                raise InputError(msg) from error
            return path
        raise AssertionError

    def _goes_on(self) -> bool:
        """Whether the checkpoint is that of an unfinished fit."""
        from gmdask.fit import Checkpoint

        return self.checkpoint.is_file() and not Checkpoint(self.checkpoint).done
