"""Convolution of images with the kernels of a PSF."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft

__all__ = ["Convolution"]

Array = NDArray[np.float64]


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
        """Return transforms of the kernels, centred on pixel 0, without what exceeds the image."""
        size = self._size
        index = np.arange(-self._half, self._half + 1)
        keep_y, keep_x = np.abs(index) < self._shape[0], np.abs(index) < self._shape[1]
        centred = np.zeros((self._n, *size))
        rows, columns = index[keep_y] % size[0], index[keep_x] % size[1]
        centred[:, rows[:, None], columns] = kernels[:, keep_y][:, :, keep_x]
        result: NDArray[np.complex128] = fft.rfft2(centred)
        return result

    def apply(self, images: Array) -> Array:
        """Convolve one image (lat, lon), or one per plane, to (plane, lat, lon)."""
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
