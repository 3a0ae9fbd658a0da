"""Integrals over energy bins: the nodes, and the power law through each pair of adjacent nodes.

Within a bin the spectrum is evaluated at ``num`` nodes, and between two adjacent nodes it is
integrated as the power law through both (the rule of Gammapy 2.1, `integrate_spectrum`).
With L = ln(x1/x0), u = ln(x1 y1 / (x0 y0)) this is

    I = x0 y0 L φ(u),   φ(u) = (e^u - 1) / u,

This is homogeneous of degree one in (y0, y1), with the exact derivatives

    ∂I/∂y0 = x0 L ψ(u),   ∂I/∂y1 = x1 L ψ(-u),   ψ(u) = (e^u - 1 - u) / u²,

so that I = y0 ∂I/∂y0 + y1 ∂I/∂y1, and the gradient of an integral is a weighted sum of
gradients at the nodes.
"""

from __future__ import annotations

import numpy as np
from astropy import units as u
from numpy.typing import ArrayLike, NDArray

from gmdask.errors import InputError
from gmdask.models.units import parse_unit, unit_factor

__all__ = ["EnergyGrid", "phi", "psi"]

Array = NDArray[np.float64]

_SMALL = 0.05  # series below this (error 2e-17), differences above (error 1e-14)
_LARGE = 700.0  # keeps exp finite


def phi(x: Array) -> Array:
    """(e^x - 1) / x, with its limit 1 at 0."""
    zero = x == 0
    return np.where(zero, 1.0, np.expm1(x) / np.where(zero, 1.0, x))


def psi(x: Array) -> Array:
    """(e^x - 1 - x) / x², with its limit 1/2 at 0."""
    small = np.abs(x) < _SMALL
    s = np.where(small, x, 0.0)
    series = s / 362880 + 1 / 40320
    for factorial in (5040, 720, 120, 24, 6, 2):
        series = series * s + 1 / factorial
    if small.all():
        return np.asarray(series)
    z = np.where(small, 1.0, x)
    return np.where(small, series, (np.expm1(z) - z) / (z * z))


class EnergyGrid:
    """Energy bins, with the nodes at which a spectrum is evaluated for integration.

    It is created once per axis; spectra on it are arrays [T, num].

    Parameters
    ----------
    edges : array [T + 1]
        Edges of the bins, positive and increasing.
    unit : str or Unit
        Unit of ``edges``, which should be that of the axis: the number of nodes per bin,
        int(max(100 log10(E[t+1] / E[t]))), is sensitive to rounding.

    Attributes
    ----------
    low, high : ndarray [T]
        Limits of the bins in TeV.
    nodes : ndarray [T, num]
        Nodes in TeV, first and last of each bin on its limits.
    log_width : ndarray [T]
        ln(high / low).

    Raises
    ------
    InputError
        If the edges are not positive and increasing.
    """

    def __init__(self, edges: ArrayLike, unit: str | u.UnitBase = "TeV") -> None:
        raw = np.array(edges, dtype=float)
        if raw.ndim != 1 or raw.size < 2:
            msg = f"energy edges must be a list of at least two, got {raw}"
            raise InputError(msg)
        self._build(raw[:-1], raw[1:], unit)

    @classmethod
    def from_bounds(
        cls, low: ArrayLike, high: ArrayLike, unit: str | u.UnitBase = "TeV"
    ) -> EnergyGrid:
        """Return a grid of bins that need not be adjacent.

        Parameters
        ----------
        low, high : array [T]
            Limits of the bins, 0 < low < high.
        unit : str or Unit
            Unit of the limits.
        """
        new = object.__new__(cls)
        new._build(np.array(low, dtype=float), np.array(high, dtype=float), unit)
        return new

    def scaled(self, factor: float) -> EnergyGrid:
        """Return a grid with energies times a factor, and nodes at the same places of each bin.

        Parameters
        ----------
        factor : float
            Positive.
        """
        new = object.__new__(type(self))
        new.__dict__.update(self.__dict__)
        for name in ("low", "high", "nodes", "_x0_log", "_x1_log", "_half_width"):
            new.__dict__[name] = self.__dict__[name] * factor
        return new

    def _build(self, low: Array, high: Array, unit: str | u.UnitBase) -> None:
        if not (np.all(low > 0) and np.all(high > low) and np.all(np.isfinite(high))):
            msg = f"energy edges must be positive and increasing, got {low} to {high}"
            raise InputError(msg)
        factor = unit_factor(parse_unit(unit), u.TeV)
        num = int(np.maximum(np.max(100 * np.log10(high / low), initial=0.0), 2))
        self.low: Array = low * factor
        self.high: Array = high * factor
        self.nodes: Array = np.ascontiguousarray(np.geomspace(low, high, num, axis=-1)) * factor
        self.log_width: Array = np.log(high / low)
        x0, x1 = self.nodes[:, :-1], self.nodes[:, 1:]
        self._log = np.log(x1 / x0)
        self._x0_log = x0 * self._log
        self._x1_log = x1 * self._log
        self._half_width = 0.5 * (x1 - x0)

    def __repr__(self) -> str:
        span = f"{self.low.min():g} to {self.high.max():g} TeV" if len(self) else "empty"
        return f"<EnergyGrid: {len(self)} bins, {span}>"

    def __len__(self) -> int:
        return len(self.low)

    def _exponent(self, y: Array) -> tuple[Array, NDArray[np.bool_], NDArray[np.bool_]]:
        """Return the exponent u of every pair of nodes, where it exists, and where the sign changes."""
        y0, y1 = y[:, :-1], y[:, 1:]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
            ratio = y1 / y0
            same = (ratio > 0) & np.isfinite(ratio)
            flips = y0 * y1 < 0
        exponent = self._log + np.log(np.where(same, ratio, 1.0))
        return np.asarray(np.clip(exponent, -_LARGE, _LARGE)), same, flips

    def integrate(self, y: Array) -> Array:
        """Integral over each bin.

        Parameters
        ----------
        y : ndarray [T, num]
            Spectrum at `nodes`, per TeV. A pair with a zero at one end contributes
            nothing; a pair with a change of sign contributes its trapezoid.

        Returns
        -------
        ndarray [T]
        """
        y0 = y[:, :-1]
        if y.min(initial=np.inf) > 0 and y.max(initial=0.0) < np.inf:  # by far the most common case
            with np.errstate(over="ignore", divide="ignore"):
                exponent = self._log + np.log(y[:, 1:] / y0)
            size = np.abs(exponent)
            if size.min() > 0 and size.max() < _LARGE:
                return np.asarray((y0 * self._x0_log * (np.expm1(exponent) / exponent)).sum(axis=1))
        exponent, same, flips = self._exponent(y)
        parts = np.where(same, y[:, :-1] * self._x0_log * phi(exponent), 0.0)
        if flips.any():
            trapezium = self._half_width * (y[:, :-1] + y[:, 1:])
            parts = np.where(flips, trapezium, parts)
        return np.asarray(parts.sum(axis=1))

    def weights(self, y: Array) -> Array:
        """Derivative of the integral over each bin with respect to the spectrum at its nodes.

        Parameters
        ----------
        y : ndarray [T, num]
            Spectrum at `nodes`.

        Returns
        -------
        ndarray [T, num]
            Weights w with integral = (w * y).sum(axis=1).
        """
        exponent, same, flips = self._exponent(y)
        left = np.where(same, self._x0_log * psi(exponent), 0.0)
        right = np.where(same, self._x1_log * psi(-exponent), 0.0)
        if flips.any():
            left = np.where(flips, self._half_width, left)
            right = np.where(flips, self._half_width, right)
        weights = np.zeros_like(y)
        weights[:, :-1] = left
        weights[:, 1:] += right
        return weights
