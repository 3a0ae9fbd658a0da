"""Small operations on the arrays of cubes, lazy or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import xarray as xr
from astropy.units import Unit, UnitsError
from numpy.typing import NDArray

from gmdask.errors import InputError

__all__ = ["double", "finite", "joined", "kept", "ordered", "unit_factor", "values_now"]


def double(variable: xr.Variable) -> xr.Variable:
    """Floats in double precision; whole numbers and masks as they are."""
    return variable.astype(np.float64) if variable.dtype.kind == "f" else variable


def finite(variable: xr.Variable) -> xr.Variable:
    """In double precision; what is not finite is 0."""
    values = variable.astype(np.float64)
    return kept(values, cast("xr.Variable", np.isfinite(values)))


def kept(variable: xr.Variable, mask: xr.Variable | None) -> xr.Variable:
    """What is inside a mask, 0 elsewhere; dimensions in the order they were in."""
    if mask is None:
        return variable
    where: Any = xr.where  # untyped
    values = where(mask, variable, variable.dtype.type(0))
    return cast("xr.Variable", values.transpose(..., *variable.dims))


def joined(parts: Sequence[xr.Variable], dim: str) -> xr.Variable:
    """Arrays one after the other."""
    concat: Any = xr.Variable.concat  # untyped
    return cast("xr.Variable", concat(parts, dim))


def unit_factor(array: xr.DataArray, like: xr.DataArray) -> float:
    """Factor from the unit of an array to that of another."""
    units = [str(one.attrs.get("unit", "")) for one in (array, like)]
    try:
        return float(Unit(units[0]).to(units[1]))
    except (UnitsError, ValueError) as error:
        msg = f"{array.name} is in {units[0]!r}, expected a unit like {units[1]!r}"
        raise InputError(msg) from error


def ordered(cube: xr.Dataset, like: xr.Dataset) -> xr.Dataset:
    """Cube with its arrays in the order of another, and nothing that this does not have."""
    arrays = {key: cube[key].variable for key in like.data_vars if key in cube}
    return xr.Dataset(arrays, coords=cube.coords, attrs=cube.attrs)


def values_now(array: xr.Variable | xr.DataArray) -> NDArray[Any]:
    """Values, computed in the calling thread whatever clients there are."""
    return np.asarray(array.compute(scheduler="synchronous").values)
