"""Temporal models with analytic integrals.

The integral of a norm that depends only on t - t_ref has the derivative f(start) - f(stop) by t_ref.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from gmdask.errors import ModelError
from gmdask.models.derivatives import first_derivatives
from gmdask.models.parameter import Parameter
from gmdask.models.parameter_default import ParameterDefault
from gmdask.models.registry import register
from gmdask.models.spectral.energy_grid import phi, psi
from gmdask.models.temporal.base import TemporalModel, reference_time

__all__ = [
    "ConstantTemporalModel",
    "ExpDecayTemporalModel",
    "GaussianTemporalModel",
    "GeneralizedGaussianTemporalModel",
    "LinearTemporalModel",
    "PowerLawTemporalModel",
    "SineTemporalModel",
]

Array = NDArray[np.float64]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(10)
_FROZEN, _FREE = reference_time(frozen=True), reference_time(frozen=False)


@register
class ConstantTemporalModel(TemporalModel):
    """A constant norm of 1."""

    tag = ("ConstantTemporalModel", "const")
    without_parameters: ClassVar[bool] = True

    def evaluate(self, time: Array, *values: float) -> Array:
        """Norm at times (days)."""
        del values
        return np.ones(np.shape(time))

    def bins(self, start: Array, stop: Array, *values: float) -> Array:
        """Integral [N] over intervals (days)."""
        del values
        return np.asarray(stop - start)

    def bins_gradient(self, start: Array, stop: Array, *values: float) -> tuple[Array, Array]:
        """Integral [N] over intervals (days) and no derivatives [0, N]."""
        return self.bins(start, stop, *values), np.zeros((0, len(start)))


@register
class LinearTemporalModel(TemporalModel):
    """A linear function, alpha + beta (t - t_ref)."""

    tag = ("LinearTemporalModel", "linear")
    defaults = (ParameterDefault("alpha", 1.0), ParameterDefault("beta", 0.0, "d-1"), _FROZEN)
    alpha: Parameter
    beta: Parameter
    t_ref: Parameter

    def evaluate(self, time: Array, *values: float) -> Array:
        """Norm at times (days)."""
        alpha, beta, t_ref = values
        return np.asarray(alpha + beta * (time - t_ref))

    def bins(self, start: Array, stop: Array, *values: float) -> Array:
        """Integral [N] over intervals (days)."""
        return (stop - start) * self.evaluate(0.5 * (start + stop), *values)

    def bins_gradient(self, start: Array, stop: Array, *values: float) -> tuple[Array, Array]:
        """Integral [N] over intervals (days) and its derivatives [3, N]."""
        _, beta, t_ref = values
        length, middle = stop - start, 0.5 * (start + stop) - t_ref
        f = self.bins(start, stop, *values)
        return f, np.stack([length, length * middle, -beta * length])


@register
class ExpDecayTemporalModel(TemporalModel):
    """Exponential decay, exp(-(t - t_ref) / t0), also before t_ref."""

    tag = ("ExpDecayTemporalModel", "exp-decay")
    defaults = (ParameterDefault("t0", 1.0, "d"), _FROZEN)
    t0: Parameter
    t_ref: Parameter

    def evaluate(self, time: Array, *values: float) -> Array:
        """Norm at times (days)."""
        t0, t_ref = values
        return np.asarray(np.exp(-(time - t_ref) / t0))

    def bins(self, start: Array, stop: Array, *values: float) -> Array:
        """Integral [N] over intervals (days)."""
        t0, _ = values
        return np.asarray(-t0 * self.evaluate(start, *values) * np.expm1(-(stop - start) / t0))

    def bins_gradient(self, start: Array, stop: Array, *values: float) -> tuple[Array, Array]:
        """Integral [N] over intervals (days) and its derivatives [2, N]."""
        t0, t_ref = values
        f = self.bins(start, stop, *values)
        first, last = self.evaluate(start, *values), self.evaluate(stop, *values)
        by_width = (f + (start - t_ref) * first - (stop - t_ref) * last) / t0
        return f, np.stack([by_width, f / t0])


@register
class GaussianTemporalModel(TemporalModel):
    """A Gaussian pulse, exp(-(t - t_ref)² / 2 sigma²)."""

    tag = ("GaussianTemporalModel", "gauss")
    defaults = (_FREE, ParameterDefault("sigma", 1.0, "d"))
    t_ref: Parameter
    sigma: Parameter

    def evaluate(self, time: Array, *values: float) -> Array:
        """Norm at times (days)."""
        t_ref, sigma = values
        z = (time - t_ref) / sigma
        return np.asarray(np.exp(-0.5 * z * z))

    def bins(self, start: Array, stop: Array, *values: float) -> Array:
        """Integral [N] over intervals (days)."""
        from scipy.special import erf, erfc

        t_ref, sigma = values
        low, high = ((t - t_ref) / (np.sqrt(2) * sigma) for t in (start, stop))
        # far from the peak the complement is used, which does not lose precision
        wings = np.where(low > 0, erfc(low) - erfc(high), erfc(-high) - erfc(-low))
        parts = np.where(low * high > 0, wings, erf(high) - erf(low))
        f = np.sqrt(np.pi / 2) * sigma * parts
        short = np.abs(high - low) < 0.5  # where differences lose precision, a sum is exact
        if short.any():
            length = (stop - start)[short]
            middle = 0.5 * (start + stop)[short]
            y = self.evaluate(middle[:, None] + 0.5 * length[:, None] * _NODES, *values)
            f[short] = 0.5 * length * (y * _WEIGHTS).sum(axis=-1)
        return np.asarray(f)

    def bins_gradient(self, start: Array, stop: Array, *values: float) -> tuple[Array, Array]:
        """Integral [N] over intervals (days) and its derivatives [2, N]."""
        t_ref, sigma = values
        f = self.bins(start, stop, *values)
        first, last = self.evaluate(start, *values), self.evaluate(stop, *values)
        by_sigma = (f + (start - t_ref) * first - (stop - t_ref) * last) / sigma
        return f, np.stack([first - last, by_sigma])


@register
class GeneralizedGaussianTemporalModel(TemporalModel):
    """A pulse, exp(-½ (|t - t_ref| / t_side)^(1/eta)), with different rise and decay times.

    Integrals are incomplete gamma functions; their derivative with respect to eta is a difference.
    """

    tag = ("GeneralizedGaussianTemporalModel", "gengauss")
    defaults = (
        _FREE,
        ParameterDefault("t_rise", 1.0, "d"),
        ParameterDefault("t_decay", 1.0, "d"),
        ParameterDefault("eta", 0.5),
    )
    t_ref: Parameter
    t_rise: Parameter
    t_decay: Parameter
    eta: Parameter

    def evaluate(self, time: Array, *values: float) -> Array:
        """Norm at times (days)."""
        t_ref, rise, decay, eta = values
        x = time - t_ref
        distance = np.abs(x) / np.where(x < 0, rise, decay)
        return np.asarray(np.exp(-0.5 * np.power(distance, 1 / eta)))

    def breaks(self, *values: float) -> list[float]:
        """Return the peak."""
        return [values[0]]

    @staticmethod
    def _side(near: Array, far: Array, width: float, eta: float) -> Array:
        """Integral between two distances from the peak, with near <= far."""
        from scipy.special import gamma, gammainc, gammaincc

        a, b = (0.5 * np.power(x / width, 1 / eta) for x in (near, far))
        wing = gammaincc(eta, a) - gammaincc(eta, b)
        parts = np.where(a > eta, wing, gammainc(eta, b) - gammainc(eta, a))
        return np.asarray(width * 2**eta * gamma(1 + eta) * parts)

    def _sides(self, start: Array, stop: Array, *values: float) -> tuple[Array, Array]:
        t_ref, rise, decay, eta = values
        low, high = start - t_ref, stop - t_ref
        before = self._side(np.maximum(-high, 0), np.maximum(-low, 0), rise, eta)
        return before, self._side(np.maximum(low, 0), np.maximum(high, 0), decay, eta)

    def bins(self, start: Array, stop: Array, *values: float) -> Array:
        """Integral [N] over intervals (days)."""
        before, after = self._sides(start, stop, *values)
        return before + after

    def bins_gradient(self, start: Array, stop: Array, *values: float) -> tuple[Array, Array]:
        """Integral [N] over intervals (days) and its derivatives [4, N]."""
        t_ref, rise, decay, eta = values
        before, after = self._sides(start, stop, *values)
        first, last = self.evaluate(start, *values), self.evaluate(stop, *values)
        low, high = start - t_ref, stop - t_ref
        low_part, high_part = low * first, high * last
        by_rise = before + np.where(low < 0, low_part, 0) - np.where(high < 0, high_part, 0)
        by_decay = after + np.where(low > 0, low_part, 0) - np.where(high > 0, high_part, 0)
        no_limit = np.array([np.nan])
        by_eta = first_derivatives(
            lambda v: self.bins(start, stop, t_ref, rise, decay, float(v[0])),
            np.array([eta]), np.array([eta]), no_limit, no_limit,
        )[0]  # fmt: skip
        return before + after, np.stack([first - last, by_rise / rise, by_decay / decay, by_eta])


@register
class PowerLawTemporalModel(TemporalModel):
    """A power law, ((t - t_ref) / t0)^alpha; before t_ref only for integer alpha."""

    tag = ("PowerLawTemporalModel", "powerlaw")
    defaults = (
        ParameterDefault("alpha", 1.0),
        _FROZEN,
        ParameterDefault("t0", 1.0, "d", frozen=True),
    )
    alpha: Parameter
    t_ref: Parameter
    t0: Parameter

    def evaluate(self, time: Array, *values: float) -> Array:
        """Norm at times (days)."""
        alpha, t_ref, t0 = values
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.power((time - t_ref) / t0, alpha))

    def bins(self, start: Array, stop: Array, *values: float) -> Array:
        """Integral [N] over intervals (days)."""
        return self.bins_gradient(start, stop, *values)[0]

    def bins_gradient(self, start: Array, stop: Array, *values: float) -> tuple[Array, Array]:
        """Integral [N] over intervals (days) and its derivatives [3, N].

        Raises
        ------
        ModelError
            If an interval begins before t_ref, where the norm is not defined.
        """
        alpha, t_ref, t0 = values
        power = alpha + 1
        low, high = (start - t_ref) / t0, (stop - t_ref) / t0
        after = low > 0
        f, by_alpha = np.zeros(len(low)), np.zeros(len(low))
        a = low[after]
        width = np.log(high[after] / a)
        scale, mean = t0 * np.power(a, power), phi(power * width)
        f[after] = scale * width * mean
        slope = scale * width**2 * (mean - psi(power * width))
        by_alpha[after] = np.log(a) * f[after] + slope
        if not after.all():
            a, b = low[~after], high[~after]
            with np.errstate(invalid="ignore", divide="ignore"):
                plain = np.log(b / a)
                if power:
                    plain = (np.power(b, power) - np.power(a, power)) / power
                rest = t0 * np.asarray(plain)
            if not np.isfinite(rest).all() or (power <= 0 and ((a <= 0) & (b >= 0)).any()):
                msg = f"PowerLawTemporalModel of power {alpha} is not defined before t_ref"
                raise ModelError(msg)
            f[~after] = rest
            at_zero = (a == 0) & (b > 0)
            log = np.log(np.where(at_zero, b, 1.0))
            by_alpha[~after] = np.where(at_zero, rest * (log - 1 / (power or 1.0)), 0.0)
        first, last = self.evaluate(start, *values), self.evaluate(stop, *values)
        return f, np.stack([by_alpha, first - last, -alpha / t0 * f])


@register
class SineTemporalModel(TemporalModel):
    """A modulation, 1 + amp sin(omega (t - t_ref))."""

    tag = ("SineTemporalModel", "sinus")
    defaults = (ParameterDefault("amp", 1.0), ParameterDefault("omega", 1.0, "rad d-1"), _FREE)
    amp: Parameter
    omega: Parameter
    t_ref: Parameter

    def evaluate(self, time: Array, *values: float) -> Array:
        """Norm at times (days)."""
        amp, omega, t_ref = values
        return np.asarray(1.0 + amp * np.sin(omega * (time - t_ref)))

    def bins(self, start: Array, stop: Array, *values: float) -> Array:
        """Integral [N] over intervals (days)."""
        amp, omega, t_ref = values
        length, middle = stop - start, 0.5 * (start + stop) - t_ref
        half = np.sinc(omega * length / (2 * np.pi))
        return np.asarray(length * (1 + amp * np.sin(omega * middle) * half))

    def bins_gradient(self, start: Array, stop: Array, *values: float) -> tuple[Array, Array]:
        """Integral [N] over intervals (days) and its derivatives [3, N]."""
        amp, omega, t_ref = values
        length, middle = stop - start, 0.5 * (start + stop) - t_ref
        h = 0.5 * omega * length
        half, small = np.sinc(h / np.pi), np.abs(h) < 1e-2
        z = np.where(small, 1.0, h)
        slope = np.where(small, -h / 3 + h**3 / 30 - h**5 / 840, (np.cos(z) - np.sin(z) / z) / z)
        sine, cosine = np.sin(omega * middle), np.cos(omega * middle)
        by_omega = amp * length * (middle * cosine * half + sine * slope * 0.5 * length)
        return self.bins(start, stop, *values), np.stack(
            [length * sine * half, by_omega, -amp * omega * length * cosine * half]
        )
