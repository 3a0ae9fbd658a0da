"""One model parameter: a number with a unit, an error, limits and a frozen flag."""

from __future__ import annotations

import math
from html import escape
from typing import Any

import numpy as np
from astropy import units as u

from gmdask.attributes import Hinting, unknown_attribute
from gmdask.errors import ModelError
from gmdask.models.priors import Prior
from gmdask.models.units import parse_unit, unit_factor, unit_text

__all__ = ["Parameter"]

_INTERPOLATIONS = ("lin", "sqrt", "log")
_SCALE_METHODS = ("scale10", "factor1", None)


class Parameter(Hinting):
    """A parameter of a model.

    Two models share a parameter (are "linked") if they hold the same object.

    Parameters
    ----------
    name : str
        Name within its model.
    value : float, Quantity or str
        Value. A value with a unit ("1 TeV") is converted to ``unit`` if that is
        given, and otherwise defines it.
    unit : str or Unit
        Unit of value, error and limits.
    error : float, Quantity or str
        Standard deviation.
    min, max : float, Quantity or str
        Limits; NaN for none.
    frozen : bool
        Whether the value is kept fixed in a fit.
    interp, scale_method, scale_transform : str
        Gammapy's hints for scans and its minimiser: kept and written back, not used here.
    prior : Prior, optional
        Prior on the value, with numbers in ``unit``.

    Raises
    ------
    ModelError
        If the value is not finite, a unit is incompatible, or min > max.
    """

    __slots__ = (
        "_error",
        "_frozen",
        "_max",
        "_min",
        "_name",
        "_prior",
        "_unit",
        "_value",
        "interp",
        "scale_method",
        "scale_transform",
        "where",
    )

    def __init__(
        self,
        name: str,
        value: Any,
        unit: str | u.UnitBase = "",
        error: Any = 0.0,
        min: Any = math.nan,  # noqa: A002
        max: Any = math.nan,  # noqa: A002
        frozen: bool = False,
        *,
        interp: str = "lin",
        scale_method: str | None = "scale10",
        scale_transform: str = "lin",
        prior: Prior | None = None,
    ) -> None:
        self._name = name
        self.where = name
        self._unit = self._unit_of(value, unit)
        self._value = self._finite(value)
        self._error = self._number(error, "error")
        self.prior = prior
        self._min, self._max = self._ordered(min, max)
        self.frozen = frozen
        self.interp = self._one_of("interp", interp, _INTERPOLATIONS)
        self.scale_method = self._one_of("scale_method", scale_method, _SCALE_METHODS)
        self.scale_transform = self._one_of("scale_transform", scale_transform, _INTERPOLATIONS)

    def __setattr__(self, name: str, value: object) -> None:
        found = getattr(Parameter, name, None)
        if found is None or (isinstance(found, property) and found.fset is None):
            raise unknown_attribute(self, name)
        object.__setattr__(self, name, value)

    # --- checks ---------------------------------------------------------------

    def _fail(self, message: str) -> ModelError:
        return ModelError(f"{self.where}: {message}")

    def _one_of(self, key: str, value: Any, allowed: tuple[Any, ...]) -> Any:
        if value not in allowed:
            raise self._fail(f"{key} is {value!r}, expected one of {allowed}")
        return value

    def _unit_of(self, value: Any, unit: str | u.UnitBase) -> u.UnitBase:
        try:
            given = parse_unit(unit)
        except ModelError as error:
            raise self._fail(f"unit {error}") from error
        if isinstance(value, (int, float)) or given != u.dimensionless_unscaled:
            return given
        return self._quantity(value, "value").unit

    def _quantity(self, value: Any, key: str) -> u.Quantity:
        try:
            return u.Quantity(value)
        except (TypeError, ValueError) as error:
            raise self._fail(f"{key} is {value!r}, expected a number or a quantity") from error

    def _number(self, value: Any, key: str) -> float:
        """Return a value as a float in the unit of this parameter."""
        if isinstance(value, (bool, np.bool_)):
            raise self._fail(f"{key} is {value!r}, expected a number")
        if isinstance(value, (str, u.Quantity)):
            quantity = self._quantity(value, key)
            bare = quantity.unit == u.dimensionless_unscaled and isinstance(value, str)
            if not bare:
                try:
                    value = quantity.value * unit_factor(quantity.unit, self._unit)
                except ModelError as error:
                    raise self._fail(f"{key}: {error}") from error
            else:
                value = quantity.value
        try:
            return float(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise self._fail(f"{key} is {value!r}, expected a number") from error

    def _finite(self, value: Any) -> float:
        number = self._number(value, "value")
        if not math.isfinite(number):
            raise self._fail(f"value is {number}, expected a finite number")
        return number

    def _ordered(self, low: Any, high: Any) -> tuple[float, float]:
        low = math.nan if low is None else self._number(low, "min")
        high = math.nan if high is None else self._number(high, "max")
        if low > high:
            raise self._fail(f"min {low} is larger than max {high}")
        return low, high

    # --- attributes -----------------------------------------------------------

    @property
    def name(self) -> str:
        """Name within its model."""
        return self._name

    @property
    def unit(self) -> u.UnitBase:
        """Unit of value, error and limits."""
        return self._unit

    @property
    def value(self) -> float:
        """Value in `unit`."""
        return self._value

    @value.setter
    def value(self, value: Any) -> None:
        self._value = self._finite(value)

    @property
    def quantity(self) -> u.Quantity:
        """Value with unit; an assigned quantity is converted to `unit`."""
        return u.Quantity(self._value, self._unit)

    @quantity.setter
    def quantity(self, value: Any) -> None:
        self._value = self._finite(u.Quantity(value))

    @property
    def error(self) -> float:
        """Standard deviation in `unit`."""
        return self._error

    @error.setter
    def error(self, value: Any) -> None:
        self._error = self._number(value, "error")

    @property
    def min(self) -> float:
        """Lower limit in `unit`, NaN if there is none."""
        return self._min

    @min.setter  # noqa: A003
    def min(self, value: Any) -> None:
        self._min, _ = self._ordered(value, self._max)

    @property
    def max(self) -> float:
        """Upper limit in `unit`, NaN if there is none."""
        return self._max

    @max.setter  # noqa: A003
    def max(self, value: Any) -> None:
        _, self._max = self._ordered(self._min, value)

    @property
    def frozen(self) -> bool:
        """Whether the value is kept fixed in a fit."""
        return self._frozen

    @frozen.setter
    def frozen(self, value: bool) -> None:
        if not isinstance(value, (bool, np.bool_)):
            raise self._fail(f"frozen is {value!r}, expected true or false")
        self._frozen = bool(value)

    @property
    def prior(self) -> Prior | None:
        """Prior on the value, None if there is none."""
        return self._prior

    @prior.setter
    def prior(self, value: Any) -> None:
        if not isinstance(value, Prior | None):
            raise self._fail(f"prior is {value!r}, expected a prior")
        self._prior = value

    # --- copying and display --------------------------------------------------

    def copy(self) -> Parameter:
        """Return an independent copy with the same attributes."""
        new = object.__new__(Parameter)
        for key in Parameter.__slots__:
            object.__setattr__(new, key, getattr(self, key))
        return new

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        new = memo[id(self)] = self.copy()
        return new

    def __repr__(self) -> str:
        text = f"{self.name} = {self.value:g} ± {self.error:.2g} {unit_text(self.unit)}".rstrip()
        if not (math.isnan(self.min) and math.isnan(self.max)):
            text += f", min={self.min:g}, max={self.max:g}"
        return f"<Parameter {text}{', frozen' if self.frozen else ''}>"

    def _repr_html_(self) -> str:
        return f"<code>{escape(repr(self))}</code>"
