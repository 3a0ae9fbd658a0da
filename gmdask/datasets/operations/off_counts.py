"""Off counts and acceptances of cubes whose background is measured, and what becomes of them in sums.

The ratio of the exposures on and off, α, is such that the sum has the sum of the backgrounds ``α n_off``.
"""

from __future__ import annotations

from collections.abc import Callable

import xarray as xr

from gmdask.datasets.operations.arrays import finite, kept
from gmdask.errors import InputError

__all__ = ["OFF", "check_alike", "exposure_ratio", "off_background", "summed_off"]

OFF = ("counts_off", "acceptance", "acceptance_off")


def exposure_ratio(cube: xr.Dataset) -> xr.Variable:
    """Exposure of the on region in units of that of the off region, α; 0 where either is missing.

    Parameters
    ----------
    cube : `xarray.Dataset`
        With ``acceptance`` and ``acceptance_off``.
    """
    on, off = finite(cube["acceptance"].variable), finite(cube["acceptance_off"].variable)
    some = (on > 0) & (off > 0)
    return _quotient(kept(on, some), off, some)


def off_background(cube: xr.Dataset) -> xr.Variable:
    """Background in the on region (energy, lat, lon) as the off counts measure it, ``α n_off``.

    Parameters
    ----------
    cube : `xarray.Dataset`
        With off counts and acceptances.
    """
    return exposure_ratio(cube) * finite(cube["counts_off"].variable)


def summed_off(
    parts: list[xr.Dataset], add: Callable[[list[xr.Variable]], xr.Variable]
) -> dict[str, xr.Variable]:
    """Off counts and acceptances of a sum, as Gammapy's ``MapDatasetOnOff.stack`` has them.

    Parameters
    ----------
    parts : list of `xarray.Dataset`
    add : callable
        Sums an array of each part.

    Notes
    -----
    Where the sum has no off counts, α is that of all energies together; where there are none at all, it is
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
    """Whether two cubes have off counts.

    Raises
    ------
    InputError
        If one has them and the other has not.
    """
    if ("counts_off" in cube) != ("counts_off" in other):
        msg = f"{where}: one has off counts and the other has not"
        raise InputError(msg)
    return "counts_off" in cube


def _quotient(numerator: xr.Variable, denominator: xr.Variable, known: xr.Variable) -> xr.Variable:
    """Quotient where it is known, elsewhere anything finite."""
    return numerator / (kept(denominator, known) + ~known)
