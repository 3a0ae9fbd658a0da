"""PSF and energy dispersion at the position of a source, with derivatives by it."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gmdask.geometry import WcsGrid
from gmdask.irf import Blend, blend_at
from gmdask.likelihood.exact.hankel import flux_weights
from gmdask.likelihood.exact.radial import RadialTable, radial_table
from gmdask.likelihood.exact.zones import rounded
from gmdask.likelihood.observation import Observation
from gmdask.sums import matmul, times

__all__ = ["Jet", "PsfTable", "edisp_jet", "jet_of", "psf_table"]

Array = NDArray[np.float64]


class Jet(NamedTuple):
    """A quantity at a position, and its derivatives by longitude and latitude, per deg.

    Attributes
    ----------
    value : array
    first : list of array
        By longitude and latitude; empty where it does not depend on the position.
    second : list of list of array
    """

    value: Array
    first: list[Array]
    second: list[list[Array]]


def jet_of(blend: Blend, nodes: Array) -> Jet:
    """Combine nodes (..., 4, 4) of a map."""
    if blend.is_constant:
        return Jet(nodes[..., 0, 0], [], [])
    rows = np.ascontiguousarray(nodes.reshape(-1, 16).T)
    parts = matmul(blend.weights.reshape(-1, 16), rows).reshape(-1, *nodes.shape[:-2])
    return Jet(parts[0], list(parts[1:3]), [[parts[3], parts[4]], [parts[4], parts[5]]])


def _blend_of(
    observation: Observation, grid: WcsGrid, position: tuple[float, float], frame: str
) -> Blend:
    """Nodes and weights of a map; PSF and energy dispersion mostly have the same pixels."""
    last: tuple[object, Blend] | None = observation.made.get("blend")
    key = grid.header, grid.shape, position, frame
    if last is None or last[0] != key:
        last = observation.made["blend"] = key, blend_at(grid, *position, frame)
    return last[1]


class PsfTable:
    """The PSF of a dataset as tables normalised to 1, at any position.

    Parameters
    ----------
    observation : `Observation`
        With a PSF.

    Attributes
    ----------
    table : `RadialTable`
        Its offsets.
    center : array of shape (energy, rad)
        Tables at the centre of the map.
    core : float
        Radius in deg that holds 39 % of the narrowest PSF at the centre of the map, a standard
        deviation if it is Gaussian, rounded down to a power of the root of two.
    """

    def __init__(self, observation: Observation) -> None:
        psf = observation.psf
        assert psf is not None
        self._observation, self._psf = observation, psf
        self.table: RadialTable = radial_table(tuple(psf.rad.center.tolist()))
        self._flux = flux_weights(self.table)
        axis = observation.energy if observation.psf_energy == "energy" else observation.energy_true
        pix = psf.energy.to_pix(axis.center)
        n = psf.energy.nbin
        lower = np.clip(np.floor(pix).astype(int), 0, max(n - 2, 0))
        upper = np.minimum(lower + 1, n - 1)
        self._lower, self._upper, self._share = lower, upper, (pix - lower)[:, None] * (n > 1)
        self._same = pix.shape == (n,) and np.allclose(pix, np.arange(n), rtol=0.0, atol=1e-9)
        planes = self._planes(self._psf.profiles(*self._psf.grid.center))
        flux = (planes * self._flux).sum(axis=1, keepdims=True)
        self.center = np.divide(planes, flux, out=np.zeros_like(planes), where=flux > 0)
        self.core = rounded(self._narrowest(), math.floor)

    def _narrowest(self) -> float:
        """Radius in deg that holds 39 % of the narrowest PSF at the centre of the map."""
        radii, held = np.array(self.table.nodes), np.cumsum(self.center * self._flux, axis=1)
        found = [float(np.interp(0.393 * h[-1], h, radii)) for h in held if h[-1] > 0]
        return max(min(found, default=self.table.end), float(radii[-1]) * 1e-4)

    def _planes(self, nodes: Array) -> Array:
        """Profiles (energy, rad) at the energies of the dataset, linear between those of the map."""
        if self._same:
            return nodes
        result: Array = nodes[self._lower] * (1 - self._share) + nodes[self._upper] * self._share
        return result

    def at(self, position: tuple[float, float], frame: str) -> Jet:
        """Tables (energy, rad) in deg-2 at a position in deg."""
        blend = _blend_of(self._observation, self._psf.grid, position, frame)
        raw = jet_of(blend, self._psf.nodes(blend.y, blend.x))
        value, flux = self._with_flux(raw.value)
        inverse = np.divide(1.0, flux, out=np.zeros_like(flux), where=flux > 0)
        value = value * inverse
        if not raw.first:
            return Jet(value, [], [])
        first, slopes = [], []
        for plane, slope in map(self._with_flux, raw.first):
            first.append((plane - value * slope) * inverse)
            slopes.append(slope)
        bent = []
        for i, j in ((0, 0), (0, 1), (1, 1)):
            plane, bend = self._with_flux(raw.second[i][j])
            bent.append(
                (plane - first[i] * slopes[j] - first[j] * slopes[i] - value * bend) * inverse
            )
        return Jet(value, first, [[bent[0], bent[1]], [bent[1], bent[2]]])

    def _with_flux(self, nodes: Array) -> tuple[Array, Array]:
        """Profiles (energy, rad) at the energies of the dataset, and their flux (energy, 1)."""
        planes = self._planes(nodes)
        return planes, times(planes, self._flux)[:, None]


def psf_table(observation: Observation) -> PsfTable:
    """The PSF table of an observation, made once."""
    kept: PsfTable | None = observation.made.get("psf table")
    if kept is None:
        kept = observation.made["psf table"] = PsfTable(observation)
    return kept


def edisp_jet(
    observation: Observation, position: tuple[float, float], frame: str, *, apply: bool
) -> Jet:
    """Energy dispersion (energy_true, energy) at a position in deg.

    Parameters
    ----------
    observation : `Observation`
    position, frame
        In deg.
    apply : bool
        Whether there is any, but for the overlap of bins.
    """
    edisp = observation.edisp
    if edisp is None or not apply:
        return Jet(observation.edisp_at(position, frame, apply=False), [], [])
    blend = _blend_of(observation, edisp.grid, position, frame)
    return jet_of(blend, edisp.nodes(blend.y, blend.x))
