"""The interface of a kind of dataset: to be compiled, and then evaluated."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gmdask.likelihood.dataset_likelihood import Evaluation, SpectrumCache
from gmdask.likelihood.observation import Keep
from gmdask.models import DatasetModels

__all__ = ["Compile", "DatasetLikelihood"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


class DatasetLikelihood(Protocol):
    """Likelihood of one dataset as a function of its models' parameters, N in all, P of them free."""

    def evaluate(
        self,
        values: Array,
        anchor: Array | None = None,
        *,
        order: int = 0,
        profile: bool = True,
        cache: SpectrumCache | None = None,
    ) -> Evaluation:
        """Evaluate the likelihood.

        Parameters
        ----------
        values : array of shape (N,)
            Parameters.
        anchor : array of shape (N,), optional
            Parameters at which the response is computed, if there is one; by default `values`.
        order : {0, 1, 2}
            0: value; 1: also gradient and Gauss-Newton Hessian; 2: also the observed Hessian.
        profile : bool
            Whether local parameters are minimised, in orders 1 and 2.
        cache : dict, optional
            Spectra that were already evaluated, shared by datasets in one pass.
        """

    def forget(self) -> None:
        """Release what the next evaluation can compute again."""

    @property
    def forgettable(self) -> int:
        """Bytes that `forget` releases."""


class Compile(Protocol):
    """Compiles the likelihood of a dataset of some kind; it can be pickled."""

    def __call__(
        self,
        cube: xr.Dataset,
        models: DatasetModels,
        free: Mask | None = None,
        local: Mask | None = None,
        *,
        keep: Keep = np.asarray,
        response: str = ...,
    ) -> DatasetLikelihood:
        """Compile a dataset.

        Parameters
        ----------
        cube : `xarray.Dataset`
            The dataset, lazy or in memory.
        models : `DatasetModels`
            Models that apply to it.
        free, local : boolean array of shape (N,), optional
            Parameters of the derivatives, by default those that are not frozen; and those of them to minimise
            over, by default none.
        keep : callable, optional
            Takes an array that is kept permanently, and returns it from where it is kept.
        response : {"exact", "gammapy"}
            How predicted counts are computed, if there are counts.
        """
