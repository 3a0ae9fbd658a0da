"""Off counts and acceptances of cubes with a measured background, and their sums.

The ratio α of the on and off exposures is chosen such that the sum has the summed backgrounds ``α n_off``.
"""

from __future__ import annotations

from collections.abc import Callable

import xarray as xr

from gmdask.datasets.operations.arrays import finite, kept
from gmdask.errors import InputError

__all__ = ["OFF", "check_alike", "exposure_ratio", "off_background", "summed_off"]

OFF = ("counts_off", "acceptance", "acceptance_off")


def exposure_ratio(cube: xr.Dataset) -> xr.Variable:
    """Return the exposure of the on region relative to that of the off region, α; 0 if either is missing.

    Parameters
    ----------
    cube : `xarray.Dataset`
        A cube with ``acceptance`` and ``acceptance_off``.
    """
    on, off = finite(cube["acceptance"].variable), finite(cube["acceptance_off"].variable)
    some = (on > 0) & (off > 0)
    return _quotient(kept(on, some), off, some)


def off_background(cube: xr.Dataset) -> xr.Variable:
    """Return the background in the on region (energy, lat, lon) estimated from the off counts, ``α n_off``.

    Parameters
    ----------
    cube : `xarray.Dataset`
        A cube with off counts and acceptances.
    """
    return exposure_ratio(cube) * finite(cube["counts_off"].variable)


def summed_off(
    parts: list[xr.Dataset], add: Callable[[list[xr.Variable]], xr.Variable]
) -> dict[str, xr.Variable]:
    """Sum off counts and acceptances, as Gammapy's ``MapDatasetOnOff.stack``.

    Parameters
    ----------
    parts : list of `xarray.Dataset`
    add : callable
        Sums an array of each part.

    Notes
    -----
    Where the sum has no off counts, α is that of all energies together; if there are none at all, it is
    the ratio of the acceptances.
    """
    off, on_acceptance, off_acceptance = (
        add([finite(part[key].variable) for part in parts]) for key in OFF
    )
    background = add([off_background(part) for part in parts])
    total_on, total_off = on_acceptance.sum(), off_acceptance.sum()
    counted, expected = off.sum(), background.sum()
    has_counts = expected > 0
    numerator = expected * has_counts + total_on * ~has_counts
    denominator = counted * has_counts + total_off * ~has_counts
    average = _quotient(denominator, numerator, numerator > 0)  # of 1 / α
    known = background > 0
    acceptance_off = on_acceptance * (_quotient(off, background, known) * known + average * ~known)
    arrays = dict(zip(OFF, (off, on_acceptance, acceptance_off), strict=True))
    for key, array in arrays.items():
        array.attrs = dict(parts[0][key].attrs)
    return arrays


def check_alike(cube: xr.Dataset, other: xr.Dataset, where: str) -> bool:
    """Return whether two cubes have off counts.

    Raises
    ------
    InputError
        If only one of them has.
    """
    if ("counts_off" in cube) != ("counts_off" in other):
        msg = f"{where}: only one of them has off counts"
        raise InputError(msg)
    return "counts_off" in cube


def _quotient(numerator: xr.Variable, denominator: xr.Variable, known: xr.Variable) -> xr.Variable:
    """Return the quotient where it is defined, and any finite number elsewhere."""
    return numerator / (kept(denominator, known) + ~known)
