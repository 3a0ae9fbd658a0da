"""Units of parameters, parsed and converted once."""

from __future__ import annotations

from functools import lru_cache

from astropy import units as u

from gmdask.errors import ModelError

__all__ = ["parse_unit", "unit_factor", "unit_text"]


@lru_cache(maxsize=1024)
def parse_unit(unit: str | u.UnitBase) -> u.UnitBase:
    """Return the astropy unit of a string (a unit is returned as it is).

    Raises
    ------
    ModelError
        If it is not a unit.
    """
    try:
        return u.Unit(unit)
    except (ValueError, TypeError) as error:
        msg = f"{unit!r} is not a unit"
        raise ModelError(msg) from error


def unit_text(unit: str | u.UnitBase) -> str:
    """Return a unit as it is displayed everywhere: ``TeV cm-2 s-1``, and an empty text for none."""
    found = parse_unit(unit)
    factors = zip(found.bases, found.powers, strict=True)
    ordered = sorted(factors, key=lambda f: (f[1] < 0, -abs(f[1]), f[0].name.lower()))
    names = [base.name if power == 1 else f"{base.name}{power}" for base, power in ordered]
    return " ".join(names if found.scale == 1 else [f"{found.scale:g}", *names])


@lru_cache(maxsize=1024)
def unit_factor(unit: u.UnitBase, target: u.UnitBase) -> float:
    """Return the conversion factor from one unit to another.

    Raises
    ------
    ModelError
        If the units are not compatible.
    """
    try:
        return float(unit.to(target))
    except u.UnitConversionError as error:
        msg = f"unit '{unit}' cannot be converted to '{target}'"
        raise ModelError(msg) from error
