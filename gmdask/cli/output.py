"""The folder a fit is written to."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gmdask.atomic_files import is_temporary, temporary_beside
from gmdask.errors import InputError, InputNotFoundError
from gmdask.lock import Lock
from gmdask.own_files import LIST, OwnFiles
from gmdask.paths import expanded

if TYPE_CHECKING:  # commands that need none of these start without them
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
JOB_FILES = {JOB, "job.json", "logs/"}  # of a fit on a batch system


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

    A lock keeps other fits out while one runs, and only files that gmdask wrote itself are replaced
    or removed.

    Parameters
    ----------
    path : str or path
    overwrite : bool
        Whether the files of an earlier fit may be replaced.
    resume : bool
        Whether it is the folder of a fit that goes on.

    Raises
    ------
    InputError
        If there are files in it that may not be replaced, or its parent is not a folder.
    """

    def __init__(self, path: str | Path, *, overwrite: bool = False, resume: bool = False) -> None:
        self.path = expanded(path)
        self.lock = Lock(self.path / LOCK)
        self._own = OwnFiles(self.path)
        self._overwrite, self._resume = overwrite, resume
        if not self.path.absolute().parent.is_dir():
            msg = f"{self.path}: its parent is not a folder"
            raise InputError(msg)
        if os.path.lexists(self.path) and not resume:  # that is checked once it is locked
            self._check()

    def _check(self) -> None:
        """Refuse a folder in which the fit would have to replace what is not gmdask's."""
        if self._resume or (self._awaits_job() and not self._overwrite):
            self._refuse_foreign([name for name in RESULTS if self._is_foreign(name)])
            return
        found = self._found()
        held = self.lock.holder()
        if held is not None and held.runs() and not self.lock.in_place():
            msg = f"{self.path}: another fit is running here ({held})"
            raise InputError(msg)
        if not self.path.is_dir() or self.path.is_symlink():
            msg = f"{self.path}: there is something of this name already, which is not a folder"
            raise InputError(msg)
        if not self._overwrite and (found or not self.lock.in_place()):
            also = f", or go on: gmdask fit --resume {self.path}" if CHECKPOINT in found else ""
            msg = f"{self.path}: there is something of this name already (--overwrite replaces it{also})"
            raise InputError(msg)
        self._refuse_foreign([name for name in self._own.foreign() if name.split("/")[0] in found])

    def _found(self) -> set[str]:
        """Names in the folder, but for those of temporary files and the lock."""
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
                f"{self.path}: holds {', '.join(names[:3])}{more}, which gmdask did not write, or not "
                "as it is now; choose another folder, or move it away"
            )
            raise InputError(msg)

    def refuse_input(self, path: str | Path) -> None:
        """Refuse a file that is read by the fit, and would be replaced by its result.

        Parameters
        ----------
        path : str or path
            The file.
        """
        where = expanded(path).resolve()
        if where in {self.path.resolve() / name for name in RESULTS}:
            msg = f"{path}: is an input of the fit and would be replaced by its output; choose another folder"
            raise InputError(msg)

    @property
    def checkpoint(self) -> Path:
        """File from which a fit that did not end goes on."""
        return self.path / CHECKPOINT

    @property
    def events(self) -> Path:
        """File of the events of the fit; see `gmdask.events.read_events`."""
        return self.path / EVENTS

    def ended(self) -> dict[str, Any] | None:
        """Result of the fit that came to its end here, None if there is none or it may go on.

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
        """Whether it was made for a batch job that has not written a checkpoint or a result."""
        written = any(os.path.lexists(self.path / name) for name in (*RESULTS, CHECKPOINT))
        return JOB in self._own.names() and not written

    def write_job(self, script: str) -> Path:
        """Make the folder of a batch job.

        Parameters
        ----------
        script : str
            Content of ``job.sh``.

        Returns
        -------
        path
            Of the script.

        Raises
        ------
        InputError
            If there is a script that was changed since gmdask wrote it.
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
        """Make the folder and lock it; it goes again if the fit leaves nothing in it.

        Raises
        ------
        InputError
            If another fit runs there.
        InputNotFoundError
            If a fit shall go on, and there is no such folder.
        """
        if self._resume and not self.path.is_dir():
            msg = f"{self.checkpoint}: there is no checkpoint to go on from"
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
                with suppress(OSError):  # it holds something
                    self.path.rmdir()

    def _remove_temporary(self, path: Path) -> None:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)

    def prepare(self) -> None:
        """List the files that the fit writes while it runs, and remove those of the fit before.

        Results that are there stay until there are others.
        """
        if self._overwrite:
            self._own.remove([CHECKPOINT, EVENTS])
        self._own.add(CHECKPOINT, EVENTS)

    def write(self, result: FitResult, models: Models, datasets: Datasets, store: Store) -> Path:
        """Write models, result and figure, in place of those of the fit before.

        The checkpoint goes last, so that a fit that is killed while it writes can still go on. Where
        the fit did not come to an end, it stays, and there is no figure.

        Parameters
        ----------
        result : `FitResult`
        models : `Models`
        datasets : `Datasets`
        store : `Store`

        Returns
        -------
        path
            The folder: a new one beside it, if it was removed or replaced while the fit ran, or
            somebody else's files of the same names are in it now.
        """
        from gmdask.plot import plot_residuals

        goes_on = self._goes_on()
        folder = self._place()
        own = OwnFiles(folder)
        made = temporary_beside(folder / "result")
        made.mkdir()
        try:
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
        """Return the folder if it is still ours, else a new one beside it."""
        if self.lock.in_place() and not any(map(self._is_foreign, RESULTS)):
            return self.path
        for number in count(1):
            path = self.path if number == 1 else self.path.with_name(f"{self.path.name}-{number}")
            try:
                path.mkdir()
            except FileExistsError:
                continue
            except OSError as error:
                msg = f"{self.path}: is gone, and no other folder can be made beside it: {error.strerror}"
                raise InputError(msg) from error
            return path
        raise AssertionError

    def _goes_on(self) -> bool:
        """Whether the checkpoint is that of a fit that did not come to an end."""
        from gmdask.fit import Checkpoint

        return self.checkpoint.is_file() and not Checkpoint(self.checkpoint).done
