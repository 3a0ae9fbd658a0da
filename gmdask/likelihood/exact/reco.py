"""Response to a source before a PSF in reconstructed energy, where the exposure is applied first.

The exposure over a source is approximated by a polynomial. Predicted counts are a sum over its terms: the
source times each of them is convolved with the PSF, and the energy dispersion is multiplied by its coefficient.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gmdask.geometry import Window
from gmdask.likelihood.exact.footprints import pairs
from gmdask.likelihood.exact.hankel import Wavenumbers, transformed
from gmdask.likelihood.exact.moments import Moment
from gmdask.likelihood.exact.operator import ByShape, RecoOperator
from gmdask.likelihood.exact.radial import DEG
from gmdask.likelihood.observation import Keep
from gmdask.likelihood.operators import Bent, Linear, OperatorBase

__all__ = ["SumOperator", "TermTables", "product"]

Array = NDArray[np.float64]
Key = int | tuple[int, int] | None  # of the value, and of first and second derivatives


def product(edisp: ByShape, exposure: ByShape) -> ByShape:
    """Energy dispersion (T, R) times a coefficient of the exposure (T,), with derivatives."""
    r, e, n = edisp, exposure, len(edisp.first)

    def times(matrix: Array | None, factor: Array | None) -> Array | float:
        return 0.0 if matrix is None or factor is None else matrix * factor[:, None]

    zero = np.zeros_like(r.value)
    first: list[Array | None] = [
        zero + times(r.first[s], e.value) + times(r.value, e.first[s]) for s in range(n)
    ]
    second = {
        (s, u): zero + times(r.second.get((s, u)), e.value) + times(r.value, e.second.get((s, u)))
        + times(r.first[s], e.first[u]) + times(r.first[u], e.first[s])
        for s, u in pairs(n)
    }  # fmt: skip
    return ByShape(r.value * e.value[:, None], first, second)


class TermTables(NamedTuple):
    """What makes tables of the terms of an exposure.

    Attributes
    ----------
    hankel : `Wavenumbers`
    moments : list of `Moment`
        Of each term.
    planes : `ByShape`
        PSF tables (energy, rad), and their derivatives by the shape parameters.
    size : list of int
        Place among the sizes of each shape parameter; -1 for those that are none.
    """

    hankel: Wavenumbers
    moments: list[Moment]
    planes: ByShape
    size: list[int]

    def tables(self, order: int) -> list[ByShape]:
        """Coefficients (energy, M, n + 4) per sr of each term, derived by sizes and through the PSF."""
        found: list[dict[Key, Array]] = [{} for _ in self.moments]
        jobs, keys = [], []
        for i, moment in enumerate(self.moments):
            for key, (planes, harmonics) in self._parts(moment, order).items():
                jobs.append((planes, harmonics, moment.waves))
                keys.append((i, key))
        for (i, key), table in zip(keys, transformed(self.hankel, jobs), strict=True):
            found[i][key] = table / DEG**2
        n = len(self.planes.first)
        return [
            ByShape(
                of_term[None],
                [of_term.get(s) for s in range(n)],
                {pair: of_term[pair] for pair in pairs(n) if pair in of_term},
            )
            for of_term in found
        ]

    def _parts(self, moment: Moment, order: int) -> dict[Key, tuple[Array, Array]]:
        """PSF tables and harmonics whose transforms are asked for."""
        planes, shape, size = self.planes, moment.transform, self.size
        parts: dict[Key, tuple[Array, Array]] = {None: (planes.value, shape.value)}
        n = len(planes.first)
        for s in range(n if order > 0 else 0):
            if size[s] >= 0:
                parts[s] = planes.value, shape.first[size[s]]
            elif (by_place := planes.first[s]) is not None:
                parts[s] = by_place, shape.value
        for s, u in pairs(n) if order > 1 else []:
            p, q = size[s], size[u]
            if p >= 0 and q >= 0:
                parts[s, u] = planes.value, shape.second[p, q]
            elif (s, u) in planes.second:
                parts[s, u] = planes.second[s, u], shape.value
            elif max(p, q) >= 0 and (by_place := planes.first[s if q >= 0 else u]) is not None:
                parts[s, u] = by_place, shape.first[max(p, q)]
        return parts


class SumOperator(OperatorBase):
    """The sum of several operators of one source.

    Parameters
    ----------
    parts : list of `RecoOperator`
    """

    negative = False

    def __init__(self, parts: list[RecoOperator]) -> None:
        self._parts = parts

    @property
    def window(self) -> Window:
        """Pixels it is evaluated in."""
        return self._parts[0].window

    @property
    def nbytes(self) -> int:
        """Size of what is held besides the patch."""
        return sum(part.nbytes for part in self._parts)

    def keep(self, keep: Keep) -> None:
        """Nothing: it moves."""

    def forward(self, spectra: Array) -> tuple[Array, Array]:
        """See `Operator`."""
        counts, totals = zip(*(part.forward(spectra) for part in self._parts), strict=True)
        return np.sum(counts, axis=0), np.sum(totals, axis=0)

    def linear(self, f: Array, spectra: Array) -> Linear:
        """See `Operator`."""
        found = zip(*(part.linear(f, spectra) for part in self._parts), strict=True)
        counts, total, *rest = (np.sum(own, axis=0) for own in found)
        return Linear(counts, float(total), *rest)

    def forward_shape(self, f: Array) -> tuple[Array, Array]:
        """See `Operator`."""
        found = self.linear(f, np.zeros((len(f), 0)))
        return found.shape, found.shape_total

    def bent(self, f: Array, w: Array, w_sum: float) -> Bent:
        """See `Operator`."""
        found = zip(*(part.bent(f, w, w_sum) for part in self._parts), strict=True)
        return Bent(*(np.sum(own, axis=0) for own in found))

    def adjoint(self, w: Array, w_sum: float) -> Array:
        """See `Operator`."""
        result: Array = np.sum([part.adjoint(w, w_sum) for part in self._parts], axis=0)
        return result

    def adjoint_shape(self, w: Array, w_sum: float) -> Array:
        """See `Operator`."""
        result: Array = np.sum([part.adjoint_shape(w, w_sum) for part in self._parts], axis=0)
        return result

    def second_shape(self, f: Array, w: Array, w_sum: float) -> Array:
        """See `Operator`."""
        return self.bent(f, w, w_sum).second_shape
