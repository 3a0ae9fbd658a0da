"""Operations on many datasets that do not involve the global models: selection, tables, stacking, writing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Self

from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table
from distributed import Client

from gmdask.datasets.dataset_list import DatasetList
from gmdask.datasets.io.fits_files import YAML, write_list
from gmdask.datasets.io.write_store import write_datasets
from gmdask.datasets.map_dataset import MapDataset, with_counts
from gmdask.datasets.operations.energy import energy_bins
from gmdask.datasets.operations.stack_reduce import stack_datasets
from gmdask.datasets.summary_tables import (
    chosen_by_time,
    energy_ranges,
    gti_table,
    info_table,
    meta_table,
)
from gmdask.errors import InputError, check_kind
from gmdask.events import Listener
from gmdask.paths import expanded
from gmdask.store import Store
from gmdask.store.axes import cube_axis

__all__ = ["Collected"]


class Collected(DatasetList):
    """Datasets, with operations on many of them at once.

    Nothing is computed before it is needed. Datasets derived from a store are described, and
    `write` computes them block by block on the workers of a cluster.
    """

    # --- selection ---------------------------------------------------------------------

    def slice_by_energy(self, energy_min: Any = None, energy_max: Any = None) -> Self:
        """Slice the datasets in reconstructed energy; those without a bin in the range are left out.

        Parameters
        ----------
        energy_min, energy_max : Quantity or str, optional
            Rounded to bin edges; by default the ends of the axes.

        Raises
        ------
        InputError
            If one is not an energy, or energy_max is not above energy_min.
        """
        low, high = _energy(energy_min, "energy_min"), _energy(energy_max, "energy_max")
        if low is not None and high is not None and low >= high:
            msg = f"energy_max is {energy_max}, expected more than energy_min ({energy_min})"
            raise InputError(msg)
        sliced = []
        for dataset in with_counts(self, "slice_by_energy"):
            bins = _bins(dataset, low, high)
            if bins is not None:
                sliced.append(dataset.slice_by_idx({"energy": bins}))
        return type(self)(sliced)

    def cutout(self, position: SkyCoord, width: Any) -> Self:
        """Cut out parts of the fields of view; datasets outside are left out.

        Parameters
        ----------
        position : `~astropy.coordinates.SkyCoord`
            Centre.
        width : Quantity, float or pair of these
            Size in longitude and latitude; numbers are in deg.

        Raises
        ------
        InputError
            If position or width are invalid, or the cutout lies outside of all fields of view.
        """
        parts, outside = [], None
        for dataset in with_counts(self, "cutout"):
            try:
                parts.append(dataset.cutout(position, width))
            except InputError as error:
                outside = error
        if outside is not None and not parts:
            raise outside
        return type(self)(parts)

    def select_time(self, time_min: Any, time_max: Any, atol: Any = "1e-6 s") -> Self:
        """Select the datasets whose good time intervals lie between two times.

        Parameters
        ----------
        time_min, time_max : `~astropy.time.Time` or str
        atol : Quantity or str
            Time by which intervals may extend beyond.

        Raises
        ------
        InputError
            If a time is invalid, or a dataset has no good time intervals.
        """
        return self[chosen_by_time(self, time_min, time_max, atol)]

    def to_spectrum_datasets(self, region: Any) -> Self:
        """Return the spectra of a region; see `MapDataset.to_spectrum_dataset`.

        Parameters
        ----------
        region : SkyRegion, SkyCoord, list of SkyRegion, str or path
        """
        chosen = with_counts(self, "to_spectrum_datasets")
        return type(self)(dataset.to_spectrum_dataset(region) for dataset in chosen)

    # --- tables ------------------------------------------------------------------------

    def info_table(self, cumulative: bool = False) -> QTable:
        """One row per dataset with the keys of its ``info_dict``; a table with masked cells where these differ.

        Parameters
        ----------
        cumulative : bool
            Whether row n describes the stack of the first n datasets, with backgrounds as predicted by
            the models.
        """
        return info_table(self, cumulative)

    @property
    def meta_table(self) -> Table:
        """Metadata of the observations, with the name and kind of the dataset."""
        return meta_table(self)

    @property
    def gti(self) -> QTable | None:
        """Start and stop of the good time intervals of each dataset that has any, None if none has."""
        return gti_table(self)

    @property
    def energy_ranges(self) -> tuple[u.Quantity, u.Quantity]:
        """Lowest and highest reconstructed energy of each dataset, in TeV."""
        return energy_ranges(self)

    # --- sums and stores ---------------------------------------------------------------

    def stack_reduce(
        self,
        name: str | None = None,
        client: Client | None = None,
        *,
        on_event: Listener | None = None,
    ) -> MapDataset:
        """Stack all datasets onto the pixel grid of the first.

        They are stacked in runs of eight, and the stacks are merged in a tree whose shape depends only
        on the number of datasets, so that the result has the same bits wherever it is computed.
        To stack onto another pixel grid, put an empty dataset (`MapDataset.create`) in front of the
        others.

        Parameters
        ----------
        name : str, optional
            Name of the stacked dataset, by default that of the first.
        client : `distributed.Client`, optional
            Cluster to stack on; by default this process.
        on_event : callable, optional
            Receives a `DatasetsProgress` as datasets are stacked.

        Returns
        -------
        stacked : `MapDataset`
            In memory, with the models that remain of all datasets.

        Raises
        ------
        InputError
            If there are no datasets, their kinds, axes or pixels differ, or a response has no exposure.
        """
        return stack_datasets(with_counts(self, "stack_reduce"), name, client, on_event)

    def write(
        self,
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
            self._write_models(filename_models, overwrite=overwrite)
        if name.endswith(YAML):
            return write_list(self, expanded(url), client, overwrite, on_event)
        return write_datasets(
            self, url, client, overwrite=overwrite, append=append, on_event=on_event
        )

    def _write_models(self, path: str | Path, *, overwrite: bool) -> None:
        """Write the global models; see `write`."""
        raise NotImplementedError


def _energy(value: Any, key: str) -> u.Quantity | None:
    if value is None:
        return None
    try:
        return u.Quantity(value).to("TeV")
    except (TypeError, ValueError, u.UnitsError) as error:
        msg = f"{key} is {value!r}, expected an energy"
        raise InputError(msg) from error


def _bins(
    dataset: MapDataset, low: u.Quantity | None, high: u.Quantity | None
) -> slice | None:  # fmt: skip
    """Return the bins of a dataset between two energies, None if there are none."""
    axis = cube_axis(dataset.cube, "energy")
    try:
        return slice(*energy_bins(axis, low, high, f"dataset {dataset.name!r}"))
    except InputError:
        return None
