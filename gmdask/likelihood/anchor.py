"""The response at the position of one component, and the pixels it is computed in by Gammapy's rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gmdask.geometry import Grid, Window, cutout_window, rotate, round_up_to_odd, wcs_of
from gmdask.irf import PSFKernel
from gmdask.likelihood.observation import Observation

__all__ = ["CUTOUT_MARGIN", "Anchor", "anchor_at", "read_around"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

CUTOUT_MARGIN = 0.1  # deg, as in Gammapy's datasets/evaluator.py


class Anchor(NamedTuple):
    """The response at the position of one component.

    Attributes
    ----------
    kernel : `PSFKernel` or None
        PSF kernels at the position.
    edisp : array of shape (energy_true, energy)
        Energy dispersion at the position.
    window : `Window`
        Pixels in which the component is computed.
    exposure : array of shape (energy_true, lat, lon)
        Exposure of these pixels in cm2 s; ones for a model without exposure.
    mask : boolean array of shape (energy, lat, lon)
        Mask of these pixels.
    """

    kernel: PSFKernel | None
    edisp: Array
    window: Window
    exposure: Array
    mask: Mask


def anchor_at(
    observation: Observation,
    position: tuple[float, float] | None,
    frame: str,
    radius: float | None,
    apply_irf: Mapping[str, bool],
    owner: str | None = None,
) -> Anchor | None:
    """Return the response of a dataset at a position.

    Parameters
    ----------
    observation : `Observation`
    position : tuple of float, or None
        Longitude and latitude in `frame`, in deg; without a position, each response is evaluated at the
        centre of its own map.
    frame : str
        Frame of the model.
    radius : float or None
        Evaluation radius of the spatial model, in deg; None for the whole grid.
    apply_irf : mapping
        Whether to apply "exposure", "psf" and "edisp".
    owner : str, optional
        Name of a moving component, whose surroundings are kept.

    Returns
    -------
    anchor : `Anchor` or None
        None if the component does not reach the mask, by Gammapy's rule: no pixel of the
        mask is within a cutout of ``2 * radius + 0.1 deg + width of the kernel``.
    """
    kernel: PSFKernel | None = None
    grid = observation.grid
    if radius is None or position is None:
        if not observation.mask_image.any():
            return None
        kernel = _kernel(observation, position, frame) if apply_irf["psf"] else None
        window = Window(0, grid.shape[0], 0, grid.shape[1])
    else:
        at, diameter = _pixel(grid, position, frame), 2 * radius + CUTOUT_MARGIN
        if not _reaches(observation, at, diameter + observation.max_kernel_width):
            return None
        kernel = _kernel(observation, position, frame)
        width = 0.0 if kernel is None else kernel.width
        cutout = _window(grid, at, radius, width)
        if cutout is None or not _reaches(observation, at, diameter + width):
            return None
        window, kernel = cutout, kernel if apply_irf["psf"] else None
    exposure, mask = observation.exposure_and_mask(window, owner)
    if not apply_irf["exposure"]:
        exposure = np.broadcast_to(np.ones(()), exposure.shape)
    edisp = observation.edisp_at(position, frame, apply_irf["edisp"])
    return Anchor(kernel, edisp, window, exposure, mask)


def read_around(
    observation: Observation, position: tuple[float, float], frame: str, radius: float, owner: str
) -> None:
    """Read what `anchor_at` needs for a moving component, and keep it.

    Parameters
    ----------
    observation, position, frame, radius, owner
        See `anchor_at`.
    """
    at, widest = _pixel(observation.grid, position, frame), observation.max_kernel_width
    if not _reaches(observation, at, 2 * radius + CUTOUT_MARGIN + widest):
        return
    window = _window(observation.grid, at, radius, widest)
    if window is not None:
        observation.patch(window, owner)
    observation.read_irfs(position, frame)


def _kernel(
    observation: Observation, position: tuple[float, float] | None, frame: str
) -> PSFKernel | None:
    if observation.psf is None:
        return None
    target = wcs_of(observation.grid, "a PSF on pixels")
    return observation.kernel_on(position, frame, target)


def _pixel(grid: Grid, position: tuple[float, float], frame: str) -> tuple[float, float]:
    """Pixel coordinate (y, x) of a position."""
    x, y = grid.to_pixel(*rotate(*position, frame, grid.frame))
    return float(y), float(x)


def _window(grid: Grid, at: tuple[float, float], radius: float, width: float) -> Window | None:
    """Pixels in which a component at a pixel coordinate is computed, for a kernel width."""
    npix = _npix(grid, width + 2 * (radius + CUTOUT_MARGIN), odd=True)
    return cutout_window(grid.shape, at, npix)


def _reaches(observation: Observation, at: tuple[float, float], width: float) -> bool:
    """Whether a cutout of a width in deg around a pixel coordinate (y, x) contains any unmasked pixel."""
    grid = observation.grid
    near = cutout_window(grid.shape, at, _npix(grid, width, odd=False))
    return near is not None and bool(observation.mask_image[near.slices].any())


def _npix(grid: Grid, width: float, *, odd: bool) -> tuple[int, int]:
    """Size in pixels (lat, lon) of a width in deg."""
    sizes = [max(width / scale, 1.0) for scale in grid.pixel_scales[::-1]]
    npix = [round_up_to_odd(size) if odd else round(size) for size in sizes]
    return npix[0], npix[1]
