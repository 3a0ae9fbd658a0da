"""Arrays that are read or computed when they are indexed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends.common import BackendArray
from xarray.core import indexing

__all__ = ["lazy_variable"]


class _ReadWhenIndexed(BackendArray):
    """An array given by its shape, its type, and a function that reads parts of it."""

    def __init__(
        self,
        read: Callable[[tuple[Any, ...]], NDArray[Any]],
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
    ) -> None:
        self._read, self.shape, self.dtype = read, shape, dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> NDArray[Any]:
        outer = indexing.IndexingSupport.OUTER
        values: NDArray[Any] = indexing.explicit_indexing_adapter(
            key, self.shape, outer, self._read
        )
        return values


def lazy_variable(
    dims: tuple[str, ...],
    read: Callable[[tuple[Any, ...]], NDArray[Any]],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    attrs: dict[str, Any] | None = None,
) -> xr.Variable:
    """Return a variable that is read only when it is used.

    Parameters
    ----------
    dims : tuple of str
        Dimensions.
    read : callable
        Takes a tuple of integers, slices and index arrays (outer indexing) and returns the values.
    shape, dtype
        Shape and type of the whole array.
    attrs : dict, optional
        Attributes.
    """
    data = indexing.LazilyIndexedArray(_ReadWhenIndexed(read, shape, dtype))
    return xr.Variable(dims, data, attrs, fastpath=True)
