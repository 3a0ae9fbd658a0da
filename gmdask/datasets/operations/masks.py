"""Fit masks given by the user."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from gmdask.errors import InputError
from gmdask.likelihood.statistics import statistic_type

__all__ = ["packed_mask", "refuse_weights", "with_mask_fit"]


def packed_mask(mask: Any, data: xr.DataArray, where: str) -> bytes:
    """A mask as users give it, with one bit per bin of the data.

    Parameters
    ----------
    mask : boolean array, `xarray.DataArray` or Gammapy map
        Of shape (energy, lat, lon), or a shape that NumPy broadcasts to it: (lat, lon), (energy, 1, 1). For
        a spectrum also (energy,).
    data : `xarray.DataArray`
        Of shape (energy, lat, lon) or, without a place on the sky, (energy,).
    where : str
        Text with which messages begin.

    Raises
    ------
    InputError
        If it is not boolean, or has another shape.
    """
    values = np.asarray(mask.data if hasattr(mask, "geom") else mask)
    if values.dtype != bool:
        msg = f"{where}: mask_fit has the type {values.dtype}, expected booleans (True: fit)"
        raise InputError(msg)
    shape = data.shape
    if values.ndim == 1 and shape[1:] == (1, 1):
        values = values[:, None, None]
    try:
        whole = np.broadcast_to(values, shape)
    except ValueError:
        msg = f"{where}: mask_fit has shape {values.shape}, expected {shape} ({', '.join(map(str, data.dims))})"
        raise InputError(msg) from None
    return np.packbits(whole).tobytes()


def with_mask_fit(cube: xr.Dataset, packed: bytes) -> xr.Dataset:
    """Return a cube with another fit mask.

    Parameters
    ----------
    cube : `xarray.Dataset`
    packed : bytes
        See `packed_mask`.
    """
    data = cube[statistic_type(cube.attrs).reads[0]].variable
    bits = np.unpackbits(np.frombuffer(packed, dtype=np.uint8), count=data.size)
    mask = bits.astype(bool).reshape(data.shape)
    return cube.assign(mask_fit=xr.Variable(data.dims, mask, {"unit": ""}))


def refuse_weights(cube: xr.Dataset, what: str) -> None:
    """Raise an error if bins with weights are to be summed.

    Parameters
    ----------
    cube : `xarray.Dataset`
    what : str
        Description of the operation.

    Raises
    ------
    InputError
        If the cube has weights.
    """
    if "weights" in cube:
        msg = f"dataset {cube.attrs['name']!r}: {what} is not defined for bins with weights"
        raise InputError(msg)
