"""The interface of a statistic: the likelihood of data in bins as a function of predicted counts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["NOTHING", "TRUNCATION", "Statistic", "Terms"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

NOTHING: Array = np.zeros(0)

TRUNCATION = (
    1e-25  # counts; fewer are replaced by this number, as in Gammapy's stats/fit_statistics.py
)


class Terms(NamedTuple):
    """A statistic, summed over bins, and its derivatives with respect to the predicted counts.

    It has a part that is summed over the bins at hand, and a linear one in the sum of the predicted
    counts over more bins than these.

    Attributes
    ----------
    stat : float
        Value of the statistic.
    first, second : array of shape (bin,)
        Derivatives of the first part by the counts of each bin.
    first_sum : float
        Derivative of the second part by the sum.
    n_floor : int
        Number of bins with data that no prediction can describe: they add a constant and have no gradient.
    """

    stat: float
    first: Array
    second: Array
    first_sum: float
    n_floor: int


class Statistic(ABC):
    """``-2 log L`` of data in a list of bins, as a function of the counts, or the flux, predicted in each.

    A statistic is one class in one file, listed in `gmdask.likelihood.statistics.STATISTICS`.

    Parameters
    ----------
    *data : array
        The arrays that it `reads`, all of the same shape.

    Attributes
    ----------
    name : str
        Gammapy's name, as in a dataset's ``stat_type``.
    reads : tuple of str
        Arrays of a dataset that it depends on.
    linear : bool
        Whether it is ``2 npred`` in some bins (see `is_linear`), so that only their sum is needed.
    signed : bool
        Whether it uses negative predictions as they are, and has a minimum for any data. Other statistics
        clip them at zero; see `is_bounded`.
    """

    name: ClassVar[str]
    reads: ClassVar[tuple[str, ...]]
    linear: ClassVar[bool] = False
    signed: ClassVar[bool] = False

    def __init__(self, *data: Array) -> None:
        self.data = data

    def at(self, index: Any, keep: Callable[[Array], Array] = np.asarray) -> Self:
        """Return the statistic of some of the bins.

        Parameters
        ----------
        index : index of an array
        keep : callable, optional
            Takes an array that is kept permanently, and returns it from where it is kept.
        """
        return type(self)(*(keep(array[index]) for array in self.data))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the data."""
        return self.data[0].shape

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(array.nbytes for array in self.data)

    @property
    def is_linear(self) -> Mask:
        """Bins in which it is ``2 npred`` for non-negative predictions."""
        return np.zeros(self.shape, dtype=bool)

    @property
    def is_bounded(self) -> Mask:
        """Bins in which it diverges as the predicted counts go to zero."""
        return np.zeros(self.shape, dtype=bool)

    @property
    def is_known(self) -> Mask:
        """Bins whose data tell anything; the statistic of the others is 0."""
        return np.ones(self.shape, dtype=bool)

    @abstractmethod
    def predicted(self, npred: Array) -> Array:
        """Return the expected counts in each bin, including a background that the statistic determines itself."""

    def spread(self, npred: Array) -> Array:
        """Variance of the counts that are expected, to estimate errors before anything is known."""
        return np.maximum(self.predicted(npred), TRUNCATION)

    @abstractmethod
    def per_bin(self, npred: Array) -> Array:
        """Statistic of each bin."""

    @abstractmethod
    def slopes(self, npred: Array) -> tuple[Array, Array]:
        """First and second derivative of each bin with respect to its predicted counts."""

    def dense(self, npred: Array, rest: float = 0.0) -> Terms:
        """Sum over the bins, and over linear ones that are not among them.

        Parameters
        ----------
        npred : array of shape (bin,)
        rest : float
            Sum of the predicted counts in the others.
        """
        first, second = self.slopes(npred)
        return Terms(2 * rest + float(np.sum(self.per_bin(npred))), first, second, 0.0, 0)

    def sparse(self, npred: Array, total: float, *, derivatives: bool = True) -> Terms:
        """Sum over all bins, of which linear ones are left out.

        Parameters
        ----------
        npred : array of shape (bin,)
            Positive in all bins, also in those that are left out.
        total : float
            Sum of the predicted counts over all bins.
        derivatives : bool
            Whether derivatives are needed; they may be empty otherwise.
        """
        del derivatives
        return self.dense(npred, total - float(np.sum(npred)))
