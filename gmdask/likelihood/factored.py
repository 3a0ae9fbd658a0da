"""The response to an extended source, with a row for each pixel instead of each bin."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gmdask.likelihood.observation import Keep
from gmdask.likelihood.operators import OperatorBase, SecondShape
from gmdask.sums import times

__all__ = ["FactoredOperator", "is_shorter"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]


def is_shorter(n_pixels: int, n_bins: int, n_true: int) -> bool:
    """Whether rows of pixels, and the pixel of each bin, need much less memory than rows of bins."""
    return 1.5 * n_pixels * n_true + n_bins < n_bins * n_true


class FactoredOperator(OperatorBase):
    """Response ``M[k, t] = R[t, r_k] A[t, p_k]``, with derivatives ``R[t, r_k] A'[t, p_k]``.

    Parameters
    ----------
    flux : array of shape (1 + S, T, pixel)
        A, exposure times the convolved shape, and its derivatives with respect to the shape parameters.
    edisp : array of shape (T, R)
        R.
    pixel, r : array of shape (bin,)
        p and r of each bin; no two bins share both.
    sums : array of shape (1 + S, T)
        Sums of M over the mask, and their derivatives.
    second : callable, optional
        Takes (f, w, w_sum); see `Operator.second_shape`.
    negative : bool
        See `Operator`.
    """

    def __init__(
        self,
        flux: Array,
        edisp: Array,
        pixel: Index,
        r: Index,
        sums: Array,
        second: SecondShape | None = None,
        negative: bool = False,
    ) -> None:
        self._flux, self._edisp, self._pixel, self._r = flux, edisp, pixel, r
        self._sums, self._second, self.negative = sums, second, negative

    @property
    def nbytes(self) -> int:
        """Size of the operator."""
        return self._flux.nbytes + self._pixel.nbytes + self._edisp.nbytes

    def keep(self, keep: Keep) -> None:
        """See `Operator`."""
        self._flux, self._pixel, self._r = keep(self._flux), keep(self._pixel), keep(self._r)

    def _at_bins(self, flux: Array, spectrum: Array) -> Array:
        per_pixel = times((spectrum[:, None] * self._edisp).T, flux)
        result: Array = per_pixel[self._r, self._pixel]
        return result

    def _per_pixel(self, w: Array) -> Array:
        """Convert weights (bin,) of the counts to weights (T, pixel) of the flux."""
        weights = np.zeros((self._edisp.shape[1], self._flux.shape[2]))
        weights[self._r, self._pixel] = w
        return times(self._edisp, weights)

    def forward(self, spectra: Array) -> tuple[Array, Array]:
        """See `Operator`."""
        total = times(self._sums[0], spectra)
        if spectra.ndim == 1:
            return self._at_bins(self._flux[0], spectra), total
        counts = [self._at_bins(self._flux[0], spectrum) for spectrum in spectra.T]
        return np.stack(counts, axis=1), total

    def forward_shape(self, f: Array) -> tuple[Array, Array]:
        """See `Operator`."""
        counts = [self._at_bins(flux, f) for flux in self._flux[1:]]
        return np.array(counts).reshape(len(counts), len(self._r)).T, times(self._sums[1:], f)

    def adjoint(self, w: Array, w_sum: float) -> Array:
        """See `Operator`."""
        per_energy: Array = np.einsum("tp,tp->t", self._per_pixel(w), self._flux[0])
        result: Array = per_energy + w_sum * self._sums[0]
        return result

    def adjoint_shape(self, w: Array, w_sum: float) -> Array:
        """See `Operator`."""
        per_shape: Array = np.einsum("tp,stp->st", self._per_pixel(w), self._flux[1:])
        result: Array = per_shape + w_sum * self._sums[1:]
        return result

    def second_shape(self, f: Array, w: Array, w_sum: float) -> Array:
        """See `Operator`."""
        return np.zeros((0, 0)) if self._second is None else self._second(f, w, w_sum)
