"""Export of datasets to Gammapy's files, and conversion from and to Gammapy's objects."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from distributed import Client

from gmdask.cluster import check_client
from gmdask.datasets.base import Dataset
from gmdask.datasets.collection import Datasets, as_datasets
from gmdask.datasets.derived_cube import opened
from gmdask.datasets.io.fits_files import write_list
from gmdask.datasets.kinds import KINDS
from gmdask.errors import GmdaskError, InputError, StoreError
from gmdask.events import Listener
from gmdask.inputs.optional import gammapy_module
from gmdask.models import Component, ModelBase, ModelSequence
from gmdask.models.io.gammapy_objects import models_from_gammapy, models_to_gammapy
from gmdask.paths import expanded
from gmdask.quiet import no_warnings

__all__ = ["export_datasets", "from_gammapy", "to_gammapy"]


def export_datasets(
    datasets: Sequence[Dataset],
    folder: str | Path,
    client: Client | None = None,
    *,
    on_event: Listener | None = None,
) -> Path:
    """Write datasets, without their models, as FITS files and a datasets.yaml that Gammapy reads.

    Parameters
    ----------
    datasets : sequence of `Dataset`
    folder : str or path
        A new or empty folder; it is created only when all files are complete.
    client : `distributed.Client`, optional
        Cluster to write on, one file per task; by default this process.
    on_event : callable, optional
        Receives a `DatasetsProgress` as files are written.

    Returns
    -------
    path
        Path of the datasets.yaml.

    Raises
    ------
    InputError
        If the folder is not empty.
    StoreError
        If the files cannot be written.
    """
    check_client(client)
    datasets = as_datasets(datasets)
    folder = expanded(folder).absolute()
    _refuse_taken(folder)
    made = folder.with_name(f".{folder.name}-{uuid4().hex}")
    try:
        made.mkdir()
        write_list(datasets, made / "datasets.yaml", client, False, on_event)
        made.replace(folder)
    except GmdaskError:
        raise
    except OSError as error:
        _refuse_taken(folder)  # which another export may have written meanwhile
        msg = f"{folder}: cannot be written ({error.strerror or error})"
        raise StoreError(msg) from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder / "datasets.yaml"


def _refuse_taken(folder: Path) -> None:
    """Reject a folder that is not empty, and anything that is not a folder."""
    if not os.path.lexists(folder):
        return
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if names or not folder.is_dir():
        shown = (
            f"contains {', '.join(names[:3])}{', ...' if names[3:] else ''}"
            if names
            else "is a file"
        )
        msg = f"{folder}: already exists and {shown}; choose a new or empty folder"
        raise InputError(msg)


# --- Gammapy's objects --------------------------------------------------------------------


def to_gammapy(
    data: Dataset | Iterable[Dataset] | ModelSequence | Component | ModelBase,
) -> Any:
    """Convert datasets (in memory, without models) or models to Gammapy's objects.

    Parameters
    ----------
    data : a dataset or several, `Models`, a component of them, or a model

    Returns
    -------
    Gammapy's object of the same name, or its ``Datasets``

    Raises
    ------
    ImportError
        If Gammapy is not installed (``pip install "gmdask[gammapy]"``).
    """
    theirs = gammapy_module("datasets", "to_gammapy")
    if isinstance(data, ModelSequence | Component | ModelBase):
        return models_to_gammapy(data)
    with no_warnings():
        if not isinstance(data, Dataset):
            return theirs.Datasets([to_gammapy(dataset) for dataset in data])
        cube = opened(data.source, data.name).assign_attrs(kind=type(data).__name__)
        return data.cube_to_gammapy(cube)


def from_gammapy(data: Any) -> Any:
    """Convert Gammapy's datasets (without their models), models or maps, in memory.

    Parameters
    ----------
    data : dataset of Gammapy, or its ``Datasets``
        Or ``Models``, a component of them, a spectral, spatial or temporal model, or a map. They
        are not changed.

    Returns
    -------
    Object of the same name: `MapDataset`, `Datasets`, `Models`, `SkyModel`, ...; `SkyMap` for a map

    Raises
    ------
    InputError
        If it is of another kind, has HEALPix pixels, or its values are invalid.
    """
    if "gammapy.modeling" in sys.modules:
        models = models_from_gammapy(data)
        if models is not None:
            return models
    if isinstance(data, Iterable) and not isinstance(data, str | bytes):
        return Datasets(from_gammapy(dataset) for dataset in data)
    kind = type(data).__name__
    if kind not in KINDS:
        msg = f"{data!r} is a {kind}, expected one of Gammapy's {', '.join(KINDS)}, several of these, or models"
        raise InputError(msg)
    return KINDS[kind](KINDS[kind].cube_from_gammapy(data, f"dataset {data.name!r} of Gammapy"))
