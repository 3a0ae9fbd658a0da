"""Grids with common pixels: shifted or resampled by whole pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gmdask.geometry.frames import rotate
from gmdask.geometry.wcs import WcsGrid

__all__ = ["downsampled_cards", "pixel_offset", "shifted_cards"]

ALIGNED = 1e-3  # largest deviation from whole pixels, in pixels


def shifted_cards(cards: Mapping[str, Any], y0: int, x0: int) -> dict[str, Any]:
    """Return the WCS cards of the grid that starts at row `y0` and column `x0`.

    Parameters
    ----------
    cards : mapping
        FITS WCS cards.
    y0, x0 : int
        First row and column; negative values add pixels.
    """
    moved = {f"CRPIX{axis}": cards.get(f"CRPIX{axis}", 0.0) - n for axis, n in ((1, x0), (2, y0))}
    return {**cards, **moved}


def downsampled_cards(cards: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """Return the WCS cards of pixels that each cover `factor` times `factor` of the old ones.

    Parameters
    ----------
    cards : mapping
        FITS WCS cards.
    factor : float
        Less than one, such as 1/n, for sub-pixels.
    """
    scaled = {key: cards[key] * factor for key in cards if key.startswith("CD") and "_" in key}
    if not scaled:
        scaled = {f"CDELT{axis}": cards.get(f"CDELT{axis}", 1.0) * factor for axis in (1, 2)}
    for axis in (1, 2):
        scaled[f"CRPIX{axis}"] = (cards.get(f"CRPIX{axis}", 0.0) - 0.5) / factor + 0.5
    return {**cards, **scaled}


def pixel_offset(grid: WcsGrid, other: WcsGrid, other_frame: str) -> tuple[int, int] | None:
    """Return the row and column of `grid` at which the first pixel of `other` lies.

    Parameters
    ----------
    grid, other : WcsGrid
    other_frame : str
        Frame of `other`.

    Returns
    -------
    offset : tuple of int, or None
        None if the pixels of the two grids do not coincide (to a thousandth of a pixel).
    """
    n_y, n_x = other.shape
    y, x = np.array([0.0, 0.0, n_y - 1.0, n_y - 1.0]), np.array([0.0, n_x - 1.0, 0.0, n_x - 1.0])
    at_x, at_y = grid.to_pixel(*rotate(*other.to_sky(x, y), other_frame, grid.frame))
    dx, dy = np.round(at_x[0]), np.round(at_y[0])
    away = np.abs(np.array([at_x - x - dx, at_y - y - dy]))
    if not np.isfinite(away).all() or away.max() > ALIGNED:
        return None
    return int(dy), int(dx)
