"""Positions among parameters, and what is scattered over them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["add_compensated", "once", "scattered_sum"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]


def once(index: Index) -> Index:
    """Positions without repetitions, in the order of first occurrence.

    Parameters
    ----------
    index : array of int
    """
    return index[np.sort(np.unique(index, return_index=True)[1])]


def scattered_sum(parts: Iterable[tuple[Index, Array]], n: int) -> Array:
    """Sum of scattered arrays in order, with Neumaier's compensation.

    Parameters
    ----------
    parts : iterable of tuple
        Positions (S,), and an array (S,) or (S, S) there.
    n : int
        Number of positions in all.
    """
    total: Array | None = None
    for index, part in parts:
        if total is None:
            total, lost = np.zeros((n,) * part.ndim), np.zeros((n,) * part.ndim)
        at = np.ix_(*[index] * part.ndim)
        add_compensated(total, lost, at, part)
    return np.zeros(0) if total is None else total + lost


def add_compensated(total: Array, lost: Array, at: Any, part: Array) -> None:
    """Add to some elements of a sum, and what rounding loses of it to another (Neumaier).

    Parameters
    ----------
    total, lost : array
        Changed in place; their sum is the result.
    at : index
    part : array
        Of the shape of ``total[at]``.
    """
    old = total[at]
    new = old + part
    lost[at] += np.where(np.abs(old) >= np.abs(part), (old - new) + part, (part - new) + old)
    total[at] = new
