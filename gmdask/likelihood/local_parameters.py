"""Parameters that only one dataset has: they are minimised over where the data are."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from gmdask.likelihood.kind import Evaluation
from gmdask.likelihood.parameter_slots import limits
from gmdask.models import DatasetModels, PriorSum
from gmdask.optimize.bounded_newton import minimise_bounded
from gmdask.optimize.quadratic import at_limit

__all__ = ["LocalParameters"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


class LocalParameters:
    """Parameters that only one dataset has, over which its likelihood is minimised.

    Parameters
    ----------
    models : `DatasetModels`
        Models of the dataset, with N parameters.
    free, chosen : boolean array of shape (N,)
        Which of them are free, P in all, and which of these are local, L in all.

    Attributes
    ----------
    index : array of shape (L,)
        Their positions.
    prior : `PriorSum`
        Their priors.
    lower, upper : array of shape (N,)
        Limits of all parameters, including those of the priors.
    norms : boolean array of shape (N,)
        Parameters that scale the background or the exposure.
    """

    def __init__(self, models: DatasetModels, free: Mask, chosen: Mask) -> None:
        parameters = models.parameters
        self._free, self._chosen = free, chosen
        self.index = np.flatnonzero(chosen)
        self._columns = np.cumsum(free)[self.index] - 1
        self.norms = models.scales
        self.lower, self.upper = limits(models, self.norms & chosen)
        self.prior = PriorSum([parameters[k].prior for k in self.index.tolist()])
        low, high = self.prior.limits()
        self.lower[self.index] = np.maximum(self.lower[self.index], low)
        self.upper[self.index] = np.minimum(self.upper[self.index], high)

    def add_priors(self, values: Array, gradient: Array, *hessians: Array | None) -> None:
        """Add the derivatives of the priors at values (N,) to a gradient (P,) and Hessians (P, P), in place.

        Parameters
        ----------
        values : array of shape (N,)
        gradient : array of shape (P,)
        *hessians : array of shape (P, P), or None
            The Gauss-Newton Hessian, which stays positive, then the observed one.
        """
        if not len(self.prior):
            return
        _, slope, curvature = self.prior(values[self.index])
        own = self._columns
        gradient[own] += slope
        for hessian, bent in zip(hessians, (np.maximum(curvature, 0.0), curvature), strict=True):
            if hessian is not None:
                hessian[own, own] += bent

    def active(self, values: Array, gradient: Array) -> Mask:
        """Free parameters (P,) except local ones that are held at a limit."""
        free = self._free
        held = at_limit(values[free], gradient, self.lower[free], self.upper[free])
        return np.asarray(~(held & self._chosen[free]))

    def profile(self, values: Array, evaluate: Callable[[Array], Evaluation]) -> Array:
        """Return the values (N,) with the local parameters at their optimum.

        Parameters
        ----------
        values : array of shape (N,)
            Start.
        evaluate : callable
            Takes values (N,), and returns the likelihood with the observed Hessian; nothing is minimised.
        """
        result, index, columns = values.copy(), self.index, self._columns
        # number of bins with counts but no prediction at the start: a step must not add to them
        least: int | None = None

        def function(x: Array) -> tuple[float, Array, Array]:
            nonlocal least
            at = values.copy()
            at[index] = x
            found = evaluate(at)
            assert found.gradient is not None
            assert found.observed is not None
            least = found.n_floor if least is None else least
            stat = found.stat if found.n_floor <= least else np.inf
            if len(self.prior):
                stat += self.prior(x)[0]
            return stat, found.gradient[columns], found.observed[np.ix_(columns, columns)]

        bounds = self.lower[index], self.upper[index]
        # a step that overflows is rejected; a start that is not finite is reported to the caller
        with np.errstate(over="ignore", invalid="ignore"), suppress(np.linalg.LinAlgError):
            result[index] = minimise_bounded(function, values[index], *bounds, self.norms[index])
        return result
