"""Operations on the energies of (lazy) cubes: slices of axes, and sums of bins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr
from astropy import units as u
from numpy.typing import NDArray

from gmdask.datasets.operations.arrays import double, joined, kept, ordered
from gmdask.datasets.operations.background import background_factors, ratio
from gmdask.datasets.operations.irf import irf_mask
from gmdask.datasets.operations.masks import refuse_weights
from gmdask.datasets.operations.off_counts import summed_off
from gmdask.errors import InputError, described
from gmdask.geometry import Axis
from gmdask.store.axes import axis_coords, cube_axis
from gmdask.store.formats.ogip import GROUPS

__all__ = ["energy_bins", "follow_groups", "grouped_bins", "resample_energy", "slice_axes"]

Array = NDArray[np.float64]


def energy_bins(axis: Axis, low: Any, high: Any, where: str) -> tuple[int, int]:
    """Return the bins of an axis between two energies, which are rounded to its edges.

    Parameters
    ----------
    axis : Axis
    low, high : Quantity, str or None
        None for the end of the axis.
    where : str
        Text with which messages begin.

    Returns
    -------
    start, stop : int

    Raises
    ------
    InputError
        If no bin is left.
    """
    pix = [-0.5, axis.nbin - 0.5]
    for k, value in enumerate((low, high)):
        if value is not None:
            pix[k] = float(axis.to_pix(_energies(value, axis, where)))
    start, stop = (int(n) for n in _round_to_edges(np.array(pix), axis.nbin))
    if start >= stop:
        msg = f"{where}: no energy bin between {low} and {high}: its axis ranges {_bounds(axis)}"
        raise InputError(msg)
    return start, stop


def grouped_bins(axis: Axis, edges: Any, where: str) -> list[int]:
    """Return the first bins of the groups of an axis that new edges define, and the end of the last.

    Parameters
    ----------
    axis : Axis
    edges : Quantity, `Axis`, or anything with `edges`
        Edges, which are rounded to those of the axis.
    where : str
        Text with which messages begin.

    Raises
    ------
    InputError
        If no group is left.
    """
    given = getattr(edges, "edges", edges)
    if not isinstance(given, u.Quantity):
        try:
            given = u.Quantity(given, getattr(edges, "unit", ""))
        except (TypeError, ValueError) as error:
            msg = f"{where}: expected edges in energy, got {described(edges)}"
            raise InputError(msg) from error
    pix = axis.to_pix(_energies(given, axis, where))
    bins = sorted({int(n) for n in _round_to_edges(np.atleast_1d(pix), axis.nbin)})
    if len(bins) < 2:
        msg = f"{where}: no bins between the edges {given}: its axis ranges {_bounds(axis)}"
        raise InputError(msg)
    return bins


def _energies(value: Any, axis: Axis, where: str) -> Array:
    try:
        return np.asarray(u.Quantity(value).to_value(axis.unit), dtype=float)
    except (TypeError, ValueError, u.UnitConversionError) as error:
        msg = f"{where}: {value!r} is not an energy"
        raise InputError(msg) from error


def _round_to_edges(pix: Array, n: int) -> Array:
    """Return the edges nearest to pixel coordinates, as Gammapy's ``MapAxis.group_table``."""
    return np.asarray(np.round(np.clip(pix, -0.5, n - 0.5) + 0.5))


def _bounds(axis: Axis) -> str:
    return f"from {axis.edges[0]:.4g} to {axis.edges[-1]:.4g} {axis.unit}"


def slice_axes(cube: xr.Dataset, slices: Mapping[str, tuple[int, int]]) -> xr.Dataset:
    """Slice axes wherever they occur: in maps, in the PSF and in the energy dispersion.

    Parameters
    ----------
    cube : `xarray.Dataset`
    slices : mapping
        First and end bin, by name of the axis: "energy", "energy_true", "rad" or "migra".
    """
    cuts: dict[str, slice] = {}
    for name, (start, stop) in slices.items():
        for dim in {name, f"psf_{name}", f"edisp_{name}"} & set(map(str, cube.dims)):
            cuts[dim] = slice(start, stop)
            if f"{dim}_edge" in cube.dims:
                cuts[f"{dim}_edge"] = slice(start, stop + 1)
    return cube.isel(cuts)


def resample_energy(
    cube: xr.Dataset, bins: Sequence[int], background: Mapping[str, Any] | None = None
) -> xr.Dataset:
    """Sum bins of reconstructed energy, within the safe mask.

    Parameters
    ----------
    cube : `xarray.Dataset`
    bins : sequence of int
        First bins of the groups, and the end of the last.
    background : mapping, optional
        Plain data of the background model: the template is summed such that the model
        predicts the sum.

    Notes
    -----
    As Gammapy's ``MapDataset.resample_energy_axis``. Exposure and PSF are not changed, nor is an
    energy dispersion in migration.
    """
    refuse_weights(cube, "a sum over energies")
    old = cube_axis(cube, "energy")
    axis = Axis("energy", old.edges[list(bins)], old.interp, "edges", old.unit)
    arrays = {str(key): array.variable for key, array in cube.data_vars.items()}
    mask = arrays.get("mask_safe")
    new = cube.drop_vars([key for key, v in arrays.items() if "energy" in v.dims])
    new = new.drop_vars(["energy", "energy_edges"], errors="ignore").assign_coords(
        axis_coords("energy", axis)
    )
    for key in ("mask_safe", "mask_fit"):
        if key in arrays:
            new[key] = _grouped(arrays[key], bins)
    new["counts"] = _grouped(arrays["counts"], bins, mask)
    if "background" in arrays:
        template = arrays["background"].astype(np.float64)
        if background is not None:
            groups = np.searchsorted(bins, np.arange(old.nbin), "right") - 1
            after = background_factors(new, background)
            after = after.isel(energy=np.clip(groups, 0, axis.nbin - 1))
            share = ratio(background_factors(cube, background), after)
            template = (template * share).transpose(*template.dims)
        new["background"] = _grouped(template, bins, mask)
        new["background"].attrs = dict(arrays["background"].attrs)
    if "counts_off" in arrays:
        new = new.assign(summed_off([cube], lambda parts: _grouped(parts[0], bins, mask)))
    if "edisp" in arrays and "energy" in arrays["edisp"].dims:
        new["edisp"] = _grouped(arrays["edisp"], bins, irf_mask(cube, "edisp"))
    return ordered(new, cube)


def follow_groups(cube: xr.Dataset) -> xr.Dataset:
    """Sum the channels of each group of an OGIP spectrum; a group with a bad channel is bad.

    Parameters
    ----------
    cube : `xarray.Dataset`
        In memory, with the groups in ``attrs["groups"]`` if there are any.
    """
    first = cube.attrs.get(GROUPS)
    if first is None:
        return cube
    attrs = {key: value for key, value in cube.attrs.items() if key != GROUPS}
    safe, n = cube["mask_safe"].variable, cube.sizes["energy"]
    good = np.logical_and.reduceat(safe.values, first, axis=0)
    spread = np.repeat(good, np.diff([*first, n]), axis=0)
    whole = cube.assign(mask_safe=safe.copy(data=spread))
    grouped = resample_energy(whole, [*first, n])
    grouped.attrs = attrs
    return grouped


def _grouped(
    variable: xr.Variable, bins: Sequence[int], weights: xr.Variable | None = None
) -> xr.Variable:
    """Sum (for masks: any) weighted values over groups of energies."""
    values = kept(double(variable), weights)
    parts = []
    for start, stop in pairwise(bins):
        group = values.isel(energy=slice(start, stop))
        parts.append(
            group.any("energy") if group.dtype == bool else group.sum("energy", skipna=False)
        )
    result = joined(parts, "energy").transpose(*variable.dims)
    result.attrs = dict(variable.attrs)
    return result
