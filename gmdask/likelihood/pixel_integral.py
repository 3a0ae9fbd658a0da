"""Spatial models integrated over the pixels of a dataset."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from gmdask.geometry import (
    Axis,
    CommonGrid,
    Grid,
    WcsGrid,
    Window,
    common_grid,
    cutout_window,
    rotate,
    wcs_of,
)
from gmdask.likelihood.geometry_cache import CACHE
from gmdask.models import SkyGrid, SpatialModel
from gmdask.sums import times

__all__ = ["Field", "Images", "PixelIntegral"]

Array = NDArray[np.float64]

MAX_OVERSAMPLING = 200


class Images:
    """Images of a spatial model: its integral over pixels, and derivatives of it.

    Parameters
    ----------
    key : hashable or None
        Identifies how they were computed; None if they cannot be reused.
    values : array of shape (1 + S, lat, lon)
        Or (1 + S, energy_true, lat, lon).
    """

    def __init__(self, key: Hashable | None, values: Array) -> None:
        self._key, self.values = key, values

    def transforms(self, size: tuple[int, int]) -> NDArray[np.complex128]:
        """Fourier transforms (1 + S, ...) of the images, zero-padded to a size."""
        if self._key is None:
            return _transform(self.values, size)
        return CACHE.get((self._key, size), lambda: (_transform(self.values, size),))[0]


def _transform(images: Array, size: tuple[int, int]) -> NDArray[np.complex128]:
    result: NDArray[np.complex128] = fft.rfft2(images, s=size)
    return result


class Field(Protocol):
    """Pixels and true energies over which spatial models are integrated."""

    @property
    def grid(self) -> Grid:
        """Pixels."""
        ...

    @property
    def energy_true(self) -> Axis:
        """Energies, for models that depend on energy."""
        ...


class PixelIntegral:
    """Integral of a spatial model over the pixels of a window.

    The pixels and their oversampling are fixed at creation; the parameters of the
    model may change afterwards.

    Parameters
    ----------
    observation : `Field`
        An `Observation`, or another object with the same attributes.
    window : `Window`
        Pixels to integrate over.
    model : `SpatialModel`
    values : array
        Parameters of the model that fix the pixels, in its internal units.

    Notes
    -----
    As Gammapy's ``SpatialModel.integrate_geom``: within an inner cutout of twice the evaluation
    radius, means over f × f sub-pixels, f = ceil(pixel size / smallest bin of the model) up to
    200, times the solid angle of the pixel; if f is 1, pixel centres of the whole window.
    An energy-dependent model has an image for each true energy, evaluated at its centre: images
    of shape (lat, lon) then have the shape (energy_true, lat, lon).
    """

    def __init__(
        self, observation: Field, window: Window, model: SpatialModel, values: Array
    ) -> None:
        self._model = model
        grid = observation.grid
        self._inner, self._factor = self._plan(observation, window, values)
        y, x = (
            slice(start + cut.start, start + cut.stop)
            for start, cut in zip((window.y0, window.x0), self._inner, strict=True)
        )
        self.per_energy = model.is_energy_dependent
        energy = observation.energy_true.center if self.per_energy else None
        self._pixels = _pixels(wcs_of(grid, "a shape on pixels"), y, x, self._factor, model.frame)
        lon, lat, self._solid_angle = CACHE.get(self._pixels, partial(_on_sky, *self._pixels))
        self._sky = SkyGrid(lon, lat, energy)
        if model.per_pixel:
            self._solid_angle = np.ones_like(self._solid_angle)
        self.shape = window.shape

    def _plan(
        self, observation: Field, window: Window, values: Array
    ) -> tuple[tuple[slice, slice], int]:
        """Inner cutout, as slices into the window, and oversampling factor."""
        grid, model = observation.grid, self._model
        everything = slice(0, window.shape[0]), slice(0, window.shape[1])
        radius, center = model.evaluation_radius(values), model.center(values)
        bin_size = model.evaluation_bin_size_min(values)
        inner: Window | None = Window(0, window.shape[0], 0, window.shape[1])
        if radius is not None and center is not None:
            width = 2 * max(radius, grid.max_pixel_scale)
            x, y = grid.to_pixel(*rotate(*center, model.frame, grid.frame))
            npix = [round(max(width / scale, 1.0)) for scale in grid.pixel_scales[::-1]]
            inner = cutout_window(
                window.shape, (float(y) - window.y0, float(x) - window.x0), (npix[0], npix[1])
            )
            if inner is None:
                return everything, 1
        if bin_size is None:
            return everything, 1
        factor = MAX_OVERSAMPLING
        if bin_size > 0:
            factor = min(math.ceil(grid.max_pixel_scale / bin_size), MAX_OVERSAMPLING)
        return (everything, 1) if factor <= 1 or inner is None else (inner.slices, factor)

    @property
    def border(self) -> tuple[int, int]:
        """Number of rows and columns on each side of the window in which the integral is zero."""
        cuts = zip(self.shape, self._inner, strict=True)
        y, x = (min(cut.start, n - cut.stop) for n, cut in cuts)
        return y, x

    def _to_pixels(self, fine: Array) -> Array:
        """Convert sub-pixel densities (..., fine lat, fine lon) to integrals over the window's pixels."""
        n_y, n_x = self._solid_angle.shape
        f = self._factor
        result = np.zeros((*fine.shape[:-2], *self.shape))
        if f > 1:
            fine = fine.reshape(*fine.shape[:-2], n_y, f, n_x, f).mean(axis=(-3, -1))
        if not self._model.density_unit:  # a norm may be undefined in some pixels
            fine = np.nan_to_num(fine)
        result[..., *self._inner] = fine * self._solid_angle
        return result

    def images(self, values: Array, free: Sequence[int]) -> Images:
        """Integrals at some values, and their derivatives with respect to the parameters in `free`."""
        inner = tuple((cut.start, cut.stop) for cut in self._inner)
        key = (self._model, self._pixels, inner, self.shape, values.tobytes(), tuple(free))
        if self.per_energy:
            return Images(None, self._images(values, free))
        return Images(key, CACHE.get(key, lambda: (self._images(values, free),))[0])

    def _images(self, values: Array, free: Sequence[int]) -> Array:
        if not free:
            return self._to_pixels(self._model.evaluate(self._sky, *values.tolist()))[None]
        value, gradient = self._model.gradient(self._sky, *values.tolist())
        return self._to_pixels(np.concatenate([value[None], gradient[list(free)]]))

    def second(self, values: Array, free: list[int], weight: Array) -> Array:
        """Second derivatives (S, S) of Σ weight · integral."""
        hessian = self._model.hessian(self._sky, *values.tolist())[np.ix_(free, free)]
        pixels = self._to_pixels(hessian)
        result: Array = times(pixels.reshape(-1, weight.size), weight.ravel()).reshape(
            pixels.shape[:2]
        )
        return result


def _pixels(grid: WcsGrid, y: slice, x: slice, factor: int, frame: str) -> tuple[Any, ...]:
    """Arguments that determine the positions of a rectangle of pixels."""
    cards, y0, x0 = grid.common
    return cards, y0 + y.start, y0 + y.stop, x0 + x.start, x0 + x.stop, factor, frame


def _on_sky(
    cards: CommonGrid, y0: int, y1: int, x0: int, x1: int, factor: int, frame: str
) -> tuple[Array, Array, Array]:
    """Positions of the sub-pixels in a frame, and solid angles of the pixels."""
    grid = common_grid(cards)
    y, x = slice(y0, y1), slice(x0, x1)
    sky = rotate(*grid.upsampled_centers(y, x, factor), grid.frame, frame)
    return *sky, grid.solid_angles(y, x)
