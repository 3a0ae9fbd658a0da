"""Response maps that are read only near a source, in tiles."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["TiledMap"]

Array = NDArray[np.float64]
Keep = Callable[[NDArray[Any]], NDArray[Any]]


class ArrayLike(Protocol):
    """Anything that has a shape and returns arrays when it is sliced."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    def __getitem__(self, key: Any) -> Any: ...


class TiledMap:
    """A map whose last two axes are (lat, lon), read a few tiles at a time.

    Parameters
    ----------
    source : array-like
        Array, or lazily read array, with axes (..., lat, lon).
    tile : int
        Positions are read in multiples of this number of pixels.
    n_kept : int
        Number of rectangles to keep, the most recently used ones.
    keep : callable, optional
        Takes an array that is to be kept, and returns it from where it is kept.

    Notes
    -----
    The most recently used rectangles are kept: sources that move during a fit stay within theirs.
    The returned values never depend on what is kept.
    """

    def __init__(
        self, source: ArrayLike, tile: int = 2, n_kept: int = 12, keep: Keep = np.asarray
    ) -> None:
        self._source, self._tile, self._n_kept, self._keep = source, tile, n_kept, keep
        self._kept: dict[tuple[int, int, int, int], NDArray[Any]] = {}
        self._valid: dict[tuple[int, int, int, int], bool] = {}
        self.shape: tuple[int, int] = (source.shape[-2], source.shape[-1])

    @property
    def nbytes(self) -> int:
        """Bytes kept in memory."""
        return sum(values.nbytes for values in self._kept.values())

    def window(self, y0: int, y1: int, x0: int, x1: int) -> Array:
        """Return the values of the pixels ``y0:y1, x0:x1``; values that are not finite are replaced by 0."""
        key = self._rectangle(y0, y1, x0, x1)
        values = self._kept.pop(key, None)
        if values is None:
            read = np.array(self._source[..., key[0] : key[1], key[2] : key[3]])
            values = self._keep(np.nan_to_num(read, copy=False, posinf=0.0, neginf=0.0))
            if len(self._kept) >= self._n_kept:
                del self._kept[next(iter(self._kept))]
        self._kept[key] = values  # the most recently used one is the last
        part = values[..., y0 - key[0] : y1 - key[0], x0 - key[2] : x1 - key[2]]
        return part.astype(np.float64, order="C")

    def is_valid(self, y0: int, y1: int, x0: int, x1: int) -> bool:
        """Whether each of the pixels ``y0:y1, x0:x1`` has a positive value."""
        key = y0, y1, x0, x1
        if key not in self._valid:
            window = self.window(*key)
            positive = (window > 0).any(axis=tuple(range(window.ndim - 2)))
            self._valid[key] = bool(positive.all())
        return self._valid[key]

    def forget(self) -> None:
        """Release the kept rectangles."""
        self._kept.clear()

    def _rectangle(self, y0: int, y1: int, x0: int, x1: int) -> tuple[int, int, int, int]:
        """Return a rectangle of tiles that contains some pixels: a kept one, if possible."""
        for key in self._kept:
            if key[0] <= y0 and y1 <= key[1] and key[2] <= x0 and x1 <= key[3]:
                return key
        tile, (n_y, n_x) = self._tile, self.shape
        y1, x1 = min(-(-y1 // tile) * tile, n_y), min(-(-x1 // tile) * tile, n_x)
        return y0 // tile * tile, y1, x0 // tile * tile, x1

    @cached_property
    def valid(self) -> NDArray[np.bool_]:
        """Pixels (lat, lon) at which any value is positive."""
        values = np.asarray(self._source[..., :, :])
        with np.errstate(invalid="ignore"):
            positive = (values > 0) & np.isfinite(values)
        return np.asarray(positive.reshape(-1, *self.shape).any(axis=0))
