"""Response maps of which only the tiles near a source are read."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["TiledMap"]

Array = NDArray[np.float64]


class ArrayLike(Protocol):
    """Anything that has a shape and gives arrays when it is sliced."""

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
        Positions are read in multiples of so many pixels.

    Notes
    -----
    The rectangle read last is kept: a source that moves during a fit stays
    within it. What is returned never depends on what is kept.
    """

    def __init__(self, source: ArrayLike, tile: int = 5) -> None:
        self._source = source
        self._tile = tile
        self._kept: tuple[int, int, int, int, Array] | None = None
        self.shape: tuple[int, int] = (source.shape[-2], source.shape[-1])

    @property
    def nbytes(self) -> int:
        """Bytes kept in memory."""
        return 0 if self._kept is None else self._kept[4].nbytes

    def window(self, y0: int, y1: int, x0: int, x1: int) -> Array:
        """Values of the pixels ``y0:y1, x0:x1``; what is not finite reads as 0."""
        kept = self._kept
        if kept is None or not (
            kept[0] <= y0 and y1 <= kept[1] and kept[2] <= x0 and x1 <= kept[3]
        ):
            kept = self._kept = self._read(y0, y1, x0, x1)
        return kept[4][..., y0 - kept[0] : y1 - kept[0], x0 - kept[2] : x1 - kept[2]]

    def whole(self) -> Array:
        """Values of all pixels."""
        return self.window(0, self.shape[0], 0, self.shape[1])

    def _read(self, y0: int, y1: int, x0: int, x1: int) -> tuple[int, int, int, int, Array]:
        tile, (n_y, n_x) = self._tile, self.shape
        y0, x0 = y0 // tile * tile, x0 // tile * tile
        y1, x1 = min(-(-y1 // tile) * tile, n_y), min(-(-x1 // tile) * tile, n_x)
        values = np.asarray(self._source[..., y0:y1, x0:x1], dtype=np.float64)
        return y0, y1, x0, x1, np.ascontiguousarray(np.nan_to_num(values, posinf=0.0, neginf=0.0))
