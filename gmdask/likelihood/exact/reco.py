"""The exact operator of a point whose PSF is given in reconstructed energy.

The PSF comes after the energy dispersion, and the exposure is that at the point, as Gammapy's
order has it: ``M[k, t] = C[p_k, r_k] Q[t, r_k]`` with the PSF C integrated over pixels, and Q
the energy dispersion times the exposure at the position of the source.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gmdask.geometry import Window
from gmdask.likelihood.exact.irfs import Jet
from gmdask.likelihood.exact.operator import Second
from gmdask.likelihood.exact.patch import Patch
from gmdask.likelihood.observation import Keep

__all__ = ["RecoOperator", "product"]

Array = NDArray[np.float64]


def product(edisp: Jet, exposure: Jet) -> Jet:
    """Energy dispersion (T, R) times exposure (T,), with derivatives."""
    r, e = edisp, exposure
    value = r.value * e.value[:, None]
    if not (r.first or e.first):
        return Jet(value, [], [])
    zero_r, zero_e = np.zeros_like(r.value), np.zeros_like(e.value)
    dr, de = r.first or [zero_r] * 2, e.first or [zero_e] * 2
    d2r = r.second or [[zero_r] * 2] * 2
    d2e = e.second or [[zero_e] * 2] * 2
    first = [dr[i] * e.value[:, None] + r.value * de[i][:, None] for i in (0, 1)]
    second = [
        [
            d2r[i][j] * e.value[:, None] + dr[i] * de[j][:, None] + dr[j] * de[i][:, None]
            + r.value * d2e[i][j][:, None]
            for j in (0, 1)
        ]
        for i in (0, 1)
    ]  # fmt: skip
    return Jet(value, first, second)


class RecoOperator:
    """Operator at one position of a point; see the module.

    Parameters
    ----------
    seen : array of shape (1 + S, pixel, R)
        C and its derivatives by the shape parameters.
    sums : array of shape (pattern, 1 + S, R)
        Sums of C over the pixels of each pattern of the mask.
    folded : `Jet`
        Q (T, R).
    which : list of int
        For each shape parameter 0 for the longitude, 1 for the latitude.
    patch : `Patch`
    second : callable, optional
        See `ExactOperator`; of weights (pattern, R) and (pixel, R) of C.
    """

    negative = False

    def __init__(
        self, seen: Array, sums: Array, folded: Jet, which: list[int], patch: Patch,
        second: Second | None,
    ) -> None:  # fmt: skip
        self._patch, self._folded, self._which, self._second = patch, folded, which, second
        self._seen = np.ascontiguousarray(seen[:, patch.pixel, patch.r])
        self._masked = np.einsum("gr,gsr->sr", patch.patterns, sums)

    @property
    def window(self) -> Window:
        """Pixels it is evaluated in."""
        return self._patch.window

    @property
    def nbytes(self) -> int:
        """Size of the operator."""
        return self._seen.nbytes

    def keep(self, keep: Keep) -> None:
        """See `Operator`."""
        self._seen = keep(self._seen)

    def _fold(self, matrix: Array, f: Array) -> Array:
        """Counts (R,) of a point that all reach one pixel."""
        counts: Array = (matrix * f[:, None]).sum(axis=0)
        return counts

    def _slope(self, s: int) -> Array | None:
        return self._folded.first[self._which[s]] if self._folded.first else None

    def forward(self, spectra: Array) -> tuple[Array, Array]:
        """See `Operator`."""
        if spectra.ndim == 1:
            reco = self._fold(self._folded.value, spectra)
            return self._seen[0] * reco[self._patch.r], np.asarray((self._masked[0] * reco).sum())
        found = [self.forward(f) for f in spectra.T]
        return np.stack([c for c, _ in found], axis=1), np.array([float(t) for _, t in found])

    def forward_shape(self, f: Array) -> tuple[Array, Array]:
        """See `Operator`."""
        reco, r = self._fold(self._folded.value, f), self._patch.r
        counts, total = np.zeros((len(r), len(self._which))), np.zeros(len(self._which))
        for s in range(len(self._which)):
            counts[:, s] = self._seen[1 + s] * reco[r]
            total[s] = (self._masked[1 + s] * reco).sum()
            if (slope := self._slope(s)) is not None:
                turned = self._fold(slope, f)
                counts[:, s] += self._seen[0] * turned[r]
                total[s] += (self._masked[0] * turned).sum()
        return counts, total

    def _weights(self, row: int, w: Array, w_sum: float) -> Array:
        """Weights (R,) of the counts of a point before the PSF."""
        n = self._folded.value.shape[1]
        own: Array = np.bincount(self._patch.r, w * self._seen[row], n) + w_sum * self._masked[row]
        return own

    def adjoint(self, w: Array, w_sum: float) -> Array:
        """See `Operator`."""
        result: Array = (self._folded.value * self._weights(0, w, w_sum)).sum(axis=1)
        return result

    def adjoint_shape(self, w: Array, w_sum: float) -> Array:
        """See `Operator`."""
        out = np.zeros((len(self._which), len(self._folded.value)))
        own = self._weights(0, w, w_sum)
        for s in range(len(self._which)):
            out[s] = (self._folded.value * self._weights(1 + s, w, w_sum)).sum(axis=1)
            if (slope := self._slope(s)) is not None:
                out[s] += (slope * own).sum(axis=1)
        return out

    def second_shape(self, f: Array, w: Array, w_sum: float) -> Array:
        """See `Operator`."""
        n = len(self._which)
        if self._second is None:
            return np.zeros((n, n))
        reco, patch = self._fold(self._folded.value, f), self._patch
        of_pixel = np.zeros((patch.n_pixels, len(reco)))
        of_pixel[patch.pixel, patch.r] = w * reco[patch.r]
        out = self._second(w_sum * patch.patterns * reco, of_pixel)
        if self._folded.first:
            own = [self._weights(row, w, w_sum) for row in range(1 + n)]
            turned = [self._fold(self._folded.first[i], f) for i in self._which]
            for s, i in enumerate(self._which):
                for u, j in enumerate(self._which):
                    both = self._fold(self._folded.second[i][j], f)
                    out[s, u] += float(
                        (own[0] * both + own[1 + s] * turned[u] + own[1 + u] * turned[s]).sum()
                    )
        return out
