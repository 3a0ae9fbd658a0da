"""The background of one dataset: its template times a spectral norm."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gmdask.likelihood.bins import Bins
from gmdask.likelihood.cash import CashTerms
from gmdask.likelihood.response import Observation
from gmdask.models import SpectralModel

__all__ = ["Background"]

Array = NDArray[np.float64]


class Background:
    """Background of one dataset at its bins.

    The norm is taken at the centres of the reconstructed energy bins, so that everything
    about it happens per energy: with g[r] the norm, the counts are ``b[k] g[r_k]``.

    Parameters
    ----------
    observation : `Observation`
        With a background.
    bins : `Bins`
    model : `SpectralModel` or None
        Norm; None stands for 1.

    Attributes
    ----------
    template : array of shape (bin,)
        Background in the bins.
    sums : array of shape (R,)
        Its sum over the mask per energy.
    negative : bool
        Whether it is negative anywhere in the mask.
    """

    def __init__(self, observation: Observation, bins: Bins, model: SpectralModel | None) -> None:
        background = observation.background
        assert background is not None
        self.template: Array = background[bins.r, bins.y, bins.x]
        self.sums: Array = np.where(observation.mask, background, 0.0).sum(axis=(1, 2))
        self.negative = bool((background[observation.mask] < 0).any())
        self._r, self._model = bins.r, model
        self._energy = observation.energy.center

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.template.nbytes + self.sums.nbytes

    def norm(self, values: Array) -> Array:
        """Norm (R,) per energy."""
        if self._model is None:
            return np.ones(len(self._energy))
        return self._model.evaluate(self._energy, *values.tolist())

    def norm_gradient(self, values: Array) -> Array:
        """Derivatives (P, R) of the norm."""
        if self._model is None:
            return np.zeros((0, len(self._energy)))
        return self._model.gradient(self._energy, *values.tolist())[1]

    def norm_hessian(self, values: Array) -> Array:
        """Second derivatives (P, P, R) of the norm."""
        assert self._model is not None
        return self._model.hessian(self._energy, *values.tolist())

    def counts(self, norm: Array) -> Array:
        """Counts (bin,)."""
        return self.template * norm[self._r]

    def per_energy(self, terms: CashTerms) -> tuple[Array, Array]:
        """Gradient (R,) and diagonal of the Gauss-Newton Hessian (R,) by the norm."""
        n_energy = len(self.sums)
        weighted = self.template * terms.first
        first = np.bincount(self._r, weighted, n_energy) + terms.first_sum * self.sums
        second = np.bincount(self._r, self.template**2 * terms.second, n_energy)
        return first, second.astype(np.float64, copy=False)
