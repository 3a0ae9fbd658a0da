"""The likelihood of a dataset, integrated over its local parameters by Laplace's method."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gmdask.likelihood.background_term import BackgroundTerm
from gmdask.likelihood.local_parameters import LocalParameters
from gmdask.likelihood.parameter_slots import Jacobian, Slot
from gmdask.likelihood.statistics import Statistic, Terms
from gmdask.sums import times
from gmdask.symmetric import cholesky, pseudo_inverse

__all__ = ["Laplace"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Mask = NDArray[np.bool_]

STEP = 1e-3  # of finite differences by parameters of the background, in their errors
SHARE = 1e-4  # of finite differences by the predicted counts, as a share of them


@dataclass(frozen=True)
class Laplace:
    """Integral over the local parameters around their optimum.

    Attributes
    ----------
    term : `BackgroundTerm`
    local : `LocalParameters`
    statistic : `Statistic`
        Statistic of the bins.
    compare : callable
        Compares predicted counts (bin,) with masked sum to the data.
    values : array of shape (N,)
        All parameters of the dataset, the local ones at their optimum.
    source : array of shape (bin,)
        Counts of all sources.
    source_sum : float
        Their masked sum.

    Notes
    -----
    With the Hessian H of the statistic, ``-2 log`` of the integral is the statistic at the optimum plus
    ``log det(H / 4π)``. The derivatives of H are central differences, with relative errors of some 1e-8.
    """

    term: BackgroundTerm
    local: LocalParameters
    statistic: Statistic
    compare: Callable[[Array, float], Terms]
    values: Array
    source: Array
    source_sum: float

    def log_det(self, jacobian: Jacobian, active: Mask) -> tuple[float, Array]:
        """Evaluate ``log det(H / 4π)`` and its partial derivatives (P,) by the free parameters.

        Parameters
        ----------
        jacobian : `Jacobian`
            Derivatives of the predicted counts by the free parameters.
        active : boolean array of shape (P,)
            Free parameters that are not local ones at a limit, which are held there.

        Returns
        -------
        value : float
            Infinite if H is not positive definite.
        gradient : array of shape (P,)
        """
        slot, gradient = self.term.slot, np.zeros(jacobian.n_free)
        if slot is None:
            return 0.0, gradient
        column = np.full(len(slot.index), -1, dtype=np.intp)
        column[slot.places] = slot.columns
        moving = self.term.local_places(self.local)
        inside = np.flatnonzero(active[column[moving]])
        here = self._hessian(self.values, inside)
        value = _log_det(here)
        if not len(inside) or not math.isfinite(value):
            return value, gradient
        inverse = pseudo_inverse(here)
        gradient += jacobian.gradient(self._by_counts(slot, moving[inside], inverse))
        for place in slot.places:  # of the background: H depends on them not by the counts alone
            up, down, k = self.values.copy(), self.values.copy(), int(slot.index[place])
            step = STEP * self._error(slot, int(place))
            up[k] += step
            down[k] -= step
            change = _log_det(self._hessian(up, inside)) - _log_det(self._hessian(down, inside))
            gradient[column[place]] = change / (up[k] - down[k])
        return value, gradient

    def _hessian(self, values: Array, inside: Index) -> Array:
        assert self.term.slot is not None
        own = values[self.term.slot.index[self.term.local_places(self.local)]]
        function = self.term.likelihood(
            values, self.local, self.source, self.source_sum, self.compare
        )
        return np.asarray(function(own)[2][np.ix_(inside, inside)])

    def _npred(self, slot: Slot) -> Array:
        return self.source + self.term.background.predict(slot.internal(self.values))[0]

    def _error(self, slot: Slot, place: int) -> float:
        """Error of a parameter of the background with all others fixed."""
        at = np.array([place])
        counts = self.term.background.jacobian(slot.internal(self.values), at)[0][0]
        slope = counts * slot.factors[place]
        curvature = float(np.sum(slope * slope * self.statistic.slopes(self._npred(slot))[1]))
        value = float(self.values[slot.index[place]])
        return math.sqrt(2 / curvature) if curvature > 0 else max(abs(value), 1.0)

    def _by_counts(self, slot: Slot, places: Index, inverse: Array) -> Array:
        """Derivatives (bin,) of ``log det H`` by the counts of the sources."""
        background, internal = self.term.background, slot.internal(self.values)
        npred, factors = self._npred(slot), slot.factors[places]
        second, width = self.statistic.slopes(npred)[1], SHARE * np.abs(npred)
        change = self.statistic.slopes(npred + width)[1] - self.statistic.slopes(npred - width)[1]
        third = np.divide(change, 2 * width, out=np.zeros_like(change), where=width > 0)
        rows = background.jacobian(internal, places)[0] * factors[:, None]
        result: Array = third * np.einsum("ib,ij,jb->b", rows, inverse, rows)
        for i, place in enumerate(places):
            step = SHARE * max(abs(float(internal[place])), 1.0)
            up, down = internal.copy(), internal.copy()
            up[place] += step
            down[place] -= step
            bend = background.jacobian(up, places)[0] - background.jacobian(down, places)[0]
            result += second * times(inverse[i] * factors * factors[i] / (2 * step), bend)
        return result


def _log_det(hessian: Array) -> float:
    """Return ``log det(H / 4π)``, infinite if H is not positive definite."""
    factor = cholesky(hessian / (4 * math.pi))
    return math.inf if factor is None else 2 * float(np.sum(np.log(np.diag(factor))))
