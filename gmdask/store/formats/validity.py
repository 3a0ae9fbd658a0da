"""The single check of all datasets that come from outside.

Files, Gammapy's objects and arrays are checked here before they are evaluated or stored.
"""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from astropy.time import ScaleValueError, Time
from astropy.units import Quantity, Unit, ct, dimensionless_unscaled, photon
from numpy.typing import NDArray

from gmdask.errors import InputError
from gmdask.geometry.fits_header import check_wcs
from gmdask.store.axes import cube_axis

__all__ = ["KERNEL_SUMS", "check_name", "check_values", "sums_in_words", "warn_of_sums"]

log = logging.getLogger(__name__)

KERNEL_SUMS = "kernel_sums"

AXIS_UNITS = {"energy": "TeV", "energy_true": "TeV", "rad": "deg", "migra": ""}
UNITS = {"exposure": "cm2 s", "psf": "sr-1", "edisp": ""}
NUMBERS = ("counts", "background", "counts_off", "acceptance", "acceptance_off", "weights")
ROUNDING = 1e-6  # how far below zero values may be by rounding, relative to the largest value
WIGGLE = 1e-3  # the same for responses, which are interpolated from tables
TOLERANCE = 0.05  # tolerated deviation of the sum of a kernel from 1
CUT_OFF = 1e-3  # if the first or last bin of an energy dispersion has more than this, more may lie beyond the axis
NAMES_SHOWN = 3

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


def check_values(cube: xr.Dataset, where: str) -> xr.Dataset:
    """Raise an error for a dataset that has no valid likelihood.

    Parameters
    ----------
    cube : xarray.Dataset
        In memory, with ``counts`` and ``exposure``, and perhaps masks, ``background``, ``psf``
        and ``edisp``.
    where : str
        File and dataset, with which messages begin.

    Returns
    -------
    cube : xarray.Dataset
        The same dataset; if kernels of its PSF or energy dispersion do not sum to 1, and the end of
        their axis does not explain it, their sums are added as the attribute ``kernel_sums``.

    Raises
    ------
    InputError
        - The name is empty or contains unprintable characters.
        - An array is not numeric, or its unit has the wrong dimension.
        - Energies are not positive and finite, or pixels do not lie on the sky.
        - Good time intervals or the livetime are not valid times.
        - Counts, background, acceptances or weights are not finite, or negative, inside the mask.
        - Exposure is not finite at pixels of the mask, or is negative.
        - PSF or energy dispersion have negative values, or are missing where there is
          exposure in the mask.
    """
    check_name(cube.attrs.get("name"), where)
    _check_kinds(cube, where)
    _check_units(cube, where)
    _check_axes(cube, where)
    _check_times(cube, where)
    mask = _mask(cube)
    for key in NUMBERS:
        if key in cube:
            values = cube[key].values
            _refuse(~np.isfinite(values) & mask, cube[key], "not finite inside the mask", where)
            low = _below_zero(values, mask, ROUNDING if key == "background" else 0.0)
            _refuse(low & mask, cube[key], "negative inside the mask", where)
    exposure = cube["exposure"].values
    at_mask = mask.any(axis=0) & np.ones(exposure.shape, dtype=bool)
    bad = ~np.isfinite(exposure) & at_mask
    _refuse(bad, cube["exposure"], "NaN or infinite at pixels of the mask", where)
    _refuse(_below_zero(exposure, True, ROUNDING), cube["exposure"], "negative", where)
    exposed = np.asarray(((exposure > 0) & at_mask).any(axis=(1, 2)))
    sums = {
        key: _check_kernels(cube, key, exposed, where) for key in ("psf", "edisp") if key in cube
    }
    found = {key: value for key, value in sums.items() if value is not None}
    attrs = {key: value for key, value in cube.attrs.items() if key != KERNEL_SUMS}
    checked = cube.copy()
    checked.attrs = {**attrs, KERNEL_SUMS: found} if found else attrs
    return checked


def check_name(name: object, where: str) -> None:
    """Raise an error if the name of a dataset is empty or cannot be printed in one line.

    Letters of any script are allowed; control and formatting characters, line breaks, and white space
    at the ends are not.

    Parameters
    ----------
    name : object
    where : str
        Text with which the message begins.

    Raises
    ------
    InputError
        If the name is not valid.
    """
    fine = isinstance(name, str) and bool(name) and name == name.strip()
    if not fine or any(unicodedata.category(c)[0] == "C" or c in "\u2028\u2029" for c in str(name)):
        msg = f"{where}: name {name!a}, expected printable characters in one line, without spaces at the ends"
        raise InputError(msg)


def sums_in_words(sums: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Describe which responses of which datasets do not sum to 1.

    Parameters
    ----------
    sums : mapping
        The attributes ``kernel_sums``, by name of the dataset.

    Returns
    -------
    words : list of str
        One sentence per kind of response.
    """
    words = []
    for key in ("psf", "edisp"):
        found = {name: own[key] for name, own in sums.items() if key in own}
        if not found:
            continue
        names, values = list(found), sorted(found.values())
        more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
        span = f"{values[0]:.3g}"
        span += f" to {values[-1]:.3g}" if f"{values[-1]:.3g}" != span else ""
        words.append(f"{key} of {', '.join(names[:NAMES_SHOWN])}{more} sums to {span}, expected 1")
    return words


def warn_of_sums(sums: Mapping[str, Mapping[str, float]]) -> None:
    """Log `sums_in_words`."""
    for words in sums_in_words(sums):
        log.warning("%s", words)


# --- names, axes and times ----------------------------------------------------------------


def _check_kinds(cube: xr.Dataset, where: str) -> None:
    for key, array in cube.data_vars.items():
        if array.dtype.kind not in "biuf":
            msg = f"{where}: {key} has values of type {array.dtype}, expected real numbers"
            raise InputError(msg)


def _check_axes(cube: xr.Dataset, where: str) -> None:
    for dim in map(str, cube.dims):
        name = _axis_name(dim)
        if name in AXIS_UNITS and dim in cube.coords:
            nodes = cube_axis(cube, dim).nodes
            low = nodes.min(initial=np.inf)
            if not np.isfinite(nodes).all() or low < 0 or (low == 0 and name.startswith("energy")):
                what = "positive" if name.startswith("energy") else "not negative"
                msg = f"{where}: axis {dim} has nodes {nodes}, expected finite ones that are {what}"
                raise InputError(msg)
    for key in ("wcs", "psf_wcs", "edisp_wcs"):
        if key in cube.attrs:
            check_wcs(cube.attrs[key], where if key == "wcs" else f"{where}: {key[:-4]}")


def _check_times(cube: xr.Dataset, where: str) -> None:
    if "gti_start" in cube:
        start, stop = cube["gti_start"].values, cube["gti_stop"].values
        if not (np.isfinite(start).all() and np.isfinite(stop).all() and (stop >= start).all()):
            msg = f"{where}: good time intervals must be finite, and end after they begin"
            raise InputError(msg)
        try:
            gti = cube.attrs["gti"]
            parts = float(gti["mjdrefi"]), float(gti["mjdreff"])
            Time(*parts, format="mjd", scale=str(gti["timesys"]).lower())
        except (KeyError, TypeError, ValueError, ScaleValueError) as error:
            msg = f"{where}: the reference time of the good time intervals is invalid ({error})"
            raise InputError(msg) from error
    text = cube["exposure"].attrs.get("meta", {}).get("livetime")
    if text is not None:
        try:
            Quantity(text).to("s")
        except (TypeError, ValueError) as error:
            msg = f"{where}: the livetime of exposure is {text!r}, expected a time such as '1500 s'"
            raise InputError(msg) from error


def _axis_name(dim: str) -> str:
    return dim.removeprefix("psf_").removeprefix("edisp_")


# --- units --------------------------------------------------------------------------------


def _check_units(cube: xr.Dataset, where: str) -> None:
    for key in NUMBERS:
        if key not in cube:
            continue
        unit = cube[key].attrs.get("unit", "")
        if _unit(unit, f"{where}: {key}") not in (dimensionless_unscaled, ct, photon):
            msg = f"{where}: {key} is in {unit!r}, expected numbers without a unit"
            raise InputError(msg)
    for key, expected in UNITS.items():
        if key in cube:
            _expect_unit(cube[key].attrs.get("unit", ""), expected, f"{where}: {key}")
    for dim in map(str, cube.dims):
        name = _axis_name(dim)
        if name in AXIS_UNITS and dim in cube.coords:
            unit = cube.coords[dim].attrs.get("unit", "")
            _expect_unit(unit, AXIS_UNITS[name], f"{where}: axis {dim}")


def _expect_unit(unit: str, expected: str, what: str) -> None:
    if not _unit(unit, what).is_equivalent(expected):
        has = f"is in {unit!r}" if unit else "has no unit"
        wanted = f"a unit like {expected!r}" if expected else "none"
        msg = f"{what} {has}, expected {wanted}"
        raise InputError(msg)


def _unit(text: str, what: str) -> Any:
    try:
        return Unit(text)
    except (ValueError, TypeError) as error:
        msg = f"{what}: {text!r} is not a unit"
        raise InputError(msg) from error


# --- values -------------------------------------------------------------------------------


def _mask(cube: xr.Dataset) -> Mask:
    mask: Mask = np.ones(cube["counts"].shape, dtype=bool)
    for key in ("mask_safe", "mask_fit"):
        if key in cube:
            mask &= cube[key].values.astype(bool)
    return mask


def _below_zero(values: NDArray[Any], chosen: Mask | bool, share: float) -> Mask:
    """Where values are negative by more than a given fraction of the largest selected value."""
    largest = np.max(values, initial=0.0, where=chosen & np.isfinite(values))
    with np.errstate(invalid="ignore"):
        return np.asarray(values < -share * largest)


def _refuse(bad: Mask, array: xr.DataArray, what: str, where: str) -> None:
    if bad.any():
        pixels = int(bad.any(axis=tuple(range(bad.ndim - 2))).sum())
        first = zip(array.dims, np.unravel_index(int(bad.argmax()), bad.shape), strict=True)
        at = ", ".join(f"{dim} {int(index)}" for dim, index in first)
        raise InputError(
            f"{where}: {array.name} is {what}: {int(bad.sum())} bins at {pixels} pixels, the first at {at}; "
            "mask them, or correct them"
        )


# --- kernels ------------------------------------------------------------------------------


def _check_kernels(cube: xr.Dataset, key: str, exposed: Mask, where: str) -> float | None:
    """Raise an error for invalid kernels, and return the kernels' sum if it is not 1.

    There is one kernel per energy and pixel. A kernel without any finite value is unknown, which is
    usual outside the field of view.
    """
    array, where = cube[key], f"{where}: {key}"
    weights, beyond = _weights(cube, key)
    lowest, highest = 0.0, 0.0
    known = np.zeros(array.shape[0], dtype=bool)
    sums, allowances = np.zeros((2, array.shape[0], *array.shape[2:]))
    for number, plane in enumerate(array.values):  # one at a time, to save memory
        finite = np.isfinite(plane)
        known[number] = finite.any()
        values = np.where(finite, plane, 0.0)
        lowest, highest = min(lowest, float(values.min())), max(highest, float(values.max()))
        sums[number] = np.tensordot(weights, values, axes=1)
        if beyond is not None:
            allowances[number] = beyond * values[-1]
        else:
            ends = np.maximum(weights[0] * values[0], weights[-1] * values[-1])
            allowances[number] = np.where(ends > CUT_OFF * sums[number], np.inf, 0.0)
    if lowest < -WIGGLE * highest:
        span = f"from {lowest:.3g} to {highest:.3g}"
        raise InputError(f"{where} has negative values ({span}), expected probabilities")
    if exposed.any() and highest <= 0:
        what = "zero" if known.any() else "NaN or infinite"
        raise InputError(f"{where} is {what} everywhere, although there is exposure in the mask")
    if str(array.dims[0]).endswith("energy_true") and len(known) == len(exposed):
        lost = np.flatnonzero(exposed & ~known)
        if len(lost):
            at = f"{array.dims[0]} {', '.join(map(str, lost))}"
            raise InputError(
                f"{where} is NaN or infinite everywhere at {at}, where there is exposure"
            )
    if sums.max(initial=0.0) > 1 + TOLERANCE:
        return float(sums.max())
    chosen = (sums > 0) & np.isfinite(allowances)
    if chosen.any() and np.median((sums + allowances)[chosen]) < 1 - TOLERANCE:
        return float(np.median(sums[chosen]))
    return None


def _weights(cube: xr.Dataset, key: str) -> tuple[Array, float | None]:
    """Weights with which the bins of a kernel sum to 1; for a PSF also the factor of its last value.

    The factor bounds what lies beyond the last bin of a profile that falls at least as offset^-2.3.
    """
    second = str(cube[key].dims[1])
    if second == "rad":
        rad = cube_axis(cube, "rad", "rad")
        factor = 2 * np.pi * Unit(cube[key].attrs.get("unit", "")).to("sr-1")
        return factor * rad.center * np.diff(rad.edges), float(factor * rad.edges[-1] ** 2 / 0.3)
    if second == "migra":
        return np.diff(cube_axis(cube, "migra", "").edges), None
    return np.ones(cube[key].shape[1]), None
