"""Response of an array of Cherenkov telescopes, as smooth functions.

Effective area, PSF, energy dispersion and background vary with energy, with the offset from the
pointing and with the zenith angle: a shower at a large zenith angle is further away, so that
the energy threshold is higher, the effective area larger, and the resolution worse.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

__all__ = ["MIGRA", "RAD", "IactResponse", "background_shape"]

Array = NDArray[np.float64]

RAD = np.linspace(0.0, 0.66, 67)  # deg; the PSF is normalised within this range
MIGRA = np.linspace(0.2, 3.0, 57)  # events outside this range are lost

BACKGROUND_INDEX = 2.7
PSF_TAIL, PSF_TAIL_WIDTH = 0.15, 2.0  # fraction of events in the tail, and its relative width


@dataclass(frozen=True)
class IactResponse:
    """Parameters that scale a response.

    Attributes
    ----------
    area : float
        Effective area at 1 TeV on axis in m2, far above the threshold.
    threshold : float
        Energy in TeV, at zenith, at which half of the showers are detected.
    psf : float
        Width of the core of the PSF at 1 TeV on axis in deg.
    edisp : float
        Width of the migration at 1 TeV on axis.
    background : float
        Background rate at 1 TeV on axis in s-1 TeV-1 sr-1.
    max_offset : float
        Offset in deg within which data are safe.
    """

    area: float = 2.5e5
    threshold: float = 0.3
    psf: float = 0.06
    edisp: float = 0.12
    background: float = 500.0
    max_offset: float = 2.0

    def threshold_at(self, zenith: float) -> float:
        """Threshold energy in TeV at a zenith angle in deg."""
        return float(self.threshold * _air(zenith) ** 2.5)

    def effective_area(self, energy: Array, offset: Array, zenith: float) -> Array:
        """Effective area in m2.

        Parameters
        ----------
        energy : array of shape (n, 1, 1)
            True energy in TeV.
        offset : array of shape (lat, lon)
            In deg.
        zenith : float
            In deg.
        """
        turn_on = 1 / (1 + (self.threshold_at(zenith) / energy) ** 3)
        on_axis = self.area * _air(zenith) ** 1.5 * energy**0.25 * turn_on
        width = np.maximum(1.6 + 0.25 * np.log10(energy), 0.8)
        return np.asarray(on_axis * np.exp(-0.5 * (offset / width) ** 2))

    def psf_profile(self, energy: Array, rad: Array, offset: Array, zenith: float) -> Array:
        """PSF, not normalised: a core and a tail, both Gaussian.

        Parameters
        ----------
        energy : array of shape (n,)
            True energy in TeV.
        rad : array of shape (rad,)
            Distance from the source in deg.
        offset : array of shape (lat, lon)
            In deg.
        zenith : float
            In deg.

        Returns
        -------
        profile : array of shape (n, rad, lat, lon)
        """
        sigma = self.psf_width(energy[:, None, None], offset, zenith)
        exponent = -0.5 * (rad[:, None, None] / sigma[:, None]) ** 2
        tail = PSF_TAIL / PSF_TAIL_WIDTH**2 * np.exp(exponent / PSF_TAIL_WIDTH**2)
        return np.asarray((1 - PSF_TAIL) * np.exp(exponent) + tail)

    def psf_width(self, energy: Array, offset: Array, zenith: float) -> Array:
        """Width of the core of the PSF in deg, energy (TeV) and offset (deg) broadcast together."""
        scale = self.psf * _air(zenith) ** 0.5 * energy**-0.2
        return np.asarray(scale * (1 + 0.1 * offset**2))

    def draw_distances(
        self, energy: Array, offset: Array, zenith: float, random: np.random.Generator
    ) -> Array:
        """Draw distances between reconstructed and true directions of photons, in deg.

        Parameters
        ----------
        energy, offset : array of shape (n,)
            True energies in TeV and offsets of the true directions in deg.
        zenith : float
            In deg.
        random : `numpy.random.Generator`
        """
        core = self.psf_width(energy, offset, zenith)
        # minus the fraction of either component inside the PSF's range
        minus_core = np.expm1(-0.5 * (RAD[-1] / core) ** 2)
        minus_tail = np.expm1(-0.5 * (RAD[-1] / (PSF_TAIL_WIDTH * core)) ** 2)
        in_core, in_tail = (1 - PSF_TAIL) * minus_core, PSF_TAIL * minus_tail
        is_tail = random.random(len(core)) < in_tail / (in_core + in_tail)
        width = np.where(is_tail, PSF_TAIL_WIDTH * core, core)
        share = random.random(len(core)) * np.where(is_tail, minus_tail, minus_core)
        return np.asarray(width * np.sqrt(-2 * np.log1p(share)))

    def migration(self, energy: Array, migra: Array, offset: Array, zenith: float) -> Array:
        """Probability density of the ratio of reconstructed to true energy.

        Parameters
        ----------
        energy : array of shape (n,)
            True energy in TeV.
        migra : array of shape (m + 1,)
            Edges of the bins of the ratio.
        offset : array of shape (lat, lon)
            In deg.
        zenith : float
            In deg.

        Returns
        -------
        density : array of shape (n, m, lat, lon)
        """
        sigma = self.migration_width(energy[:, None, None], offset, zenith)
        cumulative = ndtr((migra[:, None, None] - 1) / sigma[:, None])
        return np.asarray(np.diff(cumulative, axis=1) / np.diff(migra)[:, None, None])

    def migration_width(self, energy: Array, offset: Array, zenith: float) -> Array:
        """Standard deviation of the migration, energy (TeV) and offset (deg) broadcast together."""
        scale = self.edisp * _air(zenith) ** 0.25 * energy**-0.1
        return np.asarray(scale * (1 + 0.05 * offset))

    def background_rate(self, energy: Array, offset: Array, zenith: float) -> Array:
        """Background rate in s-1 sr-1 per bin of reconstructed energy.

        Parameters
        ----------
        energy : array of shape (n + 1,)
            Edges in TeV.
        offset : array of shape (lat, lon)
            In deg.
        zenith : float
            In deg.

        Returns
        -------
        rate : array of shape (n, lat, lon)
        """
        slope = 1 - BACKGROUND_INDEX
        per_bin = self.background * np.diff(energy**slope) / slope
        center = np.sqrt(energy[1:] * energy[:-1])
        share = self._background_share(center, zenith)
        return np.asarray((per_bin * share)[:, None, None] * background_shape(offset))

    def background_spectrum(self, energy: Array, zenith: float) -> Array:
        """Background rate on axis in s-1 sr-1 TeV-1 at reconstructed energies in TeV."""
        share = self._background_share(energy, zenith)
        return np.asarray(self.background * energy**-BACKGROUND_INDEX * share)

    def _background_share(self, energy: Array, zenith: float) -> Array:
        """Return the fraction of background events that are detected."""
        return np.asarray(1 / (1 + (0.7 * self.threshold_at(zenith) / energy) ** 3))


def background_shape(offset: Array) -> Array:
    """Background rate relative to that on axis, at offsets in deg."""
    return np.asarray(np.exp(-0.5 * (offset / 1.5) ** 2))


def _air(zenith: float) -> float:
    """Thickness of the atmosphere, relative to that at zenith."""
    return float(1 / np.cos(np.radians(zenith)))
