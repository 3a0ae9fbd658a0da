"""Smoothing of images, as Gammapy's ``Map.smooth``."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy import units as u
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import convolve, gaussian_filter, uniform_filter

from gmdask.errors import InputError
from gmdask.geometry import WcsGrid

__all__ = ["smoothed"]

KERNELS = ("gauss", "disk", "box")


def smoothed(
    values: ArrayLike, grid: WcsGrid, width: Any, kernel: str = "gauss"
) -> NDArray[np.float64]:
    """Smooth images separately; at their borders they are reflected.

    Parameters
    ----------
    values : array of shape (..., lat, lon)
    grid : `WcsGrid`
        Pixels.
    width : Quantity, str or float
        Standard deviation of the Gaussian, radius of the disk, or side length of the box; a number is in pixels.
    kernel : {"gauss", "disk", "box"}

    Raises
    ------
    InputError
        If the kernel is unknown, or the width is not a positive angle or number.
    """
    try:
        angle = u.Quantity(width)
        scale = u.deg * np.mean(grid.pixel_scales) if angle.unit != u.one else u.one
        pixels = float((angle / scale).to_value(""))
    except (TypeError, ValueError, u.UnitsError):
        pixels = np.nan
    if not 0 < pixels < np.inf:
        msg = f"width is {width!r}, expected a positive angle, or a number of pixels"
        raise InputError(msg)
    if kernel not in KERNELS:
        msg = f"kernel is {kernel!r}, expected one of {', '.join(KERNELS)}"
        raise InputError(msg)
    images = np.asarray(values, dtype=np.float64)
    flat = images.reshape(-1, *images.shape[-2:])
    return np.stack([_smooth(image, pixels, kernel) for image in flat]).reshape(images.shape)


def _smooth(image: NDArray[np.float64], pixels: float, kernel: str) -> NDArray[np.float64]:
    if kernel == "gauss":
        return np.asarray(gaussian_filter(image, pixels))
    if kernel == "box":
        return np.asarray(uniform_filter(image, max(int(pixels), 1)))
    y, x = np.mgrid[-int(pixels) : int(pixels) + 1, -int(pixels) : int(pixels) + 1]
    disk = (x**2 + y**2 <= pixels**2).astype(float)
    return np.asarray(convolve(image, disk / disk.sum()))
