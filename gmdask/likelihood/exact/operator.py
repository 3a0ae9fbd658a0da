"""Operators of the exact response: counts from a spectrum, with derivatives by the spatial parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gmdask.geometry import Window
from gmdask.likelihood.exact.footprints import pairs
from gmdask.likelihood.exact.kernels import at_bins, duals, fold, onto_coefficients
from gmdask.likelihood.exact.patch import Patch
from gmdask.likelihood.exact.pixel_footprint import Sight
from gmdask.likelihood.observation import Keep
from gmdask.likelihood.operators import Bent, Linear, OperatorBase

__all__ = ["ByShape", "ExactOperator", "RecoOperator"]

Array = NDArray[np.float64]
Term = tuple[Array, Array]

MAX_FOLDED = 4_000_000  # largest number of coefficients of all columns that are processed at once


@dataclass
class ByShape:
    """A quantity with its derivatives with respect to the S spatial parameters; None for none.

    Attributes
    ----------
    value : array
    first : list of array or None
    second : dict
        By pairs (s, u) with u <= s.
    """

    value: Array
    first: list[Array | None]
    second: dict[tuple[int, int], Array]


class ExactOperator(OperatorBase):
    """``M[k, t] = R[t, r_k] A[p_k, t]``, with derivatives of both factors.

    A is the exposure times the source convolved with the PSF.

    Parameters
    ----------
    sight : `Sight`
        With derivatives with respect to position and angle, in the order of the spatial parameters.
    patch : `Patch`
    shares : array of shape (K, T)
        Decomposition of the exposure, in cm2 s, into the maps of the patch.
    edisp : `ByShape`
        R (T, energy).
    tables : `ByShape`
        Coefficients (T, M, n + 4) per sr, without second derivatives.
    moved : list of int
        Position in `sight` of each spatial parameter; -1 for parameters that are not in it.
    second : callable
        Returns `tables` with their second derivatives.
    """

    negative = False

    def __init__(
        self, sight: Sight, patch: Patch, shares: Array, edisp: ByShape, tables: ByShape,
        moved: list[int], second: Callable[[], ByShape],
    ) -> None:  # fmt: skip
        self._sight = sight
        self._hold(patch, shares, edisp, tables, moved, second)

    def _hold(
        self, patch: Patch, shares: Array, edisp: ByShape, tables: ByShape, moved: list[int],
        second: Callable[[], ByShape],
    ) -> None:  # fmt: skip
        self._patch, self._shares = patch, shares
        self._edisp, self._tables, self._moved, self._second = edisp, tables, moved, second

    @property
    def window(self) -> Window:
        """Pixels in which it is evaluated."""
        return self._patch.window

    @property
    def nbytes(self) -> int:
        """Bytes held, without the patch."""
        tables = [self._tables.value, *(t for t in self._tables.first if t is not None)]
        return sum(table.nbytes for table in tables)

    def keep(self, keep: Keep) -> None:
        """Do nothing, since the source moves."""

    def _spread(self, edisp: Array, f: Array) -> Array:
        """Contribution of a spectrum (R, T) from each energy of the tables."""
        return np.ascontiguousarray(edisp.T * f)

    def _gather(self, edisp: Array, found: Array) -> Array:
        """Gradient (T,) by the spectrum, from that (T, R) by what `_spread` gives."""
        result: Array = (edisp * found).sum(axis=1)
        return result

    def _wanted(self) -> NDArray[np.bool_]:
        """Where (T, R) the gradient by what `_spread` gives is needed."""
        given = [self._edisp.value, *self._edisp.first, *self._edisp.second.values()]
        wanted: NDArray[np.bool_] = np.any([a != 0 for a in given if a is not None], axis=0)
        return wanted

    def _at_bins(self, n_g: int, folded: Array) -> tuple[Array, Array]:
        """Counts and masked sums, with all or none of the derivatives; see `kernels.at_bins`."""
        sight = (
            self._sight if n_g else self._sight._replace(moves=np.zeros((0, 2)), turns=np.zeros(0))
        )
        return at_bins(sight, self._patch, folded)

    def _onto(self, w: Array, w_sum: float, size: int) -> Array:
        """Weighted footprints with second derivatives; see `kernels.onto_coefficients`."""
        return onto_coefficients(self._sight, self._patch, w, w_sum, size)

    def _columns(self, columns: list[list[Term]], n_g: int) -> tuple[Array, Array]:
        """Counts (bin, column + G) and masked sums (column + G,) of sums of `_spread` times tables."""
        patch, n_k = self._patch, len(self._shares)
        n_r = patch.patterns.shape[1]
        _, n_m, n = self._tables.value.shape
        folded = np.zeros((n_r, len(columns), n * n_m * n_k))
        for c, terms in enumerate(columns):
            for spread, table in terms:
                fold(spread, self._shares, table, c, folded)
        return self._at_bins(n_g, folded)

    def forward(self, spectra: Array) -> tuple[Array, Array]:
        """See `Operator`."""
        edisp, table = self._edisp.value, self._tables.value
        every = spectra[:, None] if spectra.ndim == 1 else spectra
        size = max(MAX_FOLDED // (len(edisp.T) * table[0].size * len(self._shares)), 1)
        found = [
            self._columns([[(self._spread(edisp, f), table)] for f in every.T[i : i + size]], 0)
            for i in range(0, every.shape[1], size)
        ]
        counts = np.concatenate([c for c, _ in found], axis=1)
        totals = np.concatenate([t for _, t in found])
        return (counts[:, 0], totals[0]) if spectra.ndim == 1 else (counts, totals)

    def _terms(self, f: Array) -> list[list[Term]]:
        """Terms of each spatial parameter other than those of the footprint."""
        spread, table = self._spread(self._edisp.value, f), self._tables.value
        found: list[list[Term]] = [[] for _ in self._moved]
        for s, terms in enumerate(found):
            if (by_table := self._tables.first[s]) is not None:
                terms.append((spread, by_table))
            if (by_edisp := self._edisp.first[s]) is not None:
                terms.append((self._spread(by_edisp, f), table))
        return found

    def linear(self, f: Array, spectra: Array) -> Linear:
        """See `Operator`."""
        edisp, table = self._edisp.value, self._tables.value
        terms = self._terms(f)
        own = [s for s, found in enumerate(terms) if found]
        columns = [[(self._spread(edisp, f), table)], *(terms[s] for s in own)]
        columns += [[(self._spread(edisp, spectrum), table)] for spectrum in spectra.T]
        counts, totals = self._columns(columns, max(self._moved, default=-1) + 1)
        first, end = 1 + len(own), len(columns)
        shape, shape_total = np.zeros((len(counts), len(terms))), np.zeros(len(terms))
        for c, s in enumerate(own, 1):
            shape[:, s], shape_total[s] = counts[:, c], totals[c]
        for s, g in enumerate(self._moved):
            if g >= 0:
                shape[:, s] += counts[:, end + g]
                shape_total[s] += totals[end + g]
        return Linear(
            counts[:, 0],
            float(totals[0]),
            counts[:, first:end],
            totals[first:end],
            shape,
            shape_total,
        )

    def forward_shape(self, f: Array) -> tuple[Array, Array]:
        """See `Operator`."""
        found = self.linear(f, np.zeros((len(f), 0)))
        return found.shape, found.shape_total

    def adjoint(self, w: Array, w_sum: float) -> Array:
        """See `Operator`."""
        return self.bent(np.zeros(len(self._edisp.value)), w, w_sum).adjoint

    def adjoint_shape(self, w: Array, w_sum: float) -> Array:
        """See `Operator`."""
        return self.bent(np.zeros(len(self._edisp.value)), w, w_sum).adjoint_shape

    def second_shape(self, f: Array, w: Array, w_sum: float) -> Array:
        """See `Operator`."""
        return self.bent(f, w, w_sum).second_shape

    def bent(self, f: Array, w: Array, w_sum: float) -> Bent:
        """See `Operator`."""
        patch, moved = self._patch, self._moved
        n_g, n_s, n_r = max(moved, default=-1) + 1, len(moved), patch.patterns.shape[1]
        tables, edisp = self._second(), self._edisp
        weights = self._onto(w, w_sum, tables.value[0].size * len(self._shares))
        first = [tables.value, *(t for t in tables.first if t is not None)]
        every = np.stack([*first, *tables.second.values()])
        place = {id(table): i for i, table in enumerate([*first, *tables.second.values()])}
        n_tables = [len(every)] + [len(first)] * n_g + [1] * len(pairs(n_g))
        found = [np.zeros((n_own, every.shape[1], n_r)) for n_own in n_tables]
        wanted = self._wanted()
        for q, (n_own, out) in enumerate(zip(n_tables, found, strict=True)):
            duals(weights, q, self._shares, every[:n_own], wanted, out)
        row_of = {pair: 1 + n_g + k for k, pair in enumerate(pairs(n_g))}

        def dual(row: int | None, table: Array | None, by: Array | None) -> Array | float:
            """Gradient (T,) by the spectrum of one product of derivatives, 0 if it vanishes."""
            if row is None or table is None or by is None:
                return 0.0
            return self._gather(by, found[row][place[id(table)]])

        row = [None if g < 0 else 1 + g for g in moved]
        c, dc, e, de = tables.value, tables.first, edisp.value, edisp.first
        adjoint = np.asarray(dual(0, c, e))
        by_shape, second = np.zeros((n_s, len(f))), np.zeros((n_s, n_s))
        for s in range(n_s):
            by_shape[s] = dual(row[s], c, e) + dual(0, dc[s], e) + dual(0, c, de[s])
        for s, u in pairs(n_s):
            both = max(moved[s], moved[u]), min(moved[s], moved[u])
            total = (
                dual(row_of.get(both), c, e)
                + dual(0, tables.second.get((s, u)), e) + dual(0, c, edisp.second.get((s, u)))
                + dual(row[s], dc[u], e) + dual(row[u], dc[s], e)
                + dual(row[s], c, de[u]) + dual(row[u], c, de[s])
                + dual(0, dc[s], de[u]) + dual(0, dc[u], de[s])
            )  # fmt: skip
            second[s, u] = second[u, s] = float((total * f).sum())
        return Bent(adjoint, by_shape, second)


class RecoOperator(ExactOperator):
    """Operator for a PSF in reconstructed energy: ``M[k, t] = C[p_k, r_k] Q[t, r_k]``.

    The PSF is applied after the energy dispersion, and the exposure is evaluated at the source, a point, as
    in Gammapy's order: Q, which replaces the energy dispersion, is the product of both. The
    tables are for reconstructed energies.
    """

    def _spread(self, edisp: Array, f: Array) -> Array:
        return np.diag((edisp * f[:, None]).sum(axis=0))

    def _gather(self, edisp: Array, found: Array) -> Array:
        result: Array = (edisp * np.diag(found)).sum(axis=1)
        return result

    def _wanted(self) -> NDArray[np.bool_]:
        return np.eye(self._edisp.value.shape[1], dtype=bool)
