"""The declaration of a parameter by a model class: its default, and what is known of its role."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from astropy import units as u

from gmdask.errors import ModelError
from gmdask.models.parameter import Parameter
from gmdask.models.units import parse_unit, unit_factor

__all__ = ["ParameterDefault"]

_AREA_TIME = u.Unit("cm2 s")


@lru_cache(maxsize=1024)
def _is_flux(unit: str) -> bool:
    parsed = parse_unit(unit)
    return any(parsed.is_equivalent(flux) for flux in ("cm-2 s-1", "cm-2 s-1 TeV-1"))


@dataclass(frozen=True)
class ParameterDefault:
    """Declaration of a parameter by a model class, as in Gammapy's class.

    ``unit`` is also the unit in which the array functions of the class take the value. ``period``
    is the period of an angle. ``least`` and ``most`` are the ends of the domain, whatever limits a
    parameter is given. ``even`` marks a parameter that enters only by its square, ``places`` a coordinate
    of a position on the sky.
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
    places: bool = False

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
        parameter.min, parameter.max = self.min / factor, self.max / factor
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
