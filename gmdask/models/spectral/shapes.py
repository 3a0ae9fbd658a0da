"""Spectra other than power laws: constant, line, Crab nebula, and norms at nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from gmdask.errors import ModelError
from gmdask.models.parameter import Parameter
from gmdask.models.parameter_default import ParameterDefault
from gmdask.models.quantities import quantity_from_dict, quantity_to_dict
from gmdask.models.registry import register
from gmdask.models.spectral.base import LEAST_ENERGY, SpectralModel
from gmdask.models.spectral.energy_grid import EnergyGrid

__all__ = [
    "ConstantSpectralModel",
    "GaussianSpectralModel",
    "LogGaussianSpectralModel",
    "MeyerCrabSpectralModel",
    "PiecewiseNormSpectralModel",
]

Array = NDArray[np.float64]

_TINY = float(np.finfo(float).tiny)


@register
class ConstantSpectralModel(SpectralModel):
    """A flux that is the same at all energies."""

    tag = ("ConstantSpectralModel", "const")
    linear = "const"
    defaults = (ParameterDefault("const", 1e-12, "cm-2 s-1 TeV-1"),)
    const: Parameter

    def evaluate(self, energy: Array, *values: float) -> Array:
        """Differential flux at energies (TeV), in cm-2 s-1 TeV-1."""
        return np.full(np.shape(energy), values[0])

    def gradient(self, energy: Array, *values: float) -> tuple[Array, Array]:
        """Differential flux [...] at energies (TeV) and its derivative [1, ...]."""
        return self.evaluate(energy, *values), np.ones((1, *np.shape(energy)))


@register
class GaussianSpectralModel(SpectralModel):
    """A line, amplitude / (sigma √2π) exp(-(E - mean)² / 2 sigma²)."""

    tag = ("GaussianSpectralModel", "gauss")
    linear = "amplitude"
    defaults = (
        ParameterDefault("amplitude", 1e-12, "cm-2 s-1", interp="log"),
        ParameterDefault("mean", 1.0, "TeV"),
        ParameterDefault("sigma", 2.0, "TeV"),
    )
    amplitude: Parameter
    mean: Parameter
    sigma: Parameter

    def evaluate(self, energy: Array, *values: float) -> Array:
        """Differential flux at energies (TeV), in cm-2 s-1 TeV-1."""
        amplitude, mean, sigma = values
        z = (energy - mean) / sigma
        return np.asarray(amplitude / (sigma * np.sqrt(2 * np.pi)) * np.exp(-0.5 * z * z))

    def gradient(self, energy: Array, *values: float) -> tuple[Array, Array]:
        """Differential flux [...] at energies (TeV) and its derivatives [3, ...]."""
        amplitude, mean, sigma = values
        z = (energy - mean) / sigma
        shape = np.exp(-0.5 * z * z) / (sigma * np.sqrt(2 * np.pi))
        y = amplitude * shape
        return y, np.stack([shape, z / sigma * y, (z * z - 1) / sigma * y])

    def _bins(self, grid: EnergyGrid, values: Array) -> Array:
        from scipy.special import erf, erfc

        amplitude, mean, sigma = values.tolist()
        low, high = ((e - mean) / (np.sqrt(2) * sigma) for e in (grid.low, grid.high))
        # if both ends are on one side, the complement is used: no precision is lost in the wings
        one_sided = np.where(low > 0, erfc(low) - erfc(high), erfc(-high) - erfc(-low))
        parts = np.where(low * high > 0, one_sided, erf(high) - erf(low))
        return np.asarray(amplitude / 2 * parts)

    def _bins_gradient(self, grid: EnergyGrid, values: Array) -> tuple[Array, Array]:
        _, mean, sigma = values.tolist()
        f = self._bins(grid, values)
        low, high = (self.evaluate(e, *values.tolist()) for e in (grid.low, grid.high))
        by_mean = low - high
        by_sigma = ((grid.low - mean) * low - (grid.high - mean) * high) / sigma
        return f, np.stack([self._bins(grid, np.array([1.0, mean, sigma])), by_mean, by_sigma])

    def energy_flux(self, energy_min: u.Quantity, energy_max: u.Quantity) -> u.Quantity:
        """Integrate energy times value between energies, exactly."""
        below, above = self(u.Quantity(energy_min)), self(u.Quantity(energy_max))
        first = self.mean.quantity * self.integral(energy_min, energy_max)
        return (first + self.sigma.quantity**2 * (below - above)).to("TeV cm-2 s-1")


@register
class LogGaussianSpectralModel(SpectralModel):
    """A log-normal shoulder, L / (E w √2π) exp(-ln(E / Ep)² / 2 w²), as in the cosmic-ray electron spectrum.

    Gammapy has it without a tag, and cannot write it to files.
    """

    tag = ("LogGaussianSpectralModel", "log-gauss")
    linear = "L"
    defaults = (
        ParameterDefault("L", 1e-12, "cm-2 s-1", interp="log"),
        ParameterDefault("Ep", 0.107, "TeV", least=LEAST_ENERGY),
        ParameterDefault("w", 0.776),
    )
    L: Parameter
    Ep: Parameter
    w: Parameter

    def evaluate(self, energy: Array, *values: float) -> Array:
        """Differential flux at energies (TeV), in cm-2 s-1 TeV-1."""
        return self.gradient(energy, *values)[0]

    def gradient(self, energy: Array, *values: float) -> tuple[Array, Array]:
        """Differential flux [...] at energies (TeV) and its derivatives [3, ...]."""
        scale, peak, width = values
        z = np.log(energy / peak) / width
        shape = np.exp(-0.5 * z * z) / (energy * width * np.sqrt(2 * np.pi))
        y = scale * shape
        return y, np.stack([shape, z / (width * peak) * y, (z * z - 1) / width * y])


@register
class MeyerCrabSpectralModel(SpectralModel):
    """The Crab nebula of Meyer et al. (2010), appendix D: a polynomial in log E."""

    tag = ("MeyerCrabSpectralModel", "meyer-crab")
    linear = "norm"
    defaults = (ParameterDefault("norm", 1.0, frozen=True),)
    coefficients: ClassVar[tuple[float, ...]] = (
        -0.00449161, 0.0, 0.0473174, -0.179475, -0.53616, -10.2708,
    )  # fmt: skip
    norm: Parameter

    def evaluate(self, energy: Array, *values: float) -> Array:
        """Differential flux at energies (TeV), in cm-2 s-1 TeV-1."""
        erg = u.erg.to(u.TeV)
        log = np.polyval(self.coefficients, np.log10(energy))
        return np.asarray(values[0] * erg * np.power(10.0, log) / energy**2)

    def gradient(self, energy: Array, *values: float) -> tuple[Array, Array]:
        """Differential flux [...] at energies (TeV) and its derivative [1, ...]."""
        unit = self.evaluate(energy, 1.0)
        return values[0] * unit, unit[None]


@register
class PiecewiseNormSpectralModel(SpectralModel):
    """Norms at energy nodes, interpolated between the nodes and constant outside.

    Parameters
    ----------
    energy : Quantity [K]
        Nodes, increasing.
    norms : array [K], optional
        Norms, by default 1. They become the parameters norm_0, norm_1, ...
    interp : {"log", "lin"}
        Whether to interpolate in logarithms.
    **parameters
        Parameters by name.

    Raises
    ------
    ModelError
        If there are fewer than two nodes, or they do not increase.
    """

    tag = ("PiecewiseNormSpectralModel", "piecewise-norm")
    is_norm = True

    def __init__(
        self, energy: Any, norms: Any = None, interp: str = "log", **parameters: Any
    ) -> None:
        try:
            self.energy = u.Quantity(energy)
            nodes = np.asarray(self.energy.to_value("TeV"), dtype=float)
        except (TypeError, ValueError, u.UnitsError) as error:
            msg = f"energy: expected energies with a unit, got {energy!r}"
            raise ModelError(msg) from error
        if nodes.ndim != 1 or nodes.size < 2 or not (np.diff(nodes) > 0).all() or nodes[0] <= 0:
            msg = f"energy: expected at least two positive increasing nodes, got {energy!r}"
            raise ModelError(msg)
        if interp not in ("log", "lin"):
            msg = f"interp: {interp!r}, expected 'log' or 'lin'"
            raise ModelError(msg)
        if norms is not None:
            if len(norms) != len(nodes):
                msg = f"norms: {len(norms)} for {len(nodes)} energies"
                raise ModelError(msg)
            parameters = {**{f"norm_{k}": norm for k, norm in enumerate(norms)}, **parameters}
        self.interp = interp
        self._nodes = np.log(nodes) if interp == "log" else nodes
        self._set_defaults(self.defaults_for({"energy": self.energy}))
        super().__init__(**parameters)

    @classmethod
    def defaults_for(cls, arguments: Mapping[str, Any]) -> tuple[ParameterDefault, ...]:
        """Return one norm per node."""
        return tuple(ParameterDefault(f"norm_{k}", 1.0) for k in range(len(arguments["energy"])))

    def evaluate(self, energy: Array, *values: float) -> Array:
        """Norm at energies (TeV)."""
        if self.interp == "lin":
            return np.asarray(np.interp(energy, self._nodes, values))
        logs = np.log(np.maximum(values, _TINY))
        y = np.exp(np.interp(np.log(energy), self._nodes, logs))
        return np.where(y <= 2 * _TINY, 0.0, y)

    def gradient(self, energy: Array, *values: float) -> tuple[Array, Array]:
        """Norm [...] at energies (TeV) and its derivatives [K, ...]."""
        y = self.evaluate(energy, *values)
        x = np.log(energy) if self.interp == "log" else energy
        shares = np.stack([np.interp(x, self._nodes, row) for row in np.eye(len(self._nodes))])
        if self.interp == "lin":
            return y, shares
        norms = np.array(values).reshape(-1, *(1,) * np.ndim(energy))
        usable = norms > _TINY
        return y, np.where(usable, shares * y / np.where(usable, norms, 1.0), 0.0)

    def extra_to_dict(self) -> dict[str, Any]:
        """Return nodes and interpolation."""
        return {"energy": quantity_to_dict(self.energy), "interp": self.interp}

    @classmethod
    def extra_from_dict(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Read nodes and interpolation."""
        rest = {key: value for key, value in data.items() if key not in ("energy", "interp")}
        arguments = super().extra_from_dict(rest)
        energy = quantity_from_dict(data.get("energy"), "energy")
        return {**arguments, "energy": energy, "interp": data.get("interp", "log")}
