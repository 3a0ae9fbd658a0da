"""Datasets in Gammapy's format: one FITS file per dataset, and a list of them in YAML."""

from __future__ import annotations

import gzip
import io
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import xarray as xr
import yaml
from astropy.io.fits import HDUList
from distributed import Client

from gmdask.cluster import run_tasks
from gmdask.datasets.derived_cube import opened
from gmdask.errors import GmdaskError, InputError, StoreError, StoreExistsError
from gmdask.events import DatasetsProgress, Listener
from gmdask.models.io.gammapy_yaml import write_files
from gmdask.paths import expanded
from gmdask.store.cube_source import CubeSource

if TYPE_CHECKING:
    from gmdask.datasets.base import Dataset

__all__ = ["FITS", "YAML", "file_names", "write_dataset", "write_list"]

FITS = (".fits", ".fits.gz")
YAML = (".yaml", ".yml")
LONGEST = 100  # characters of a file name


def write_dataset(dataset: Dataset, path: str | Path, overwrite: bool) -> Path:
    """Write a dataset, without its models, as a FITS file that Gammapy reads.

    Parameters
    ----------
    dataset : dataset
    path : str or path
        ".fits" or ".fits.gz".
    overwrite : bool
        Whether to replace an existing file.

    Raises
    ------
    InputError
        If the path has another ending.
    StoreExistsError
        If the file exists and may not be overwritten.
    StoreError
        If the file cannot be written.
    """
    path = expanded(path)
    where = f"dataset {dataset.name!r}: {path}"
    if not path.name.lower().endswith(FITS):
        msg = f"{where}: expected a FITS file ({' or '.join(FITS)}); use Datasets.write for a store"
        raise InputError(msg)
    if path.is_dir() or (path.exists() and not overwrite):
        msg = f"{where} already exists"
        raise StoreExistsError(msg)
    _write(path, dataset.source, dataset.name, dataset.to_hdus, overwrite)
    return path


def write_list(
    datasets: Sequence[Dataset],
    path: Path,
    client: Client | None,
    overwrite: bool,
    on_event: Listener | None,
) -> Path:
    """Write datasets, without their models, as FITS files and a list of them that Gammapy reads.

    The list is written after all files.

    Parameters
    ----------
    datasets : sequence of dataset
    path : path
        Path of the list; the files are written beside it.
    client : `distributed.Client` or None
        Cluster to write on, one file per task; by default this process.
    overwrite : bool
        Whether to replace existing files.
    on_event : callable or None
        Receives a `DatasetsProgress` as files are written.

    Raises
    ------
    StoreExistsError
        If one of the files exists and may not be overwritten; then nothing is written.
    StoreError
        If a file cannot be written.
    """
    folder = path.absolute().parent
    files = [f"{name}.fits" for name in file_names([dataset.name for dataset in datasets])]
    for file in (path, *(folder / name for name in files)):
        if file.is_dir() or (file.exists() and not overwrite):
            msg = f"{file} already exists"
            raise StoreExistsError(msg)
    tasks = [
        _FileTask(dataset.name, dataset.source, dataset.to_hdus, file)
        for dataset, file in zip(datasets, files, strict=True)
    ]
    entries = [
        {"name": dataset.name, "type": type(dataset).__name__, "filename": file}
        for dataset, file in zip(datasets, files, strict=True)
    ]
    made = folder / f".{path.name}-{uuid4().hex}"
    try:
        made.mkdir(parents=True)
        for done, _ in enumerate(
            run_tasks(partial(_write_task, folder=str(made)), tasks, client), 1
        ):
            if on_event is not None:
                on_event(DatasetsProgress("export", done, len(tasks)))
        for name in files:
            (made / name).replace(folder / name)
    except OSError as error:
        if isinstance(error, GmdaskError):
            raise
        msg = f"{folder}: cannot be written ({error})"
        raise StoreError(msg) from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
    text = yaml.safe_dump({"datasets": entries}, sort_keys=False)
    write_files({path: text.encode()}, overwrite)
    return path


def file_names(names: Sequence[str]) -> list[str]:
    """Return unique file names, without endings, that are valid on any file system.

    Parameters
    ----------
    names : sequence of str
        Names of datasets or sources.
    """
    found: list[str] = []
    taken: set[str] = set()
    for number, name in enumerate(names):
        file = re.sub(r"[^\w.+-]", "_", name, flags=re.ASCII).lstrip(".")[:LONGEST]
        free = file
        while not free or free.lower() in taken:
            free, number = f"{file}-{number}", number + 1
        taken.add(free.lower())
        found.append(free)
    return found


@dataclass(frozen=True)
class _FileTask:
    """A dataset, and the file to which it is written."""

    name: str
    source: CubeSource | xr.Dataset
    to_hdus: Callable[[xr.Dataset], HDUList]
    file: str


def _write_task(task: _FileTask, folder: str) -> None:
    _write(Path(folder) / task.file, task.source, task.name, task.to_hdus, overwrite=False)


def _write(
    path: Path,
    source: CubeSource | xr.Dataset,
    name: str,
    to_hdus: Callable[[xr.Dataset], HDUList],
    overwrite: bool,
) -> None:
    buffer = io.BytesIO()
    to_hdus(opened(source, name)).writeto(buffer, checksum=True)
    content = buffer.getvalue()
    if path.name.lower().endswith(".gz"):
        content = gzip.compress(content, mtime=0)
    try:
        write_files({path: content}, overwrite)
    except StoreError:
        raise
    except OSError as error:
        msg = f"dataset {name!r}: {path} cannot be written ({error})"
        raise StoreError(msg) from error
