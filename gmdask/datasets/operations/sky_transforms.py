"""Datasets derived from others: other pixels, and sums over regions; see `gmdask.datasets.operations.transforms`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord

from gmdask.datasets.cube_dataset import CubeDataset
from gmdask.datasets.operations import sky
from gmdask.datasets.operations.models import background_of, coarser_models, frozen_background
from gmdask.datasets.operations.region import check_region, to_region
from gmdask.datasets.operations.transforms import altered, altered_dataset, resampled, where_of
from gmdask.errors import InputError, check_kind
from gmdask.geometry.regions import Region
from gmdask.models import DatasetModels

if TYPE_CHECKING:
    from gmdask.datasets.map_dataset import MapDataset
    from gmdask.datasets.spectrum_dataset import SpectrumDataset

__all__ = ["cutout", "downsample", "pad", "to_region_map_dataset", "to_spectrum_dataset"]

MAX_BINS = 1 << 30  # largest number of bins of a padded dataset

Made = TypeVar("Made", bound=CubeDataset)  # of the kind of the given one
New = TypeVar("New", bound=CubeDataset)


def _check_is_map(dataset: CubeDataset, what: str) -> None:
    """Raise an error for the spectrum of a region.

    Parameters
    ----------
    dataset : `MapDataset`
    what : str
        What needs a map.

    Raises
    ------
    InputError
    """
    if "region" in dataset.cube.attrs:
        msg = f"{where_of(dataset)}: {what} needs a map, but this is a region"
        raise InputError(msg)


def cutout(dataset: Made, position: SkyCoord, width: Any, name: str | None = None) -> Made:
    """Cut out a part of the field of view, which is trimmed at its border.

    Parameters
    ----------
    dataset : `MapDataset`
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
    _check_is_map(dataset, "cutout")
    if not isinstance(position, SkyCoord) or not position.isscalar:
        msg = f"{where_of(dataset)}: position is {position!r}, expected a single SkyCoord"
        raise InputError(msg)
    sides = np.broadcast_to(u.Quantity(width, "deg").value, 2)
    icrs = position.icrs
    at = float(icrs.ra.deg), float(icrs.dec.deg)
    size = float(sides[0]), float(sides[1])
    if not np.isfinite([*at, *size]).all() or min(size) <= 0:
        msg = f"{where_of(dataset)}: cutout of {size} deg around {at} deg, expected finite numbers and a positive width"
        raise InputError(msg)
    windows = sky.cutout_windows(dataset.cube, at, "icrs", size, where_of(dataset))
    plain = {key: tuple(window) for key, window in windows.items()}
    return altered(
        dataset, sky.cutout, {"windows": plain}, dataset.models_for(name or dataset.name), name
    )


def pad(dataset: Made, pad_width: int | tuple[int, int], name: str | None = None) -> Made:
    """Add pixels on all sides: without counts, background and exposure, outside the masks.

    Parameters
    ----------
    dataset : `MapDataset`
    pad_width : int or tuple of int
        Number of pixels on each side, or in longitude and in latitude.
    name : str, optional
        Name of the new dataset; by default that of this one.
    """
    _check_is_map(dataset, "pad")
    pixels = (pad_width, pad_width) if isinstance(pad_width, int) else pad_width
    is_pair = isinstance(pixels, tuple | list) and len(pixels) == 2
    if not is_pair or any(not isinstance(n, int) or n < 0 for n in pixels):
        msg = f"{where_of(dataset)}: pad_width is {pad_width!r}, expected one or two numbers of pixels"
        raise InputError(msg)
    bins, rows, columns = dataset.counts.shape
    if bins * (rows + 2 * pixels[1]) * (columns + 2 * pixels[0]) > MAX_BINS:
        msg = f"{where_of(dataset)}: {pad_width!r} more pixels on each side lead to more than {MAX_BINS} bins"
        raise InputError(msg)
    return altered(
        dataset, sky.pad, {"pixels": tuple(pixels)}, dataset.models_for(name or dataset.name), name
    )


def downsample(
    dataset: Made, factor: int, axis_name: str | None = None, name: str | None = None
) -> Made:
    """Combine several pixels, or energy bins, into one.

    Counts and background are summed within the safe mask, the exposure of pixels is averaged.

    Parameters
    ----------
    dataset : `MapDataset`
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
        msg = f"{where_of(dataset)}: axis_name is {axis_name!r}, expected 'energy' or none"
        raise InputError(msg)
    dims = ("lat", "lon") if axis_name is None else ("energy",)
    sizes = [dataset.cube.sizes[dim] for dim in dims]
    check_kind(factor, (int, np.integer), "an integer as factor")
    if factor < 1 or any(n % factor for n in sizes):
        msg = f"{where_of(dataset)}: {sizes} {' x '.join(dims)} cannot be divided by {factor}; pad or cut first"
        raise InputError(msg)
    if axis_name == "energy":
        return resampled(dataset, list(range(0, sizes[0] + 1, factor)), name)
    _check_is_map(dataset, "downsample")
    models = coarser_models(dataset.models_for(name or dataset.name), factor)
    options = {"factor": factor, "background": background_of(dataset.own_models)}
    return altered(dataset, sky.downsample, options, models, name)


def to_region_map_dataset(dataset: Made, region: Any, name: str | None = None) -> Made:
    """Sum the dataset within a region, with the PSF at its centre.

    Counts, and background as predicted by its model, are summed within the safe mask, exposure
    is averaged, and the responses are those at the centre. The models are not kept.

    Parameters
    ----------
    dataset : `MapDataset`
    region : SkyRegion, SkyCoord, list of SkyRegion, str or path
        See `gmdask.geometry.regions.read_region`.
    name : str, optional
        Name of the new dataset; by default that of this one.

    Raises
    ------
    InputError
        If the region is not completely inside the map, or a mask varies within it.
    """
    return _in_region(
        type(dataset), dataset, _region_of(dataset, region), {"kind": "MapDataset"}, name
    )


def _region_of(dataset: CubeDataset, region: Any) -> Region:
    """Return a region in the projection of a map.

    Parameters
    ----------
    dataset : `MapDataset`
    region : SkyRegion, SkyCoord, list of SkyRegion, str or path

    Raises
    ------
    InputError
        If it is not completely inside the map, or a mask varies within it.
    """
    _check_is_map(dataset, "a region of it")
    found = Region(region, dataset.cube.attrs["wcs"])
    check_region(dataset.cube, found, where_of(dataset))
    return found


def _in_region(
    kind: type[New],
    dataset: CubeDataset,
    region: Region,
    options: Mapping[str, Any],
    name: str | None,
) -> New:
    """Return the sum of a map within a region.

    Parameters
    ----------
    kind : type
        Class of the result.
    dataset : `MapDataset`
    region : `Region`
    options : mapping
        Options of `to_region`.
    name : str or None
        Name of the result, by default that of the map.
    """
    background = background_of(dataset.own_models)
    plain = {"region": region.to_dict(), "background": background, **options}
    return altered_dataset(kind, dataset, to_region, plain, DatasetModels(), name)


def to_spectrum_dataset(
    dataset: MapDataset,
    on_region: Any,
    containment_correction: bool = False,
    name: str | None = None,
) -> SpectrumDataset:
    """Return the spectrum of a region, with a fixed background.

    Counts, and background as predicted by its model, are summed within the safe mask, exposure
    is averaged, and the energy dispersion is that at the centre. The models are not kept; the
    background gets a model of its own, ``models["<name>-bkg"]``, which is frozen.

    Parameters
    ----------
    dataset : `MapDataset`
    on_region : SkyRegion, SkyCoord, list of SkyRegion, str or path
        See `gmdask.geometry.regions.read_region`.
    containment_correction : bool
        Whether the exposure is corrected for the part of the PSF outside of a circle, for a point
        source at its centre.
    name : str, optional
        Name of the new dataset; by default that of this one.

    Raises
    ------
    InputError
        If the region is not completely inside the map, a mask varies within it, or a
        correction is requested without a circle or a PSF in true energy.
    """
    region, where = _region_of(dataset, on_region), where_of(dataset)
    if containment_correction:
        if region.radius is None:
            msg = f"{where}: containment is known for circles only, not for {region}"
            raise InputError(msg)
        psf = dataset.psf
        if psf is None or psf.dims[0] != "psf_energy_true":
            msg = f"{where}: there is no PSF in true energy for the containment correction"
            raise InputError(msg)
    from gmdask.datasets.spectrum_dataset import SpectrumDataset  # which is one of these

    options = {
        "kind": SpectrumDataset.__name__, "psf": False, "contained": containment_correction,
    }  # fmt: skip
    spectrum = _in_region(SpectrumDataset, dataset, region, options, name)
    if dataset.background is not None:
        spectrum.take_models(frozen_background(spectrum.name))
    return spectrum
