"""Grids on the sky, energy axes and cutouts: plain numbers, no data."""

from gmdask.geometry.axes import Axis
from gmdask.geometry.cutout import Window, cutout_window, round_up_to_odd
from gmdask.geometry.frames import rotate, separation
from gmdask.geometry.wcs import CommonGrid, WcsGrid, common_grid

__all__ = [
    "Axis",
    "CommonGrid",
    "WcsGrid",
    "Window",
    "common_grid",
    "cutout_window",
    "rotate",
    "round_up_to_odd",
    "separation",
]
