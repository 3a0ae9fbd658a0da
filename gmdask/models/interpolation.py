"""Multilinear interpolation on axes with a scale, in pixels, with derivatives.

Gammapy's rule: a coordinate becomes a pixel by piecewise linear interpolation of the scaled
edges (or nodes) of its axis, and values are multilinear in pixels, extrapolated at both ends.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gmdask.errors import ModelError

__all__ = ["InterpolationAxis", "LogTable"]

Array = NDArray[np.float64]

_TINY = float(np.finfo(float).tiny)
_SCALES = ("lin", "log", "sqrt")


class InterpolationAxis:
    """An axis of a table.

    Parameters
    ----------
    name : str
        Name.
    knots : array [K]
        Coordinates of the edges or nodes, increasing.
    interp : {"lin", "log", "sqrt"}
        Scale on which pixels are linear.
    edges : bool
        Whether the knots are edges of pixels, not their centres.
    unit : str
        Unit of the coordinates.
    """

    def __init__(
        self, name: str, knots: ArrayLike, interp: str = "lin", edges: bool = False, unit: str = ""
    ) -> None:
        self.name, self.interp, self.unit, self.edges = name, interp, unit, edges
        self.knots = np.array(knots, dtype=float)
        if interp not in _SCALES:
            message = f"axis {name}: interpolation {interp!r}, expected one of {_SCALES}"
            raise ModelError(message)
        if self.knots.ndim != 1 or not (np.diff(self.knots) > 0).all():
            message = f"axis {name}: coordinates do not increase"
            raise ModelError(message)
        self._scaled = self._scale(self.knots)
        self._first = -0.5 if edges else 0.0

    def __len__(self) -> int:
        return len(self.knots) - self.edges

    @property
    def centers(self) -> Array:
        """Coordinates of the pixels."""
        if not self.edges:
            return self.knots
        middle = 0.5 * (self._scaled[1:] + self._scaled[:-1])
        if self.interp == "log":
            return np.asarray(np.exp(middle))
        return np.asarray(middle**2 if self.interp == "sqrt" else middle)

    @property
    def bounds(self) -> tuple[float, float]:
        """First and last edge or node."""
        return float(self.knots[0]), float(self.knots[-1])

    def _scale(self, x: ArrayLike) -> Array:
        x = np.asarray(x, dtype=float)
        if self.interp == "log":
            return np.asarray(np.log(np.maximum(x, _TINY)))
        return np.asarray(np.sign(x) * np.sqrt(np.abs(x))) if self.interp == "sqrt" else x

    def cell(self, x: ArrayLike) -> tuple[NDArray[np.intp], Array, Array]:
        """Lower pixel of each coordinate, the share of the upper one, and its slope."""
        x = np.asarray(x, dtype=float)
        scaled = self._scale(x)
        k = np.clip(np.searchsorted(self._scaled, scaled, "right") - 1, 0, len(self.knots) - 2)
        per = 1 / (self._scaled[k + 1] - self._scaled[k])
        pixel = self._first + k + (scaled - self._scaled[k]) * per
        low = np.clip(np.floor(pixel).astype(np.intp), 0, len(self) - 2)
        if self.interp == "log":
            per = per / np.maximum(x, _TINY)
        elif self.interp == "sqrt":
            per = per * 0.5 / np.maximum(np.sqrt(np.abs(x)), _TINY)
        return low, np.asarray(pixel - low), np.asarray(per)


class LogTable:
    """Values on axes, interpolated as logarithms; zero where they are zero.

    Parameters
    ----------
    axes : list of InterpolationAxis
        Axes in the order of the values; those of one pixel are ignored.
    values : array
        Values, positive or zero.
    log : bool
        Whether logarithms are interpolated, not the values themselves.
    """

    def __init__(self, axes: list[InterpolationAxis], values: ArrayLike, log: bool = True) -> None:
        array = np.asarray(values)
        shape = tuple(len(axis) for axis in axes)
        if array.shape != shape:
            message = f"values of shape {array.shape} on axes of {shape}"
            raise ModelError(message)
        kind: Any = array.dtype if np.issubdtype(array.dtype, np.floating) else float
        tiny = float(np.finfo(kind).tiny)
        array = np.where(np.isfinite(array), array, 0.0)
        self.axes, self._is_log = axes, log
        self._table = np.log(np.maximum(array, tiny).astype(float)) if log else array.astype(float)

    def __call__(self, last: ArrayLike, *first: float) -> Array:
        """Values at coordinates along the last axis and a number along each of the others."""
        return self.gradient(last, *first)[0]

    def gradient(self, last: ArrayLike, *first: float) -> tuple[Array, Array]:
        """Values [...] and their derivatives [P, ...] by the coordinates of the first axes.

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
