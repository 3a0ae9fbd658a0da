"""Operators of the exact response: counts from a spectrum, with derivatives by the shape."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gmdask.geometry import Window
from gmdask.likelihood.exact.irfs import Jet
from gmdask.likelihood.exact.kernels import at_bins, to_spectrum
from gmdask.likelihood.exact.patch import Patch
from gmdask.likelihood.observation import Keep

__all__ = ["ExactOperator", "Second"]

Array = NDArray[np.float64]
Second = Callable[[Array, Array], Array]


class ExactOperator:
    """``M[k, t] = R[t, r_k] A[p_k, t]``, with derivatives of both factors.

    Parameters
    ----------
    flux : array of shape (1 + S, pixel, T)
        A, exposure times the convolved source, and its derivatives by the shape parameters.
    sums : array of shape (pattern, 1 + S, T)
        Sums of A over the pixels of each pattern of the mask.
    edisp : `Jet`
        R (T, energy).
    turns : array of shape (S, 2)
        Derivatives of longitude and latitude, in deg, by the shape parameters.
    patch : `Patch`
    second : callable, optional
        Takes weights (pattern, T) and (pixel, T) of A; returns its weighted second derivatives
        (S, S).
    """

    negative = False

    def __init__(
        self, flux: Array, sums: Array, edisp: Jet, turns: Array, patch: Patch,
        second: Second | None,
    ) -> None:  # fmt: skip
        self._flux, self._sums, self._patch, self._second = flux, sums, patch, second
        n_s = len(flux) - 1
        self._r = np.ascontiguousarray(edisp.value.T)
        self._dr: list[Array | None] = [None] * n_s
        self._d2r: dict[tuple[int, int], Array] = {}
        if edisp.first:
            for s in range(n_s):
                if turns[s].any():
                    self._dr[s] = np.ascontiguousarray(
                        (turns[s, 0] * edisp.first[0] + turns[s, 1] * edisp.first[1]).T
                    )
            for s in range(n_s):
                for u in range(n_s):
                    if self._dr[s] is not None and self._dr[u] is not None:
                        both = sum(
                            turns[s, i] * turns[u, j] * edisp.second[i][j]
                            for i in (0, 1)
                            for j in (0, 1)
                        )
                        self._d2r[s, u] = np.ascontiguousarray(np.asarray(both).T)

    @property
    def window(self) -> Window:
        """Pixels it is evaluated in."""
        return self._patch.window

    @property
    def nbytes(self) -> int:
        """Size of the operator."""
        return self._flux.nbytes + self._sums.nbytes

    def keep(self, keep: Keep) -> None:
        """See `Operator`."""
        self._flux = keep(self._flux)

    def _masked(self, edisp: Array, s: int) -> Array:
        """Masked sums (T,) of an energy dispersion (energy, T) times A or a derivative."""
        through = self._patch.patterns[:, :, None] * edisp
        result: Array = (through.sum(axis=1) * self._sums[:, s]).sum(axis=0)
        return result

    def _counts(self, terms: list[tuple[Array, int]], spectrum: Array) -> tuple[Array, float]:
        """Counts (bin,) and masked sum of ``Σ R f A`` over pairs (R, row of A)."""
        counts, total = np.zeros(len(self._patch.r)), 0.0
        for edisp, s in terms:
            at_bins(self._flux[s], edisp * spectrum, self._patch.pixel, self._patch.r, counts)
            total += float((self._masked(edisp, s) * spectrum).sum())
        return counts, total

    def _spectrum(self, terms: list[tuple[Array, int]], w: Array, w_sum: float) -> Array:
        """Gradient (T,) by the spectrum of weighted counts."""
        out = np.zeros(self._flux.shape[2])
        for edisp, s in terms:
            to_spectrum(self._flux[s], edisp, self._patch.pixel, self._patch.r, w, out)
            out += w_sum * self._masked(edisp, s)
        return out

    def _slope(self, s: int) -> list[tuple[Array, int]]:
        slope = self._dr[s]
        return [(self._r, 1 + s)] if slope is None else [(self._r, 1 + s), (slope, 0)]

    def forward(self, spectra: Array) -> tuple[Array, Array]:
        """See `Operator`."""
        if spectra.ndim == 1:
            counts, total = self._counts([(self._r, 0)], spectra)
            return counts, np.asarray(total)
        found = [self._counts([(self._r, 0)], spectrum) for spectrum in spectra.T]
        return np.stack([c for c, _ in found], axis=1), np.array([t for _, t in found])

    def forward_shape(self, f: Array) -> tuple[Array, Array]:
        """See `Operator`."""
        found = [self._counts(self._slope(s), f) for s in range(len(self._dr))]
        if not found:
            return np.zeros((len(self._patch.r), 0)), np.zeros(0)
        return np.stack([c for c, _ in found], axis=1), np.array([t for _, t in found])

    def adjoint(self, w: Array, w_sum: float) -> Array:
        """See `Operator`."""
        return self._spectrum([(self._r, 0)], w, w_sum)

    def adjoint_shape(self, w: Array, w_sum: float) -> Array:
        """See `Operator`."""
        found = [self._spectrum(self._slope(s), w, w_sum) for s in range(len(self._dr))]
        return np.stack(found) if found else np.zeros((0, self._flux.shape[2]))

    def second_shape(self, f: Array, w: Array, w_sum: float) -> Array:
        """See `Operator`."""
        n_s = len(self._dr)
        if self._second is None:
            return np.zeros((n_s, n_s))
        through = (self._patch.patterns[:, :, None] * self._r).sum(axis=1)
        per_pixel = np.zeros(self._flux.shape[1:])
        np.add.at(per_pixel, self._patch.pixel, w[:, None] * self._r[self._patch.r])
        out = self._second(w_sum * through * f, per_pixel * f)
        for s in range(n_s):
            for u in range(n_s):
                terms = []
                if (slope := self._dr[s]) is not None:
                    terms.append((slope, 1 + u))
                if (slope := self._dr[u]) is not None:
                    terms.append((slope, 1 + s))
                if (s, u) in self._d2r:
                    terms.append((self._d2r[s, u], 0))
                if terms:
                    out[s, u] += float((self._spectrum(terms, w, w_sum) * f).sum())
        return out
