"""What is done with many datasets at once, whatever their models: choices, tables, sums, stores."""

from __future__ import annotations

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
from gmdask.errors import InputError
from gmdask.events import Listener
from gmdask.paths import expanded
from gmdask.store import Store
from gmdask.store.axes import cube_axis

__all__ = ["Collected"]


class Collected(DatasetList):
    """Datasets, and what is done with many of them at once.

    Nothing is computed before it is asked for; what is made of datasets of a store is described, and
    `write` computes it block by block on the workers of a cluster.
    """

    # --- choices -----------------------------------------------------------------------

    def slice_by_energy(self, energy_min: Any = None, energy_max: Any = None) -> Self:
        """Datasets between two reconstructed energies, without those that have no bin there.

        Parameters
        ----------
        energy_min, energy_max : Quantity or str, optional
            Rounded to edges of bins; by default the ends of the axes.

        Raises
        ------
        InputError
            If one is no energy, or the second not above the first.
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
        """Parts of the fields of view, without the datasets that have none there.

        Parameters
        ----------
        position : `~astropy.coordinates.SkyCoord`
            Centre.
        width : Quantity, float or pair of these
            Of the part in longitude and latitude; numbers are deg.

        Raises
        ------
        InputError
            If position or width are none, or the part lies outside of all fields of view.
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
        """Datasets whose good time intervals lie between two times.

        Parameters
        ----------
        time_min, time_max : `~astropy.time.Time` or str
        atol : Quantity or str
            By how much they may lie outside.

        Raises
        ------
        InputError
            If a time is none, or a dataset has no intervals.
        """
        return self[chosen_by_time(self, time_min, time_max, atol)]

    def to_spectrum_datasets(self, region: Any) -> Self:
        """Spectra of a region, see `MapDataset.to_spectrum_dataset`.

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
            Whether row n is of the stack of the first n, in which the backgrounds are those that the
            models predict.
        """
        return info_table(self, cumulative)

    @property
    def meta_table(self) -> Table:
        """Metadata of the observations, after name and kind of the dataset."""
        return meta_table(self)

    @property
    def gti(self) -> QTable | None:
        """Begin and end of the good time intervals of each dataset that has any, None if none has."""
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
        """Stack all datasets onto the pixels of the first.

        They are stacked in runs of eight, and the stacks added as a tree whose shape depends on the
        number of datasets alone, so that the result has the same bits wherever it is computed.
        Begin with an empty dataset (`MapDataset.create`) to stack onto other pixels than those of the
        first.

        Parameters
        ----------
        name : str, optional
            Name of the sum, by default that of the first.
        client : `distributed.Client`, optional
            Cluster to stack on; by default this process.
        on_event : callable, optional
            Gets a `DatasetsProgress` as datasets are stacked.

        Returns
        -------
        stacked : `MapDataset`
            In memory, with the models that are left of all.

        Raises
        ------
        InputError
            If there are none, their kinds, axes or pixels differ, or a response has no exposure.
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
        """Write the datasets, without their models, into a store, or as Gammapy's files.

        Parameters
        ----------
        url : str or path
            The store. Where it ends in ".yaml", a list of datasets as Gammapy writes and reads it,
            with a FITS file "<name>.fits" of each beside it.
        client : `distributed.Client`, optional
            Cluster to write on, one block or file per task; by default this process.
        filename_models : str or path, optional
            Where the global models, of which the datasets have copies, are written too.
        overwrite : bool
            Replace the datasets of a store, or the files, that are there.
        append : bool
            Add to a store that is there.
        on_event : callable, optional
            Gets a `DatasetsProgress` as blocks or files are written.

        Returns
        -------
        `Store`, or path of the list

        Raises
        ------
        StoreExistsError
            If there is a store or a file, and neither `overwrite` nor `append` is given.
        DuplicateNameError
            If a dataset of the same name is in the store already.
        InputError
            If a list of files is to be appended to, the name is that of another kind of file, or there
            are no models to write.
        StoreError
            If a file cannot be written.
        """
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
    """Bins of a dataset between two energies, None if there are none."""
    axis = cube_axis(dataset.cube, "energy")
    try:
        return slice(*energy_bins(axis, low, high, f"dataset {dataset.name!r}"))
    except InputError:
        return None
