"""Point sources: flux in a few pixels, convolved by gathering PSF kernels."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gmdask.geometry import Window
from gmdask.likelihood.anchor import Anchor
from gmdask.likelihood.bins import Bins
from gmdask.likelihood.factored import FactoredOperator, is_shorter
from gmdask.likelihood.observation import Observation
from gmdask.likelihood.operators import (
    N_SHAPE,
    KernelOperator,
    MatrixOperator,
    Operator,
    mask_response,
)
from gmdask.sums import times

__all__ = ["PointResponse"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Coordinates = NDArray[np.signedinteger[Any]]


class PointResponse:
    """Response to flux in single pixels, with fixed kernels.

    Parameters
    ----------
    observation : `Observation`
    anchor : `Anchor`
    bins : `Bins`
        Bins within the window of the anchor.

    Notes
    -----
    With the PSF in true energy, pixel j contributes ``A_j[t, p] = E[t, p] K_t[p - p_j]``, from which
    `FactoredOperator` computes counts, and ``c_j[t] = Σ_p W[t, p] K_t[p - p_j]`` with W from
    `mask_response`; for the PSF in reconstructed energy see `KernelOperator`. Without a PSF the
    kernel is one pixel.
    """

    def __init__(self, observation: Observation, anchor: Anchor, bins: Bins) -> None:
        self._anchor, self._bins, self._window = anchor, bins, anchor.window
        self.after_edisp = observation.psf_energy == "energy" and anchor.kernel is not None
        n_planes = len(anchor.edisp) if not self.after_edisp else anchor.edisp.shape[1]
        self._kernel = np.ones((n_planes, 1, 1)) if anchor.kernel is None else anchor.kernel.values
        self._half = self._kernel.shape[-1] // 2
        if not self.after_edisp:
            self._y, self._x, self._pixel = bins.pixels(anchor.window)
            self._exposure = anchor.exposure[:, self._y, self._x]
            self._weights = mask_response(anchor)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        own = sum(v.nbytes for v in self.__dict__.values() if isinstance(v, np.ndarray))
        return own + self._anchor.exposure.nbytes + self._anchor.mask.nbytes

    def operator(
        self, pixels: list[tuple[int, int]], weights: Array, *, frozen: bool = False
    ) -> Operator:
        """Return the operator of a point source distributed over some pixels.

        Parameters
        ----------
        pixels : list of (row, column)
            J pixels.
        weights : array of shape (1 + S + S², J)
            Their weights, with first and second derivatives with respect to the spatial parameters.
        frozen : bool
            Whether the source is fixed, so that the operator is stored compactly.
        """
        keep = [j for j, pixel in enumerate(pixels) if self._inside(*pixel)]
        pixels, weights = [pixels[j] for j in keep], np.ascontiguousarray(weights[:, keep])
        if self.after_edisp:
            return self._after_edisp(pixels, weights)
        kernels = np.zeros((len(pixels), *self._exposure.shape))
        sums = np.zeros((len(pixels), len(self._exposure)))
        for j, (row, column) in enumerate(pixels):
            at_y, at_x = row - self._window.y0, column - self._window.x0
            reached, y, x = self._reach(self._y - at_y, self._x - at_x)
            kernels[j][:, reached] = self._kernel[:, y, x]
            first, second = _overlap(self._window, row, column, self._half)
            sums[j] = np.einsum("tyx,tyx->t", self._weights[:, *first], self._kernel[:, *second])
        n_shape = N_SHAPE[len(weights)]
        shares = weights[: 1 + n_shape]
        # the value separately from the derivatives, so that its bits do not depend on whether they are requested
        flux = np.stack([times(share, kernels) for share in shares])
        flux *= self._exposure
        total = np.stack([times(share, sums) for share in shares])
        edisp, r = self._anchor.edisp, self._bins.r
        if frozen and not is_shorter(flux.shape[2], len(r), flux.shape[1]):
            return MatrixOperator(edisp.T[r] * flux[0].T[self._pixel], total[0])
        second_shares = weights[1 + n_shape :].reshape(n_shape, n_shape, len(pixels))
        curvature = partial(self._second, second_shares, kernels, sums) if n_shape else None
        return FactoredOperator(flux, edisp, self._pixel, r, total, curvature)

    def _second(
        self, shares: Array, kernels: Array, sums: Array, f: Array, w: Array, w_sum: float
    ) -> Array:
        """Second derivatives (S, S); see `Operator.second_shape`."""
        edisp = self._anchor.edisp
        at_bins = np.zeros((edisp.shape[1], len(self._y)))
        at_bins[self._bins.r, self._pixel] = w
        weight = times(edisp, at_bins) * self._exposure * f[:, None]
        return times(shares, np.einsum("jtp,tp->j", kernels, weight) + w_sum * times(sums, f))

    def _inside(self, row: int, column: int) -> bool:
        """Whether flux in a pixel counts: flux outside the window is lost."""
        window = self._window
        return window.y0 <= row < window.y1 and window.x0 <= column < window.x1

    def _reach(self, y: Coordinates, x: Coordinates) -> tuple[Index, Coordinates, Coordinates]:
        """Offsets from a pixel that its kernel reaches, and their positions (y, x) in the kernel."""
        y, x = y + self._half, x + self._half
        size = self._kernel.shape[-1]
        reached = np.flatnonzero((y >= 0) & (y < size) & (x >= 0) & (x < size))
        return reached, y[reached], x[reached]

    def _after_edisp(self, pixels: list[tuple[int, int]], weights: Array) -> KernelOperator:
        """Operator with the PSF in reconstructed energy."""
        anchor, bins, n_pixels = self._anchor, self._bins, len(pixels)
        n_true, n_reco = anchor.edisp.shape
        kernels, sums = np.zeros((n_pixels, len(bins.r))), np.zeros((n_pixels, n_reco))
        response = np.zeros((n_pixels, n_reco, n_true))
        for j, (row, column) in enumerate(pixels):
            reached, y, x = self._reach(bins.y - row, bins.x - column)
            kernels[j, reached] = self._kernel[bins.r[reached], y, x]
            at = anchor.exposure[:, row - self._window.y0, column - self._window.x0]
            response[j] = anchor.edisp.T * at
            first, second = _overlap(self._window, row, column, self._half)
            mask = anchor.mask[:, *first].astype(float)
            sums[j] = np.einsum("ryx,ryx->r", mask, self._kernel[:, *second])
        return KernelOperator(kernels, bins.r, response, sums, weights)


def _overlap(
    window: Window, row: int, column: int, half: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Overlap of a kernel around a pixel with the window: slices into window and kernel."""
    y0, y1 = max(window.y0, row - half), min(window.y1, row + half + 1)
    x0, x1 = max(window.x0, column - half), min(window.x1, column + half + 1)
    first = slice(y0 - window.y0, y1 - window.y0), slice(x0 - window.x0, x1 - window.x0)
    second = slice(y0 - row + half, y1 - row + half), slice(x0 - column + half, x1 - column + half)
    return first, second
