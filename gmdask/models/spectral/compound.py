"""Spectra composed of other spectra."""

from __future__ import annotations

import operator as operators
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from gmdask.errors import ModelError, described
from gmdask.models.base import ModelBase
from gmdask.models.parameter import Parameter
from gmdask.models.parameter_default import ParameterDefault
from gmdask.models.registry import register
from gmdask.models.spectral.base import SpectralModel
from gmdask.models.spectral.energy_grid import EnergyGrid
from gmdask.models.spectral.shapes import ConstantSpectralModel

__all__ = ["CompoundSpectralModel", "ScaleSpectralModel"]

Array = NDArray[np.float64]

_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "mul": operators.mul,
    "add": operators.add,
    "sub": operators.sub,
}


@register
class CompoundSpectralModel(SpectralModel):
    """Product, sum or difference of two spectra; Hessians are finite differences of the gradient.

    It has the parameters of both, under the names "model1.index", "model2.norm", ...

    Parameters
    ----------
    model1, model2 : SpectralModel
        The two spectra.
    operator : {"mul", "add", "sub"} or function
        The operation; also as the function of that name in the module ``operator``.

    Raises
    ------
    ModelError
        If one is not a spectrum, or their units are incompatible.
    """

    tag = ("CompoundSpectralModel", "compound")
    nested = ("model1", "model2")
    writes_parameters: ClassVar[bool] = False

    def __init__(self, model1: SpectralModel, model2: SpectralModel, operator: Any) -> None:
        name = operator if isinstance(operator, str) else getattr(operator, "__name__", None)
        if name not in _OPERATORS:
            msg = f"operator: {operator!r}, expected one of {', '.join(_OPERATORS)}"
            raise ModelError(msg)
        pairs: tuple[tuple[str, Any], ...] = (("model1", model1), ("model2", model2))
        for key, model in pairs:
            if not isinstance(model, SpectralModel):
                msg = f"{key} is {described(model)}, expected a spectral model"
                raise ModelError(msg)
        norms = model1.is_norm + model2.is_norm
        if norms == 1 and name != "mul":
            msg = f"operator {name}: one of the models is a norm, the other is not"
            raise ModelError(msg)
        if norms == 0 and name == "mul":
            msg = "operator mul: one of the models must be a norm"
            raise ModelError(msg)
        self.model1, self.model2, self.operator = model1, model2, name
        self.is_norm = norms == 2
        self._set_defaults(
            tuple(
                replace(default, name=f"{key}.{default.name}")
                for key, model in (("model1", model1), ("model2", model2))
                for default in model.defaults
            )
        )
        if name == "mul":
            inner = [(k, m.linear) for k, m in (("model1", model1), ("model2", model2)) if m.linear]
            self.linear = ".".join(inner[0]) if inner else None

    # --- parameters -------------------------------------------------------------------

    @classmethod
    def combined(cls, first: SpectralModel, second: object, operator: str) -> SpectralModel:
        """Combine two spectra, or a spectrum and a constant flux.

        Returns ``NotImplemented`` for other operands, as operators do.
        """
        if isinstance(second, SpectralModel):
            return cls(first, second, operator)
        if operator == "mul" or not isinstance(second, (u.Quantity, str)):
            return NotImplemented  # type: ignore[no-any-return]
        return cls(first, ConstantSpectralModel(const=second), operator)

    def _inner(self) -> tuple[ModelBase, ...]:
        return self.model1, self.model2

    @classmethod
    def defaults_for(cls, arguments: Mapping[str, Any]) -> tuple[ParameterDefault, ...]:
        """Return none, since the parameters are written with the two models."""
        del arguments
        return ()

    def parameter(self, name: str) -> Parameter:
        """Return a parameter by its name, "model1.index"."""
        key, _, rest = name.partition(".")
        model: ModelBase = self.__dict__[key]
        return model.parameter(rest)

    @property
    def scales(self) -> list[Parameter]:
        """Parameters that only multiply one of the models."""
        return [*self.model1.scales, *self.model2.scales]

    def named_parameters(self) -> list[tuple[str, Parameter]]:
        """Return names and parameters of the first, then of the second model."""
        return [
            (f"{key}.{name}", par)
            for key in self.nested
            for name, par in self.__dict__[key].named_parameters()
        ]

    # --- arrays -----------------------------------------------------------------------

    def _split(self, values: tuple[float, ...]) -> tuple[tuple[float, ...], tuple[float, ...]]:
        n = len(self.model1.parameter_names)
        return values[:n], values[n:]

    def evaluate(self, energy: Array, *values: float) -> Array:
        """Value at energies (TeV)."""
        first, second = self._split(values)
        y1, y2 = self.model1.evaluate(energy, *first), self.model2.evaluate(energy, *second)
        return np.asarray(_OPERATORS[self.operator](y1, y2))

    def gradient(self, energy: Array, *values: float) -> tuple[Array, Array]:
        """Value [...] at energies (TeV) and its derivatives [P, ...]."""
        first, second = self._split(values)
        y1, dy1 = self.model1.gradient(energy, *first)
        y2, dy2 = self.model2.gradient(energy, *second)
        if self.operator == "mul":
            return y1 * y2, np.concatenate([dy1 * y2, y1 * dy2])
        sign = 1.0 if self.operator == "add" else -1.0
        return y1 + sign * y2, np.concatenate([dy1, sign * dy2])

    # --- plain data -------------------------------------------------------------------

    def extra_to_dict(self) -> dict[str, Any]:
        """Return the operator."""
        return {"operator": self.operator}

    @classmethod
    def extra_from_dict(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Read the operator."""
        rest = {key: value for key, value in data.items() if key != "operator"}
        return {**super().extra_from_dict(rest), "operator": data.get("operator")}

    def check(self, energy: Array | None = None) -> None:
        """Check both models, then their combination."""
        self.model1.check(energy)
        self.model2.check(energy)
        if self.parameter_names:
            super().check(energy)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model1!r}, {self.model2!r}, {self.operator!r})"


@register
class ScaleSpectralModel(SpectralModel):
    """Another spectrum times a norm; the parameters of that spectrum are fixed.

    Parameters
    ----------
    model : SpectralModel
        The spectrum.
    norm : float or Parameter, optional
        Norm.

    Raises
    ------
    ModelError
        If the model is not a spectrum.
    """

    tag = ("ScaleSpectralModel", "scale")
    nested = ("model",)
    linear = "norm"
    defaults = (ParameterDefault("norm", 1.0, interp="log"),)
    norm: Parameter

    def __init__(self, model: SpectralModel, **parameters: Any) -> None:
        given: Any = model
        if not isinstance(given, SpectralModel):
            msg = f"model is {described(given)}, expected a spectral model"
            raise ModelError(msg)
        self.model, self.is_norm = model, model.is_norm
        super().__init__(**parameters)

    def evaluate(self, energy: Array, *values: float) -> Array:
        """Value at energies (TeV)."""
        inner = self.model.evaluate(energy, *self.model.internal_values.tolist())
        return np.asarray(values[0] * inner)

    def gradient(self, energy: Array, *values: float) -> tuple[Array, Array]:
        """Value [...] at energies (TeV) and its derivative [1, ...]."""
        inner = self.evaluate(energy, 1.0)
        return values[0] * inner, inner[None]

    def _bins(self, grid: EnergyGrid, values: Array) -> Array:
        return float(values[0]) * self.model.integral_bins(grid, self.model.internal_values)

    def _bins_gradient(self, grid: EnergyGrid, values: Array) -> tuple[Array, Array]:
        inner = self.model.integral_bins(grid, self.model.internal_values)
        return float(values[0]) * inner, inner[None]

    @property
    def is_counts(self) -> bool:
        """Whether the spectrum inside is one of counts."""
        return self.model.is_counts

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model!r}, norm={self.norm.value:g})"
