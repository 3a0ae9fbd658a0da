"""Power laws and log parabolas.

The array functions take energies in TeV and scalar parameters in the model's internal units
(TeV, cm, s) and return dnde in cm-2 s-1 TeV-1 (norm models: numbers).
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Self

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from gmdask.models.parameter import Parameter
from gmdask.models.parameter_default import ParameterDefault
from gmdask.models.registry import register
from gmdask.models.spectral.base import LEAST_ENERGY, SpectralModel
from gmdask.models.spectral.energy_grid import EnergyGrid, phi, psi

__all__ = [
    "LogParabola2SpectralModel",
    "LogParabolaNormSpectralModel",
    "LogParabolaSpectralModel",
    "PowerLaw2SpectralModel",
    "PowerLawNormSpectralModel",
    "PowerLawSpectralModel",
    "SpectralModel",
]

Array = NDArray[np.float64]

_AMPLITUDE = ParameterDefault("amplitude", 1e-12, "cm-2 s-1 TeV-1", interp="log")


class _PowerLaw(SpectralModel):
    """Power law y = A (E / E0)^-γ; the subclasses differ in names and order of the parameters."""

    _order: ClassVar[tuple[int, int, int]]  # positions of γ, A, E0

    def evaluate(self, energy: Array, *values: float) -> Array:
        """Value at energies (TeV)."""
        index, amplitude, reference = (values[k] for k in self._order)
        return np.asarray(amplitude * np.power(energy / reference, -index))

    def gradient(self, energy: Array, *values: float) -> tuple[Array, Array]:
        """Value [...] at energies (TeV) and its derivatives [3, ...]."""
        index, amplitude, reference = (values[k] for k in self._order)
        i, a, r = self._order
        log = np.log(energy / reference)
        shape = np.exp(-index * log)
        y = amplitude * shape
        dy = np.empty((3, *y.shape))
        dy[i], dy[a], dy[r] = -log * y, shape, index / reference * y
        return y, dy

    def hessian(self, energy: Array, *values: float) -> Array:
        """Second derivatives [3, 3, ...] of the value at energies (TeV)."""
        index, _, reference = (values[k] for k in self._order)
        i, a, r = self._order
        y, dy = self.gradient(energy, *values)
        log, slope = np.log(energy / reference), index / reference
        h = np.zeros((3, 3, *y.shape))
        h[i, i] = log**2 * y
        h[i, a] = h[a, i] = -log * dy[a]
        h[a, r] = h[r, a] = slope * dy[a]
        h[i, r] = h[r, i] = (1 - index * log) / reference * y
        h[r, r] = slope * (index - 1) / reference * y
        return h

    @property
    def pivot_energy(self) -> u.Quantity:
        """Energy at which the relative error is smallest, analytically (Abdo et al. 2009)."""
        index, amplitude, reference = (self.parameter(self.parameter_names[k]) for k in self._order)
        with np.errstate(invalid="ignore", divide="ignore"):
            spread = np.divide(*self.covariance.matrix_of([index, amplitude])[0, ::-1])
        return reference.quantity * np.exp(spread / amplitude.value)

    def inverse(
        self,
        value: u.Quantity,
        energy_min: u.Quantity | None = None,  # noqa: ARG002
        energy_max: u.Quantity | None = None,  # noqa: ARG002
    ) -> u.Quantity:
        """Return the energy at which the power law has a value."""
        index, amplitude, reference = (self.parameter(self.parameter_names[k]) for k in self._order)
        ratio = (u.Quantity(value) / amplitude.quantity).to_value("")
        return reference.quantity * np.power(ratio, -1 / index.value)

    def _bins(self, grid: EnergyGrid, values: Array) -> Array:
        index, amplitude, reference = (float(values[k]) for k in self._order)
        low, width = grid.low, grid.log_width
        scale = amplitude * low * np.power(low / reference, -index)
        return np.asarray(scale * width * phi((1 - index) * width))

    def _bins_gradient(self, grid: EnergyGrid, values: Array) -> tuple[Array, Array]:
        index, amplitude, reference = (float(values[k]) for k in self._order)
        i, a, r = self._order
        low, width = grid.low, grid.log_width
        log = np.log(low / reference)
        x = (1 - index) * width
        mean, shape = phi(x), low * np.exp(-index * log) * width
        f = amplitude * shape * mean
        df = np.empty((3, len(f)))
        df[i] = -log * f - amplitude * shape * width * (mean - psi(x))
        df[a], df[r] = shape * mean, index / reference * f
        return f, df


@register
class PowerLawSpectralModel(_PowerLaw):
    """Power law, dnde = amplitude (E / reference)^-index."""

    tag = ("PowerLawSpectralModel", "pl")
    linear = "amplitude"
    defaults = (
        ParameterDefault("index", 2.0),
        _AMPLITUDE,
        ParameterDefault("reference", 1.0, "TeV", frozen=True, least=LEAST_ENERGY),
    )
    _order = (0, 1, 2)
    index: Parameter
    amplitude: Parameter
    reference: Parameter


@register
class PowerLawNormSpectralModel(_PowerLaw):
    """Dimensionless power law, norm (E / reference)^-tilt, to multiply another model."""

    tag = ("PowerLawNormSpectralModel", "pl-norm")
    is_norm = True
    linear = "norm"
    defaults = (
        ParameterDefault("tilt", 0.0, frozen=True),
        ParameterDefault("norm", 1.0, interp="log"),
        ParameterDefault("reference", 1.0, "TeV", frozen=True, least=LEAST_ENERGY),
    )
    _order = (0, 1, 2)
    tilt: Parameter
    norm: Parameter
    reference: Parameter


@register
class PowerLaw2SpectralModel(SpectralModel):
    """Power law with the integral between emin and emax as amplitude."""

    tag = ("PowerLaw2SpectralModel", "pl-2")
    linear = "amplitude"
    defaults = (
        ParameterDefault("amplitude", 1e-12, "cm-2 s-1", interp="log"),
        ParameterDefault("index", 2.0),
        ParameterDefault("emin", 0.1, "TeV", frozen=True, least=LEAST_ENERGY),
        ParameterDefault("emax", 100.0, "TeV", frozen=True, least=LEAST_ENERGY),
    )
    amplitude: Parameter
    index: Parameter
    emin: Parameter
    emax: Parameter

    @staticmethod
    def _total(index: float, emin: float, emax: float) -> tuple[float, Array]:
        """Integral of (E/emin)^-index between the limits, and the derivatives [3] of its logarithm."""
        width = np.log(emax / emin)
        x = np.array([(1 - index) * width])
        mean = float(phi(x)[0])
        total = emin * width * mean
        by_index = -width * (mean - float(psi(x)[0])) / mean
        by_emin = index / emin - 1 / total  # from emin^index, and from the lower limit
        by_emax = (emax / emin) ** -index / total
        return total, np.array([by_index, by_emin, by_emax])

    def evaluate(self, energy: Array, *values: float) -> Array:
        """Differential flux at energies (TeV), in cm-2 s-1 TeV-1."""
        amplitude, index, emin, emax = values
        return np.asarray(
            amplitude / self._total(index, emin, emax)[0] * np.power(energy / emin, -index)
        )

    def gradient(self, energy: Array, *values: float) -> tuple[Array, Array]:
        """Differential flux [...] at energies (TeV) and its derivatives [4, ...]."""
        amplitude, index, emin, emax = values
        total, by = self._total(index, emin, emax)
        log = np.log(energy / emin)
        shape = np.exp(-index * log) / total
        y = amplitude * shape
        dy = np.empty((4, *y.shape))
        dy[0], dy[1] = shape, (-log - by[0]) * y
        dy[2], dy[3] = (index / emin - by[1]) * y, -by[2] * y
        return y, dy

    def inverse(
        self,
        value: u.Quantity,
        energy_min: u.Quantity | None = None,  # noqa: ARG002
        energy_max: u.Quantity | None = None,  # noqa: ARG002
    ) -> u.Quantity:
        """Return the energy at which the power law has a value."""
        at_emin = self(self.emin.quantity)
        ratio = (u.Quantity(value) / at_emin).to_value("")
        return self.emin.quantity * np.power(ratio, -1 / self.index.value)

    def _bins(self, grid: EnergyGrid, values: Array) -> Array:
        return self._bins_gradient(grid, values)[0]

    def _bins_gradient(self, grid: EnergyGrid, values: Array) -> tuple[Array, Array]:
        amplitude, index, emin, emax = values.tolist()
        total, by = self._total(index, emin, emax)
        log = np.log(grid.low / emin)
        width = grid.log_width
        x = (1 - index) * width
        mean, shape = phi(x), grid.low * np.exp(-index * log) * width / total
        f = amplitude * shape * mean
        df = np.empty((4, len(f)))
        df[0] = shape * mean
        df[1] = (-log - by[0]) * f - amplitude * shape * width * (mean - psi(x))
        df[2], df[3] = (index / emin - by[1]) * f, -by[2] * f
        return f, df


class _LogParabola(SpectralModel):
    """Log parabola y = A x^-(alpha + beta ln(E / scale)); scale is the reference by default."""

    @classmethod
    def from_log10(cls, *, beta: float, **parameters: Any) -> Self:
        """Model whose curvature is given for the decadic logarithm.

        Parameters
        ----------
        beta : float
            Curvature with log10; the model's is this over ln 10.
        **parameters
            As of the class.
        """
        return cls(beta=beta / math.log(10), **parameters)

    def _peak(self) -> u.Quantity:
        """Energy in TeV at which E² y is largest, NaN if there is none."""
        reference, alpha, beta = self.internal_values[1:4].tolist()
        scale = self.internal_values[4] if len(self.internal_values) == 5 else reference
        log = (2 - alpha) / (2 * beta) if beta > 0 else np.nan
        return u.Quantity(np.sqrt(reference * scale) * np.exp(log), "TeV")

    def evaluate(self, energy: Array, *values: float) -> Array:
        """Value at energies (TeV)."""
        amplitude, reference, alpha, beta = values[:4]
        log = np.log(energy / reference)
        second = log if len(values) == 4 else np.log(energy / values[4])
        return np.asarray(amplitude * np.exp(-log * (alpha + beta * second)))

    def gradient(self, energy: Array, *values: float) -> tuple[Array, Array]:
        """Value [...] at energies (TeV) and its derivatives [P, ...]."""
        amplitude, reference, alpha, beta = values[:4]
        log = np.log(energy / reference)
        second = log if len(values) == 4 else np.log(energy / values[4])
        shape = np.exp(-log * (alpha + beta * second))
        y = amplitude * shape
        dy = np.empty((len(values), *y.shape))
        dy[0] = shape
        dy[2] = -log * y
        dy[3] = second * dy[2]
        if len(values) == 4:
            dy[1] = (alpha + 2 * beta * log) / reference * y
        else:
            dy[1] = (alpha + beta * second) / reference * y
            dy[4] = beta * log / values[4] * y
        return y, dy


def _log_parabola(
    first: ParameterDefault, index: float, curvature: float
) -> tuple[ParameterDefault, ...]:
    return (
        first,
        ParameterDefault("reference", 10.0, "TeV", frozen=True, least=LEAST_ENERGY),
        ParameterDefault("alpha", index),
        ParameterDefault("beta", curvature),
    )


@register
class LogParabolaSpectralModel(_LogParabola):
    """Log parabola, dnde = amplitude x^-(alpha + beta ln x), x = E / reference."""

    tag = ("LogParabolaSpectralModel", "lp")
    linear = "amplitude"
    defaults = _log_parabola(_AMPLITUDE, 2.0, 1.0)
    amplitude: Parameter
    reference: Parameter
    alpha: Parameter
    beta: Parameter

    @property
    def e_peak(self) -> u.Quantity:
        """Energy in TeV at which E² dnde is largest, NaN if there is none."""
        return self._peak()


@register
class LogParabola2SpectralModel(_LogParabola):
    """Log parabola, dnde = amplitude (E / reference)^-(alpha + beta ln(E / escale))."""

    tag = ("LogParabola2SpectralModel", "lp2")
    linear = "amplitude"
    defaults = (
        *_log_parabola(_AMPLITUDE, 2.0, 1.0),
        ParameterDefault("escale", 1.0, "TeV", frozen=True, least=LEAST_ENERGY),
    )
    amplitude: Parameter
    reference: Parameter
    alpha: Parameter
    beta: Parameter
    escale: Parameter

    @property
    def e_peak(self) -> u.Quantity:
        """Energy in TeV at which E² dnde is largest, NaN if there is none.

        Gammapy's formula is valid only if ``escale`` equals ``reference``.
        """
        return self._peak()


@register
class LogParabolaNormSpectralModel(_LogParabola):
    """Dimensionless log parabola, norm x^-(alpha + beta ln x), x = E / reference."""

    tag = ("LogParabolaNormSpectralModel", "lp-norm")
    is_norm = True
    linear = "norm"
    defaults = _log_parabola(ParameterDefault("norm", 1.0, interp="log"), 0.0, 0.0)
    norm: Parameter
    reference: Parameter
    alpha: Parameter
    beta: Parameter
