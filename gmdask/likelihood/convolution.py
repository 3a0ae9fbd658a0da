"""Convolution of images with the kernels of a PSF."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import fft

from gmdask.likelihood.pixels import Images

__all__ = ["Convolution", "WeightedSums"]

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]
Index = NDArray[np.intp]
Mask = NDArray[np.bool_]

# measured, in ns: a transform per pixel of the padded image and plane; a sum over the kernel per
# pixel wanted and pixel of the kernel: to gather it, and to multiply it for each plane
TRANSFORM, GATHER, MULTIPLY = 15.0, 1.4, 0.09


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

    Attributes
    ----------
    size : tuple of int
        Shape of the images padded with zeros, which are transformed.
    """

    def __init__(self, kernels: Array | None, n_plane: int, shape: tuple[int, int]) -> None:
        self._kernels, self._n, self._shape = kernels, n_plane, shape
        self._half = 0 if kernels is None else kernels.shape[-1] // 2
        y, x = (fft.next_fast_len(n + self._half, real=True) for n in shape)
        self.size = (int(y), int(x))

    @property
    def nbytes(self) -> int:
        """Bytes of the kernels and their transforms."""
        held = [self._kernels, self.__dict__.get("_transform")]
        return sum(array.nbytes for array in held if array is not None)

    @cached_property
    def _transform(self) -> Complex:
        """Transforms of the kernels, centred on pixel 0, without what exceeds the image."""
        assert self._kernels is not None
        size = self.size
        index = np.arange(-self._half, self._half + 1)
        keep_y, keep_x = np.abs(index) < self._shape[0], np.abs(index) < self._shape[1]
        centred = np.zeros((self._n, *size))
        rows, columns = index[keep_y] % size[0], index[keep_x] % size[1]
        centred[:, rows[:, None], columns] = self._kernels[:, keep_y][:, :, keep_x]
        result: Complex = fft.rfft2(centred)
        return result

    # --- forward ---------------------------------------------------------------------------

    def apply(self, images: Array) -> Array:
        """Convolve one image (lat, lon), or one per plane, to (plane, lat, lon)."""
        if self._kernels is None:
            return np.broadcast_to(images, (self._n, *self._shape))
        return self._back(fft.rfft2(images, s=self.size) * self._transform)

    def at_pixels(self, images: Images, y: Index, x: Index, needed: Mask) -> Array:
        """Convolve images of a shape, and take some pixels.

        Parameters
        ----------
        images : `Images`
            I of them, the same for all planes or one for each.
        y, x : array of shape (pixel,)
        needed : boolean array of shape (plane, pixel)
            Which values are needed; others may be anything finite.

        Returns
        -------
        values : array of shape (I, plane, pixel)
        """
        if self._kernels is None:
            wanted = images.values[..., y, x]
            return wanted if wanted.ndim == 3 else np.repeat(wanted[:, None], self._n, axis=1)
        summed = np.zeros(self._n, dtype=bool)
        if images.values.ndim == 3:
            summed = self._cheaper_as_sums(needed)
        result = np.zeros((len(images.values), self._n, len(y)))
        planes = np.flatnonzero(~summed & needed.any(axis=1))
        if len(planes):
            transform = self._transform[planes]
            for i, image in enumerate(images.transforms(self.size)):
                own = image[planes] if image.ndim == 3 else image
                result[i, planes] = self._back(own * transform)[:, y, x]
        if summed.any():
            pixels = np.flatnonzero(needed[summed].any(axis=0))
            at = np.ix_(summed, pixels)
            for i, values in enumerate(self._sums_at(images.values, y[pixels], x[pixels], summed)):
                result[i][at] = values
        return result

    @cached_property
    def _halves(self) -> Index:
        """Half the width of each kernel, without zeros at its border."""
        assert self._kernels is not None
        distance = np.abs(np.arange(-self._half, self._half + 1))
        return np.asarray(np.where(self._kernels.any(axis=1), distance, 0).max(axis=1))

    def _cheaper_as_sums(self, needed: Mask) -> Mask:
        """Planes that take less time as sums over the kernel at the pixels than as transforms."""
        areas = (2 * self._halves + 1) ** 2
        order = np.argsort(np.count_nonzero(needed, axis=1) * areas, kind="stable")
        pixels = np.count_nonzero(np.logical_or.accumulate(needed[order], axis=0), axis=1)
        n_planes = np.arange(1, self._n + 1)
        sums = pixels * np.maximum.accumulate(areas[order]) * (GATHER + MULTIPLY * n_planes)
        transforms = TRANSFORM * self.size[0] * self.size[1] * (self._n - n_planes)
        best = int(np.argmin(sums + transforms))
        summed = np.zeros(self._n, dtype=bool)
        if sums[best] < TRANSFORM * self.size[0] * self.size[1] * (best + 1):
            summed[order[: best + 1]] = True
        return summed

    def _sums_at(self, images: Array, y: Index, x: Index, planes: Mask) -> Iterator[Array]:
        """Convolve each image (lat, lon) with the kernels of some planes, at pixels: (plane, pixel)."""
        assert self._kernels is not None
        half = int(self._halves[planes].max())
        cut = slice(self._half - half, self._half + half + 1)
        flipped = self._kernels[planes, cut, cut][:, ::-1, ::-1].reshape(-1, (2 * half + 1) ** 2)
        for image in images:
            around = sliding_window_view(np.pad(image, half), (2 * half + 1,) * 2)[y, x]
            yield flipped @ around.reshape(len(y), flipped.shape[1]).T

    # --- adjoint ---------------------------------------------------------------------------

    def correlate(self, images: Array) -> Array:
        """Adjoint of `apply`, plane by plane."""
        if self._kernels is None:
            return images
        return self._back(fft.rfft2(images, s=self.size) * np.conj(self._transform))

    def correlate_sum(self, images: Array) -> Array:
        """Sum over planes of `correlate`: shape (lat, lon)."""
        if self._kernels is None:
            return np.asarray(images.sum(axis=0))
        return self._back((fft.rfft2(images, s=self.size) * np.conj(self._transform)).sum(axis=0))

    def _back(self, transform: Complex) -> Array:
        images: Array = fft.irfft2(transform, s=self.size)
        return images[..., : self._shape[0], : self._shape[1]]


class WeightedSums:
    """Sums over the window of convolved images, with weights that are fixed.

    Parameters
    ----------
    convolution : `Convolution`
    weights : array of shape (plane, lat, lon)

    Notes
    -----
    By Parseval's theorem the sum of a product is that of the transforms: no convolved image
    is needed.
    """

    def __init__(self, convolution: Convolution, weights: Array) -> None:
        self._convolution, self._weights = convolution, weights

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        held = [self._weights, self.__dict__.get("_transform")]
        return sum(array.nbytes for array in held if array is not None)

    @cached_property
    def _transform(self) -> Array:
        """Conjugate transform of the adjoint weights, with real and imaginary parts side by side."""
        own = self._convolution
        product = fft.rfft2(self._weights, s=own.size) * np.conj(own._transform)
        share = np.full(product.shape[-1], 2.0)  # a half-plane stands for the whole
        share[0] = 1.0
        if own.size[1] % 2 == 0:
            share[-1] = 1.0
        product *= share / (own.size[0] * own.size[1])
        result: Array = product.reshape(len(product), -1).view(np.float64)
        return result

    def __call__(self, images: Images) -> Array:
        """Sums (I, plane) of images of a shape."""
        # one by one: the bits of one do not depend on how many there are
        own = self._convolution
        if own._kernels is None:
            per_plane = images.values.ndim == 4
            rule = "pyx,pyx->p" if per_plane else "pyx,yx->p"
            return np.stack([np.einsum(rule, self._weights, image) for image in images.values])
        transforms = images.transforms(own.size)
        flat = transforms.reshape(*transforms.shape[:-2], -1).view(np.float64)
        if images.values.ndim == 4:
            return np.stack([np.einsum("pk,pk->p", self._transform, image) for image in flat])
        return np.stack([self._transform @ image for image in flat])

    def adjoint(self, share: Array) -> Array:
        """Image (lat, lon): the sums, with a share for each plane, derived by the image."""
        return self._convolution.correlate_sum(share[:, None, None] * self._weights)

    def adjoint_planes(self, share: Array) -> Array:
        """Images (plane, lat, lon): the same, derived by the image of each plane."""
        return self._convolution.correlate(share[:, None, None] * self._weights)
