"""Selections of many datasets: methods of `Datasets`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.time import Time

from gmdask.datasets.given import with_counts
from gmdask.datasets.map_dataset import MapDataset
from gmdask.datasets.operations.energy import energy_bins
from gmdask.datasets.operations.gti import time_intervals
from gmdask.errors import InputError
from gmdask.store.axes import cube_axis

if TYPE_CHECKING:
    from gmdask.datasets.collection import Datasets

__all__ = ["cutout", "select_time", "slice_by_energy", "to_spectrum_datasets"]

D = TypeVar("D", bound="Datasets")


def slice_by_energy(datasets: D, energy_min: Any = None, energy_max: Any = None) -> D:
    """Slice the datasets in reconstructed energy; those without a bin in the range are left out.

    Parameters
    ----------
    datasets : `Datasets`
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
    for dataset in with_counts(datasets, "slice_by_energy"):
        bins = _bins(dataset, low, high)
        if bins is not None:
            sliced.append(dataset.slice_by_idx({"energy": bins}))
    return type(datasets)(sliced)


def cutout(datasets: D, position: SkyCoord, width: Any) -> D:
    """Cut out parts of the fields of view; datasets outside are left out.

    Parameters
    ----------
    datasets : `Datasets`
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
    for dataset in with_counts(datasets, "cutout"):
        try:
            parts.append(dataset.cutout(position, width))
        except InputError as error:
            outside = error
    if outside is not None and not parts:
        raise outside
    return type(datasets)(parts)


def select_time(datasets: D, time_min: Any, time_max: Any, atol: Any = "1e-6 s") -> D:
    """Select the datasets whose good time intervals lie between two times.

    Parameters
    ----------
    datasets : `Datasets`
    time_min, time_max : `~astropy.time.Time` or str
    atol : Quantity or str
        Time by which intervals may extend beyond.

    Raises
    ------
    InputError
        If a time is invalid, or a dataset has no good time intervals.
    """
    try:
        low, high = Time(time_min), Time(time_max)
        tolerance = u.Quantity(atol, "s")
    except (ValueError, TypeError, u.UnitsError) as error:
        msg = f"{time_min!r} to {time_max!r} within {atol!r}: not times ({error})"
        raise InputError(msg) from error
    chosen = []
    for dataset in datasets:
        intervals = time_intervals(dataset.cube)
        if intervals is None:
            msg = f"dataset {dataset.name!r} has no good time intervals for the selection"
            raise InputError(msg)
        start, stop = intervals
        chosen.append(bool(start[0] >= low - tolerance and stop[-1] <= high + tolerance))
    return datasets[chosen]


def to_spectrum_datasets(datasets: D, region: Any) -> D:
    """Return the spectra of a region; see `MapDataset.to_spectrum_dataset`.

    Parameters
    ----------
    datasets : `Datasets`
    region : SkyRegion, SkyCoord, list of SkyRegion, str or path
    """
    chosen = with_counts(datasets, "to_spectrum_datasets")
    return type(datasets)(dataset.to_spectrum_dataset(region) for dataset in chosen)


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
