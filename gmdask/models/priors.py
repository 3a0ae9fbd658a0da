"""Priors: penalties -2 ln pdf on single parameters, with derivatives.

Numbers are in the unit of the parameter that the prior belongs to.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gmdask.attributes import Hinting
from gmdask.errors import ModelError
from gmdask.models.registry import class_path, register, type_name

__all__ = [
    "GaussianPrior",
    "GeneralizedGaussianPrior",
    "LogNormalPrior",
    "LogUniformPrior",
    "Prior",
    "PriorSum",
    "UniformPrior",
]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Prior(Hinting):
    """Base class of priors; a new one is a dataclass with `evaluate`, and is registered.

    Raises
    ------
    ModelError
        If a number is not finite, or out of its range.
    """

    kind: ClassVar[str] = "prior"
    tag: ClassVar[tuple[str, ...]] = ()
    without_unit: ClassVar[tuple[str, ...]] = ("eta",)

    def __post_init__(self) -> None:
        for field in fields(self):
            value: object = getattr(self, field.name)
            if not isinstance(value, (int, float, np.number)) or not math.isfinite(value):
                raise self._fail(f"{field.name} is {value!r}, expected a finite number")
            object.__setattr__(self, field.name, float(value))
        weight: float = getattr(self, "weight", 1.0)
        if weight < 0:
            raise self._fail(f"weight is {weight}, expected none below zero")
        self._check()

    def _fail(self, message: str) -> ModelError:
        return ModelError(f"{type(self).__name__}: {message}")

    def _check(self) -> None:
        """Raise an error for numbers out of their range."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the numbers that define the distribution."""
        return tuple(field.name for field in fields(self) if field.name != "weight")

    @property
    def limits(self) -> tuple[float, float]:
        """Values outside of which the probability is zero."""
        return -math.inf, math.inf

    def evaluate(self, value: float) -> tuple[float, float, float]:
        """Return -2 ln pdf and its first and second derivative, without the weight.

        Outside of `limits`, -2 ln pdf is infinite.
        """
        raise NotImplementedError

    def derivatives(self, value: float) -> tuple[float, float, float]:
        """Weighted -2 ln pdf, and its first and second derivative with respect to the value."""
        weight: float = getattr(self, "weight", 1.0)
        stat, first, second = self.evaluate(value)
        return weight * stat, weight * first, weight * second

    def __call__(self, value: float) -> float:
        """Weighted -2 ln pdf."""
        return self.derivatives(float(value))[0]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data in the form of Gammapy's YAML."""
        numbers = [{"name": n, "value": getattr(self, n), "unit": ""} for n in self.names]
        path = class_path(type(self))
        where = {} if path is None else {"class": path}
        weight = getattr(self, "weight", 1.0)
        return {"type": type_name(type(self)), **where, "parameters": numbers, "weight": weight}


@register
@dataclass(frozen=True)
class GaussianPrior(Prior):
    """Normal distribution with mean mu and standard deviation sigma."""

    mu: float = 0.0
    sigma: float = 1.0
    weight: float = 1.0
    tag = ("GaussianPrior",)

    def _check(self) -> None:
        if self.sigma <= 0:
            raise self._fail(f"sigma is {self.sigma}, expected a positive number")

    def evaluate(self, value: float) -> tuple[float, float, float]:
        """-2 ln pdf and its derivatives."""
        z = (value - self.mu) / self.sigma
        constant = 2 * math.log(self.sigma) + math.log(2 * math.pi)
        return z * z + constant, 2 * z / self.sigma, 2 / self.sigma**2


@register
@dataclass(frozen=True)
class GeneralizedGaussianPrior(Prior):
    """exp(-(|x - mu| / (√2 sigma))^(1 / eta)): a normal distribution for eta 0.5, a Laplace one for 1.

    For eta above 0.5 the second derivative is infinite at mu; zero is returned there.
    """

    mu: float = 0.0
    sigma: float = 1.0
    eta: float = 0.5
    weight: float = 1.0
    tag = ("GeneralizedGaussianPrior",)

    def _check(self) -> None:
        for name in ("sigma", "eta"):
            if getattr(self, name) <= 0:
                raise self._fail(f"{name} is {getattr(self, name)}, expected a positive number")

    def evaluate(self, value: float) -> tuple[float, float, float]:
        """-2 ln pdf and its derivatives."""
        power, scale = 1 / self.eta, math.sqrt(2) * self.sigma
        z = abs(value - self.mu) / scale
        sign = math.copysign(1.0, value - self.mu)
        constant = 2 * (math.log(2 * scale) + math.lgamma(1 + self.eta))
        if z == 0:
            return constant, 0.0, 4 / scale**2 if power == 2 else 0.0
        stat = 2 * z**power
        first = stat * power / z / scale
        return stat + constant, sign * first, first * (power - 1) / z / scale


class _Bounded(Prior):
    """Base class of distributions between two limits."""

    min: float
    max: float

    def _check(self) -> None:
        if self.min >= self.max:
            raise self._fail(f"min {self.min} is not below max {self.max}")

    @property
    def limits(self) -> tuple[float, float]:
        """Limits of the distribution."""
        return self.min, self.max


@register
@dataclass(frozen=True)
class UniformPrior(_Bounded):
    """Uniform between min and max, zero outside."""

    min: float = 0.0
    max: float = 1.0
    weight: float = 1.0
    tag = ("UniformPrior",)

    def evaluate(self, value: float) -> tuple[float, float, float]:
        """-2 ln pdf and its derivatives."""
        inside = self.min <= value <= self.max
        return 2 * math.log(self.max - self.min) if inside else math.inf, 0.0, 0.0


@register
@dataclass(frozen=True)
class LogUniformPrior(_Bounded):
    """Uniform in the logarithm between min and max, zero outside."""

    min: float = 1e-14
    max: float = 1e-10
    weight: float = 1.0
    tag = ("LogUniformPrior",)

    def _check(self) -> None:
        if self.min <= 0:
            raise self._fail(f"min is {self.min}, expected a positive number")
        super()._check()

    def evaluate(self, value: float) -> tuple[float, float, float]:
        """-2 ln pdf and its derivatives."""
        if not self.min <= value <= self.max:
            return math.inf, 0.0, 0.0
        constant = 2 * math.log(math.log(self.max / self.min))
        return 2 * math.log(value) + constant, 2 / value, -2 / value**2


@register
@dataclass(frozen=True)
class LogNormalPrior(Prior):
    """Normal distribution of the logarithm of a positive value, with mean ln mu and standard deviation sigma.

    It is meant for factors, such as the norm of an exposure that is known to 20 % (sigma 0.2). With a normal
    distribution of the factor itself, fits favour small factors and large fluxes, by about sigma² (D'Agostini
    1994, NIM A 346, 306).

    Notes
    -----
    The density is that of the logarithm, as in a measurement of it: it is highest at mu.
    """

    mu: float = 1.0
    sigma: float = 0.1
    weight: float = 1.0
    tag = ("LogNormalPrior",)
    without_unit = ("sigma",)

    def _check(self) -> None:
        for name in ("mu", "sigma"):
            if getattr(self, name) <= 0:
                raise self._fail(f"{name} is {getattr(self, name)}, expected a positive number")

    @property
    def limits(self) -> tuple[float, float]:
        """Limits of the distribution."""
        return 0.0, math.inf

    def evaluate(self, value: float) -> tuple[float, float, float]:
        """-2 ln pdf and its derivatives."""
        if value <= 0:
            return math.inf, 0.0, 0.0
        distance, variance = math.log(value / self.mu), self.sigma**2
        stat = distance**2 / variance + 2 * math.log(self.sigma) + math.log(2 * math.pi)
        slope = 2 / (variance * value)
        return stat, slope * distance, slope * (1 - distance) / value


class PriorSum:
    """Sum of the priors of parameters, each counted once; it is built once and called at each step.

    Parameters
    ----------
    priors : sequence of Prior or None
        The prior of each of the P parameters.

    Attributes
    ----------
    index : ndarray
        Positions of the parameters that have a prior.
    """

    def __init__(self, priors: Sequence[Prior | None]) -> None:
        self._size = len(priors)
        self._priors = [prior for prior in priors if prior is not None]
        at = [k for k, prior in enumerate(priors) if prior is not None]
        self.index: NDArray[np.intp] = np.array(at, dtype=np.intp)

    def __len__(self) -> int:
        return len(self._priors)

    def __repr__(self) -> str:
        return f"<PriorSum of {len(self)} priors on {self._size} parameters>"

    def __call__(self, values: ArrayLike) -> tuple[float, Array, Array]:
        """Evaluate the sum at values of all parameters.

        Parameters
        ----------
        values : array [P]
            Values in the units of the parameters.

        Returns
        -------
        stat : float
            Sum of weighted -2 ln pdf; infinite outside a distribution.
        gradient, hessian : ndarray [P]
            Derivatives of the sum; the Hessian is diagonal.
        """
        values = np.asarray(values, dtype=float)
        gradient, hessian = np.zeros(self._size), np.zeros(self._size)
        stat = 0.0
        for k, prior in zip(self.index.tolist(), self._priors, strict=True):
            value, gradient[k], hessian[k] = prior.derivatives(float(values[k]))
            stat += value
        return stat, gradient, hessian

    def limits(self) -> tuple[Array, Array]:
        """Return the lower and upper limits [P] of the distributions, infinite for none."""
        low, high = np.full(self._size, -np.inf), np.full(self._size, np.inf)
        for k, prior in zip(self.index.tolist(), self._priors, strict=True):
            low[k], high[k] = prior.limits
        return low, high
