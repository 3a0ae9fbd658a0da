"""One model parameter: a number with a unit, an error, limits and a frozen flag."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from typing import Any

import numpy as np
from astropy import units as u

from gmdask.attributes import Hinting, unknown_attribute
from gmdask.errors import ModelError
from gmdask.models.priors import Prior

__all__ = ["Parameter", "ParameterDefault", "parse_unit", "unit_factor", "unit_text"]

_INTERPOLATIONS = ("lin", "sqrt", "log")
_AREA_TIME = u.Unit("cm2 s")
_SCALE_METHODS = ("scale10", "factor1", None)


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


@lru_cache(maxsize=1024)
def _is_flux(unit: str) -> bool:
    parsed = parse_unit(unit)
    return any(parsed.is_equivalent(flux) for flux in ("cm-2 s-1", "cm-2 s-1 TeV-1"))


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
        Gammapy's hints for scans and its minimiser: kept and written back, not used.
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


@dataclass(frozen=True)
class ParameterDefault:
    """Declaration of a parameter by a model class, as in Gammapy's class.

    ``unit`` is also the unit in which the array functions of the class take the value. ``period``
    is the period of an angle. ``least`` and ``most`` are the ends of the domain, whatever limits a
    parameter is given. ``even`` marks a parameter that enters only by its square.
    """

    name: str
    value: float
    unit: str = ""
    min: float = math.nan
    max: float = math.nan
    frozen: bool = False
    interp: str = "lin"
    period: float | None = None
    least: float = -math.inf
    most: float = math.inf
    even: bool = False

    @classmethod
    def of(cls, parameter: Parameter) -> ParameterDefault:
        """Return a declaration with a parameter as the default."""
        return cls(
            parameter.name,
            parameter.value,
            str(parameter.unit),
            parameter.min,
            parameter.max,
            parameter.frozen,
            parameter.interp,
        )

    def make(self, value: Any = None) -> Parameter:
        """Create a parameter; ``value`` replaces the default value.

        Parameters
        ----------
        value : float, Quantity or str, optional
            A number without a unit is in ``unit``; a quantity keeps its own unit.

        Raises
        ------
        ModelError
            If the value is not finite, or its unit is incompatible.
        """
        unit = parse_unit(self.unit)
        if isinstance(value, (u.Quantity, str)):
            parameter = Parameter(self.name, value)
            if isinstance(value, str) and parameter.unit == u.dimensionless_unscaled:
                parameter = Parameter(self.name, parameter.value, unit)
            factor = self.factor_from(parameter)
        else:
            parameter = Parameter(self.name, self.value if value is None else value, unit)
            factor = 1.0
        parameter._min, parameter._max = self.min / factor, self.max / factor
        parameter.frozen, parameter.interp = self.frozen, self.interp
        return parameter

    def factor_from(self, parameter: Parameter) -> float:
        """Return the conversion factor from the unit of a parameter to the unit of this default.

        The unit of a flux may lack area and time: such a parameter gives counts, for a source without exposure.
        """
        unit = parse_unit(self.unit)
        if self.counts(parameter):
            return unit_factor(parameter.unit, unit * _AREA_TIME)
        try:
            return unit_factor(parameter.unit, unit)
        except ModelError as error:
            msg = f"{parameter.where}: {error}"
            raise ModelError(msg) from error

    @property
    def is_flux(self) -> bool:
        """Whether it is per area and time."""
        return _is_flux(self.unit)

    def counts(self, parameter: Parameter) -> bool:
        """Whether the unit of a parameter lacks the area and time of this flux."""
        if not self.is_flux:
            return False
        unit = parse_unit(self.unit)
        is_flux = parameter.unit is unit or parameter.unit.is_equivalent(unit)
        return not is_flux and parameter.unit.is_equivalent(unit * _AREA_TIME)
