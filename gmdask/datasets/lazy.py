"""Predicted counts that are computed when they are first looked at."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends.common import BackendArray
from xarray.core import indexing

__all__ = ["on_the_cluster", "on_this_machine"]

Array = NDArray[np.float64]


class _Computed(BackendArray):
    """An array that is computed in this process when it is indexed first."""

    def __init__(self, compute: Callable[[], Array], shape: tuple[int, ...]) -> None:
        self._compute, self.shape, self.dtype = compute, shape, np.dtype(np.float64)

    @cached_property
    def _values(self) -> Array:
        return self._compute()

    def _read(self, key: tuple[Any, ...]) -> Array:
        return np.asarray(self._values[key])

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Array:
        basic = indexing.IndexingSupport.BASIC
        values: Array = indexing.explicit_indexing_adapter(key, self.shape, basic, self._read)
        return values


def on_this_machine(
    compute: Callable[[], Array], dims: tuple[Hashable, ...], shape: tuple[int, ...]
) -> xr.Variable:
    """Lazy variable that is computed in this process.

    Parameters
    ----------
    compute : callable
        Gives the array.
    dims, shape
        Of the array.
    """
    return xr.Variable(dims, indexing.LazilyIndexedArray(_Computed(compute, shape)))


def on_the_cluster(
    compute: Callable[..., Array],
    arguments: tuple[Any, ...],
    dims: tuple[Hashable, ...],
    shape: tuple[int, ...],
) -> xr.Variable:
    """Lazy variable backed by Dask, computed wherever Dask computes.

    Parameters
    ----------
    compute : callable
        Gives the array.
    arguments : tuple
        Plain data for `compute`.
    dims, shape
        Of the array.
    """
    import dask
    import dask.array

    task = dask.delayed(compute, pure=False)(*arguments)
    return xr.Variable(dims, dask.array.from_delayed(task, shape, dtype=np.float64))
