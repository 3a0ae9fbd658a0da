"""The base of spectral models.

The array functions take energies in TeV and scalar parameters in the model's internal units
(TeV, cm, s) and return dnde in cm-2 s-1 TeV-1 (norm models: numbers). Called with a Quantity a
model returns one.
"""

from __future__ import annotations

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from gmdask.errors import ModelError
from gmdask.models.base import ModelBase
from gmdask.models.checks import check_array, check_parameters
from gmdask.models.derivatives import (
    estimated_scales,
    first_derivatives,
    natural_scales,
    second_derivatives,
)
from gmdask.models.energy_grid import EnergyGrid

__all__ = ["SpectralModel"]

Array = NDArray[np.float64]


class SpectralModel(ModelBase):
    """Base of spectral models; a new one needs `evaluate` only.

    ``linear`` names the parameter that only multiplies. Integrals are taken with 1 in its
    place, so that they and their derivatives hold for zero and negative amplitudes too.

    A subclass without `gradient` gets one from differences of `evaluate`, good to about 1e-9
    of its maximum, and Hessians from differences of the gradient.
    """

    kind = "spectral"
    is_norm: bool = False
    linear: str | None = None

    # --- arrays -----------------------------------------------------------------

    def evaluate(self, energy: Array, *values: float) -> Array:
        """Differential flux at energies (TeV), in cm-2 s-1 TeV-1, or a norm."""
        raise NotImplementedError

    def gradient(self, energy: Array, *values: float) -> tuple[Array, Array]:
        """Differential flux [...] and its derivatives [P, ...] by the parameters.

        Fourth-order central differences, unless the class has them analytically.
        """
        y = np.asarray(self.evaluate(energy, *values))
        at = np.array(values, dtype=float)
        no_limit = np.full(len(at), np.nan)
        usual = np.array([abs(default.value) for default in self.defaults], dtype=float)

        def function(v: Array) -> Array:
            return np.asarray(self.evaluate(energy, *v.tolist()))

        scales = 0.3 * estimated_scales(function, at, y, usual)  # a cutoff is steeper than all
        return y, first_derivatives(function, at, scales, no_limit, no_limit)

    def hessian(self, energy: Array, *values: float) -> Array:
        """Second derivatives [P, P, ...] of the differential flux by the parameters.

        Differences of the gradient, unless the class has them analytically.
        """
        at = np.array(values, dtype=float)
        scales = self._scales(*self.gradient(energy, *values), at)
        return second_derivatives(lambda v: self.gradient(energy, *v)[1], at, scales)

    def _scales(self, y: Array, dy: Array, values: Array) -> Array:
        """Scales [P] for differences; one that has a unit is not stepped over by far."""
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

        scales = self._scales(f, df, unit)[others]
        second = second_derivatives(gradient, unit[others], scales)
        hessian[np.ix_(others, others)] = amplitude * second
        if k is not None:
            hessian[k, others] = hessian[others, k] = df[others]
        return hessian

    def check(self, energy: Array | None = None) -> None:
        """Evaluate the model once, to tell a wrong class before it is used.

        Parameters
        ----------
        energy : ndarray, optional
            Energies in TeV; by default a few between 0.5 and 2 TeV.

        Raises
        ------
        ModelError
            Naming the class, if there are no parameters or the value is not a finite plain
            array of the shape of the energies.
        """
        energy = np.geomspace(0.5, 2.0, 6).reshape(2, 3) if energy is None else energy
        check_parameters(self)
        for index, what in enumerate(("evaluate", "gradient")):
            shape = (len(self.parameter_names),) * index + energy.shape
            check_array(self, what, self._checked(what, energy), shape, self.output_unit)

    def _checked(self, what: str, energy: Array) -> object:
        values = self.internal_values.tolist()
        if what == "evaluate":
            return self.evaluate(energy, *values)
        return self.gradient(energy, *values)[1]

    # --- arithmetic -----------------------------------------------------------------

    def _combined(self, other: object, operator: str) -> SpectralModel:
        from gmdask.models.spectral_compound import combine

        return combine(self, other, operator)

    def __add__(self, other: object) -> SpectralModel:
        return self._combined(other, "add")

    __radd__ = __add__

    def __sub__(self, other: object) -> SpectralModel:
        return self._combined(other, "sub")

    def __mul__(self, other: object) -> SpectralModel:
        return self._combined(other, "mul")

    # --- quantities ---------------------------------------------------------------

    @property
    def output_unit(self) -> u.UnitBase:
        """Unit of the value of the model."""
        if self.is_norm:
            return u.dimensionless_unscaled
        return u.Unit("TeV-1" if self.is_counts else "cm-2 s-1 TeV-1")

    @property
    def is_counts(self) -> bool:
        """Whether its amplitudes lack area and time: for a source without exposure.

        Raises
        ------
        ModelError
            If some of them do, and others do not.
        """
        pairs = zip(self.defaults, self.named_parameters(), strict=True)
        found = {default.counts(par) for default, (_, par) in pairs if default.is_flux}
        if len(found) > 1:
            message = f"{type(self).__name__}: some amplitudes are fluxes, others are not"
            raise ModelError(message)
        return found == {True}

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

    def energy_flux(self, energy_min: u.Quantity, energy_max: u.Quantity) -> u.Quantity:
        """Integral of energy times value between energies, by the rule of `integral`."""
        low, high = (
            np.atleast_1d(np.asarray(u.Quantity(e).to_value("TeV"), dtype=float))
            for e in (energy_min, energy_max)
        )
        grid = EnergyGrid.from_bounds(low.ravel(), high.ravel())
        y = self.evaluate(grid.nodes, *self.internal_values.tolist())
        shape = u.Quantity(energy_min).shape
        flux = grid.integrate(np.asarray(grid.nodes * y)).reshape(shape)
        return u.Quantity(flux, self.output_unit * u.TeV**2)
