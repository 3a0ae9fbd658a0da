"""Spectral models.

The array functions take energies in TeV and scalar parameters in the model's internal units
(TeV, cm, s) and return dnde in cm-2 s-1 TeV-1 (norm models: numbers). Called with a Quantity a
model returns one.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from gmdask.models.base import ModelBase
from gmdask.models.derivatives import natural_scales, second_derivatives
from gmdask.models.energy_grid import EnergyGrid, phi, psi
from gmdask.models.parameter import Parameter, ParameterDefault
from gmdask.models.registry import register

__all__ = [
    "LogParabolaSpectralModel",
    "PowerLawNormSpectralModel",
    "PowerLawSpectralModel",
    "SpectralModel",
]

Array = NDArray[np.float64]

_AMPLITUDE = ParameterDefault("amplitude", 1e-12, "cm-2 s-1 TeV-1", interp="log")


class SpectralModel(ModelBase):
    """Base of spectral models; a new one needs `evaluate` and `gradient` only.

    ``linear`` names the parameter that only multiplies. Integrals are taken with 1 in its
    place, so that they and their derivatives hold for zero and negative amplitudes too.
    """

    kind = "spectral"
    is_norm: ClassVar[bool] = False
    linear: ClassVar[str | None] = None

    # --- arrays -----------------------------------------------------------------

    def evaluate(self, energy: Array, *values: float) -> Array:
        """Differential flux at energies (TeV), in cm-2 s-1 TeV-1, or a norm."""
        raise NotImplementedError

    def gradient(self, energy: Array, *values: float) -> tuple[Array, Array]:
        """Differential flux [...] and its derivatives [P, ...] by the parameters."""
        raise NotImplementedError

    def hessian(self, energy: Array, *values: float) -> Array:
        """Second derivatives [P, P, ...] of the differential flux by the parameters."""
        at = np.array(values, dtype=float)
        scales = natural_scales(*self.gradient(energy, *values), at)
        return second_derivatives(lambda v: self.gradient(energy, *v)[1], at, scales)

    def _bins(self, grid: EnergyGrid, values: Array) -> Array:
        with np.errstate(over="ignore", under="ignore"):
            return grid.integrate(self.evaluate(grid.nodes, *values.tolist()))

    def _bins_gradient(self, grid: EnergyGrid, values: Array) -> tuple[Array, Array]:
        with np.errstate(over="ignore", under="ignore"):
            y, dy = self.gradient(grid.nodes, *values.tolist())
            weights = grid.weights(y)
            return (weights * y).sum(axis=1), (dy * weights).sum(axis=2)

    def _unit_values(self, values: Array) -> tuple[int | None, float, Array]:
        """Position and value of the linear parameter, and values with 1 in its place."""
        if self.linear is None:
            return None, 1.0, values
        k = self.parameter_names.index(self.linear)
        unit = np.array(values, dtype=float)
        amplitude, unit[k] = float(unit[k]), 1.0
        return k, amplitude, unit

    def integral_bins(self, grid: EnergyGrid, values: Array) -> Array:
        """Integral over each energy bin.

        Parameters
        ----------
        grid : EnergyGrid
            T bins.
        values : ndarray [P]
            Parameters in internal units.

        Returns
        -------
        ndarray [T]
            In cm-2 s-1 (norm models: TeV).
        """
        _, amplitude, unit = self._unit_values(values)
        return amplitude * self._bins(grid, unit)

    def integral_bins_gradient(self, grid: EnergyGrid, values: Array) -> tuple[Array, Array]:
        """Integral over each energy bin and its derivatives.

        Parameters
        ----------
        grid : EnergyGrid
            T bins.
        values : ndarray [P]
            Parameters in internal units.

        Returns
        -------
        f : ndarray [T]
            As `integral_bins`.
        df : ndarray [P, T]
            Exact derivatives of ``f`` by all parameters, frozen ones included.
        """
        k, amplitude, unit = self._unit_values(values)
        f, df = self._bins_gradient(grid, unit)
        df = amplitude * df
        if k is not None:
            df[k] = f
        return amplitude * f, df

    def integral_bins_hessian(self, grid: EnergyGrid, values: Array) -> Array:
        """Second derivatives of the integral over each bin.

        Parameters
        ----------
        grid : EnergyGrid
            T bins.
        values : ndarray [P]
            Parameters in internal units.

        Returns
        -------
        ndarray [P, P, T]
            Symmetric, good to about 1e-8 of the largest element of each [p, q].
        """
        k, amplitude, unit = self._unit_values(values)
        f, df = self._bins_gradient(grid, unit)
        others = np.array([p for p in range(len(unit)) if p != k], dtype=int)
        hessian = np.zeros((len(unit), len(unit), len(f)))

        def gradient(part: Array) -> Array:
            full = unit.copy()
            full[others] = part
            return np.asarray(self._bins_gradient(grid, full)[1][others])

        scales = natural_scales(f, df[others], unit[others])
        second = second_derivatives(gradient, unit[others], scales)
        hessian[np.ix_(others, others)] = amplitude * second
        if k is not None:
            hessian[k, others] = hessian[others, k] = df[others]
        return hessian

    # --- quantities ---------------------------------------------------------------

    @property
    def output_unit(self) -> u.UnitBase:
        """Unit of the value of the model."""
        return u.dimensionless_unscaled if self.is_norm else u.Unit("cm-2 s-1 TeV-1")

    def __call__(self, energy: u.Quantity) -> u.Quantity:
        """Value at energies."""
        values = self.internal_values.tolist()
        y = self.evaluate(np.asarray(u.Quantity(energy).to_value("TeV"), dtype=float), *values)
        return u.Quantity(y, self.output_unit)

    def integral(self, energy_min: u.Quantity, energy_max: u.Quantity) -> u.Quantity:
        """Integral between energies, by the rule that a fit uses for one such bin.

        Parameters
        ----------
        energy_min, energy_max : Quantity
            Limits, of the same shape.

        Returns
        -------
        Quantity
            In cm-2 s-1 (norm models: TeV).
        """
        low = np.asarray(u.Quantity(energy_min).to_value("TeV"), dtype=float)
        high = np.asarray(u.Quantity(energy_max).to_value("TeV"), dtype=float)
        low, high = np.broadcast_arrays(low, high)
        grid = EnergyGrid.from_bounds(low.ravel(), high.ravel())
        flux = self.integral_bins(grid, self.internal_values).reshape(low.shape)
        return u.Quantity(flux, self.output_unit * u.TeV)


class _PowerLaw(SpectralModel):
    """Power law y = A (E / E0)^-γ; the subclasses differ in names and order."""

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
        ParameterDefault("reference", 1.0, "TeV", frozen=True),
    )
    _order = (0, 1, 2)
    index: Parameter
    amplitude: Parameter
    reference: Parameter


@register
class PowerLawNormSpectralModel(_PowerLaw):
    """Power law without unit, norm (E / reference)^-tilt: it multiplies something else."""

    tag = ("PowerLawNormSpectralModel", "pl-norm")
    is_norm = True
    linear = "norm"
    defaults = (
        ParameterDefault("tilt", 0.0, frozen=True),
        ParameterDefault("norm", 1.0, interp="log"),
        ParameterDefault("reference", 1.0, "TeV", frozen=True),
    )
    _order = (0, 1, 2)
    tilt: Parameter
    norm: Parameter
    reference: Parameter


@register
class LogParabolaSpectralModel(SpectralModel):
    """Log parabola, dnde = amplitude x^-(alpha + beta ln x), x = E / reference."""

    tag = ("LogParabolaSpectralModel", "lp")
    linear = "amplitude"
    defaults = (
        _AMPLITUDE,
        ParameterDefault("reference", 10.0, "TeV", frozen=True),
        ParameterDefault("alpha", 2.0),
        ParameterDefault("beta", 1.0),
    )
    amplitude: Parameter
    reference: Parameter
    alpha: Parameter
    beta: Parameter

    def evaluate(self, energy: Array, *values: float) -> Array:
        """Differential flux at energies (TeV), in cm-2 s-1 TeV-1."""
        amplitude, reference, alpha, beta = values
        log = np.log(energy / reference)
        return np.asarray(amplitude * np.exp(-log * (alpha + beta * log)))

    def gradient(self, energy: Array, *values: float) -> tuple[Array, Array]:
        """Differential flux [...] at energies (TeV) and its derivatives [4, ...]."""
        amplitude, reference, alpha, beta = values
        log = np.log(energy / reference)
        shape = np.exp(-log * (alpha + beta * log))
        y = amplitude * shape
        dy = np.empty((4, *y.shape))
        dy[0] = shape
        dy[1] = (alpha + 2 * beta * log) / reference * y
        dy[2] = -log * y
        dy[3] = log * dy[2]
        return y, dy
