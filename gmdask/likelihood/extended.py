"""Extended shapes: their integral over pixels, and convolution with the PSF."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from gmdask.geometry import Window, cutout_window, rotate
from gmdask.likelihood.bins import Bins
from gmdask.likelihood.operators import MatrixOperator, Operator, bin_response, mask_response
from gmdask.likelihood.response import Anchor, Observation
from gmdask.models import SkyGrid, SpatialModel

__all__ = ["Convolution", "ExtendedResponse", "PixelIntegral"]

Array = NDArray[np.float64]

MAX_OVERSAMPLING = 200


class PixelIntegral:
    """Integral of a spatial model over the pixels of a window.

    The pixels and their oversampling are fixed when it is made; the parameters of the
    model may move afterwards.

    Parameters
    ----------
    observation : `Observation`
    window : `Window`
        Pixels to integrate over.
    model : `SpatialModel`
    values : array
        Parameters of the model that fix the pixels, in its internal units.

    Notes
    -----
    Gammapy's ``SpatialModel.integrate_geom``: within an inner cut of twice the evaluation
    radius, means over f × f sub-pixels, f = ceil(pixel size / smallest bin of the model) up to
    200, times the solid angle of the pixel; where f is 1, pixel centres of the whole window.
    """

    def __init__(
        self, observation: Observation, window: Window, model: SpatialModel, values: Array
    ) -> None:
        self._model = model
        grid = observation.grid
        self._inner, self._factor = self._plan(observation, window, values)
        y, x = (
            slice(start + cut.start, start + cut.stop)
            for start, cut in zip((window.y0, window.x0), self._inner, strict=True)
        )
        lon, lat = grid.upsampled_centers(y, x, self._factor)
        self._sky = SkyGrid(*rotate(lon, lat, grid.frame, model.frame))
        self._solid_angle = grid.solid_angle[y, x]
        self.shape = window.shape

    def _plan(
        self, observation: Observation, window: Window, values: Array
    ) -> tuple[tuple[slice, slice], int]:
        """Inner cut, as slices into the window, and oversampling factor."""
        grid, model = observation.grid, self._model
        everything = slice(0, window.shape[0]), slice(0, window.shape[1])
        radius = model.evaluation_radius(values)
        bin_size = model.evaluation_bin_size_min(values)
        inner: Window | None = None
        if radius is not None:
            width = 2 * max(radius, grid.max_pixel_scale)
            x, y = grid.to_pixel(*rotate(values[0], values[1], model.frame, grid.frame))
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

    def _to_pixels(self, fine: Array) -> Array:
        """Sub-pixel densities (..., fine lat, fine lon) to integrals over the window's pixels."""
        n_y, n_x = self._solid_angle.shape
        f = self._factor
        result = np.zeros((*fine.shape[:-2], *self.shape))
        if f > 1:
            fine = fine.reshape(*fine.shape[:-2], n_y, f, n_x, f).mean(axis=(-3, -1))
        result[..., *self._inner] = fine * self._solid_angle
        return result

    def value(self, values: Array) -> Array:
        """Integrals (lat, lon)."""
        return self._to_pixels(self._model.evaluate(self._sky, *values.tolist()))

    def gradient(self, values: Array, free: list[int]) -> tuple[Array, Array]:
        """Integrals, and their derivatives (S, lat, lon) by the parameters in `free`."""
        value, gradient = self._model.gradient(self._sky, *values.tolist())
        return self._to_pixels(value), self._to_pixels(gradient[free])

    def second(self, values: Array, free: list[int], weight: Array) -> Array:
        """Second derivatives (S, S) of Σ weight · integral."""
        hessian = self._model.hessian(self._sky, *values.tolist())[np.ix_(free, free)]
        result: Array = np.tensordot(self._to_pixels(hessian), weight, axes=([-2, -1], [0, 1]))
        return result


class Convolution:
    """Convolution ("same" size) of images of one window with a set of kernels.

    Parameters
    ----------
    kernels : array of shape (plane, n, n) or None
        None leaves images as they are.
    n_plane : int
        Number of planes.
    shape : tuple of int
        Shape of the images.
    """

    def __init__(self, kernels: Array | None, n_plane: int, shape: tuple[int, int]) -> None:
        self._n, self._shape = n_plane, shape
        self._half = 0 if kernels is None else kernels.shape[-1] // 2
        self._size = tuple(fft.next_fast_len(n + self._half, real=True) for n in shape)
        self._transform = None
        if kernels is not None:
            self._transform = self._kernel_transform(kernels)

    @property
    def nbytes(self) -> int:
        """Bytes of the transforms of the kernels."""
        return 0 if self._transform is None else int(self._transform.nbytes)

    def _kernel_transform(self, kernels: Array) -> NDArray[np.complex128]:
        """Transforms of the kernels, centred on pixel 0; what exceeds the image cannot matter."""
        size = self._size
        index = np.arange(-self._half, self._half + 1)
        keep_y, keep_x = np.abs(index) < self._shape[0], np.abs(index) < self._shape[1]
        centred = np.zeros((self._n, *size))
        rows, columns = index[keep_y] % size[0], index[keep_x] % size[1]
        centred[:, rows[:, None], columns] = kernels[:, keep_y][:, :, keep_x]
        result: NDArray[np.complex128] = fft.rfft2(centred)
        return result

    def apply(self, images: Array) -> Array:
        """Convolve: one image (lat, lon) or one per plane (plane, lat, lon) to (plane, lat, lon)."""
        if self._transform is None:
            return np.broadcast_to(images, (self._n, *self._shape))
        return self._back(fft.rfft2(images, s=self._size) * self._transform)

    def correlate(self, images: Array) -> Array:
        """Adjoint of `apply`, plane by plane."""
        if self._transform is None:
            return images
        return self._back(fft.rfft2(images, s=self._size) * np.conj(self._transform))

    def correlate_sum(self, images: Array) -> Array:
        """Sum over planes of `correlate`: shape (lat, lon)."""
        if self._transform is None:
            return np.asarray(images.sum(axis=0))
        return self._back((fft.rfft2(images, s=self._size) * np.conj(self._transform)).sum(axis=0))

    def _back(self, transform: NDArray[np.complex128]) -> Array:
        images: Array = fft.irfft2(transform, s=self._size)
        return images[..., : self._shape[0], : self._shape[1]]


class ExtendedResponse:
    """Response to an extended shape, with pixels and kernels fixed.

    Parameters
    ----------
    observation : `Observation`
    anchor : `Anchor`
    bins : `Bins`
        All within the window of the anchor.
    integral : `PixelIntegral`
    free : list of int
        Which parameters of the shape are derived by.
    """

    def __init__(
        self,
        observation: Observation,
        anchor: Anchor,
        bins: Bins,
        integral: PixelIntegral,
        free: list[int],
    ) -> None:
        self._integral, self._free = integral, free
        window = anchor.window
        self._y, self._x = bins.y - window.y0, bins.x - window.x0
        self.after_edisp = observation.psf_energy == "energy" and anchor.kernel is not None
        n_true, n_reco = anchor.edisp.shape
        kernels = None if anchor.kernel is None else anchor.kernel.values
        if self.after_edisp:
            self._r, self._edisp = bins.r, anchor.edisp
            self._convolution = Convolution(kernels, n_reco, window.shape)
            self._exposure = np.ascontiguousarray(observation.exposure[:, *window.slices])
            self._mask_image = self._convolution.correlate(
                observation.mask[:, *window.slices].astype(float)
            )
        else:
            self._convolution = Convolution(kernels, n_true, window.shape)
            self._bin_response = bin_response(observation, anchor, bins)
            self._sum_image = self._convolution.correlate(mask_response(observation, anchor))

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays kept."""
        return self._convolution.nbytes + sum(
            v.nbytes for v in self.__dict__.values() if isinstance(v, np.ndarray)
        )

    def operator(self, values: Array, *, derivatives: bool) -> Operator:
        """Operator at some values of the shape parameters."""
        if derivatives and self._free:
            shape, shape_gradient = self._integral.gradient(values, self._free)
        else:
            shape = self._integral.value(values)
            shape_gradient = np.zeros((0, *shape.shape))
        if self.after_edisp:
            return _RecoOperator(self, values, shape, shape_gradient)
        images = [shape, *shape_gradient]
        matrices = np.stack([self._matrix(image) for image in images])
        sums = np.stack([np.tensordot(self._sum_image, image, axes=2) for image in images])
        return MatrixOperator(
            matrices[0],
            sums[0],
            matrices[1:],
            sums[1:],
            lambda f, w, w_sum: self._second(values, f, w, w_sum),
        )

    def _matrix(self, image: Array) -> Array:
        convolved = self._convolution.apply(image)[:, self._y, self._x]
        return self._bin_response * convolved.T

    def _second(self, values: Array, f: Array, w: Array, w_sum: float) -> Array:
        """Second derivatives, with the PSF in true energy, by one adjoint convolution."""
        scattered = np.zeros((len(f), *self._integral.shape))
        per_bin = (self._bin_response * f).T * w
        for plane, weights in zip(scattered, per_bin, strict=True):
            np.add.at(plane, (self._y, self._x), weights)
        image = self._convolution.correlate_sum(scattered) + w_sum * np.tensordot(
            f, self._sum_image, axes=1
        )
        return self._integral.second(values, self._free, image)


class _RecoOperator:
    """Operator of an extended shape with the PSF in reconstructed energy."""

    def __init__(
        self, response: ExtendedResponse, values: Array, shape: Array, gradient: Array
    ) -> None:
        self._response, self._values = response, values
        self._shape, self._gradient = shape, gradient

    @property
    def nbytes(self) -> int:
        return self._shape.nbytes + self._gradient.nbytes

    def _forward(self, shape: Array, spectrum: Array) -> tuple[Array, float]:
        own = self._response
        flux = np.tensordot(own._edisp.T * spectrum, own._exposure, axes=1) * shape
        convolved = own._convolution.apply(flux)
        return convolved[own._r, own._y, own._x], float(np.vdot(own._mask_image, flux))

    def _adjoint_image(self, w: Array, w_sum: float) -> Array:
        """Gradient (energy, lat, lon) by the flux times exposure before the PSF."""
        own = self._response
        scattered = np.zeros((own._edisp.shape[1], *self._shape.shape))
        np.add.at(scattered, (own._r, own._y, own._x), w)
        result: Array = own._convolution.correlate(scattered) + w_sum * own._mask_image
        return result

    def forward(self, spectra: Array) -> tuple[Array, Array]:
        if spectra.ndim == 1:
            counts, total = self._forward(self._shape, spectra)
            return counts, np.asarray(total)
        parts = [self._forward(self._shape, spectrum) for spectrum in spectra.T]
        return np.stack([c for c, _ in parts], axis=1), np.array([s for _, s in parts])

    def forward_shape(self, f: Array) -> tuple[Array, Array]:
        if not len(self._gradient):
            return np.zeros((len(self._response._r), 0)), np.zeros(0)
        parts = [self._forward(shape, f) for shape in self._gradient]
        return np.stack([c for c, _ in parts], axis=1), np.array([s for _, s in parts])

    def _to_spectrum(self, shapes: Array, image: Array) -> Array:
        own = self._response
        per_shape = np.einsum("...yx,tyx,ryx->...tr", shapes, own._exposure, image, optimize=True)
        result: Array = (per_shape * own._edisp).sum(axis=-1)
        return result

    def adjoint(self, w: Array, w_sum: float) -> Array:
        return self._to_spectrum(self._shape, self._adjoint_image(w, w_sum))

    def adjoint_shape(self, w: Array, w_sum: float) -> Array:
        return self._to_spectrum(self._gradient, self._adjoint_image(w, w_sum))

    def second_shape(self, f: Array, w: Array, w_sum: float) -> Array:
        own = self._response
        exposure = np.tensordot(own._edisp.T * f, own._exposure, axes=1)
        weight = (exposure * self._adjoint_image(w, w_sum)).sum(axis=0)
        return own._integral.second(self._values, own._free, weight)
