"""Datasets derived from others: cut and summed in energy; most are methods of `MapDataset`.

Each keeps the name unless another is given, and adapts copies of the models. Nothing is computed before it
is needed. The new dataset is described by how it is derived, so that workers can compute it, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import xarray as xr

from gmdask.datasets.cube_dataset import CubeDataset
from gmdask.datasets.derived_cube import AlteredCube
from gmdask.datasets.operations import stack as stacking
from gmdask.datasets.operations.energy import (
    energy_bins,
    grouped_bins,
    resample_energy,
    slice_axes,
)
from gmdask.datasets.operations.models import (
    background_of,
    resampled_models,
    sliced_models,
)
from gmdask.errors import InputError
from gmdask.models import DatasetModels
from gmdask.store.axes import cube_axis

__all__ = [
    "altered",
    "altered_dataset",
    "resample_energy_axis",
    "resampled",
    "slice_by_energy",
    "slice_by_idx",
    "to_image",
    "to_masked",
    "where_of",
]

Made = TypeVar("Made", bound=CubeDataset)  # of the kind of the given one
New = TypeVar("New", bound=CubeDataset)

SLICED = ("energy", "energy_true", "rad", "migra")


def where_of(dataset: CubeDataset) -> str:
    """Return the text with which messages about a dataset begin."""
    return f"dataset {dataset.name!r}"


def altered(
    dataset: Made,
    operation: Callable[..., xr.Dataset],
    options: Mapping[str, Any],
    models: DatasetModels,
    name: str | None = None,
) -> Made:
    """Return a dataset that is derived from another of its kind by an operation."""
    return altered_dataset(type(dataset), dataset, operation, options, models, name)


def slice_by_idx(dataset: Made, slices: Mapping[str, slice], name: str | None = None) -> Made:
    """Slice the dataset by bin numbers.

    Parameters
    ----------
    dataset : `MapDataset`
    slices : dict of slice
        By name of the axis: "energy", "energy_true", "rad", "migra". It is cut in all arrays
        that have it.
    name : str, optional
        Name of the new dataset; by default that of this one.

    Raises
    ------
    InputError
        If there is no such axis, no bin is left, or the slice has a step.
    """
    bins = {axis: _bins(dataset, axis, part) for axis, part in slices.items()}
    models = dataset.models_for(name or dataset.name)
    if "energy" in bins:
        models = sliced_models(models, bins["energy"])
    return altered(dataset, slice_axes, {"slices": bins}, models, name)


def _bins(dataset: Made, axis: str, part: object) -> tuple[int, int]:
    dims = [dim for dim in (axis, f"psf_{axis}", f"edisp_{axis}") if dim in dataset.cube.dims]
    if axis not in SLICED or not dims:
        msg = f"{where_of(dataset)}: there is no axis {axis!r} to slice"
        raise InputError(msg)
    if not isinstance(part, slice):
        msg = f"{where_of(dataset)}: axis {axis!r} is sliced by {part!r}, expected a slice"
        raise InputError(msg)
    start, stop, step = part.indices(dataset.cube.sizes[dims[0]])
    if step != 1 or start >= stop:
        msg = f"{where_of(dataset)}: {part} of axis {axis!r}, expected consecutive bins"
        raise InputError(msg)
    return start, stop


def slice_by_energy(
    dataset: Made, energy_min: Any = None, energy_max: Any = None, name: str | None = None
) -> Made:
    """Slice the dataset in reconstructed energy, rounded to bin edges.

    Parameters
    ----------
    dataset : `MapDataset`
    energy_min, energy_max : Quantity or str, optional
        By default the ends of the axis.
    name : str, optional
        Name of the new dataset; by default that of this one.

    Raises
    ------
    InputError
        If no bin is left.
    """
    axis = cube_axis(dataset.cube, "energy")
    start, stop = energy_bins(axis, energy_min, energy_max, where_of(dataset))
    return slice_by_idx(dataset, {"energy": slice(start, stop)}, name)


def resample_energy_axis(dataset: Made, energy_axis: Any, name: str | None = None) -> Made:
    """Sum bins of reconstructed energy, within the safe mask.

    The background model then predicts the sum, templates are summed, exposure and PSF
    are not changed (as Gammapy's ``MapDataset.resample_energy_axis``).

    Parameters
    ----------
    dataset : `MapDataset`
    energy_axis : Quantity or `Axis`
        New edges, rounded to the existing ones.
    name : str, optional
        Name of the new dataset; by default that of this one.

    Raises
    ------
    InputError
        If the edges define no bin.
    """
    bins = grouped_bins(cube_axis(dataset.cube, "energy"), energy_axis, where_of(dataset))
    return resampled(dataset, bins, name)


def resampled(dataset: Made, bins: list[int], name: str | None) -> Made:
    """Return a dataset with bins of reconstructed energy summed.

    Parameters
    ----------
    dataset : `MapDataset`
    bins : list of int
        First bin of each new one, and the end of the last.
    name : str or None
        Name of the new dataset; by default that of the old one.
    """
    models = resampled_models(dataset.models_for(name or dataset.name), bins)
    options = {"bins": bins, "background": background_of(dataset.own_models)}
    return altered(dataset, resample_energy, options, models, name)


def to_image(dataset: Made, name: str | None = None) -> Made:
    """Sum over reconstructed energy; see `resample_energy_axis`.

    Parameters
    ----------
    dataset : `MapDataset`
    name : str, optional
        Name of the new dataset; by default that of this one.
    """
    return resampled(dataset, [0, dataset.cube.sizes["energy"]], name)


def to_masked(dataset: Made, name: str | None = None) -> Made:
    """Return a dataset that is empty outside its safe mask, as the first of a stack.

    Parameters
    ----------
    dataset : `MapDataset`
    name : str, optional
        Name of the new dataset; by default that of this one.
    """
    return altered(dataset, stacking.to_masked, {}, dataset.models_for(name or dataset.name), name)


def altered_dataset(
    kind: type[New],
    source: CubeDataset,
    operation: Callable[..., xr.Dataset],
    options: Mapping[str, Any],
    models: DatasetModels,
    name: str | None,
) -> New:
    """Return a dataset that is derived from another by an operation.

    Parameters
    ----------
    kind : type
        Class of the new dataset.
    source : dataset
    operation : callable
        Function of a gmdask module, from a cube and options to a cube.
    options : mapping
        Plain data.
    models : `DatasetModels`
        Models of the new dataset.
    name : str or None
        Its name; by default that of the other.
    """
    cube = operation(source.lazy_cube, **options)
    stored = None
    if source.stored is not None:
        stored = AlteredCube(operation, (source.stored,), options)
    named = cube.assign_attrs(name=name or source.name)
    new = kind(named, stored, response=source.own_response)
    new.take_models(models)
    return new
