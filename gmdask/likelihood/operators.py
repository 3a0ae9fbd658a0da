"""The linear response of one component at the bins of one dataset.

For a spectrum f [T] (cm-2 s-1 per true-energy bin) a component predicts

    npred[k] = Σ_t M[k, t] f[t],      Σ_mask npred = Σ_t c[t] f[t],

where M and c depend on its spatial parameters: position and extension. Operators hold M and c,
or a more compact form of them, and their derivatives with respect to the spatial parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from gmdask.likelihood.anchor import Anchor
from gmdask.likelihood.observation import Keep
from gmdask.sums import dots, times

__all__ = [
    "N_SHAPE",
    "Bent",
    "KernelOperator",
    "Linear",
    "MatrixOperator",
    "Operator",
    "OperatorBase",
    "mask_response",
]

Array = NDArray[np.float64]
Index = NDArray[np.intp]

N_SHAPE = {1: 0, 3: 1, 7: 2}  # number S of spatial parameters from 1 + S + S² rows of weights

SecondShape = Callable[[Array, Array, float], Array]


class Linear(NamedTuple):
    """Counts of a component with all first derivatives.

    Attributes
    ----------
    counts : array of shape (bin,)
    total : float
        Their masked sum.
    spectral : array of shape (bin, n)
        Counts of other spectra, the derivatives of the first one.
    spectral_total : array of shape (n,)
    shape : array of shape (bin, S)
        Derivatives by the spatial parameters.
    shape_total : array of shape (S,)
    """

    counts: Array
    total: float
    spectral: Array
    spectral_total: Array
    shape: Array
    shape_total: Array


class Bent(NamedTuple):
    """Derivatives of ``w · npred + w_sum Σ_mask npred``; see `Operator`.

    Attributes
    ----------
    adjoint : array of shape (T,)
    adjoint_shape : array of shape (S, T)
    second_shape : array of shape (S, S)
    """

    adjoint: Array
    adjoint_shape: Array
    second_shape: Array


class Operator(Protocol):
    """Response of a component at given values of its S spatial parameters.

    `negative` tells whether the response may be negative anywhere in the mask.
    """

    negative: bool

    def forward(self, spectra: Array) -> tuple[Array, Array]:
        """Counts (bin, n) and masked sums (n,) of the spectra (T, n)."""
        ...

    def forward_shape(self, f: Array) -> tuple[Array, Array]:
        """Derivatives by the spatial parameters: of the counts (bin, S) and of the sum (S,)."""
        ...

    def adjoint(self, w: Array, w_sum: float) -> Array:
        """Gradient (T,) with respect to f of ``w · npred + w_sum Σ_mask npred``."""
        ...

    def adjoint_shape(self, w: Array, w_sum: float) -> Array:
        """Derivatives (S, T) of this gradient by the spatial parameters."""
        ...

    def second_shape(self, f: Array, w: Array, w_sum: float) -> Array:
        """Second derivatives (S, S) of ``w · npred + w_sum Σ_mask npred`` by the spatial parameters."""
        ...

    def linear(self, f: Array, spectra: Array) -> Linear:
        """Counts of f (T,), with derivatives for spectra (T, n) and by the spatial parameters."""
        ...

    def bent(self, f: Array, w: Array, w_sum: float) -> Bent:
        """Return the results of `adjoint`, `adjoint_shape` and `second_shape`."""
        ...

    def keep(self, keep: Keep) -> None:
        """Move large arrays to where `keep` puts them."""
        ...

    @property
    def nbytes(self) -> int:
        """Size of the operator."""
        ...


class OperatorBase:
    """Default methods of operators without a faster way."""

    def linear(self: Operator, f: Array, spectra: Array) -> Linear:
        """See `Operator`."""
        counts, total = self.forward(f)
        return Linear(counts, float(total), *self.forward(spectra), *self.forward_shape(f))

    def bent(self: Operator, f: Array, w: Array, w_sum: float) -> Bent:
        """See `Operator`."""
        by_spectrum, by_shape = self.adjoint(w, w_sum), self.adjoint_shape(w, w_sum)
        return Bent(by_spectrum, by_shape, self.second_shape(f, w, w_sum))


class MatrixOperator(OperatorBase):
    """M and c as dense arrays.

    Parameters
    ----------
    matrix : array of shape (bin, T)
    sums : array of shape (T,)
    matrix_shape : array of shape (S, bin, T)
        Derivatives of `matrix`.
    sums_shape : array of shape (S, T)
        Derivatives of `sums`.
    second : callable, optional
        Takes (f, w, w_sum); see `Operator.second_shape`.
    negative : bool
        See `Operator`.
    """

    def __init__(
        self,
        matrix: Array,
        sums: Array,
        matrix_shape: Array | None = None,
        sums_shape: Array | None = None,
        second: SecondShape | None = None,
        negative: bool = False,
    ) -> None:
        self.negative = negative
        self._m, self._c = matrix, sums
        self._dm = np.zeros((0, *matrix.shape)) if matrix_shape is None else matrix_shape
        self._dc = np.zeros((0, len(sums))) if sums_shape is None else sums_shape
        self._second = second

    @property
    def nbytes(self) -> int:
        """Size of the operator."""
        return self._m.nbytes + self._c.nbytes + self._dm.nbytes + self._dc.nbytes

    def keep(self, keep: Keep) -> None:
        """See `Operator`."""
        self._m = keep(self._m)

    def forward(self, spectra: Array) -> tuple[Array, Array]:
        """See `Operator`."""
        return times(self._m, spectra), times(self._c, spectra)

    def linear(self, f: Array, spectra: Array) -> Linear:
        """See `Operator`; the matrix is read once for all spectra."""
        columns = np.ascontiguousarray(np.concatenate([f[None], spectra.T]))
        counts = dots(np.ascontiguousarray(self._m), columns)
        totals = dots(np.ascontiguousarray(self._c[None]), columns)[0]
        by_shape = self.forward_shape(f)
        return Linear(counts[:, 0].copy(), float(totals[0]), counts[:, 1:], totals[1:], *by_shape)

    def forward_shape(self, f: Array) -> tuple[Array, Array]:
        """See `Operator`."""
        return times(self._dm, f).T, times(self._dc, f)

    def adjoint(self, w: Array, w_sum: float) -> Array:
        """See `Operator`."""
        result: Array = times(w, self._m) + w_sum * self._c
        return result

    def adjoint_shape(self, w: Array, w_sum: float) -> Array:
        """See `Operator`."""
        result = w_sum * self._dc
        for own, matrix in zip(result, self._dm, strict=True):
            own += times(w, matrix)
        return result

    def second_shape(self, f: Array, w: Array, w_sum: float) -> Array:
        """See `Operator`."""
        return np.zeros((0, 0)) if self._second is None else self._second(f, w, w_sum)


class KernelOperator(OperatorBase):
    """A point source with a PSF in reconstructed energy.

    The PSF is applied after the energy dispersion, and the exposure is that of the J pixels over
    which the point is distributed: ``M[k, t] = Σ_j w_j G[j, k] A[j, r_k, t]``.

    Parameters
    ----------
    kernels : array of shape (J, bin)
        G: kernel of energy r_k from pixel j to bin k.
    r : array of shape (bin,)
        Reconstructed energy of each bin.
    response : array of shape (J, R, T)
        A: energy dispersion times exposure at pixel j.
    sums : array of shape (J, R)
        Sum of the kernel of energy r around pixel j over the mask.
    weights : array of shape (1 + S + S², J)
        Weights of the pixels, their derivatives, and their second derivatives.
    """

    negative = False

    def __init__(
        self, kernels: Array, r: Index, response: Array, sums: Array, weights: Array
    ) -> None:
        self._g, self._r, self._a, self._l = kernels, r, response, sums
        n_shape = N_SHAPE[len(weights)]
        self._w, self._dw = weights[0], weights[1 : 1 + n_shape]
        self._d2w = weights[1 + n_shape :].reshape(n_shape, n_shape, weights.shape[1])

    @property
    def nbytes(self) -> int:
        """Size of the operator."""
        return self._g.nbytes + self._a.nbytes + self._l.nbytes

    def keep(self, keep: Keep) -> None:
        """See `Operator`."""
        self._g = keep(self._g)

    def _mix(self, weights: Array, spectra: Array) -> tuple[Array, Array]:
        counts = np.zeros((len(self._r), spectra.shape[1]))
        total = np.zeros(spectra.shape[1])
        for j, weight in enumerate(weights):
            reco = weight * times(self._a[j], spectra)
            counts += self._g[j][:, None] * reco[self._r]
            total += times(self._l[j], reco)
        return counts, total

    def _pixel_adjoint(self, w: Array, w_sum: float) -> Array:
        """Gradient (J, T) with respect to f, of the part of each pixel at weight 1."""
        n_reco = self._a.shape[1]
        rows = [
            np.bincount(self._r, g * w, n_reco) + w_sum * s
            for g, s in zip(self._g, self._l, strict=True)
        ]
        per_pixel = np.array(rows).reshape(len(rows), n_reco)
        return np.asarray(np.einsum("jr,jrt->jt", per_pixel, self._a))

    def forward(self, spectra: Array) -> tuple[Array, Array]:
        """See `Operator`."""
        one = spectra.ndim == 1
        counts, total = self._mix(self._w, spectra[:, None] if one else spectra)
        return (counts[:, 0], total[0]) if one else (counts, total)

    def forward_shape(self, f: Array) -> tuple[Array, Array]:
        """See `Operator`."""
        parts = [self._mix(dw, f[:, None]) for dw in self._dw]
        if not parts:
            return np.zeros((len(self._r), 0)), np.zeros(0)
        return np.concatenate([c for c, _ in parts], axis=1), np.concatenate([s for _, s in parts])

    def adjoint(self, w: Array, w_sum: float) -> Array:
        """See `Operator`."""
        return times(self._w, self._pixel_adjoint(w, w_sum))

    def adjoint_shape(self, w: Array, w_sum: float) -> Array:
        """See `Operator`."""
        return times(self._dw, self._pixel_adjoint(w, w_sum))

    def second_shape(self, f: Array, w: Array, w_sum: float) -> Array:
        """See `Operator`."""
        return times(self._d2w, times(self._pixel_adjoint(w, w_sum), f))


def mask_response(anchor: Anchor) -> Array:
    """Σ_r R[t, r] E[t, p] mask[r, p] in the window: shape (T, lat, lon)."""
    weight = times(anchor.edisp, anchor.mask.astype(np.float64))
    weight *= anchor.exposure
    return weight
