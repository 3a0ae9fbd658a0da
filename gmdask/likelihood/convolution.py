"""Convolution of images with PSF kernels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property, lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import fft

from gmdask.likelihood.pixel_integral import Images
from gmdask.sums import times

__all__ = ["Convolution", "SampledConvolution"]

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]
Index = NDArray[np.intp]
Mask = NDArray[np.bool_]

# measured times in ns: of a transform, per pixel of the padded image and plane; of a sum over the kernel, per
# pixel wanted and pixel of the kernel, for gathering it and for multiplying it in each plane
TRANSFORM, GATHER, MULTIPLY = 15.0, 1.4, 0.09


class Convolution:
    """Convolution ("same" size) of images of one window with a set of kernels.

    Parameters
    ----------
    kernels : array of shape (plane, n, n) or None
        PSF kernels, symmetric in both directions; None for no convolution.
    n_plane : int
        Number of planes.
    shape : tuple of int
        Shape of the images.
    border : tuple of int
        Number of rows and columns on each side in which images are zero.

    Attributes
    ----------
    is_identity : bool
        Whether images are left unchanged.
    kernels : array of shape (plane, n, n)
    size : tuple of int
        Shape of the zero-padded images that are transformed.

    Notes
    -----
    The transform of a symmetric kernel is real, and is a sum of cosines over a quarter of it; the
    convolution is its own adjoint for images that are evaluated within the border.
    """

    def __init__(
        self,
        kernels: Array | None,
        n_plane: int,
        shape: tuple[int, int],
        border: tuple[int, int] = (0, 0),
    ) -> None:
        self.is_identity = kernels is None
        self.kernels: Array = np.ones((n_plane, 1, 1)) if kernels is None else kernels
        self.n_plane, self._shape = n_plane, shape
        self._half = self.kernels.shape[-1] // 2
        y, x = (
            fft.next_fast_len(n + max(self._half - zeros, 0), real=True)
            for n, zeros in zip(shape, border, strict=True)
        )
        self.size = (int(y), int(x))

    @property
    def nbytes(self) -> int:
        """Bytes of the kernels and their transforms."""
        held = [self.kernels, self.__dict__.get("transform")]
        return sum(array.nbytes for array in held if array is not None)

    @cached_property
    def transform(self) -> Array:
        """Transforms of the kernels, centred on pixel 0, without parts that exceed the image."""
        (n_y, n_x), size, half = self._shape, self.size, self._half
        quarter = self.kernels[:, half : half + n_y, half : half + n_x]
        along_y = _cosines(size[0], quarter.shape[1])
        along_x = _cosines(size[1], quarter.shape[2])[: size[1] // 2 + 1]
        by_rows = np.moveaxis(times(quarter, along_x.T), 1, 0)
        return np.ascontiguousarray(np.moveaxis(times(along_y, by_rows), 0, 1))

    def apply(self, images: Array) -> Array:
        """Convolve one image (lat, lon), or one per plane, to (plane, lat, lon)."""
        if self.is_identity:
            return np.broadcast_to(images, (self.n_plane, *self._shape))
        return self.back(fft.rfft2(images, s=self.size) * self.transform)

    def adjoint_sum(self, images: Array) -> Array:
        """Sum over planes of the adjoint of `apply`: shape (lat, lon)."""
        if self.is_identity:
            return np.asarray(images.sum(axis=0))
        return self.back((fft.rfft2(images, s=self.size) * self.transform).sum(axis=0))

    def back(self, transform: Complex) -> Array:
        """Transform back to images."""
        images: Array = fft.irfft2(transform, s=self.size)
        return images[..., : self._shape[0], : self._shape[1]]


class SampledConvolution:
    """Convolved images at some pixels, and their weighted sums over the window.

    Parameters
    ----------
    convolution : `Convolution`
    y, x : array of shape (pixel,)
    needed : boolean array of shape (plane, pixel)
        Values that are needed; others may be anything finite.
    weights : array of shape (plane, lat, lon)
    per_plane : bool
        Whether there is a separate image for each plane.

    Notes
    -----
    Planes of which many pixels are needed are convolved by transforms. In the others, the few pixels are summed
    over the kernel, and the sum over the window is, by Parseval's theorem, a sum of transforms: no
    convolved image is needed.
    """

    def __init__(
        self,
        convolution: Convolution,
        y: Index,
        x: Index,
        needed: Mask,
        weights: Array,
        *,
        per_plane: bool,
    ) -> None:
        self._convolution, self._y, self._x, self._needed = convolution, y, x, needed
        self.weights, self._whole = weights, np.zeros(0, dtype=np.intp)
        self._summed = np.zeros(convolution.n_plane, dtype=bool)
        if not convolution.is_identity:
            if not per_plane:
                self._summed = self._cheaper_as_sums()
            self._whole = np.flatnonzero(~self._summed & needed.any(axis=1))

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        held = [self.weights, self._needed, self.__dict__.get("_adjoint_weights")]
        return sum(array.nbytes for array in held if array is not None)

    def __call__(self, images: Images) -> tuple[Array, Array]:
        """Convolve images of a model.

        Parameters
        ----------
        images : `Images`
            I images, the same for all planes or one for each.

        Returns
        -------
        values : array of shape (I, plane, pixel)
        sums : array of shape (I, plane)
        """
        own, n_image = self._convolution, len(images.values)
        if own.is_identity:
            return self._unconvolved(images.values)
        values = np.zeros((n_image, own.n_plane, len(self._y)))
        sums = np.zeros((n_image, own.n_plane))
        transforms, weights = images.transforms(own.size), self.weights[self._whole]
        kernels, rest = own.transform[self._whole], self._rest
        # one by one, so that the bits of one image do not depend on how many there are
        for i, image in enumerate(transforms):
            per_plane = image.ndim == 3
            if len(self._whole):
                convolved = own.back((image[self._whole] if per_plane else image) * kernels)
                values[i, self._whole] = convolved[:, self._y, self._x]
                sums[i, self._whole] = np.einsum("pyx,pyx->p", weights, convolved)
            if per_plane:
                flat = image[rest].reshape(len(rest), math.prod(image.shape[1:])).view(np.float64)
                sums[i, rest] = np.einsum("pk,pk->p", self._adjoint_weights, flat)
            else:
                sums[i, rest] = times(self._adjoint_weights, image.reshape(-1).view(np.float64))
        if self._summed.any():
            pixels = np.flatnonzero(self._needed[self._summed].any(axis=0))
            at = np.ix_(self._summed, pixels)
            for i, found in enumerate(self._sums_at(images.values, pixels)):
                values[i][at] = found
        return values, sums

    def _unconvolved(self, images: Array) -> tuple[Array, Array]:
        values, per_plane = images[..., self._y, self._x], images.ndim == 4
        if not per_plane:
            values = np.repeat(values[:, None], self._convolution.n_plane, axis=1)
        rule = "pyx,pyx->p" if per_plane else "pyx,yx->p"
        return values, np.stack([np.einsum(rule, self.weights, image) for image in images])

    @cached_property
    def _rest(self) -> Index:
        """Planes that are not convolved as whole images."""
        return np.setdiff1d(np.arange(self._convolution.n_plane), self._whole)

    @cached_property
    def _adjoint_weights(self) -> Array:
        """Transform of the adjoint weights of these planes, with real and imaginary parts side by side."""
        own, rest = self._convolution, self._rest
        product = fft.rfft2(self.weights[rest], s=own.size) * own.transform[rest]
        share = np.full(product.shape[-1], 2.0)  # the transform is a half-plane, counted twice
        share[0] = 1.0
        if own.size[1] % 2 == 0:
            share[-1] = 1.0
        product *= share / (own.size[0] * own.size[1])
        result: Array = product.reshape(len(rest), math.prod(product.shape[1:])).view(np.float64)
        return result

    @cached_property
    def _halves(self) -> Index:
        """Half width of each kernel, without zeros at its border."""
        kernels = self._convolution.kernels
        half = kernels.shape[-1] // 2
        distance = np.abs(np.arange(-half, half + 1))
        return np.asarray(np.where(kernels.any(axis=1), distance, 0).max(axis=1))

    def _cheaper_as_sums(self) -> Mask:
        """Planes that are faster as sums over the kernel at the pixels than as transforms."""
        n, needed = self._convolution.n_plane, self._needed
        areas = (2 * self._halves + 1) ** 2
        order = np.argsort(np.count_nonzero(needed, axis=1) * areas, kind="stable")
        pixels = np.count_nonzero(np.logical_or.accumulate(needed[order], axis=0), axis=1)
        n_planes = np.arange(1, n + 1)
        sums = pixels * np.maximum.accumulate(areas[order]) * (GATHER + MULTIPLY * n_planes)
        transform = TRANSFORM * self._convolution.size[0] * self._convolution.size[1]
        best = int(np.argmin(sums + transform * (n - n_planes)))
        summed = np.zeros(n, dtype=bool)
        if sums[best] < transform * (best + 1):
            summed[order[: best + 1]] = True
        return summed

    def _sums_at(self, images: Array, pixels: Index) -> Iterator[Array]:
        """Convolve each image (lat, lon) with the kernels of some planes, at pixels: (plane, pixel)."""
        kernels, planes = self._convolution.kernels, self._summed
        y, x, whole = self._y[pixels], self._x[pixels], kernels.shape[-1] // 2
        half = int(self._halves[planes].max())
        cut = slice(whole - half, whole + half + 1)
        flipped = kernels[planes, cut, cut][:, ::-1, ::-1].reshape(-1, (2 * half + 1) ** 2)
        for image in images:
            around = sliding_window_view(np.pad(image, half), (2 * half + 1,) * 2)[y, x]
            yield times(flipped, around.reshape(len(y), flipped.shape[1]).T)


@lru_cache(maxsize=256)
def _cosines(n: int, n_kernel: int) -> Array:
    """Cosine transform (n, n_kernel) of one half of a symmetric row, from its middle."""
    table: Array = np.cos(2 * np.pi / n * (np.outer(np.arange(n), np.arange(n_kernel)) % n))
    table[:, 1:] *= 2.0
    return table
