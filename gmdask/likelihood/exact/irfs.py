"""PSF and energy dispersion at the position of a source, with derivatives with respect to the position."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gmdask.compiling import compiled
from gmdask.geometry import WcsGrid
from gmdask.irf import Blend, blend_at
from gmdask.likelihood.exact.hankel import flux_weights
from gmdask.likelihood.exact.radial import RadialTable, radial_table
from gmdask.likelihood.exact.zones import rounded
from gmdask.likelihood.observation import Observation
from gmdask.sums import dots

__all__ = ["Jet", "PsfTable", "edisp_jet", "psf_table"]

Array = NDArray[np.float64]


class Jet(NamedTuple):
    """A quantity at a position, and its derivatives with respect to longitude and latitude, per deg.

    Attributes
    ----------
    value : array
    first : list of array
        For longitude and latitude; empty if it does not depend on the position.
    second : list of list of array
        Likewise; empty if not asked for.
    """

    value: Array
    first: list[Array]
    second: list[list[Array]]


def _jet_of(blend: Blend, nodes: Array) -> Jet:
    """Combine nodes (..., 4, 4) of a map."""
    if blend.is_constant:
        return Jet(nodes[..., 0, 0], [], [])
    return _jet(dots(blend.weights.reshape(-1, 16), nodes.reshape(-1, 16)), nodes.shape[:-2])


def _jet(parts: Array, shape: tuple[int, ...]) -> Jet:
    """Jet of a value, two first and three second derivatives, or the first three of these."""
    value, lon, lat, *bent = parts.reshape(-1, *shape)
    return Jet(value, [lon, lat], [bent[:2], bent[1:]] if bent else [])


def _blend_of(
    observation: Observation, grid: WcsGrid, position: tuple[float, float], frame: str
) -> Blend:
    """Return nodes and weights of a map; PSF and energy dispersion usually have the same pixels."""
    last: tuple[object, Blend] | None = observation.made.get("blend")
    key = grid.shape, position, frame, id(grid.wcs)  # grids of the same header share it
    if last is None or last[0] != key:
        last = observation.made["blend"] = key, blend_at(grid, *position, frame)
    return last[1]


class PsfTable:
    """The PSF of a dataset as normalised tables, at any position.

    Parameters
    ----------
    observation : `Observation`
        An observation with a PSF.

    Attributes
    ----------
    table : `RadialTable`
        Its offsets.
    center : array of shape (energy, rad)
        Tables at the centre of the map.
    core : float
        Radius in deg that contains 39 % of the narrowest PSF at the centre of the map (a standard
        deviation for a Gaussian), rounded down to a power of the square root of two.
    """

    def __init__(self, observation: Observation) -> None:
        psf = observation.required_psf
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
        """Radius in deg that contains 39 % of the narrowest PSF at the centre of the map."""
        radii, held = np.array(self.table.nodes), np.cumsum(self.center * self._flux, axis=1)
        found = [float(np.interp(0.393 * h[-1], h, radii)) for h in held if h[-1] > 0]
        return max(min(found, default=self.table.end), float(radii[-1]) * 1e-4)

    def _planes(self, nodes: Array) -> Array:
        """Profiles (..., energy, rad) at the energies of the dataset, linear between those of the map."""
        if self._same:
            return nodes
        lower, upper = nodes[..., self._lower, :], nodes[..., self._upper, :]
        result: Array = lower * (1 - self._share) + upper * self._share
        return result

    def at(self, position: tuple[float, float], frame: str, order: int = 2) -> Jet:
        """Return tables (energy, rad) in deg-2 at a position in deg, with derivatives up to an order, 1 or 2."""
        blend = _blend_of(self._observation, self._psf.grid, position, frame)
        nodes = self._psf.nodes(blend.y, blend.x)
        shape = -1, *nodes.shape[:2]
        if blend.is_constant:
            value = self._planes(nodes[..., 0, 0])
            return Jet(_normalised(value[None], self._flux)[0], [], [])
        weights = blend.weights.reshape(-1, 16)[: 6 if order > 1 else 3]
        parts = self._planes(dots(weights, nodes.reshape(-1, 16)).reshape(shape))
        return _jet(_normalised(parts, self._flux), parts.shape[1:])


@compiled
def _normalised(parts: Array, flux: Array) -> Array:
    """Profiles (order, energy, rad) divided by their flux: value, two first and three second derivatives."""
    out, held = np.zeros_like(parts), np.zeros(len(parts))
    for t in range(parts.shape[1]):
        for k in range(len(parts)):
            held[k] = 0.0
            for i in range(parts.shape[2]):
                held[k] += parts[k, t, i] * flux[i]
        if not held[0] > 0.0:
            continue
        inverse = 1 / held[0]
        for k in range(len(parts)):
            a, b = 1 + max(k - 3, 0) // 2, 1 + max(k - 2, 0) // 2  # (1, 1), (1, 2), (2, 2)
            for i in range(parts.shape[2]):
                if k == 0:
                    out[k, t, i] = parts[k, t, i] * inverse
                elif k < 3:
                    out[k, t, i] = (parts[k, t, i] - out[0, t, i] * held[k]) * inverse
                else:
                    out[k, t, i] = (
                        parts[k, t, i] - out[a, t, i] * held[b] - out[b, t, i] * held[a]
                        - out[0, t, i] * held[k]
                    ) * inverse  # fmt: skip
    return out


def psf_table(observation: Observation) -> PsfTable:
    """Return the PSF table of an observation, created once."""
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
        Position in deg, and its frame.
    apply : bool
        Whether energy dispersion applies; otherwise only the overlap of bins is used.
    """
    edisp = observation.edisp
    if edisp is None or not apply:
        return Jet(observation.edisp_at(position, frame, apply=False), [], [])
    blend = _blend_of(observation, edisp.grid, position, frame)
    return _jet_of(blend, edisp.nodes(blend.y, blend.x))
