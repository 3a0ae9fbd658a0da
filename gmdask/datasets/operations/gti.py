"""Good time intervals of a cube: their union with those of another, and their total."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from astropy import units as u
from astropy.time import Time
from numpy.typing import NDArray

from gmdask.datasets.operations.arrays import ordered

__all__ = ["gti_union", "ontime", "time_intervals", "utc_text"]

Array = NDArray[np.float64]

DAY = 86400.0  # s


def ontime(cube: xr.Dataset) -> float | None:
    """Total of the good time intervals of a cube in s; None if it has none.

    Parameters
    ----------
    cube : `xarray.Dataset`
    """
    if "gti_start" not in cube:
        return None
    return float((cube["gti_stop"].values - cube["gti_start"].values).sum())


def time_intervals(cube: xr.Dataset) -> tuple[Time, Time] | None:
    """Start and stop of the good time intervals of a cube; None if it has none.

    Parameters
    ----------
    cube : `xarray.Dataset`
    """
    if "gti_start" not in cube or cube.sizes["gti"] == 0:
        return None
    reference = _reference(cube.attrs["gti"])
    start, stop = (reference + cube[key].values * u.s for key in ("gti_start", "gti_stop"))
    return start, stop


def utc_text(time: Time) -> str:
    """Format a time as it is printed everywhere: in UTC, the scale of times that are given as text."""
    return f"{Time(time.utc, precision=6).iso} UTC"


def _reference(gti: Mapping[str, Any]) -> Time:
    """Return the reference time of the intervals."""
    scale = str(gti["timesys"]).lower()
    return Time(float(gti["mjdrefi"]), float(gti["mjdreff"]), format="mjd", scale=scale)


def gti_union(cube: xr.Dataset, other: xr.Dataset) -> xr.Dataset:
    """Return a cube with the good time intervals of both, sorted, with overlapping and adjacent ones merged.

    Parameters
    ----------
    cube, other : `xarray.Dataset`
        If one has no intervals, nothing is changed.
    """
    if "gti_start" not in cube or "gti_start" not in other:
        return cube
    shift = _shift(cube.attrs["gti"], other.attrs["gti"])
    start, stop = (
        np.concatenate([cube[key].values, other[key].values + shift])
        for key in ("gti_start", "gti_stop")
    )
    merged = dict(zip(("gti_start", "gti_stop"), _merge(start, stop), strict=True))
    arrays = {k: xr.Variable(("gti",), v, dict(cube[k].attrs)) for k, v in merged.items()}
    return ordered(cube.drop_vars(list(merged)).assign(arrays), cube)


def _merge(start: Array, stop: Array) -> tuple[Array, Array]:
    order = np.argsort(start, kind="stable")
    start, stop = start[order], np.maximum.accumulate(stop[order])
    first = np.ones(len(start), dtype=bool)
    first[1:] = stop[:-1] < start[1:]
    last = np.append(first[1:], True)[: len(start)]
    return start[first], stop[last]


def _shift(own: Mapping[str, Any], its: Mapping[str, Any]) -> float:
    """Seconds to add to times relative to one reference, to convert them to another."""
    if str(own["timesys"]).lower() == str(its["timesys"]).lower():
        days = float(its["mjdrefi"]) - float(own["mjdrefi"])
        return (days + float(its["mjdreff"]) - float(own["mjdreff"])) * DAY
    one, other = _reference(own), _reference(its)
    return float((other.tt - one.tt).to_value("s"))
