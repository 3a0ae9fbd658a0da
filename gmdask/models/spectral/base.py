"""The base class of spectral models, with its public methods in quantities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from gmdask.drawing import draw
from gmdask.errors import ModelError
from gmdask.models.checks import check_array, check_parameters
from gmdask.models.parameter import Parameter
from gmdask.models.quantities import numbers_in
from gmdask.models.registry import get_class
from gmdask.models.spectral.bin_integrals import SpectralArrays
from gmdask.models.spectral.energy_grid import EnergyGrid
from gmdask.models.spectral.sampled_errors import roots_of, sampled_errors, sampled_pivot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["LEAST_ENERGY", "SpectralModel"]

LEAST_ENERGY = 1e-12  # TeV, at which a spectrum may be pinned

Array = NDArray[np.float64]


class SpectralModel(SpectralArrays):
    """Base class of spectral models; a new one needs only `evaluate`.

    ``linear`` names the parameter that is a mere factor. Integrals are computed with 1 in its
    place, so that they and their derivatives are valid for zero and negative amplitudes, too.

    A subclass without `gradient` gets one from finite differences of `evaluate`, accurate to about 1e-9
    of its maximum, and Hessians from differences of the gradient.
    """

    kind = "spectral"
    is_norm: bool = False

    @property
    def scales(self) -> list[Parameter]:
        """Parameters that only multiply the spectrum, or a part of it."""
        return [] if self.linear is None else [self.parameter(self.linear)]

    def check(self, energy: Array | None = None) -> None:
        """Evaluate the model once, to detect an invalid class before it is used.

        Parameters
        ----------
        energy : ndarray, optional
            Energies in TeV; by default a few between 0.5 and 2 TeV.

        Raises
        ------
        ModelError
            If there are no parameters, or the value is not a finite plain array of the shape of the
            energies; the message names the class.
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
        combined: SpectralModel = get_class("spectral", "compound").combined(self, other, operator)
        return combined

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
        """Whether its amplitudes lack area and time, as for a source without exposure.

        Raises
        ------
        ModelError
            If this is true of some amplitudes, but not of all.
        """
        pairs = zip(self.defaults, self.named_parameters(), strict=True)
        found = {default.counts(par) for default, (_, par) in pairs if default.is_flux}
        if len(found) > 1:
            msg = f"{type(self).__name__}: some amplitudes are fluxes, others are not"
            raise ModelError(msg)
        return found == {True}

    def __call__(self, energy: u.Quantity) -> u.Quantity:
        """Evaluate the model at energies."""
        values = self.internal_values.tolist()
        y = self.evaluate(numbers_in(energy, "TeV", "energy"), *values)
        return u.Quantity(y, self.output_unit)

    def integral(self, energy_min: u.Quantity, energy_max: u.Quantity) -> u.Quantity:
        """Integrate between energies, by the rule that a fit uses for such a bin.

        Parameters
        ----------
        energy_min, energy_max : Quantity
            Limits, of the same shape.

        Returns
        -------
        Quantity
            In cm-2 s-1 (norm models: TeV).
        """
        grid, shape = _bins_between(energy_min, energy_max)
        flux = self.integral_bins(grid, self.internal_values).reshape(shape)
        return u.Quantity(flux, self.output_unit * u.TeV)

    def energy_flux(self, energy_min: u.Quantity, energy_max: u.Quantity) -> u.Quantity:
        """Integrate energy times value between energies, by the rule of `integral`."""
        grid, shape = _bins_between(energy_min, energy_max)
        flux = self._energy_flux_bins(grid, self.internal_values).reshape(shape)
        return u.Quantity(flux, self.output_unit * u.TeV**2)

    def _energy_flux_bins(self, grid: EnergyGrid, values: Array) -> Array:
        return grid.integrate(np.asarray(grid.nodes * self.evaluate(grid.nodes, *values.tolist())))

    def spectral_index(self, energy: u.Quantity, epsilon: float = 1e-5) -> u.Quantity:
        """Return the index of the power law through the values at an energy and at (1 + epsilon) times it."""
        at = numbers_in(energy, "TeV", "energy")
        return u.Quantity(self._index_at(at, self.internal_values, epsilon))

    def _index_at(self, energy: Array, values: Array, epsilon: float = 1e-5) -> Array:
        y0, y1 = (self.evaluate(e, *values.tolist()) for e in (energy, energy * (1 + epsilon)))
        return np.asarray(np.log(y0 / y1) / np.log1p(epsilon))

    # --- errors: median, and one standard deviation downwards and upwards -------------

    def evaluate_error(
        self,
        energy: u.Quantity,
        n_samples: int = 3500,
        random_state: Any = 42,
        samples: Sequence[u.Quantity] | None = None,
    ) -> u.Quantity:
        """Evaluate the model at energies, with errors from samples of the parameters (Gammapy's numbers).

        Parameters
        ----------
        energy : Quantity [...]
            Energies.
        n_samples : int
            Number of samples of each parameter, drawn from `covariance`.
        random_state : int, RandomState or Generator
            Seed or generator.
        samples : list of Quantity, optional
            Samples of each parameter, used instead of drawing them.

        Returns
        -------
        Quantity [3, ...]
            Median, and one standard deviation downwards and upwards.
        """
        at = numbers_in(energy, "TeV", "energy")

        def function(values: Array) -> Array:
            return np.asarray(self.evaluate(at, *values.tolist()))

        found = sampled_errors(self, function, n_samples, random_state, samples)
        return u.Quantity(found, self.output_unit)

    def integral_error(
        self,
        energy_min: u.Quantity,
        energy_max: u.Quantity,
        n_samples: int = 3500,
        random_state: Any = 42,
        samples: Sequence[u.Quantity] | None = None,
    ) -> u.Quantity:
        """Return `integral` with errors [3, ...]; see `evaluate_error`."""
        grid, shape = _bins_between(energy_min, energy_max)

        def function(values: Array) -> Array:
            return self.integral_bins(grid, values).reshape(shape)

        found = sampled_errors(self, function, n_samples, random_state, samples)
        return u.Quantity(found, self.output_unit * u.TeV)

    def energy_flux_error(
        self,
        energy_min: u.Quantity,
        energy_max: u.Quantity,
        n_samples: int = 3500,
        random_state: Any = 42,
        samples: Sequence[u.Quantity] | None = None,
    ) -> u.Quantity:
        """Return `energy_flux` with errors [3, ...]; see `evaluate_error`."""
        grid, shape = _bins_between(energy_min, energy_max)

        def function(values: Array) -> Array:
            return self._energy_flux_bins(grid, values).reshape(shape)

        found = sampled_errors(self, function, n_samples, random_state, samples)
        return u.Quantity(found, self.output_unit * u.TeV**2)

    def spectral_index_error(
        self,
        energy: u.Quantity,
        n_samples: int = 3500,
        random_state: Any = 42,
        samples: Sequence[u.Quantity] | None = None,
    ) -> u.Quantity:
        """Return `spectral_index` with errors [3, ...]; see `evaluate_error`."""
        at = numbers_in(energy, "TeV", "energy")

        def function(values: Array) -> Array:
            return self._index_at(at, values)

        return u.Quantity(sampled_errors(self, function, n_samples, random_state, samples))

    # --- energies ---------------------------------------------------------------------

    @property
    def pivot_energy(self) -> u.Quantity:
        """Energy at which the relative error is smallest, NaN if there is none."""
        names = [name for name, _ in self.named_parameters() if name.endswith("reference")]
        reference = self.parameter(names[0]).quantity if names else u.Quantity(1, "TeV")
        return sampled_pivot(self, reference)

    def inverse(
        self,
        value: u.Quantity,
        energy_min: u.Quantity = u.Quantity(0.1, "TeV"),  # noqa: B008
        energy_max: u.Quantity = u.Quantity(100, "TeV"),  # noqa: B008
    ) -> u.Quantity:
        """Find the energy at which the spectrum has a value, in TeV; NaN if there is none.

        Parameters
        ----------
        value : Quantity
            Value.
        energy_min, energy_max : Quantity
            Range to search; not used if there is an analytic solution.
        """
        target = float(u.Quantity(value).to_value(self.output_unit))
        values = self.internal_values.tolist()

        def distance(
            energy: float,
        ) -> float:  # scaled to about one, for the tolerances of the search
            return float(self.evaluate(np.array(energy), *values) / target - 1)

        limits = (float(numbers_in(e, "TeV", "energy")) for e in (energy_min, energy_max))
        return u.Quantity(roots_of(distance, *limits), "TeV")

    def inverse_all(
        self,
        values: u.Quantity,
        energy_min: u.Quantity = u.Quantity(0.1, "TeV"),  # noqa: B008
        energy_max: u.Quantity = u.Quantity(100, "TeV"),  # noqa: B008
    ) -> list[u.Quantity]:
        """Return `inverse` for each of several values."""
        return [self.inverse(value, energy_min, energy_max) for value in np.atleast_1d(values)]

    def reference_fluxes(self, energy_axis: Any) -> dict[str, u.Quantity]:
        """Return energies and fluxes in the bins of an axis, under the names used by flux points.

        Parameters
        ----------
        energy_axis : Axis or MapAxis
            Energy axis, of gmdask or of Gammapy.
        """
        center, edges = (
            u.Quantity(e, energy_axis.unit) for e in (energy_axis.center, energy_axis.edges)
        )
        low, high = edges[:-1], edges[1:]
        return {
            "e_ref": center, "e_min": low, "e_max": high,
            "ref_dnde": self(center), "ref_flux": self.integral(low, high),
            "ref_eflux": self.energy_flux(low, high), "ref_e2dnde": self(center) * center**2,
        }  # fmt: skip

    # --- figures ----------------------------------------------------------------------

    def plot(
        self, energy_bounds: Any, ax: Axes | None = None, sed_type: str = "dnde", **kwargs: Any
    ) -> Axes:
        """Draw the spectrum; see `gmdask.plot.plot_spectral_model`.

        Parameters
        ----------
        energy_bounds : Quantity
            Lowest and highest energy.
        ax : `matplotlib.axes.Axes`, optional
        sed_type : {"dnde", "e2dnde"}
        **kwargs
            energy_power, label, and options of matplotlib's ``plot``, such as color.
        """
        axes: Axes = draw(
            "plot_spectral_model", self, energy_bounds, ax, sed_type=sed_type, **kwargs
        )
        return axes

    def plot_error(
        self, energy_bounds: Any, ax: Axes | None = None, sed_type: str = "dnde", **kwargs: Any
    ) -> Axes:
        """Draw the 1 σ band of the spectrum, from the covariance of the model.

        Parameters
        ----------
        energy_bounds, ax, sed_type
            See `plot`.
        **kwargs
            energy_power, and options of matplotlib's ``fill_between``, such as color.
        """
        more = {"covariance": self.covariance, "sed_type": sed_type, **kwargs}
        axes: Axes = draw("plot_spectral_error", self, energy_bounds, ax, **more)
        return axes


def _bins_between(low: u.Quantity, high: u.Quantity) -> tuple[EnergyGrid, tuple[int, ...]]:
    """Return the bins between energies, and the shape of the energies."""
    at = [numbers_in(e, "TeV", "energy") for e in (low, high)]
    lower, upper = np.broadcast_arrays(*at)
    return EnergyGrid.from_bounds(lower.ravel(), upper.ravel()), lower.shape
