"""The interface of a kind of dataset: to be compiled, and then evaluated."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gmdask.likelihood.observation import Keep
from gmdask.likelihood.source import SpectrumCache
from gmdask.models import DatasetModels

__all__ = ["Compile", "DatasetLikelihood", "Evaluation"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Evaluation(NamedTuple):
    """Likelihood of one dataset.

    Attributes
    ----------
    stat : float
        ``-2 log L``, without priors.
    values : array of shape (N,)
        All parameters of the dataset's models; local ones at their optimum.
    gradient : array of shape (P,), or None
        With respect to the free parameters, including the priors of the local ones.
    gauss_newton, observed : array of shape (P, P), or None
        Hessians with respect to the free parameters, likewise.
    active : boolean array of shape (P,), or None
        Free parameters except local ones that are held at a limit.
    n_floor : int
        Number of bins with counts, but without predicted counts from any component.
    used : boolean array of shape (P,), or None
        Free parameters that affect this dataset.
    """

    stat: float
    values: Array
    gradient: Array | None
    gauss_newton: Array | None
    observed: Array | None
    active: Mask | None
    n_floor: int
    used: Mask | None = None


class DatasetLikelihood(Protocol):
    """Likelihood of one dataset as a function of its models' parameters, N in all, P of them free."""

    def evaluate(
        self,
        values: Array,
        anchor: Array | None = None,
        *,
        order: int = 0,
        profile: bool = True,
        marginal: bool = False,
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
        marginal : bool
            Whether the likelihood is integrated over local parameters around their optimum, in order 1 with
            `profile`.
        cache : dict, optional
            Spectra that were already evaluated, shared by datasets in one pass.
        """

    def forget(self) -> None:
        """Release what the next evaluation can compute again."""

    @property
    def forgettable(self) -> int:
        """Bytes that `forget` releases."""

    @property
    def gridded(self) -> tuple[str, ...]:
        """Names of the models that are rendered on the pixel grid; see `Response`."""


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
