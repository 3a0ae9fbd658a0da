"""Datasets made from others: cut, projected, summed. Nothing is computed before it is used."""

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
from gmdask.errors import InputError
from gmdask.geometry.regions import Region
from gmdask.models import DatasetModels
from gmdask.store.axes import cube_axis

__all__ = ["Alterations", "altered_dataset"]

MAX_BINS = 1 << 30  # of a dataset with more pixels

Made = TypeVar("Made", bound=CubeDataset)

SLICED = ("energy", "energy_true", "rad", "migra")


class Alterations(CubeDataset):
    """Methods that make other datasets of a dataset.

    Each keeps the name unless another is given, and has copies of the models that follow it. The
    new dataset is described by what it is made from, so that workers can make it too.
    """

    def _altered(
        self,
        operation: Callable[..., xr.Dataset],
        options: Mapping[str, Any],
        models: DatasetModels,
        name: str | None = None,
    ) -> Self:
        """Dataset that an operation makes of this one."""
        return altered_dataset(type(self), self, operation, options, models, name)

    @property
    def _where(self) -> str:
        return f"dataset {self._name!r}"

    # --- energies ----------------------------------------------------------------------

    def slice_by_idx(self, slices: Mapping[str, slice], name: str | None = None) -> Self:
        """Part of the dataset, by numbers of bins.

        Parameters
        ----------
        slices : dict of slice
            By name of axis: "energy", "energy_true", "rad", "migra". They are cut in all arrays
            that have them.
        name : str, optional
            Name of the new dataset, by default that of this one.

        Raises
        ------
        InputError
            If there is no such axis, nothing is left of it, or the slice has a step.
        """
        bins = {axis: self._bins(axis, part) for axis, part in slices.items()}
        models = self._models_for(name or self._name)
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
        """Part of the dataset between two reconstructed energies, rounded to edges of bins.

        Parameters
        ----------
        energy_min, energy_max : Quantity or str, optional
            By default the ends of the axis.
        name : str, optional
            Name of the new dataset, by default that of this one.

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

        The background goes on to be predicted by its model, templates are summed, exposure and PSF
        stay as they are (Gammapy's ``MapDataset.resample_energy_axis``).

        Parameters
        ----------
        energy_axis : Quantity or `Axis`
            New edges, rounded to those there are.
        name : str, optional
            Name of the new dataset, by default that of this one.

        Raises
        ------
        InputError
            If the edges make no bin.
        """
        bins = grouped_bins(cube_axis(self._cube, "energy"), energy_axis, self._where)
        return self._resampled(bins, name)

    def _resampled(self, bins: list[int], name: str | None) -> Self:
        models = resampled_models(self._models_for(name or self._name), bins)
        options = {"bins": bins, "background": background_of(self._models)}
        return self._altered(resample_energy, options, models, name)

    def to_image(self, name: str | None = None) -> Self:
        """Sum over reconstructed energy, see `resample_energy_axis`.

        Parameters
        ----------
        name : str, optional
            Name of the new dataset, by default that of this one.
        """
        return self._resampled([0, self._cube.sizes["energy"]], name)

    # --- pixels ------------------------------------------------------------------------

    def _check_is_map(self, what: str) -> None:
        if "region" in self._cube.attrs:
            msg = f"{self._where}: {what} needs a map, and this is a region"
            raise InputError(msg)

    def cutout(self, position: SkyCoord, width: Any, name: str | None = None) -> Self:
        """Part of the field of view; beyond its border there is nothing.

        Parameters
        ----------
        position : `~astropy.coordinates.SkyCoord`
            Centre.
        width : Quantity, float or pair of these
            Of the part in longitude and latitude; numbers are deg.
        name : str, optional
            Name of the new dataset, by default that of this one.

        Raises
        ------
        InputError
            If the part lies outside the field of view.
        """
        self._check_is_map("cutout")
        if not isinstance(position, SkyCoord) or not position.isscalar:
            msg = f"{self._where}: position is {position!r}, expected one SkyCoord"
            raise InputError(msg)
        sides = np.broadcast_to(u.Quantity(width, "deg").value, 2)
        icrs = position.icrs
        at = float(icrs.ra.deg), float(icrs.dec.deg)
        size = float(sides[0]), float(sides[1])
        if not np.isfinite([*at, *size]).all() or min(size) <= 0:
            msg = f"{self._where}: part of {size} deg around {at} deg, expected finite numbers and a positive width"
            raise InputError(msg)
        windows = cutout_windows(self._cube, at, "icrs", size, self._where)
        plain = {key: tuple(window) for key, window in windows.items()}
        return self._altered(cutout, {"windows": plain}, self._models_for(name or self._name), name)

    def pad(self, pad_width: int | tuple[int, int], name: str | None = None) -> Self:
        """Add pixels on all sides: without counts, background and exposure, outside the masks.

        Parameters
        ----------
        pad_width : int or tuple of int
            Number of pixels on each side, or in longitude and in latitude.
        name : str, optional
            Name of the new dataset, by default that of this one.
        """
        self._check_is_map("pad")
        pixels = (pad_width, pad_width) if isinstance(pad_width, int) else tuple(pad_width)
        if len(pixels) != 2 or any(not isinstance(n, int) or n < 0 for n in pixels):
            msg = f"{self._where}: pad_width is {pad_width!r}, expected a number of pixels or two"
            raise InputError(msg)
        bins, rows, columns = self._cube["counts"].shape
        if bins * (rows + 2 * pixels[1]) * (columns + 2 * pixels[0]) > MAX_BINS:
            msg = f"{self._where}: {pad_width!r} more pixels on each side make more than {MAX_BINS} bins"
            raise InputError(msg)
        return self._altered(pad, {"pixels": pixels}, self._models_for(name or self._name), name)

    def downsample(
        self, factor: int, axis_name: str | None = None, name: str | None = None
    ) -> Self:
        """Make one pixel, or one bin of energy, of several.

        Counts and background are summed within the safe mask, the exposure of pixels is averaged.

        Parameters
        ----------
        factor : int
            How many along each side.
        axis_name : str, optional
            "energy" for bins of energy, by default pixels.
        name : str, optional
            Name of the new dataset, by default that of this one.

        Raises
        ------
        InputError
            If the factor does not divide the number of pixels or bins.
        """
        if axis_name not in (None, "energy"):
            msg = f"{self._where}: axis_name is {axis_name!r}, expected 'energy' or none"
            raise InputError(msg)
        dims = ("lat", "lon") if axis_name is None else ("energy",)
        sizes = [self._cube.sizes[dim] for dim in dims]
        if factor < 1 or any(n % factor for n in sizes):
            msg = f"{self._where}: {sizes} {' x '.join(dims)} cannot be divided by {factor}; pad or cut first"
            raise InputError(msg)
        if axis_name == "energy":
            return self._resampled(list(range(0, sizes[0] + 1, factor)), name)
        self._check_is_map("downsample")
        models = coarser_models(self._models_for(name or self._name), factor)
        options = {"factor": factor, "background": background_of(self._models)}
        return self._altered(downsample, options, models, name)

    # --- masks and sums ----------------------------------------------------------------

    def to_masked(self, name: str | None = None) -> Self:
        """Dataset with nothing outside its safe mask: the one to begin a stack with.

        Parameters
        ----------
        name : str, optional
            Name of the new dataset, by default that of this one.
        """
        return self._altered(to_masked, {}, self._models_for(name or self._name), name)

    def stack(self, other: CubeDataset) -> Self:
        """Add another dataset to this one, in place, as Gammapy does.

        Counts and background of the other are added where its safe mask is, exposure where it is at
        any energy; PSF and energy dispersion become means weighted with exposure, masks and
        good time intervals the union of both. The models of the other are added to those of this
        one; the two background models become one, which predicts the sum of both backgrounds.

        Parameters
        ----------
        other : dataset
            On the same pixels, or on a part of them; it does not change.

        Returns
        -------
        dataset
            This one.

        Raises
        ------
        InputError
            If axes or pixels differ, or an IRF has no exposure to weight it with.
        """
        options = {"models": (background_of(self._models), background_of(other._models))}
        cube = stack(lazy(self._cube), lazy(other._cube), **options)
        models = stacked_models(self._models, other._models_for(self._name), other._cube)
        sources = (self._stored, other._stored)
        self._cube = cube.assign_attrs(name=self._name)
        self._stored = None
        if sources[0] is not None and sources[1] is not None:
            self._stored = AlteredCube(stack, (sources[0], sources[1]), options)
        self._take_models(models)
        return self

    # --- regions -----------------------------------------------------------------------

    def to_region_map_dataset(self, region: Any, name: str | None = None) -> Self:
        """Sum the dataset within a region, with the PSF at its centre.

        Counts and background, as its model predicts it, are summed within the safe mask, exposure
        is averaged, and the responses are those at the centre. The models are left behind.

        Parameters
        ----------
        region : SkyRegion, SkyCoord, list of SkyRegion, str or path
            See `gmdask.geometry.regions.read_region`.
        name : str, optional
            Name of the new dataset, by default that of this one.

        Raises
        ------
        InputError
            If the region is not wholly inside the map, or a mask is not the same all over it.
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
    """Dataset of a kind that an operation makes of another.

    Parameters
    ----------
    kind : type
        Of the new dataset.
    source : dataset
    operation : callable
        Function of a module of gmdask, from a cube and options to a cube.
    options : mapping
        Plain data.
    models : `DatasetModels`
        Of the new dataset.
    name : str or None
        Its name, by default that of the other.
    """
    cube = operation(lazy(source._cube), **options)
    stored = None
    if source._stored is not None:
        stored = AlteredCube(operation, (source._stored,), options)
    named = cube.assign_attrs(name=name or source._name)
    new = kind(named, stored, response=source._response)
    new._take_models(models)
    return new
