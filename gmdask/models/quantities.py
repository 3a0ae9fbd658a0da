"""Arrays with units as plain data, as Gammapy writes them."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from gmdask.errors import InputError, ModelError, described
from gmdask.models.units import parse_unit

__all__ = ["numbers_in", "quantity_from_dict", "quantity_to_dict"]


def numbers_in(value: Any, unit: str, name: str) -> NDArray[np.float64]:
    """Numbers of a quantity, in a unit.

    Parameters
    ----------
    value : Quantity or str
    unit : str
    name : str
        Name of the argument, for errors.

    Raises
    ------
    InputError
        If it is no quantity, or its unit cannot be converted.
    """
    try:
        return np.asarray(u.Quantity(value).to_value(unit), dtype=np.float64)
    except (TypeError, ValueError, u.UnitsError) as error:
        msg = f"{name} is {described(value)}, expected a quantity such as '1 {unit}'"
        raise InputError(msg) from error


def quantity_to_dict(quantity: u.Quantity) -> dict[str, Any]:
    """Return plain data ``{"data": [...], "unit": "..."}`` of an array with a unit."""
    return {"data": np.asarray(quantity.value).tolist(), "unit": str(quantity.unit)}


def quantity_from_dict(data: object, key: str) -> u.Quantity:
    """Return an array with a unit from plain data.

    Raises
    ------
    ModelError
        If the data are invalid; the message names the key.
    """
    if not isinstance(data, dict) or "data" not in data:
        msg = f"{key} is {data!r}, expected a mapping with data and unit"
        raise ModelError(msg)
    try:
        return u.Quantity(np.array(data["data"], dtype=float), parse_unit(data.get("unit", "")))
    except (TypeError, ValueError) as error:
        msg = f"{key}: {error}"
        raise ModelError(msg) from error
