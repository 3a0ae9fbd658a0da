"""Extended shapes: their integral over pixels, convolved with the PSF."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gmdask.likelihood.bins import Bins
from gmdask.likelihood.convolution import Convolution
from gmdask.likelihood.operators import MatrixOperator, Operator, bin_response, mask_response
from gmdask.likelihood.pixels import PixelIntegral
from gmdask.likelihood.response import Anchor, Observation

__all__ = ["ExtendedResponse"]

Array = NDArray[np.float64]


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
        self._integral, self._free, self._per_energy = integral, free, integral.per_energy
        window = anchor.window
        self._y, self._x = bins.y - window.y0, bins.x - window.x0
        self.after_edisp = observation.psf_energy == "energy" and anchor.kernel is not None
        n_true, n_reco = anchor.edisp.shape
        kernels = None if anchor.kernel is None else anchor.kernel.values
        if self.after_edisp:
            self._r, self._edisp = bins.r, anchor.edisp
            self._convolution = Convolution(kernels, n_reco, window.shape)
            self._exposure = np.ascontiguousarray(anchor.exposure[:, *window.slices])
            self._mask_image = self._convolution.correlate(
                observation.mask[:, *window.slices].astype(float)
            )
        else:
            self._convolution = Convolution(kernels, n_true, window.shape)
            self._bin_response = bin_response(anchor, bins)
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
        sums = np.stack([self._sum(image) for image in images])
        return MatrixOperator(
            matrices[0], sums[0], matrices[1:], sums[1:],
            lambda f, w, w_sum: self._second(values, f, w, w_sum), bool((shape < 0).any()),
        )  # fmt: skip

    def _sum(self, image: Array) -> Array:
        """Masked sum (T,) of an image, or of one image per energy."""
        if self._per_energy:
            return np.asarray(np.einsum("tyx,tyx->t", self._sum_image, image))
        return np.asarray(np.tensordot(self._sum_image, image, axes=2))

    def _matrix(self, image: Array) -> Array:
        convolved = self._convolution.apply(image)[:, self._y, self._x]
        return self._bin_response * convolved.T

    def _second(self, values: Array, f: Array, w: Array, w_sum: float) -> Array:
        """Second derivatives, with the PSF in true energy, by one adjoint convolution."""
        scattered = np.zeros((len(f), *self._integral.shape))
        per_bin = (self._bin_response * f).T * w
        for plane, weights in zip(scattered, per_bin, strict=True):
            np.add.at(plane, (self._y, self._x), weights)
        if self._per_energy:
            weight = (
                self._convolution.correlate(scattered) + w_sum * f[:, None, None] * self._sum_image
            )
            return self._integral.second(values, self._free, weight)
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
        self.negative = bool((shape < 0).any())

    @property
    def nbytes(self) -> int:
        return self._shape.nbytes + self._gradient.nbytes

    def _forward(self, shape: Array, spectrum: Array) -> tuple[Array, float]:
        own = self._response
        if own._per_energy:
            flux = np.tensordot(own._edisp.T * spectrum, own._exposure * shape, axes=1)
        else:
            flux = np.tensordot(own._edisp.T * spectrum, own._exposure, axes=1) * shape
        convolved = own._convolution.apply(flux)
        return convolved[own._r, own._y, own._x], float(np.vdot(own._mask_image, flux))

    def _adjoint_image(self, w: Array, w_sum: float) -> Array:
        """Gradient (energy, lat, lon) by the flux times exposure before the PSF."""
        own = self._response
        scattered = np.zeros((own._edisp.shape[1], *own._integral.shape))
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
        rule = "...tyx,tyx,ryx->...tr" if own._per_energy else "...yx,tyx,ryx->...tr"
        per_shape = np.einsum(rule, shapes, own._exposure, image, optimize=True)
        result: Array = (per_shape * own._edisp).sum(axis=-1)
        return result

    def adjoint(self, w: Array, w_sum: float) -> Array:
        return self._to_spectrum(self._shape, self._adjoint_image(w, w_sum))

    def adjoint_shape(self, w: Array, w_sum: float) -> Array:
        return self._to_spectrum(self._gradient, self._adjoint_image(w, w_sum))

    def second_shape(self, f: Array, w: Array, w_sum: float) -> Array:
        own = self._response
        if own._per_energy:
            weight = own._exposure * np.tensordot(own._edisp, self._adjoint_image(w, w_sum), axes=1)
            return own._integral.second(self._values, own._free, f[:, None, None] * weight)
        exposure = np.tensordot(own._edisp.T * f, own._exposure, axes=1)
        weight = (exposure * self._adjoint_image(w, w_sum)).sum(axis=0)
        return own._integral.second(self._values, own._free, weight)
