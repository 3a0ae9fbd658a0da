"""Two cubes as one: counts and background are summed where they are safe, responses averaged."""

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
    """Add another cube, which has the same pixels or a part of them.

    Parameters
    ----------
    cube, other : `xarray.Dataset`
        The safe mask of the second is applied, that of the first is not.
    models : tuple
        Plain data of the background models of both, or None. The template is summed such that
        the first of them that is there goes on predicting the sum of both backgrounds.

    Raises
    ------
    InputError
        Axes or pixels differ, or the exposure of a response is missing.

    Notes
    -----
    Gammapy's ``MapDataset.stack`` (NUMERICS.md 2.6): counts and background are summed over the
    safe bins of the other, exposure over its safe pixels, the PSF and the energy
    dispersion are averaged with their exposure, and the masks joined. Sums are in double precision.
    Unlike there, nothing is left of the good time intervals of a cube without any safe bin.
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
    if image is None or bool(values_now(image.any())):  # else nothing of its time is in the sum
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
    """Counts, exposure and background of both, on the pixels of the first."""
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
    """Cube with nothing outside its safe mask: no counts, background, exposure and response.

    Parameters
    ----------
    cube : `xarray.Dataset`
    """
    stacked = stack(emptied(cube), cube, (None, None))
    times = {key: cube[key].variable for key in ("gti_start", "gti_stop") if key in cube}
    return ordered(stacked.assign(times), cube)


def emptied(cube: xr.Dataset) -> xr.Dataset:
    """Cube with the axes and pixels of another, and nothing in it: zeros, outside its safe mask.

    Parameters
    ----------
    cube : `xarray.Dataset`
        None of its arrays are read if they are Dask's.
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
    """Sum of two stacks on the same pixels, in which nothing is outside the safe masks.

    Parameters
    ----------
    cube, other : `xarray.Dataset`
        Backgrounds of both for the same model.
    """
    total = stack(cube, other.drop_vars("mask_safe", errors="ignore"), (None, None))
    if "mask_safe" in cube and "mask_safe" in other:
        total["mask_safe"] = cube["mask_safe"] | other["mask_safe"]
    return total


def _offset(cube: xr.Dataset, other: xr.Dataset, where: str) -> tuple[int, int]:
    for dim in ("energy", "energy_true"):
        if not same_axis(cube_axis(cube, dim), cube_axis(other, dim)):
            msg = f"{where}: the axes {dim!r} are not the same"
            raise InputError(msg)
    if ("region" in cube.attrs) != ("region" in other.attrs):
        msg = f"{where}: one is a map and the other a spectrum"
        raise InputError(msg)
    if "region" in cube.attrs:
        return 0, 0
    grid = grid_of(other)
    offset = pixel_offset(grid_of(cube), grid, grid.frame)
    if offset is None:
        msg = f"{where}: the pixels are not the same, nor a part of them"
        raise InputError(msg)
    return offset


def _as_one(
    cube: xr.Dataset,
    other: xr.Dataset,
    total: xr.Variable,
    added: xr.Variable,
    models: tuple[Model, Model],
) -> tuple[xr.Variable, xr.Variable]:
    """Templates of both, such that one model predicts the background of both."""
    own, its = models
    if own is None and its is None:
        return total, added
    kept = own if own is not None else its
    total = total * ratio(background_factors(cube, own), background_factors(cube, kept))
    share = ratio(background_factors(other, its), background_factors(other, kept))
    return total, added * share


def _livetime(cube: xr.Dataset, other: xr.Dataset) -> dict[str, Any]:
    """Metadata of the exposure of the sum."""
    meta, added = (dict(c["exposure"].attrs.get("meta", {})) for c in (cube, other))
    if "livetime" in added:
        total = Quantity(added["livetime"])
        if "livetime" in meta:
            total = Quantity(meta["livetime"]) + total
        meta["livetime"] = str(total)
    return meta


def _kernel_sums(cube: xr.Dataset, other: xr.Dataset) -> xr.Dataset:
    """Cube with the sums of kernels that are not 1 of both."""
    own, its = (one.attrs.get(KERNEL_SUMS, {}) for one in (cube, other))
    return cube.assign_attrs({KERNEL_SUMS: {**its, **own}}) if its else cube


def _meta_tables(cube: xr.Dataset, other: xr.Dataset) -> xr.Dataset:
    """Cube with the entries of both tables, column by column, in one row."""
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
