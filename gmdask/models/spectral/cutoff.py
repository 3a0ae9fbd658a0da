"""Power laws with a break or a cutoff.

All have the form A exp(L): each class implements L and its derivatives.
"""

from __future__ import annotations

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from gmdask.models.parameter import Parameter
from gmdask.models.parameter_default import ParameterDefault
from gmdask.models.registry import register
from gmdask.models.spectral.base import LEAST_ENERGY, SpectralModel
from gmdask.models.spectral.energy_grid import phi, psi

__all__ = [
    "BrokenPowerLawSpectralModel",
    "ExpCutoffPowerLaw3FGLSpectralModel",
    "ExpCutoffPowerLawNormSpectralModel",
    "ExpCutoffPowerLawSpectralModel",
    "SmoothBrokenPowerLawSpectralModel",
    "SuperExpCutoffPowerLaw3FGLSpectralModel",
    "SuperExpCutoffPowerLaw4FGLDR3SpectralModel",
    "SuperExpCutoffPowerLaw4FGLSpectralModel",
]

Array = NDArray[np.float64]

_AMPLITUDE = ParameterDefault("amplitude", 1e-12, "cm-2 s-1 TeV-1", interp="log")
_REFERENCE = ParameterDefault("reference", 1.0, "TeV", frozen=True, least=LEAST_ENERGY)
_CUTOFF = (ParameterDefault("lambda_", 0.1, "TeV-1"), ParameterDefault("alpha", 1.0, frozen=True))
_ECUT = ParameterDefault("ecut", 10.0, "TeV")
_INDICES = (ParameterDefault("index_1", 1.5), ParameterDefault("index_2", 2.0))
_MEV = 1e6  # per TeV


class _Exponential(SpectralModel):
    """Base class of y = A exp(L(E)); Hessians are finite differences of the analytic gradient."""

    def _log(self, energy: Array, values: tuple[float, ...]) -> Array:
        """L at energies (TeV)."""
        return self._log_gradient(energy, values)[0]

    def _log_gradient(self, energy: Array, values: tuple[float, ...]) -> tuple[Array, Array]:
        """L [...] at energies (TeV) and its derivatives [P, ...]; the one for A is not set."""
        raise NotImplementedError

    def evaluate(self, energy: Array, *values: float) -> Array:
        """Value at energies (TeV)."""
        amplitude = values[self.parameter_names.index(self.linear or "")]
        return np.asarray(amplitude * np.exp(self._log(energy, values)))

    def gradient(self, energy: Array, *values: float) -> tuple[Array, Array]:
        """Value [...] at energies (TeV) and its derivatives [P, ...]."""
        k = self.parameter_names.index(self.linear or "")
        log, dy = self._log_gradient(energy, values)
        shape = np.exp(log)
        y = values[k] * shape
        dy *= y
        dy[k] = shape
        return y, dy


class _ExpCutoff(_Exponential):
    def _log(self, energy: Array, values: tuple[float, ...]) -> Array:
        index, _, reference, lambda_, alpha = values
        return np.asarray(-index * np.log(energy / reference) - np.power(energy * lambda_, alpha))

    def _log_gradient(self, energy: Array, values: tuple[float, ...]) -> tuple[Array, Array]:
        index, _, reference, lambda_, alpha = values
        log = np.log(energy / reference)
        x = energy * lambda_
        power = np.power(x, alpha)
        d = np.zeros((5, *energy.shape))
        d[0], d[2] = -log, index / reference
        if lambda_ != 0:
            d[3] = -alpha * power / lambda_
        elif alpha == 1:
            d[3] = -energy
        if lambda_ > 0:
            d[4] = -power * np.log(x)
        return -index * log - power, d


@register
class ExpCutoffPowerLawSpectralModel(_ExpCutoff):
    """Power law with cutoff, amplitude (E / reference)^-index exp(-(lambda_ E)^alpha)."""

    tag = ("ExpCutoffPowerLawSpectralModel", "ecpl")
    linear = "amplitude"
    defaults = (ParameterDefault("index", 1.5), _AMPLITUDE, _REFERENCE, *_CUTOFF)
    index: Parameter
    amplitude: Parameter
    reference: Parameter
    lambda_: Parameter
    alpha: Parameter

    @property
    def e_peak(self) -> u.Quantity:
        """Energy in TeV at which E² dnde is largest, NaN if there is none."""
        index, _, _, lambda_, alpha = self.internal_values.tolist()
        excess = (2 - index) / alpha if alpha else -1.0
        has_peak = excess > 0 and lambda_ > 0 and alpha > 0
        return u.Quantity(excess ** (1 / alpha) / lambda_ if has_peak else np.nan, "TeV")


@register
class ExpCutoffPowerLawNormSpectralModel(_ExpCutoff):
    """Dimensionless cutoff, norm (E / reference)^-index exp(-(lambda_ E)^alpha)."""

    tag = ("ExpCutoffPowerLawNormSpectralModel", "ecpl-norm")
    is_norm = True
    linear = "norm"
    defaults = (
        ParameterDefault("index", 0.0),
        ParameterDefault("norm", 1.0, interp="log"),
        _REFERENCE,
        *_CUTOFF,
    )
    index: Parameter
    norm: Parameter
    reference: Parameter
    lambda_: Parameter
    alpha: Parameter


@register
class ExpCutoffPowerLaw3FGLSpectralModel(_Exponential):
    """Power law with cutoff, amplitude (E / reference)^-index exp((reference - E) / ecut)."""

    tag = ("ExpCutoffPowerLaw3FGLSpectralModel", "ecpl-3fgl")
    linear = "amplitude"
    defaults = (ParameterDefault("index", 1.5), _AMPLITUDE, _REFERENCE, _ECUT)
    index: Parameter
    amplitude: Parameter
    reference: Parameter
    ecut: Parameter

    def _log_gradient(self, energy: Array, values: tuple[float, ...]) -> tuple[Array, Array]:
        index, _, reference, ecut = values
        log = np.log(energy / reference)
        x = (reference - energy) / ecut
        d = np.zeros((4, *energy.shape))
        d[0], d[2], d[3] = -log, index / reference + 1 / ecut, -x / ecut
        return -index * log + x, d


@register
class SuperExpCutoffPowerLaw3FGLSpectralModel(_Exponential):
    """Cutoff of the 3FGL, exp((reference / ecut)^index_2 - (E / ecut)^index_2), on a power law."""

    tag = ("SuperExpCutoffPowerLaw3FGLSpectralModel", "secpl-3fgl")
    linear = "amplitude"
    defaults = (_AMPLITUDE, _REFERENCE, _ECUT, *_INDICES)
    amplitude: Parameter
    reference: Parameter
    ecut: Parameter
    index_1: Parameter
    index_2: Parameter

    def _log_gradient(self, energy: Array, values: tuple[float, ...]) -> tuple[Array, Array]:
        _, reference, ecut, index, second = values
        log = np.log(energy / reference)
        at, zero = np.power(energy / ecut, second), (reference / ecut) ** second
        d = np.zeros((5, *energy.shape))
        d[1] = (index + second * zero) / reference
        d[2] = second / ecut * (at - zero)
        d[3] = -log
        d[4] = zero * np.log(reference / ecut) - at * np.log(energy / ecut)
        return -index * log + zero - at, d


@register
class SuperExpCutoffPowerLaw4FGLSpectralModel(_Exponential):
    """Cutoff of the 4FGL, exp(expfactor (reference^index_2 - E^index_2)), with energies in MeV."""

    tag = ("SuperExpCutoffPowerLaw4FGLSpectralModel", "secpl-4fgl")
    linear = "amplitude"
    defaults = (_AMPLITUDE, _REFERENCE, ParameterDefault("expfactor", 1e-14), *_INDICES)
    amplitude: Parameter
    reference: Parameter
    expfactor: Parameter
    index_1: Parameter
    index_2: Parameter

    def _log_gradient(self, energy: Array, values: tuple[float, ...]) -> tuple[Array, Array]:
        _, reference, factor, index, second = values
        log = np.log(energy / reference)
        at, zero = np.power(energy * _MEV, second), (reference * _MEV) ** second
        d = np.zeros((5, *energy.shape))
        d[1] = (index + factor * second * zero) / reference
        d[2] = zero - at
        d[3] = -log
        d[4] = factor * (zero * np.log(reference * _MEV) - at * np.log(energy * _MEV))
        return -index * log + factor * (zero - at), d


@register
class SuperExpCutoffPowerLaw4FGLDR3SpectralModel(_Exponential):
    """Cutoff of the 4FGL-DR3.

    With l = ln(E / reference), b = index_2, a = expfactor,
    L = -index_1 l + a l / b + a (1 - e^(b l)) / b², which is -index_1 l - a l² ψ(b l) with the
    ψ of `energy_grid`, without the cancellation at small b l.
    """

    tag = ("SuperExpCutoffPowerLaw4FGLDR3SpectralModel", "secpl-4fgl-dr3")
    linear = "amplitude"
    defaults = (_AMPLITUDE, _REFERENCE, ParameterDefault("expfactor", 1e-2), *_INDICES)
    amplitude: Parameter
    reference: Parameter
    expfactor: Parameter
    index_1: Parameter
    index_2: Parameter

    @property
    def e_peak(self) -> u.Quantity:
        """Energy in TeV at which E² dnde is largest, NaN if there is none."""
        _, reference, factor, index, second = self.internal_values.tolist()
        x = second * (2 - index) / factor if factor > 0 else -1.0
        if x <= -1:
            return u.Quantity(np.nan, "TeV")
        log = np.log1p(x) / second if second else (2 - index) / factor
        return u.Quantity(reference * np.exp(log), "TeV")

    def _log(self, energy: Array, values: tuple[float, ...]) -> Array:
        _, reference, factor, index, second = values
        log = np.log(np.asarray(energy) / reference)
        return np.asarray(-index * log - factor * log**2 * psi(second * log))

    def _log_gradient(self, energy: Array, values: tuple[float, ...]) -> tuple[Array, Array]:
        _, reference, factor, index, second = values
        log = np.log(np.asarray(energy) / reference)
        x = second * log
        curved = log**2 * psi(x)
        d = np.zeros((5, *log.shape))
        d[1] = (index + factor * log * phi(x)) / reference
        d[2] = -curved
        d[3] = -log
        d[4] = -factor * log**3 * _psi_slope(x)
        return -index * log - factor * curved, d


def _psi_slope(x: Array) -> Array:
    """Derivative of ψ(x) = (e^x - 1 - x) / x²."""
    small = np.abs(x) < 0.5
    s = np.where(small, x, 0.0)
    series = np.zeros_like(s)
    factorial = 14.0 * 13 * 12 * 11 * 10 * 9 * 8 * 7 * 6 * 5 * 4 * 3 * 2
    for n in range(12, 0, -1):
        series = series * s + n / factorial
        factorial /= n + 2
    z = np.where(small, 1.0, x)
    return np.where(small, series, (np.exp(z) * (z - 2) + z + 2) / z**3)


@register
class BrokenPowerLawSpectralModel(_Exponential):
    """Broken power law, amplitude (E / ebreak)^-index1 below ebreak and with index2 above."""

    tag = ("BrokenPowerLawSpectralModel", "bpl")
    linear = "amplitude"
    defaults = (
        ParameterDefault("index1", 2.0),
        ParameterDefault("index2", 2.0),
        _AMPLITUDE,
        ParameterDefault("ebreak", 1.0, "TeV", least=LEAST_ENERGY),
    )
    index1: Parameter
    index2: Parameter
    amplitude: Parameter
    ebreak: Parameter

    def _log(self, energy: Array, values: tuple[float, ...]) -> Array:
        first, second, _, ebreak = values
        return np.asarray(np.where(energy < ebreak, -first, -second) * np.log(energy / ebreak))

    def _log_gradient(self, energy: Array, values: tuple[float, ...]) -> tuple[Array, Array]:
        first, second, _, ebreak = values
        below, log = energy < ebreak, np.log(energy / ebreak)
        slope = np.where(below, first, second)
        d = np.zeros((4, *log.shape))
        d[0], d[1], d[3] = np.where(below, -log, 0.0), np.where(below, 0.0, -log), slope / ebreak
        return -slope * log, d


@register
class SmoothBrokenPowerLawSpectralModel(_Exponential):
    """Smoothly broken power law.

    With σ = sign(index2 - index1),
    amplitude (E / reference)^-index1 (1 + (E / ebreak)^(|index2 - index1| / beta))^(-σ beta).
    """

    tag = ("SmoothBrokenPowerLawSpectralModel", "sbpl")
    linear = "amplitude"
    defaults = (
        ParameterDefault("index1", 2.0),
        ParameterDefault("index2", 2.0),
        _AMPLITUDE,
        ParameterDefault("ebreak", 1.0, "TeV", least=LEAST_ENERGY),
        _REFERENCE,
        ParameterDefault("beta", 1.0, frozen=True),
    )
    index1: Parameter
    index2: Parameter
    amplitude: Parameter
    ebreak: Parameter
    reference: Parameter
    beta: Parameter

    def _log(self, energy: Array, values: tuple[float, ...]) -> Array:
        first, second, _, ebreak, reference, beta = values
        z = abs(second - first) / beta * np.log(energy / ebreak)
        bent = beta * np.sign(second - first) * np.logaddexp(0.0, z)
        return np.asarray(-first * np.log(energy / reference) - bent)

    def _log_gradient(self, energy: Array, values: tuple[float, ...]) -> tuple[Array, Array]:
        first, second, _, ebreak, reference, beta = values
        log, sign = np.log(energy / reference), np.sign(second - first)
        bent = np.log(energy / ebreak)
        z = abs(second - first) / beta * bent
        soft = np.logaddexp(0.0, z)
        above = np.exp(z - soft)
        d = np.zeros((6, *log.shape))
        d[0], d[1] = -log + sign**2 * above * bent, -(sign**2) * above * bent
        d[3], d[4] = (second - first) * above / ebreak, first / reference
        far = np.exp(-np.abs(z))  # soft - above z, without its cancellation far from the break
        d[5] = -sign * (np.log1p(far) + np.abs(z) * far / (1 + far))
        return -first * log - beta * sign * soft, d
