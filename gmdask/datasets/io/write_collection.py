"""Writing of a collection of datasets: a method of `Datasets`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from distributed import Client

from gmdask.datasets.io.fits_files import YAML, write_list
from gmdask.datasets.io.write_store import write_datasets
from gmdask.errors import InputError, check_kind
from gmdask.events import Listener
from gmdask.paths import expanded
from gmdask.store import Store

if TYPE_CHECKING:
    from gmdask.datasets.collection import Datasets

__all__ = ["write_collection"]


def write_collection(
    datasets: Datasets,
    url: str | Path,
    client: Client | None = None,
    *,
    filename_models: str | Path | None = None,
    overwrite: bool = False,
    append: bool = False,
    on_event: Listener | None = None,
) -> Store | Path:
    """Write the datasets, without their models, to a store or as Gammapy's files.

    Parameters
    ----------
    datasets : `Datasets`
    url : str or path
        The store. If it ends with ".yaml", a list of datasets in Gammapy's format is written,
        with a FITS file "<name>.fits" for each beside it.
    client : `distributed.Client`, optional
        Cluster to write on, one block or file per task; by default this process.
    filename_models : str or path, optional
        File for the global models, of which the datasets have copies.
    overwrite : bool
        Whether to replace the datasets of a store, or files, that exist.
    append : bool
        Whether to add to an existing store.
    on_event : callable, optional
        Receives a `DatasetsProgress` as blocks or files are written.

    Returns
    -------
    `Store`, or path of the list

    Raises
    ------
    StoreExistsError
        If the store or a file exists, and neither `overwrite` nor `append` is given.
    DuplicateNameError
        If the store already has a dataset of the same name.
    InputError
        If a list of files is to be appended to, the name has the ending of another kind of file, or
        there are no models to write.
    StoreError
        If a file cannot be written.
    """
    check_kind(url, (str, os.PathLike), "a path")
    name = Path(url).name.lower()
    if name.endswith(YAML) and append:
        msg = f"{url}: files cannot be appended to, expected a store (.zarr)"
        raise InputError(msg)
    if filename_models is not None:
        datasets.write_models(filename_models, overwrite=overwrite)
    if name.endswith(YAML):
        return write_list(datasets, expanded(url), client, overwrite, on_event)
    return write_datasets(
        datasets, url, client, overwrite=overwrite, append=append, on_event=on_event
    )
