"""Conversion of datasets of counts from and to Gammapy's objects."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import xarray as xr
from astropy.units import Quantity

from gmdask.datasets.io.gammapy_maps import cube_of_dataset
from gmdask.errors import InputError
from gmdask.likelihood.statistics.cash import Cash
from gmdask.likelihood.statistics.weighted import WeightedCash
from gmdask.likelihood.statistics.wstat import WStat
from gmdask.quiet import no_warnings
from gmdask.store.formats.gadf_writer import to_hdulist
from gmdask.store.formats.validity import KERNEL_SUMS, warn_of_sums

__all__ = ["cube_from_gammapy", "cube_to_gammapy"]

STATISTICS = (Cash.name, WeightedCash.name, WStat.name)


def cube_to_gammapy(cube: xr.Dataset) -> Any:
    """Convert a cube to Gammapy's object of its kind.

    Parameters
    ----------
    cube : `xarray.Dataset`
        In memory.
    """
    kind = getattr(import_module("gammapy.datasets"), cube.attrs["kind"])
    made = kind.from_hdulist(to_hdulist(cube), name=cube.attrs["name"], format="gadf")
    if "weights" in cube:  # Gammapy's reader takes them as a mask
        weights = cube["weights"].values * cube.get("mask_fit", xr.DataArray(1.0)).values
        made.mask_fit = made.counts.copy(data=weights, unit="")
        made.stat_type = WeightedCash.name
    livetime = cube["exposure"].attrs.get("meta", {}).get("livetime")
    if livetime is not None:  # Gammapy's reader ignores it for spectra
        made.exposure.meta["livetime"] = Quantity(livetime)
    return made


def cube_from_gammapy(data: Any, where: str) -> xr.Dataset:
    """Convert Gammapy's `MapDataset` or spectrum, which is not changed, to a cube.

    Parameters
    ----------
    data : Gammapy dataset
    where : str
        Text with which messages begin.

    Raises
    ------
    InputError
        If it has HEALPix pixels, or its values are invalid.
    """
    for key in ("counts", "exposure", "background", "mask_safe", "mask_fit"):
        found = getattr(data, key)
        if found is not None and found.geom.is_hpx:
            msg = f"{where}: {key} has HEALPix pixels, which are not supported: expected a WCS map or a region"
            raise InputError(msg)
    if data.stat_type not in STATISTICS:
        expected = " or ".join(map(repr, STATISTICS))
        msg = f"{where}: stat_type {data.stat_type!r} is not supported: expected {expected}"
        raise InputError(msg)
    with no_warnings():
        cube = cube_of_dataset(data, where)
    warn_of_sums({data.name: cube.attrs.get(KERNEL_SUMS, {})})
    cube.attrs["kind"] = type(data).__name__
    if data.stat_type != WeightedCash.name and "weights" in cube:  # this statistic ignores them
        cube = cube.drop_vars("weights")
        cube.attrs.pop("stat_type")
    livetime = None if data.exposure is None else data.exposure.meta.get("livetime")
    if livetime is not None:  # Gammapy's writer omits it for spectra
        meta = cube["exposure"].attrs.setdefault("meta", {})
        meta.setdefault("livetime", str(Quantity(livetime)))
    return cube
