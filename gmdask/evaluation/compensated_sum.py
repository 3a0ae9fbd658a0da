"""Index arrays of parameters, and sums of arrays that are scattered over them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["add_compensated", "once", "scattered_sum"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]


def once(index: Index) -> Index:
    """Return indices without repetitions, in the order of their first occurrence.

    Parameters
    ----------
    index : array of int
    """
    return index[np.sort(np.unique(index, return_index=True)[1])]


def scattered_sum(parts: Iterable[tuple[Index, Array]], n: int) -> Array:
    """Sum scattered arrays in order, with Neumaier's compensated summation.

    Parameters
    ----------
    parts : iterable of tuple
        Indices (S,), and an array (S,) or (S, S) at these.
    n : int
        Total number of indices.
    """
    total: Array | None = None
    for index, part in parts:
        if total is None:
            total, lost = np.zeros((n,) * part.ndim), np.zeros((n,) * part.ndim)
        at = np.ix_(*[index] * part.ndim)
        add_compensated(total, lost, at, part)
    return np.zeros(0) if total is None else total + lost


def add_compensated(total: Array, lost: Array, at: Any, part: Array) -> None:
    """Add to some elements of a sum, and collect the rounding error in another array (Neumaier).

    Parameters
    ----------
    total, lost : array
        Changed in place; the result is their sum.
    at : index
    part : array
        Has the shape of ``total[at]``.
    """
    old = total[at]
    new = old + part
    lost[at] += np.where(np.abs(old) >= np.abs(part), (old - new) + part, (part - new) + old)
    total[at] = new
