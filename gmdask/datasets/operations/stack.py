"""Stacking of two cubes: counts and background are summed in safe bins, responses are averaged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from astropy.units import Quantity

from gmdask.datasets.operations.arrays import finite, kept, ordered, unit_factor, values_now
from gmdask.datasets.operations.background import background_factors, ratio
from gmdask.datasets.operations.gti import gti_union
from gmdask.datasets.operations.irf import IRFS, grid_of, onto_pixels, stack_irf
from gmdask.datasets.operations.masks import refuse_weights
from gmdask.datasets.operations.off_counts import check_alike, summed_off
from gmdask.errors import InputError
from gmdask.geometry import pixel_offset
from gmdask.store.axes import cube_axis, same_axis
from gmdask.store.formats.validity import KERNEL_SUMS

__all__ = ["emptied", "merged", "stack", "to_masked"]

Model = Mapping[str, Any] | None

SKY = ("lat", "lon")


def stack(cube: xr.Dataset, other: xr.Dataset, models: tuple[Model, Model]) -> xr.Dataset:
    """Add another cube, whose pixels are those of the first or a part of them.

    Parameters
    ----------
    cube, other : `xarray.Dataset`
        The safe mask of the second is applied, that of the first is not.
    models : tuple
        Plain data of the background models of both, or None. The template is summed such that
        the first existing model predicts the sum of both backgrounds.

    Raises
    ------
    InputError
        If axes or pixels differ, or the exposure of a response is missing.

    Notes
    -----
    As Gammapy's ``MapDataset.stack``: counts and background are summed over the
    safe bins of the second cube, exposure over its safe pixels, PSF and energy
    dispersion are averaged with their exposure, and the masks are combined. Sums are in double precision.
    Unlike in Gammapy, good time intervals of a cube without any safe bin are dropped.
    """
    where = f"dataset {other.attrs['name']!r} stacked onto {cube.attrs['name']!r}"
    for one in (cube, other):
        refuse_weights(one, "a stack")
    offset = _offset(cube, other, where)
    mask = other["mask_safe"].variable if "mask_safe" in other else None
    image = None if mask is None else mask.any("energy")
    arrays: dict[str, xr.Variable] = {}

    def place(variable: xr.Variable, like: xr.DataArray) -> xr.Variable:
        sizes = cube.sizes["lat"], cube.sizes["lon"]
        return onto_pixels(variable.transpose(*like.dims), offset, sizes, SKY)

    arrays |= _summed(cube, other, models, mask, place, where)
    for key in IRFS:
        if key in cube and key in other:
            arrays |= stack_irf(cube, other, key, where)
    if "mask_safe" in cube and mask is not None:
        arrays["mask_safe"] = cube["mask_safe"].variable | place(mask, cube["mask_safe"])
    if "mask_fit" in other:
        fit = place(other["mask_fit"].variable, cube["counts"])
        arrays["mask_fit"] = cube["mask_fit"].variable | fit if "mask_fit" in cube else fit
    for key, variable in arrays.items():
        like = cube[key] if key in cube else other[key]
        variable.attrs = dict(like.attrs)
    new = cube.assign(arrays)
    if image is None or bool(values_now(image.any())):  # otherwise its time does not contribute
        new["exposure"].attrs["meta"] = _livetime(cube, other)
        new = gti_union(new, other)
    return _meta_tables(_kernel_sums(new, other), other)


def _summed(
    cube: xr.Dataset,
    other: xr.Dataset,
    models: tuple[Model, Model],
    mask: xr.Variable | None,
    place: Callable[[xr.Variable, xr.DataArray], xr.Variable],
    where: str,
) -> dict[str, xr.Variable]:
    """Return counts, exposure and background of both, on the pixels of the first."""
    arrays: dict[str, xr.Variable] = {}
    image = None if mask is None else mask.any("energy")
    for key in ("counts", "exposure", "background"):
        if key in cube and key in other:
            added = finite(other[key].variable) * unit_factor(other[key], cube[key])
            total = cube[key].variable.astype(np.float64)
            if key == "background":
                total, added = _as_one(cube, other, total, added, models)
            added = kept(added, image if key == "exposure" else mask)
            arrays[key] = total + place(added, cube[key])
    if check_alike(cube, other, where):

        def add(parts: list[xr.Variable]) -> xr.Variable:
            return parts[0] + place(kept(parts[1], mask), cube["counts"])

        arrays |= summed_off([cube, other], add)
    return arrays


def to_masked(cube: xr.Dataset) -> xr.Dataset:
    """Return a cube that is empty outside its safe mask: no counts, background, exposure and response.

    Parameters
    ----------
    cube : `xarray.Dataset`
    """
    stacked = stack(emptied(cube), cube, (None, None))
    times = {key: cube[key].variable for key in ("gti_start", "gti_stop") if key in cube}
    return ordered(stacked.assign(times), cube)


def emptied(cube: xr.Dataset) -> xr.Dataset:
    """Return an empty cube with the axes and pixels of another: zeros, with no bin in the safe mask.

    Parameters
    ----------
    cube : `xarray.Dataset`
        None of its arrays is read if they are Dask arrays.
    """
    arrays = {
        str(key): xr.zeros_like(array.variable)
        for key, array in cube.data_vars.items()
        if array.ndim > 1 and key != "mask_fit"
    }
    exposure = arrays["exposure"]
    meta = {k: v for k, v in exposure.attrs.get("meta", {}).items() if k != "livetime"}
    exposure.attrs["meta"] = meta
    times = {key: cube[key].variable[:0] for key in ("gti_start", "gti_stop") if key in cube}
    attrs = {key: value for key, value in cube.attrs.items() if key != "meta_table"}
    return xr.Dataset({**arrays, **times}, coords=cube.coords, attrs=attrs)


def merged(cube: xr.Dataset, other: xr.Dataset) -> xr.Dataset:
    """Add two stacks on the same pixels that are empty outside their safe masks.

    Parameters
    ----------
    cube, other : `xarray.Dataset`
        Their backgrounds refer to the same model.
    """
    total = stack(cube, other.drop_vars("mask_safe", errors="ignore"), (None, None))
    if "mask_safe" in cube and "mask_safe" in other:
        total["mask_safe"] = cube["mask_safe"] | other["mask_safe"]
    return total


def _offset(cube: xr.Dataset, other: xr.Dataset, where: str) -> tuple[int, int]:
    for dim in ("energy", "energy_true"):
        if not same_axis(cube_axis(cube, dim), cube_axis(other, dim)):
            msg = f"{where}: the axes {dim!r} differ"
            raise InputError(msg)
    if ("region" in cube.attrs) != ("region" in other.attrs):
        msg = f"{where}: one is a map and the other a spectrum"
        raise InputError(msg)
    if "region" in cube.attrs:
        return 0, 0
    grid = grid_of(other)
    offset = pixel_offset(grid_of(cube), grid, grid.frame)
    if offset is None:
        msg = f"{where}: the pixels are neither the same nor a part of the others"
        raise InputError(msg)
    return offset


def _as_one(
    cube: xr.Dataset,
    other: xr.Dataset,
    total: xr.Variable,
    added: xr.Variable,
    models: tuple[Model, Model],
) -> tuple[xr.Variable, xr.Variable]:
    """Return templates of both such that one model predicts the background of both."""
    own, its = models
    if own is None and its is None:
        return total, added
    kept = own if own is not None else its
    total = total * ratio(background_factors(cube, own), background_factors(cube, kept))
    share = ratio(background_factors(other, its), background_factors(other, kept))
    return total, added * share


def _livetime(cube: xr.Dataset, other: xr.Dataset) -> dict[str, Any]:
    """Return metadata of the summed exposure."""
    meta, added = (dict(c["exposure"].attrs.get("meta", {})) for c in (cube, other))
    if "livetime" in added:
        total = Quantity(added["livetime"])
        if "livetime" in meta:
            total = Quantity(meta["livetime"]) + total
        meta["livetime"] = str(total)
    return meta


def _kernel_sums(cube: xr.Dataset, other: xr.Dataset) -> xr.Dataset:
    """Return a cube with the kernel sums of both that are not 1."""
    own, its = (one.attrs.get(KERNEL_SUMS, {}) for one in (cube, other))
    return cube.assign_attrs({KERNEL_SUMS: {**its, **own}}) if its else cube


def _meta_tables(cube: xr.Dataset, other: xr.Dataset) -> xr.Dataset:
    """Return a cube with the entries of both tables, column by column, in one row."""
    own, its = cube.attrs.get("meta_table"), other.attrs.get("meta_table")
    if its is None:
        return cube
    if own is None:
        return cube.assign_attrs(meta_table=its)
    columns = {
        name: {**column, "values": [_entries(column) + _entries(its["columns"][name])]}
        for name, column in own["columns"].items()
        if name in its["columns"]
    }
    return cube.assign_attrs(meta_table={"columns": columns})


def _entries(column: Mapping[str, Any]) -> list[Any]:
    first = column["values"][0] if column["values"] else []
    return list(first) if isinstance(first, list | tuple) else [first]
