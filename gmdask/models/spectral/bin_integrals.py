"""Array functions of spectra that a fit uses: values, integrals over bins, and their derivatives.

The array functions take energies in TeV and scalar parameters in the model's internal units
(TeV, cm, s) and return dnde in cm-2 s-1 TeV-1 (norm models: numbers).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gmdask.models.base import ModelBase
from gmdask.models.derivatives import (
    estimated_scales,
    first_derivatives,
    natural_scales,
    second_derivatives,
)
from gmdask.models.spectral.energy_grid import EnergyGrid

__all__ = ["SpectralArrays"]

Array = NDArray[np.float64]


class SpectralArrays(ModelBase):
    """Array functions of spectral models; the base class of `SpectralModel`."""

    linear: str | None = None

    # --- arrays -----------------------------------------------------------------

    def evaluate(self, energy: Array, *values: float) -> Array:
        """Differential flux at energies (TeV), in cm-2 s-1 TeV-1, or a dimensionless norm."""
        raise NotImplementedError

    def gradient(self, energy: Array, *values: float) -> tuple[Array, Array]:
        """Differential flux [...] and its derivatives [P, ...] with respect to the parameters.

        Fourth-order central differences, unless the class implements them analytically.
        """
        y = np.asarray(self.evaluate(energy, *values))
        at = np.array(values, dtype=float)
        no_limit = np.full(len(at), np.nan)
        usual = np.array([abs(default.value) for default in self.defaults], dtype=float)

        def function(v: Array) -> Array:
            return np.asarray(self.evaluate(energy, *v.tolist()))

        scales = 0.3 * estimated_scales(
            function, at, y, usual
        )  # steps that are small enough for a cutoff
        return y, first_derivatives(function, at, scales, no_limit, no_limit)

    def hessian(self, energy: Array, *values: float) -> Array:
        """Second derivatives [P, P, ...] of the differential flux by the parameters.

        Differences of the gradient, unless the class implements them analytically.
        """
        at = np.array(values, dtype=float)
        scales = self._scales(*self.gradient(energy, *values), at)
        return second_derivatives(lambda v: self.gradient(energy, *v)[1], at, scales)

    def _scales(self, y: Array, dy: Array, values: Array) -> Array:
        """Return scales [P] for finite differences; for parameters with a unit they are limited."""
        has_unit = np.array([bool(unit) for unit in self.internal_units], dtype=bool)
        cap = np.where(has_unit & (values != 0), np.abs(values), np.inf)
        return np.asarray(np.minimum(natural_scales(y, dy, values), cap))

    def _bins(self, grid: EnergyGrid, values: Array) -> Array:
        with np.errstate(over="ignore", under="ignore"):
            return grid.integrate(self.evaluate(grid.nodes, *values.tolist()))

    def _bins_gradient(self, grid: EnergyGrid, values: Array) -> tuple[Array, Array]:
        with np.errstate(over="ignore", under="ignore"):
            y, dy = self.gradient(grid.nodes, *values.tolist())
            weights = grid.weights(y)
            return (weights * y).sum(axis=1), (dy * weights).sum(axis=2)

    def _unit_values(self, values: Array) -> tuple[int | None, float, Array]:
        """Return position and value of the linear parameter, and the values with 1 in its place."""
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
        try:
            return amplitude * self._bins(grid, unit)
        except ArithmeticError:
            return np.full(len(grid.low), np.nan)

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
            Exact derivatives of ``f`` with respect to all parameters, frozen ones included.
        """
        k, amplitude, unit = self._unit_values(values)
        f, df = self._gradient_or_nan(grid, unit)
        df = amplitude * df
        if k is not None:
            df[k] = f
        return amplitude * f, df

    def _gradient_or_nan(self, grid: EnergyGrid, unit: Array) -> tuple[Array, Array]:
        """Return integrals and derivatives, NaN where Python numbers are divided by zero or overflow."""
        try:
            return self._bins_gradient(grid, unit)
        except ArithmeticError:
            size = len(grid.low)
            return np.full(size, np.nan), np.full((len(unit), size), np.nan)

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
            Symmetric, accurate to about 1e-8 of the largest element of each [p, q].
        """
        k, amplitude, unit = self._unit_values(values)
        f, df = self._gradient_or_nan(grid, unit)
        others = np.array([p for p in range(len(unit)) if p != k], dtype=int)
        hessian = np.zeros((len(unit), len(unit), len(f)))

        def gradient(part: Array) -> Array:
            full = unit.copy()
            full[others] = part
            return np.asarray(self._gradient_or_nan(grid, full)[1][others])

        scales = self._scales(f, df, unit)[others]
        second = second_derivatives(gradient, unit[others], scales)
        hessian[np.ix_(others, others)] = amplitude * second
        if k is not None:
            hessian[k, others] = hessian[others, k] = df[others]
        return hessian
