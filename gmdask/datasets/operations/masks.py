"""Masks of the fit that are given by hand."""

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
    mask : boolean array, `xarray.DataArray` or a map of Gammapy
        Of shape (energy, lat, lon), or one that NumPy spreads over it: (lat, lon), (energy, 1, 1). That
        of a spectrum may be (energy,).
    data : `xarray.DataArray`
        Of shape (energy, lat, lon) or, without a place on the sky, (energy,).
    where : str
        To begin messages with.

    Raises
    ------
    InputError
        If it is not boolean, or of another shape.
    """
    values = np.asarray(mask.data if hasattr(mask, "geom") else mask)
    if values.dtype != bool:
        msg = f"{where}: mask_fit holds {values.dtype}, expected True (to fit) and False"
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
    """Cube with another mask of the fit.

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
    """Refuse to sum bins that have weights of their own.

    Parameters
    ----------
    cube : `xarray.Dataset`
    what : str
        What is done to it.

    Raises
    ------
    InputError
        If it has weights.
    """
    if "weights" in cube:
        msg = f"dataset {cube.attrs['name']!r}: {what} of bins with weights has no meaning"
        raise InputError(msg)
