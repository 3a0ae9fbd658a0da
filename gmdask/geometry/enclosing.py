"""A grid that contains others."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gmdask.geometry.aligned import shifted_cards
from gmdask.geometry.frames import rotate
from gmdask.geometry.wcs import WcsGrid

__all__ = ["enclosing_grid"]


def enclosing_grid(grids: Sequence[WcsGrid], max_pixels: int | None = None) -> WcsGrid:
    """Return a grid with the pixels of the first of several grids that contains all of them.

    Parameters
    ----------
    grids : sequence of `WcsGrid`
    max_pixels : int, optional
        Largest number of pixels along each side.
    """
    own, limits = grids[0], []
    for grid in grids:
        n_y, n_x = grid.shape
        corners = grid.to_sky(
            np.array([0, 0, n_x - 1, n_x - 1.0]), np.array([0, n_y - 1, 0, n_y - 1.0])
        )
        x, y = own.to_pixel(*rotate(*corners, grid.frame, own.frame))
        limits.append((x.min(), y.min(), x.max(), y.max()))
    low, high = np.min(limits, axis=0)[:2], np.max(limits, axis=0)[2:]
    x0, y0 = (math.floor(v + 1e-6) for v in low)
    sizes = [math.ceil(b - 1e-6) - a + 1 for a, b in zip((x0, y0), high, strict=True)]
    n_x, n_y = sizes if max_pixels is None else [min(n, max_pixels) for n in sizes]
    return WcsGrid(shifted_cards(own.header, y0, x0), (n_y, n_x))
