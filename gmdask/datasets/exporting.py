"""Datasets out again: as Gammapy's files, and as Gammapy's objects and back."""

from __future__ import annotations

import io
import re
import shutil
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, overload
from uuid import uuid4

import xarray as xr
import yaml
from astropy.units import Quantity
from distributed import Client

from gmdask.cluster import run_tasks
from gmdask.datasets.altered import opened
from gmdask.datasets.collection import Datasets
from gmdask.datasets.map_dataset import KINDS, MapDataset
from gmdask.errors import GmdaskError, InputError, StoreError
from gmdask.events import DatasetsProgress, Listener
from gmdask.likelihood.group import CubeSource
from gmdask.store.formats.gadf import read_content
from gmdask.store.formats.gadf_writer import to_hdulist
from gmdask.store.formats.validity import KERNEL_SUMS, warn_of_sums

__all__ = ["export_datasets", "from_gammapy", "to_gammapy"]


def export_datasets(
    datasets: Sequence[MapDataset],
    folder: str | Path,
    client: Client | None = None,
    *,
    on_event: Listener | None = None,
) -> Path:
    """Write datasets, without their models, as FITS files and a datasets.yaml that Gammapy reads.

    Parameters
    ----------
    datasets : sequence of `MapDataset`
    folder : str or path
        It does not exist yet, or is empty; it is there when all files are.
    client : `distributed.Client`, optional
        Cluster to write on, one file per task; by default this process.
    on_event : callable, optional
        Gets a `DatasetsProgress` as files are written.

    Returns
    -------
    path
        Of the datasets.yaml.

    Raises
    ------
    InputError
        If there is something in the folder.
    StoreError
        If the files cannot be written.
    """
    folder = Path(folder).absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        msg = f"{folder}: there is something of this name already, expected a new folder"
        raise InputError(msg)
    made = folder.with_name(f".{folder.name}-{uuid4().hex}")
    tasks = [
        _FileTask(dataset.name, dataset.source, file)
        for dataset, file in zip(datasets, _file_names(datasets), strict=True)
    ]
    entries = [
        {"name": dataset.name, "type": type(dataset).__name__, "filename": task.file}
        for dataset, task in zip(datasets, tasks, strict=True)
    ]
    try:
        made.mkdir()
        written = run_tasks(partial(_write_file, folder=str(made)), tasks, client)
        for done, _ in enumerate(written, 1):
            if on_event is not None:
                on_event(DatasetsProgress("export", done, len(tasks)))
        text = yaml.safe_dump({"datasets": entries}, sort_keys=False)
        (made / "datasets.yaml").write_text(text, encoding="utf-8")
        made.replace(folder)
    except GmdaskError:
        raise
    except OSError as error:
        msg = f"{folder}: cannot be written ({error})"
        raise StoreError(msg) from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder / "datasets.yaml"


@dataclass(frozen=True)
class _FileTask:
    """A dataset, and the file it goes to."""

    name: str
    source: CubeSource | xr.Dataset
    file: str


def _file_names(datasets: Sequence[MapDataset]) -> list[str]:
    """Names of files that any file system takes, each once."""
    names: list[str] = []
    for number, dataset in enumerate(datasets):
        name = re.sub(r"[^\w.+-]", "_", dataset.name).lstrip(".")
        taken = not name or f"{name.lower()}.fits" in {other.lower() for other in names}
        names.append(f"{name}-{number}.fits" if taken else f"{name}.fits")
    return names


def _write_file(task: _FileTask, folder: str) -> None:
    path = Path(folder) / task.file
    hdus = to_hdulist(opened(task.source, task.name))
    try:
        hdus.writeto(path, checksum=True)
    except OSError as error:
        msg = f"dataset {task.name!r}: {path} cannot be written ({error})"
        raise StoreError(msg) from error


# --- Gammapy's objects --------------------------------------------------------------------


@overload
def to_gammapy(data: MapDataset) -> Any: ...
@overload
def to_gammapy(data: Iterable[MapDataset]) -> Any: ...
def to_gammapy(data: MapDataset | Iterable[MapDataset]) -> Any:
    """Gammapy's objects of datasets, in memory and without models.

    Those go by way of ``gammapy.modeling.models.Models.from_dict(models.to_dict())``.

    Parameters
    ----------
    data : `MapDataset`, or several

    Returns
    -------
    ``gammapy.datasets.MapDataset`` or ``SpectrumDataset``, or ``gammapy.datasets.Datasets``

    Raises
    ------
    ImportError
        If Gammapy is not there (``pip install "gmdask[gammapy]"``).
    """
    with _quiet():
        theirs = _gammapy_datasets()
        if not isinstance(data, MapDataset):
            return theirs.Datasets([to_gammapy(dataset) for dataset in data])
        cube = opened(data.source, data.name)
        kind = getattr(theirs, type(data).__name__)
        made = kind.from_hdulist(to_hdulist(cube), name=data.name, format="gadf")
    livetime = cube["exposure"].attrs.get("meta", {}).get("livetime")
    if livetime is not None:  # which Gammapy does not read of spectra
        made.exposure.meta["livetime"] = Quantity(livetime)
    return made


@overload
def from_gammapy(data: Iterable[Any]) -> Datasets: ...
@overload
def from_gammapy(data: Any) -> MapDataset: ...
def from_gammapy(data: Any) -> MapDataset | Datasets:
    """Datasets, in memory and without models, of Gammapy's objects.

    Parameters
    ----------
    data : ``gammapy.datasets.MapDataset``, ``SpectrumDataset`` or ``Datasets``
        They do not change.

    Returns
    -------
    `MapDataset` or `SpectrumDataset`, or `Datasets`

    Raises
    ------
    InputError
        If it is of another kind, on HEALPix pixels, or its numbers cannot be used.
    """
    if isinstance(data, Iterable):
        return Datasets(from_gammapy(dataset) for dataset in data)
    kind = type(data).__name__
    if kind not in KINDS:
        msg = f"{data!r} is a {kind}, expected one of {', '.join(KINDS)} of Gammapy, or several"
        raise InputError(msg)
    where = f"dataset {data.name!r} of Gammapy"
    for key in ("counts", "exposure", "background", "mask_safe", "mask_fit"):
        found = getattr(data, key)
        if found is not None and found.geom.is_hpx:
            msg = f"{where}: {key} is on HEALPix pixels, which are not supported: expected a WCS map or a region"
            raise InputError(msg)
    if data.stat_type != "cash":
        weights = ", with its masks as weights," if data.stat_type == "cash_weighted" else ""
        msg = (
            f"{where}: stat_type {data.stat_type!r}{weights} is not supported yet: expected 'cash'"
        )
        raise InputError(msg)
    buffer = io.BytesIO()
    with _quiet():
        data.to_hdulist().writeto(buffer)
    cube = read_content(buffer.getvalue(), where, data.name, data.name)
    warn_of_sums({data.name: cube.attrs.get(KERNEL_SUMS, {})})
    cube.attrs["kind"] = kind
    livetime = None if data.exposure is None else data.exposure.meta.get("livetime")
    if livetime is not None:  # which Gammapy does not write of spectra
        meta = cube["exposure"].attrs.setdefault("meta", {})
        meta.setdefault("livetime", str(Quantity(livetime)))
    return KINDS[kind](cube)


def _gammapy_datasets() -> Any:
    try:
        return import_module("gammapy.datasets")
    except ImportError as error:
        msg = f'to_gammapy needs Gammapy: pip install "gmdask[gammapy]" ({error})'
        raise ImportError(msg) from error


def _quiet() -> warnings.catch_warnings[None]:
    """Without the warnings of Gammapy and what it uses."""
    return warnings.catch_warnings(action="ignore")
