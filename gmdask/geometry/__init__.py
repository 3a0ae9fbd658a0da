"""Sky grids, axes and cutouts, without data."""

from gmdask.geometry.aligned import downsampled_cards, pixel_offset, shifted_cards
from gmdask.geometry.axes import Axis
from gmdask.geometry.cutout import Window, cutout_window, nearest_pixel, round_up_to_odd
from gmdask.geometry.enclosing import enclosing_grid
from gmdask.geometry.frames import rotate, rotation_matrix, separation
from gmdask.geometry.grid import Grid, grid_from, wcs_of
from gmdask.geometry.wcs import CommonGrid, WcsGrid, common_grid

__all__ = [
    "Axis",
    "CommonGrid",
    "Grid",
    "WcsGrid",
    "Window",
    "common_grid",
    "cutout_window",
    "downsampled_cards",
    "enclosing_grid",
    "grid_from",
    "nearest_pixel",
    "pixel_offset",
    "rotate",
    "rotation_matrix",
    "round_up_to_odd",
    "separation",
    "shifted_cards",
    "wcs_of",
]
