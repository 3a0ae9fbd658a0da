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
    """Convert floats to double precision; integers and masks are left as they are."""
    return variable.astype(np.float64) if variable.dtype.kind == "f" else variable


def finite(variable: xr.Variable) -> xr.Variable:
    """Convert to double precision, with 0 for values that are not finite."""
    values = variable.astype(np.float64)
    return kept(values, cast("xr.Variable", np.isfinite(values)))


def kept(variable: xr.Variable, mask: xr.Variable | None) -> xr.Variable:
    """Set values outside a mask to 0; the order of dimensions is kept."""
    if mask is None:
        return variable
    where: Any = xr.where  # untyped
    values = where(mask, variable, variable.dtype.type(0))
    return cast("xr.Variable", values.transpose(..., *variable.dims))


def joined(parts: Sequence[xr.Variable], dim: str) -> xr.Variable:
    """Concatenate arrays."""
    concat: Any = xr.Variable.concat  # untyped
    return cast("xr.Variable", concat(parts, dim))


def unit_factor(array: xr.DataArray, like: xr.DataArray) -> float:
    """Return the factor that converts the unit of an array to that of another."""
    units = [str(one.attrs.get("unit", "")) for one in (array, like)]
    try:
        return float(Unit(units[0]).to(units[1]))
    except (UnitsError, ValueError) as error:
        msg = f"{array.name} is in {units[0]!r}, expected a unit like {units[1]!r}"
        raise InputError(msg) from error


def ordered(cube: xr.Dataset, like: xr.Dataset) -> xr.Dataset:
    """Return a cube with its arrays in the order of another cube, and only those."""
    arrays = {key: cube[key].variable for key in like.data_vars if key in cube}
    return xr.Dataset(arrays, coords=cube.coords, attrs=cube.attrs)


def values_now(array: xr.Variable | xr.DataArray) -> NDArray[Any]:
    """Return values, computed in the calling thread whatever clients exist."""
    return np.asarray(array.compute(scheduler="synchronous").values)
