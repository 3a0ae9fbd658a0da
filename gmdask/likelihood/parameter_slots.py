"""Positions of the parameters of models among those of a dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from gmdask.models import DatasetModels, ModelBase
from gmdask.sums import gram, times

__all__ = ["Jacobian", "Slot", "Slots", "add_block", "limits"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Mask = NDArray[np.bool_]


class Slot:
    """Positions of the parameters of some models, one after the other, among the dataset's parameters.

    Parameters
    ----------
    models : sequence of `ModelBase`
    positions : mapping
        Position of each parameter of the dataset, by its id.
    column : array
        Column of each parameter among the P free ones, -1 if it is not free.

    Attributes
    ----------
    index : array
        Position of each parameter.
    factors : array
        Conversion from the parameter's unit to the model's internal one.
    places, columns, free_factors : array
        For free parameters: index in the models, column among the P, factor.
    """

    def __init__(
        self, models: Sequence[ModelBase], positions: Mapping[int, int], column: Index
    ) -> None:
        found = [positions[id(p)] for model in models for _, p in model.named_parameters()]
        self.index = np.array(found, dtype=np.intp)
        self.factors: Array = np.concatenate([np.zeros(0), *(m.internal_factors for m in models)])
        self.places = np.flatnonzero(column[self.index] >= 0)
        self.columns = column[self.index[self.places]]
        self.free_factors = self.factors[self.places]

    def internal(self, values: Array) -> Array:
        """Values of the models' parameters in their internal units."""
        result: Array = values[self.index] * self.factors
        return result


class Slots:
    """Finds the parameters of models among those of a dataset.

    Parameters
    ----------
    models : `DatasetModels`
        All models of the dataset, with N parameters.
    free : boolean array of shape (N,)
    """

    def __init__(self, models: DatasetModels, free: Mask) -> None:
        self._positions = {id(p): i for i, p in enumerate(models.parameters)}
        self._column = np.where(free, np.cumsum(free) - 1, -1)

    def of(self, *models: ModelBase) -> Slot:
        """Return the slot of some models."""
        return Slot(models, self._positions, self._column)


def limits(models: DatasetModels, positive: Mask) -> tuple[Array, Array]:
    """Return the limits of all parameters; those that must be positive have an implicit limit at zero."""
    lower, upper = models.parameters.min, models.parameters.max
    lower = np.where(np.isnan(lower), -np.inf, lower)
    upper = np.where(np.isnan(upper), np.inf, upper)
    return np.where(positive, np.maximum(lower, 0.0), lower), upper


class Jacobian:
    """Derivatives of the counts in the bins, and of their masked sum, by the free parameters.

    Parameters
    ----------
    used : boolean array of shape (P,)
        Parameters that affect the dataset: only their columns are held.
    n_bins : int
        Number of bins.

    Attributes
    ----------
    n_free : int
        Number P of free parameters.
    """

    def __init__(self, used: Mask, n_bins: int) -> None:
        self._used, self.n_free = np.flatnonzero(used), len(used)
        self._column = np.cumsum(used) - 1
        self._counts = np.zeros((len(self._used), n_bins))
        self._sums = np.zeros(len(self._used))

    def add(self, rows: Index | slice, columns: Index, counts: Array, total: Array) -> None:
        """Add derivatives (bin, n) of the counts and (n,) of the sum to their columns."""
        for i, column in enumerate(self._column[columns]):  # linked parameters share a column
            self._counts[column][rows] += counts[:, i]
            self._sums[column] += total[i]

    def contract(self, first: Array, first_sum: float, second: Array) -> tuple[Array, Array]:
        """Gradient (P,) and Gauss-Newton Hessian (P, P) of the statistic.

        Parameters
        ----------
        first, second : array of shape (bin,)
            Derivatives of the statistic by the counts.
        first_sum : float
            Derivative of the statistic by their masked sum.
        """
        hessian = np.zeros((self.n_free, self.n_free))
        hessian[np.ix_(self._used, self._used)] = gram(self._counts, second)
        return self.gradient(first, first_sum), hessian

    def gradient(self, first: Array, first_sum: float = 0.0) -> Array:
        """Gradient (P,) of the statistic; see `contract`."""
        gradient = np.zeros(self.n_free)
        gradient[self._used] = times(self._counts, first) + first_sum * self._sums
        return gradient


def add_block(hessian: Array, first: Slot, second: Slot, block: Array) -> None:
    """Add a block of second derivatives between the free parameters of two slots, in place."""
    scaled = block * np.outer(first.free_factors, second.free_factors)
    np.add.at(hessian, np.ix_(first.columns, second.columns), scaled)
