"""Exposure of a dataset as a sum of a few maps times spectra.

The exposure of an observation varies smoothly over the field and with energy: the maps at a few
energies determine those at all others. Loops over pixels then use a few maps instead of all
true energies.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gmdask.likelihood.observation import Observation
from gmdask.sums import dots, matmul, times

__all__ = ["LANES", "Exposure", "exposure_of", "padded"]

Array = NDArray[np.float64]

ERROR = 3e-7  # allowed error of a map, relative to the largest exposure at its energy
SAMPLE = 2000  # approximate number of pixels from which energies are chosen, and which are checked at a time
LANES = 4  # the number of maps is padded to a multiple of this


class Exposure(NamedTuple):
    """Exposure ``E[t, p] = Σ_j shares[j, t] E[energies[j], p]``.

    Attributes
    ----------
    energies : array of shape (K,)
        Indices of the true energies whose maps are used.
    shares : array of shape (K, T)
    """

    energies: NDArray[np.intp]
    shares: Array

    @classmethod
    def none(cls, n_energies: int) -> Exposure:
        """Return the exposure of a model without exposure: one map for all energies."""
        return cls(np.zeros(1, dtype=np.intp), np.ones((1, n_energies)))


def padded(maps: NDArray[np.generic]) -> NDArray[np.generic]:
    """Pad arrays (..., K) with zeros to a multiple of `LANES`."""
    missing = -maps.shape[-1] % LANES
    return np.pad(maps, [*[(0, 0)] * (maps.ndim - 1), (0, missing)])


def exposure_of(observation: Observation) -> Exposure:
    """Return the decomposition of the exposure of an observation, which is computed once."""
    kept: Exposure | None = observation.made.get("exposure")
    if kept is None:
        stored = observation.whole_exposure()
        flat = stored.reshape(len(stored), -1)
        step = max(flat.shape[1] // SAMPLE, 1)
        kept = _factors(flat, step)
        observation.made["exposure"] = kept
    return kept


def _factors(flat: NDArray[np.generic], step: int) -> Exposure:
    """Find the factors of maps (T, pixel) from every `step`-th pixel, and check them in all."""
    sample = np.nan_to_num(flat[:, ::step].astype(np.float64), posinf=0.0, neginf=0.0)
    found = _pivots(sample)
    if step > 1 and not _holds(found, flat):
        found = _pivots(np.nan_to_num(flat.astype(np.float64), posinf=0.0, neginf=0.0))
    return found


def _holds(found: Exposure, flat: NDArray[np.generic]) -> bool:
    """Whether factors reproduce maps (T, pixel) in all pixels, which are checked in parts."""
    apart, largest = np.zeros(len(flat)), np.zeros(len(flat))
    shares = np.ascontiguousarray(found.shares.T)
    for start in range(0, flat.shape[1], SAMPLE):
        part = flat[:, start : start + SAMPLE].astype(np.float64)
        np.nan_to_num(part, copy=False, posinf=0.0, neginf=0.0)
        off = matmul(shares, part[found.energies])
        off -= part
        np.maximum(apart, np.abs(off, out=off).max(axis=1), out=apart)
        np.maximum(largest, np.abs(part, out=part).max(axis=1), out=largest)
    return bool((apart <= ERROR * largest).all())


def _pivots(maps: Array) -> Exposure:
    """Repeatedly choose the energy that is reproduced worst by the others."""
    scale = np.abs(maps).max(axis=1)
    scaled = maps / np.where(scale > 0, scale, 1.0)[:, None]
    rest, chosen = scaled.copy(), []
    directions: list[Array] = []
    for _ in range(len(maps)):
        off = np.abs(rest).max(axis=1)
        worst = int(np.argmax(off))
        if off[worst] <= 0.5 * ERROR:
            break
        chosen.append(worst)
        direction = rest[worst] / np.sqrt(float(times(rest[worst], rest[worst])))
        directions.append(direction)
        rest = rest - np.outer(times(rest, direction), direction)
    if not chosen:
        return Exposure(np.zeros(1, dtype=np.intp), np.zeros((1, len(maps))))
    along = dots(scaled, np.ascontiguousarray(directions))  # (T, K); lower triangular where chosen
    shares, lower = np.zeros((len(chosen), len(maps))), along[chosen]
    for j in range(len(chosen) - 1, -1, -1):
        shares[j] = along[:, j] - times(lower[j + 1 :, j], shares[j + 1 :])
        shares[j] /= lower[j, j]
    for j, energy in enumerate(chosen):
        shares[:, energy] = 0.0
        shares[j, energy] = 1.0
    shares *= scale / scale[chosen][:, None]
    return Exposure(np.array(chosen, dtype=np.intp), shares)
