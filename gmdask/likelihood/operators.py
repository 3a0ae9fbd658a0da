"""The linear response of one component at the bins of one dataset.

For a spectrum f [T] (cm-2 s-1 per true-energy bin) a component predicts

    npred[k] = Σ_t M[k, t] f[t],      Σ_mask npred = Σ_t c[t] f[t],

where M and c depend on its shape: on position and extension. What is here knows M and c,
or a shorter form of them, and their derivatives by the shape parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gmdask.geometry import Window
from gmdask.likelihood.bins import Bins
from gmdask.likelihood.response import Anchor, Observation

__all__ = ["KernelOperator", "MatrixOperator", "Operator", "corner_operator"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]

N_SHAPE = {1: 0, 3: 1, 7: 2}  # from 1 + S + S² rows of weights

SecondShape = Callable[[Array, Array, float], Array]


class Operator(Protocol):
    """Response of a component at one value of its shape parameters (S of them).

    `negative` says whether the response may be below zero anywhere in the mask.
    """

    negative: bool

    def forward(self, spectra: Array) -> tuple[Array, Array]:
        """Counts (bin, n) and masked sums (n,) of the spectra (T, n)."""
        ...

    def forward_shape(self, f: Array) -> tuple[Array, Array]:
        """Derivatives by the shape parameters: of the counts (bin, S) and the sum (S,)."""
        ...

    def adjoint(self, w: Array, w_sum: float) -> Array:
        """Gradient (T,) by f of ``w · npred + w_sum Σ_mask npred``."""
        ...

    def adjoint_shape(self, w: Array, w_sum: float) -> Array:
        """Gradient (S, T) by f of the same, derived by the shape parameters."""
        ...

    def second_shape(self, f: Array, w: Array, w_sum: float) -> Array:
        """Second derivatives (S, S) of the same by the shape parameters."""
        ...

    @property
    def nbytes(self) -> int:
        """Size of the operator."""
        ...


class MatrixOperator:
    """M and c as they are.

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

    def forward(self, spectra: Array) -> tuple[Array, Array]:
        """See `Operator`."""
        return self._m @ spectra, self._c @ spectra

    def forward_shape(self, f: Array) -> tuple[Array, Array]:
        """See `Operator`."""
        return (self._dm @ f).T, self._dc @ f

    def adjoint(self, w: Array, w_sum: float) -> Array:
        """See `Operator`."""
        result: Array = w @ self._m + w_sum * self._c
        return result

    def adjoint_shape(self, w: Array, w_sum: float) -> Array:
        """See `Operator`."""
        result: Array = w @ self._dm + w_sum * self._dc
        return result

    def second_shape(self, f: Array, w: Array, w_sum: float) -> Array:
        """See `Operator`."""
        return np.zeros((0, 0)) if self._second is None else self._second(f, w, w_sum)


class KernelOperator:
    """A point source seen through a PSF in reconstructed energy.

    The PSF comes after the energy dispersion, and the exposure is that of the J pixels
    the point is spread over: ``M[k, t] = Σ_j w_j G[j, k] A[j, r_k, t]``.

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
        Shares of the pixels, their derivatives, and their second derivatives.
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

    def _mix(self, weights: Array, spectra: Array) -> tuple[Array, Array]:
        counts = np.zeros((len(self._r), spectra.shape[1]))
        total = np.zeros(spectra.shape[1])
        for j, weight in enumerate(weights):
            reco = weight * (self._a[j] @ spectra)
            counts += self._g[j][:, None] * reco[self._r]
            total += self._l[j] @ reco
        return counts, total

    def _pixel_adjoint(self, w: Array, w_sum: float) -> Array:
        """Gradient (J, T) by f, of the part of each pixel at weight 1."""
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
        result: Array = self._w @ self._pixel_adjoint(w, w_sum)
        return result

    def adjoint_shape(self, w: Array, w_sum: float) -> Array:
        """See `Operator`."""
        result: Array = self._dw @ self._pixel_adjoint(w, w_sum)
        return result

    def second_shape(self, f: Array, w: Array, w_sum: float) -> Array:
        """See `Operator`."""
        result: Array = self._d2w @ (self._pixel_adjoint(w, w_sum) @ f)
        return result


def mask_response(observation: Observation, anchor: Anchor) -> Array:
    """Σ_r R[t, r] E[t, p] mask[r, p] in the window: shape (T, lat, lon)."""
    window = anchor.window.slices
    mask = observation.mask[:, *window]
    weight = np.tensordot(anchor.edisp, mask.astype(np.float64), axes=1)
    weight *= anchor.exposure[:, *window]
    return weight


def bin_response(anchor: Anchor, bins: Bins) -> Array:
    """R[t, r_k] E[t, p_k]: shape (bin, T)."""
    exposure = anchor.exposure[:, bins.y, bins.x].T
    return np.ascontiguousarray(exposure * anchor.edisp.T[bins.r])


def _overlap(
    window: Window, row: int, column: int, half: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where a kernel around a pixel meets the window: slices into window and kernel."""
    y0, y1 = max(window.y0, row - half), min(window.y1, row + half + 1)
    x0, x1 = max(window.x0, column - half), min(window.x1, column + half + 1)
    first = slice(y0 - window.y0, y1 - window.y0), slice(x0 - window.x0, x1 - window.x0)
    second = slice(y0 - row + half, y1 - row + half), slice(x0 - column + half, x1 - column + half)
    return first, second


class PixelGather:
    """Response of unit flux in a single pixel, gathered from the kernels.

    Parameters
    ----------
    observation : `Observation`
    anchor : `Anchor`
    bins : `Bins`
        All within the window of the anchor.

    Notes
    -----
    With the PSF in true energy, pixel j gives ``M_j[k, t] = R[t, r_k] E[t, p_k] K_t[p_k - p_j]``
    and ``c_j[t] = Σ_p W[t, p] K_t[p - p_j]`` with W of `mask_response`; with the PSF in
    reconstructed energy see `KernelOperator`. Without a PSF the kernel is one pixel.
    """

    def __init__(self, observation: Observation, anchor: Anchor, bins: Bins) -> None:
        self._anchor, self._bins = anchor, bins
        self.after_edisp = observation.psf_energy == "energy" and anchor.kernel is not None
        n_planes = len(anchor.edisp) if not self.after_edisp else anchor.edisp.shape[1]
        self._kernel = np.ones((n_planes, 1, 1)) if anchor.kernel is None else anchor.kernel.values
        self._half = self._kernel.shape[-1] // 2
        if self.after_edisp:
            self._mask = observation.mask[:, *anchor.window.slices]
        else:
            self._mask_response = mask_response(observation, anchor)
            self._bin_response = bin_response(anchor, bins)
            self._kernel_last = np.ascontiguousarray(np.moveaxis(self._kernel, 0, -1))

    def _reach(self, row: int, column: int) -> tuple[Index, Index, Index]:
        """Bins that a pixel reaches, and their places (y, x) in the kernel."""
        y, x = self._bins.y - row + self._half, self._bins.x - column + self._half
        size = self._kernel.shape[-1]
        reached = np.flatnonzero((y >= 0) & (y < size) & (x >= 0) & (x < size))
        return reached, y[reached], x[reached]

    def matrix(self, row: int, column: int) -> tuple[Array, Array]:
        """M (bin, T) and c (T,) of unit flux in a pixel; PSF in true energy."""
        matrix = np.zeros_like(self._bin_response)
        reached, y, x = self._reach(row, column)
        matrix[reached] = self._bin_response[reached] * self._kernel_last[y, x]
        first, second = _overlap(self._anchor.window, row, column, self._half)
        sums = np.einsum("tyx,tyx->t", self._mask_response[:, *first], self._kernel[:, *second])
        return matrix, sums

    def kernel(self, row: int, column: int) -> tuple[Array, Array, Array]:
        """G (bin,), A (R, T) and sums (R,) of a pixel; PSF in reconstructed energy."""
        values = np.zeros(len(self._bins.r))
        reached, y, x = self._reach(row, column)
        values[reached] = self._kernel[self._bins.r[reached], y, x]
        response = self._anchor.edisp.T * self._anchor.exposure[:, row, column]
        first, second = _overlap(self._anchor.window, row, column, self._half)
        sums = np.einsum(
            "ryx,ryx->r", self._mask[:, *first].astype(float), self._kernel[:, *second]
        )
        return values, response, sums

    def inside(self, row: int, column: int) -> bool:
        """Whether flux in a pixel counts: what falls outside the window is lost."""
        window = self._anchor.window
        return window.y0 <= row < window.y1 and window.x0 <= column < window.x1


def corner_operator(gather: PixelGather, pixels: list[tuple[int, int]], weights: Array) -> Operator:
    """Operator of a point spread over some pixels.

    Parameters
    ----------
    gather : `PixelGather`
    pixels : list of (row, column)
        J pixels.
    weights : array of shape (1 + S + S², J)
        Their shares, with first and second derivatives by the shape parameters.
    """
    keep = [j for j, pixel in enumerate(pixels) if gather.inside(*pixel)]
    pixels, weights = [pixels[j] for j in keep], np.ascontiguousarray(weights[:, keep])
    if gather.after_edisp:
        parts = [gather.kernel(*pixel) for pixel in pixels]
        n_reco, n_true = gather._anchor.edisp.shape[::-1]
        n_bins = len(gather._bins.r)
        return KernelOperator(
            np.array([p[0] for p in parts]).reshape(len(parts), n_bins), gather._bins.r,
            np.array([p[1] for p in parts]).reshape(len(parts), n_reco, n_true),
            np.array([p[2] for p in parts]).reshape(len(parts), n_reco), weights,
        )  # fmt: skip
    matrices = [gather.matrix(*pixel) for pixel in pixels]
    return _weighted(matrices, gather, weights)


def _weighted(
    parts: list[tuple[Array, Array]], gather: PixelGather, weights: Array
) -> MatrixOperator:
    matrices = np.array([m for m, _ in parts]).reshape(len(parts), *gather._bin_response.shape)
    sums = np.array([c for _, c in parts]).reshape(len(parts), gather._bin_response.shape[1])
    n_shape = N_SHAPE[len(weights)]
    value, first = weights[0], weights[1 : 1 + n_shape]
    second = weights[1 + n_shape :].reshape(n_shape, n_shape, weights.shape[1])
    # the value apart from the derivatives: its bits do not depend on whether they are asked for
    matrix, matrix_shape = (
        np.tensordot(value, matrices, axes=1),
        np.tensordot(first, matrices, axes=1),
    )

    def second_shape(f: Array, w: Array, w_sum: float) -> Array:
        per_pixel = (w @ matrices + w_sum * sums) @ f
        result: Array = second @ per_pixel
        return result

    return MatrixOperator(matrix, value @ sums, matrix_shape, first @ sums, second_shape)
