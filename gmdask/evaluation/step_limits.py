"""Largest changes of parameters in one step, within which the quadratic model of the statistic is valid."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from astropy.units import Unit
from numpy.typing import NDArray

from gmdask.models import Models, SpectralModel

__all__ = ["StepLimits"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Index = NDArray[np.intp]

POSITION, ANGLE, SIZE = 0.2, 45.0, 0.02  # deg
SHARE_OF_SIZE = 0.5
NUMBER = 1.0  # for dimensionless parameters of shapes and light curves
FACTOR = 3.0  # change of the logarithm of a flux
NEARLY_ALL = (
    0.9  # fraction of the energies that counts, as a flux may pass through zero at one of them
)


class _Spectrum(NamedTuple):
    """A spectral model, the positions of its parameters among all, and factors to internal units."""

    model: SpectralModel
    at: Index
    factors: Array
    moves: Mask


class StepLimits:
    """Largest changes of parameters in one step.

    If a source moves by much more than its width, or the width of the PSF, its derivatives are no longer
    valid; for a faint source an unlimited step would be that long. Positions move by at most 0.2 deg,
    sizes by half of their value, other angles by an eighth of a full turn. Parameters of spectra move as far as
    changes the flux by a factor of 20 somewhere in the energy range; amplitudes are limited separately.

    Parameters
    ----------
    models : `Models`
    chosen : array of shape (S,)
        Positions of the parameters among those of the models.
    energies : array
        In TeV.

    Attributes
    ----------
    sizes, even, moving : boolean array of shape (S,)
        Parameters that are sizes of sources, those that enter only by their square, and all that change
        positions or shapes on the sky.
    """

    def __init__(self, models: Models, chosen: Index, energies: Array) -> None:
        parameters = models.parameters
        self._start, self._chosen, self._energies = parameters.value, chosen, energies
        absolute, share = np.full(len(parameters), np.inf), np.zeros(len(parameters))
        free, even = (np.zeros(len(parameters), dtype=bool) for _ in range(2))
        free[chosen] = True
        self._spectra: list[_Spectrum] = []
        for component in models:
            for model in component.models.values():
                own = [parameter for _, parameter in model.named_parameters()]
                index = np.array([parameters.index(p) for p in own], dtype=np.intp)
                if isinstance(model, SpectralModel):
                    moves = free[index] & ~models.scales[index]
                    if moves.any():
                        self._spectra.append(_Spectrum(model, index, model.internal_factors, moves))
                    continue
                even[index] |= np.array([default.even for default in model.defaults], dtype=bool)
                turning = {id(parameter) for parameter, _ in model.periods}
                for default, parameter, at in zip(model.defaults, own, index.tolist(), strict=True):
                    if parameter.unit.is_equivalent("deg") and parameter.unit != "":
                        degree = Unit("deg").to(parameter.unit)
                        if default.places:
                            absolute[at] = POSITION * degree
                        elif id(parameter) in turning:
                            absolute[at] = ANGLE * degree
                        else:
                            absolute[at], share[at] = SIZE * degree, SHARE_OF_SIZE
                    elif parameter.unit == "":
                        absolute[at] = NUMBER
        self._absolute, self._share = absolute, share
        self.sizes, self.moving = share[chosen] > 0, np.isfinite(absolute[chosen])
        self.even = even[chosen]

    def __call__(self, x: Array) -> Array:
        """Return the largest changes (S,) at some values."""
        values = self._start.copy()
        values[self._chosen] = x
        reach = np.maximum(self._absolute, self._share * np.abs(values))
        for model, at, factors, moves in self._spectra:
            with np.errstate(all="ignore"):
                flux, slopes = model.gradient(self._energies, *(values[at] * factors).tolist())
                change = np.abs(slopes * factors[:, None] / flux)
            steepest = np.quantile(np.where(np.isfinite(change), change, 0.0), NEARLY_ALL, axis=1)
            most = np.where(steepest > 0, FACTOR / np.where(steepest > 0, steepest, 1.0), np.inf)
            reach[at] = np.where(moves, np.minimum(reach[at], most), reach[at])
        return np.asarray(reach[self._chosen])
