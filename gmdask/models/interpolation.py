"""Multilinear interpolation in pixel coordinates of axes, with derivatives.

As in Gammapy, values are multilinear in the pixel coordinates of their axes, and extrapolated at both
ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gmdask.errors import ModelError
from gmdask.geometry import Axis

__all__ = ["LogTable"]

Array = NDArray[np.float64]

_TINY = float(np.finfo(float).tiny)


class LogTable:
    """Values on axes, whose logarithms are interpolated; zero where they are zero.

    Parameters
    ----------
    axes : sequence of Axis
        Axes in the order of the values; axes with one pixel are ignored.
    values : array
        Values, positive or zero.
    log : bool
        Whether to interpolate the logarithms instead of the values.
    """

    def __init__(self, axes: Sequence[Axis], values: ArrayLike, log: bool = True) -> None:
        array = np.asarray(values)
        shape = tuple(len(axis) for axis in axes)
        if array.shape != shape:
            msg = f"values of shape {array.shape} on axes of {shape}"
            raise ModelError(msg)
        kind: Any = array.dtype if np.issubdtype(array.dtype, np.floating) else float
        tiny = float(np.finfo(kind).tiny)
        array = np.where(np.isfinite(array), array, 0.0)
        self.axes, self._is_log = axes, log
        self._table = np.log(np.maximum(array, tiny).astype(float)) if log else array.astype(float)

    def __call__(self, last: ArrayLike, *first: float) -> Array:
        """Interpolate at coordinates along the last axis, and one coordinate along each other axis."""
        return self.gradient(last, *first)[0]

    def gradient(self, last: ArrayLike, *first: float) -> tuple[Array, Array]:
        """Values [...] and their derivatives [P, ...] with respect to the coordinates of the first axes.

        Parameters
        ----------
        last : array [...]
            Coordinates along the last axis.
        *first : float
            Coordinate along each of the other axes.
        """
        rows = [self._table]
        for axis, x in zip(self.axes[:-1], first, strict=True):
            if len(axis) == 1:
                rows = [row[0] for row in rows] + [np.zeros_like(rows[0][0])]
                continue
            low, share, slope = axis.cell(x)
            step = rows[0][low + 1] - rows[0][low]
            rows = [(1 - share) * row[low] + share * row[low + 1] for row in rows]
            rows.append(step * slope)
        last = np.asarray(last, dtype=float)
        if len(self.axes[-1]) == 1:
            found = [np.broadcast_to(row[0], last.shape) for row in rows]
        else:
            low, share, _ = self.axes[-1].cell(last)
            found = [(1 - share) * row[low] + share * row[low + 1] for row in rows]
        slopes = np.array(found[1:]).reshape(len(first), *last.shape)
        if not self._is_log:
            return np.asarray(found[0]), slopes
        y = np.exp(found[0])
        y = np.where(y <= 2 * _TINY, 0.0, y)
        return y, slopes * y
