"""Datasets derived from others: cut, projected, summed. Nothing is computed before it is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self, TypeVar

import numpy as np
import xarray as xr
from astropy import units as u
from astropy.coordinates import SkyCoord

from gmdask.datasets.cube_dataset import CubeDataset
from gmdask.datasets.derived_cube import AlteredCube, lazy
from gmdask.datasets.operations.energy import (
    energy_bins,
    grouped_bins,
    resample_energy,
    slice_axes,
)
from gmdask.datasets.operations.models import (
    background_of,
    coarser_models,
    resampled_models,
    sliced_models,
    stacked_models,
)
from gmdask.datasets.operations.region import check_region, to_region
from gmdask.datasets.operations.sky import cutout, cutout_windows, downsample, pad
from gmdask.datasets.operations.stack import stack, to_masked
from gmdask.errors import InputError, check_kind
from gmdask.geometry.regions import Region
from gmdask.models import DatasetModels
from gmdask.store.axes import cube_axis

__all__ = ["Alterations", "altered_dataset"]

MAX_BINS = 1 << 30  # largest number of bins of a padded dataset

Made = TypeVar("Made", bound=CubeDataset)

SLICED = ("energy", "energy_true", "rad", "migra")


class Alterations(CubeDataset):
    """Methods that derive other datasets from a dataset.

    Each keeps the name unless another is given, and adapts copies of the models. The
    new dataset is described by how it is derived, so that workers can compute it, too.
    """

    def _altered(
        self,
        operation: Callable[..., xr.Dataset],
        options: Mapping[str, Any],
        models: DatasetModels,
        name: str | None = None,
    ) -> Self:
        """Return a dataset that is derived from this one by an operation."""
        return altered_dataset(type(self), self, operation, options, models, name)

    @property
    def _where(self) -> str:
        return f"dataset {self._name!r}"

    # --- energies ----------------------------------------------------------------------

    def slice_by_idx(self, slices: Mapping[str, slice], name: str | None = None) -> Self:
        """Slice the dataset by bin numbers.

        Parameters
        ----------
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
        bins = {axis: self._bins(axis, part) for axis, part in slices.items()}
        models = self.models_for(name or self._name)
        if "energy" in bins:
            models = sliced_models(models, bins["energy"])
        return self._altered(slice_axes, {"slices": bins}, models, name)

    def _bins(self, axis: str, part: object) -> tuple[int, int]:
        dims = [dim for dim in (axis, f"psf_{axis}", f"edisp_{axis}") if dim in self._cube.dims]
        if axis not in SLICED or not dims:
            msg = f"{self._where}: there is no axis {axis!r} to slice"
            raise InputError(msg)
        if not isinstance(part, slice):
            msg = f"{self._where}: axis {axis!r} is sliced by {part!r}, expected a slice"
            raise InputError(msg)
        start, stop, step = part.indices(self._cube.sizes[dims[0]])
        if step != 1 or start >= stop:
            msg = f"{self._where}: {part} of axis {axis!r}, expected consecutive bins"
            raise InputError(msg)
        return start, stop

    def slice_by_energy(
        self, energy_min: Any = None, energy_max: Any = None, name: str | None = None
    ) -> Self:
        """Slice the dataset in reconstructed energy, rounded to bin edges.

        Parameters
        ----------
        energy_min, energy_max : Quantity or str, optional
            By default the ends of the axis.
        name : str, optional
            Name of the new dataset; by default that of this one.

        Raises
        ------
        InputError
            If no bin is left.
        """
        axis = cube_axis(self._cube, "energy")
        start, stop = energy_bins(axis, energy_min, energy_max, self._where)
        return self.slice_by_idx({"energy": slice(start, stop)}, name)

    def resample_energy_axis(self, energy_axis: Any, name: str | None = None) -> Self:
        """Sum bins of reconstructed energy, within the safe mask.

        The background model then predicts the sum, templates are summed, exposure and PSF
        are not changed (as Gammapy's ``MapDataset.resample_energy_axis``).

        Parameters
        ----------
        energy_axis : Quantity or `Axis`
            New edges, rounded to the existing ones.
        name : str, optional
            Name of the new dataset; by default that of this one.

        Raises
        ------
        InputError
            If the edges define no bin.
        """
        bins = grouped_bins(cube_axis(self._cube, "energy"), energy_axis, self._where)
        return self._resampled(bins, name)

    def _resampled(self, bins: list[int], name: str | None) -> Self:
        models = resampled_models(self.models_for(name or self._name), bins)
        options = {"bins": bins, "background": background_of(self._models)}
        return self._altered(resample_energy, options, models, name)

    def to_image(self, name: str | None = None) -> Self:
        """Sum over reconstructed energy; see `resample_energy_axis`.

        Parameters
        ----------
        name : str, optional
            Name of the new dataset; by default that of this one.
        """
        return self._resampled([0, self._cube.sizes["energy"]], name)

    # --- pixels ------------------------------------------------------------------------

    def _check_is_map(self, what: str) -> None:
        if "region" in self._cube.attrs:
            msg = f"{self._where}: {what} needs a map, but this is a region"
            raise InputError(msg)

    def cutout(self, position: SkyCoord, width: Any, name: str | None = None) -> Self:
        """Cut out a part of the field of view, which is trimmed at its border.

        Parameters
        ----------
        position : `~astropy.coordinates.SkyCoord`
            Centre.
        width : Quantity, float or pair of these
            Size in longitude and latitude; numbers are in deg.
        name : str, optional
            Name of the new dataset; by default that of this one.

        Raises
        ------
        InputError
            If the part lies outside the field of view.
        """
        self._check_is_map("cutout")
        if not isinstance(position, SkyCoord) or not position.isscalar:
            msg = f"{self._where}: position is {position!r}, expected a single SkyCoord"
            raise InputError(msg)
        sides = np.broadcast_to(u.Quantity(width, "deg").value, 2)
        icrs = position.icrs
        at = float(icrs.ra.deg), float(icrs.dec.deg)
        size = float(sides[0]), float(sides[1])
        if not np.isfinite([*at, *size]).all() or min(size) <= 0:
            msg = f"{self._where}: cutout of {size} deg around {at} deg, expected finite numbers and a positive width"
            raise InputError(msg)
        windows = cutout_windows(self._cube, at, "icrs", size, self._where)
        plain = {key: tuple(window) for key, window in windows.items()}
        return self._altered(cutout, {"windows": plain}, self.models_for(name or self._name), name)

    def pad(self, pad_width: int | tuple[int, int], name: str | None = None) -> Self:
        """Add pixels on all sides: without counts, background and exposure, outside the masks.

        Parameters
        ----------
        pad_width : int or tuple of int
            Number of pixels on each side, or in longitude and in latitude.
        name : str, optional
            Name of the new dataset; by default that of this one.
        """
        self._check_is_map("pad")
        pixels = (pad_width, pad_width) if isinstance(pad_width, int) else pad_width
        is_pair = isinstance(pixels, tuple | list) and len(pixels) == 2
        if not is_pair or any(not isinstance(n, int) or n < 0 for n in pixels):
            msg = (
                f"{self._where}: pad_width is {pad_width!r}, expected one or two numbers of pixels"
            )
            raise InputError(msg)
        bins, rows, columns = self._cube["counts"].shape
        if bins * (rows + 2 * pixels[1]) * (columns + 2 * pixels[0]) > MAX_BINS:
            msg = f"{self._where}: {pad_width!r} more pixels on each side lead to more than {MAX_BINS} bins"
            raise InputError(msg)
        return self._altered(
            pad, {"pixels": tuple(pixels)}, self.models_for(name or self._name), name
        )

    def downsample(
        self, factor: int, axis_name: str | None = None, name: str | None = None
    ) -> Self:
        """Combine several pixels, or energy bins, into one.

        Counts and background are summed within the safe mask, the exposure of pixels is averaged.

        Parameters
        ----------
        factor : int
            Number along each side.
        axis_name : str, optional
            "energy" for energy bins; by default pixels are combined.
        name : str, optional
            Name of the new dataset; by default that of this one.

        Raises
        ------
        InputError
            If the number of pixels or bins is not divisible by the factor.
        """
        if axis_name not in (None, "energy"):
            msg = f"{self._where}: axis_name is {axis_name!r}, expected 'energy' or none"
            raise InputError(msg)
        dims = ("lat", "lon") if axis_name is None else ("energy",)
        sizes = [self._cube.sizes[dim] for dim in dims]
        check_kind(factor, (int, np.integer), "an integer as factor")
        if factor < 1 or any(n % factor for n in sizes):
            msg = f"{self._where}: {sizes} {' x '.join(dims)} cannot be divided by {factor}; pad or cut first"
            raise InputError(msg)
        if axis_name == "energy":
            return self._resampled(list(range(0, sizes[0] + 1, factor)), name)
        self._check_is_map("downsample")
        models = coarser_models(self.models_for(name or self._name), factor)
        options = {"factor": factor, "background": background_of(self._models)}
        return self._altered(downsample, options, models, name)

    # --- masks and sums ----------------------------------------------------------------

    def to_masked(self, name: str | None = None) -> Self:
        """Return a dataset that is empty outside its safe mask, as the first of a stack.

        Parameters
        ----------
        name : str, optional
            Name of the new dataset; by default that of this one.
        """
        return self._altered(to_masked, {}, self.models_for(name or self._name), name)

    def stack(self, other: CubeDataset) -> Self:
        """Add another dataset to this one, in place, as Gammapy does.

        Counts and background of the other are added in its safe mask, exposure where any energy
        is safe; PSF and energy dispersion are averaged with the exposure as weight, masks and
        good time intervals are combined. The models of the other are added to those of this
        one; the two background models become one, which predicts the sum of both backgrounds.

        Parameters
        ----------
        other : dataset
            A dataset on the same pixels, or on a part of them; it is not changed.

        Returns
        -------
        dataset
            This dataset.

        Raises
        ------
        InputError
            If axes or pixels differ, or an IRF has no exposure as weight.
        """
        check_kind(other, CubeDataset, "a dataset to stack")
        options = {"models": (background_of(self._models), background_of(other.own_models))}
        cube = stack(lazy(self._cube), lazy(other._cube), **options)
        models = stacked_models(self._models, other.models_for(self._name), other._cube)
        sources = (self._stored, other._stored)
        self._cube = cube.assign_attrs(name=self._name)
        self._stored = None
        if sources[0] is not None and sources[1] is not None:
            self._stored = AlteredCube(stack, (sources[0], sources[1]), options)
        self.take_models(models)
        return self

    # --- regions -----------------------------------------------------------------------

    def to_region_map_dataset(self, region: Any, name: str | None = None) -> Self:
        """Sum the dataset within a region, with the PSF at its centre.

        Counts, and background as predicted by its model, are summed within the safe mask, exposure
        is averaged, and the responses are those at the centre. The models are not kept.

        Parameters
        ----------
        region : SkyRegion, SkyCoord, list of SkyRegion, str or path
            See `gmdask.geometry.regions.read_region`.
        name : str, optional
            Name of the new dataset; by default that of this one.

        Raises
        ------
        InputError
            If the region is not completely inside the map, or a mask varies within it.
        """
        return self._in_region(type(self), self._region(region), {"kind": "MapDataset"}, name)

    def _region(self, region: Any) -> Region:
        self._check_is_map("a region of it")
        found = Region(region, self._cube.attrs["wcs"])
        check_region(self._cube, found, self._where)
        return found

    def _in_region(
        self, kind: type[Made], region: Region, options: Mapping[str, Any], name: str | None
    ) -> Made:
        plain = {"region": region.to_dict(), "background": background_of(self._models), **options}
        return altered_dataset(kind, self, to_region, plain, DatasetModels(), name)


def altered_dataset(
    kind: type[Made],
    source: CubeDataset,
    operation: Callable[..., xr.Dataset],
    options: Mapping[str, Any],
    models: DatasetModels,
    name: str | None,
) -> Made:
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
    cube = operation(lazy(source._cube), **options)
    stored = None
    if source._stored is not None:
        stored = AlteredCube(operation, (source._stored,), options)
    named = cube.assign_attrs(name=name or source.name)
    new = kind(named, stored, response=source.own_response)
    new.take_models(models)
    return new
