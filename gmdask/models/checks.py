"""Checks of a user's model class: its functions are called once before it is used."""

from __future__ import annotations

import numpy as np
from astropy import units as u

from gmdask.errors import ModelError
from gmdask.models.base import ModelBase

__all__ = ["check_array", "check_parameters", "class_is_own"]


def check_parameters(model: ModelBase) -> None:
    """Raise an error for a model that has no parameters and does not declare this.

    Raises
    ------
    ModelError
        If it has none; the message names the class.
    """
    if not model.parameter_names and not model.without_parameters:
        msg = (
            f"{type(model).__name__} has no parameters: list them in defaults, "
            "or set without_parameters = True"
        )
        raise ModelError(msg)


def check_array(
    model: ModelBase, what: str, value: object, shape: tuple[int, ...], unit: u.UnitBase
) -> None:
    """Check the result of an array function.

    Parameters
    ----------
    model : ModelBase
        Model.
    what : str
        Name of the function.
    value : object
        Its result.
    shape : tuple of int
        Expected shape.
    unit : Unit
        Expected unit of a plain array.

    Raises
    ------
    ModelError
        If the result is invalid; the message names the class and the function.
    """
    where = f"{type(model).__name__}.{what}"
    text = f"plain numbers in {unit}" if str(unit) else "plain numbers"
    if isinstance(value, u.Quantity):
        msg = f"{where} returns a quantity in {value.unit or 'no unit'!s}, expected {text}"
        raise ModelError(msg)
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError) as error:
        msg = f"{where} returns {type(value).__name__}, expected {text}"
        raise ModelError(msg) from error
    if array.shape != shape:
        msg = f"{where} returns shape {array.shape}, expected {shape}"
        raise ModelError(msg)
    if not np.isfinite(array).all():
        msg = f"{where} is not finite at {model!r}"
        raise ModelError(msg)


def class_is_own(model: object) -> bool:
    """Return whether a class belongs to this package, and needs no check."""
    return type(model).__module__.startswith("gmdask.")
