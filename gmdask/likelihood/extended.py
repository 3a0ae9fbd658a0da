"""Extended sources: their integral over pixels, convolved with the PSF."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from gmdask.likelihood.anchor import Anchor
from gmdask.likelihood.bins import Bins
from gmdask.likelihood.convolution import Convolution, SampledConvolution
from gmdask.likelihood.factored import FactoredOperator, is_shorter
from gmdask.likelihood.observation import Keep, Observation
from gmdask.likelihood.operators import MatrixOperator, Operator, OperatorBase, mask_response
from gmdask.likelihood.pixel_integral import PixelIntegral
from gmdask.sums import times

__all__ = ["ExtendedResponse"]

Array = NDArray[np.float64]


class ExtendedResponse:
    """Response to an extended source, with fixed pixels and kernels.

    Parameters
    ----------
    observation : `Observation`
    anchor : `Anchor`
    bins : `Bins`
        Bins within the window of the anchor.
    integral : `PixelIntegral`
    free : list of int
        Free parameters of the spatial model.
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
        self._r, self._edisp, self._exposure = bins.r, anchor.edisp, anchor.exposure
        self._y, self._x = bins.y - window.y0, bins.x - window.x0
        self.after_edisp = observation.psf_energy == "energy" and anchor.kernel is not None
        n_true, n_reco = anchor.edisp.shape
        kernels = None if anchor.kernel is None else anchor.kernel.values
        if self.after_edisp:
            self._convolution = Convolution(kernels, n_reco, window.shape, integral.border)
            self._mask_image = self._convolution.apply(anchor.mask.astype(float))
        else:
            self._convolution = Convolution(kernels, n_true, window.shape, integral.border)
            self._at_y, self._at_x, self._pixel = bins.pixels(window)
            occupied = np.zeros((len(self._at_y), n_reco))
            occupied[self._pixel, self._r] = 1.0
            needed = times((anchor.edisp > 0).astype(np.float64), occupied.T) > 0
            self._sampled = SampledConvolution(
                self._convolution,
                self._at_y,
                self._at_x,
                needed,
                mask_response(anchor),
                per_plane=self._per_energy,
            )

    @property
    def nbytes(self) -> int:
        """Bytes of the kept arrays."""
        own = [v.nbytes for v in self.__dict__.values() if isinstance(v, np.ndarray)]
        return (
            self._convolution.nbytes + sum(own) + (0 if self.after_edisp else self._sampled.nbytes)
        )

    def operator(self, values: Array, *, derivatives: bool) -> Operator:
        """Return the operator at some values of the spatial parameters."""
        images = self._integral.images(values, self._free if derivatives else [])
        if self.after_edisp:
            return _RecoOperator(self, values, images.values[0], images.values[1:])
        flux, sums = self._sampled(images)
        flux *= self._exposure[:, self._at_y, self._at_x]
        negative = bool((images.values[0] < 0).any())
        if not self._free and not is_shorter(flux.shape[2], len(self._r), flux.shape[1]):
            matrix = self._edisp.T[self._r] * flux[0].T[self._pixel]
            return MatrixOperator(matrix, sums[0], negative=negative)
        second = partial(self._second, values) if derivatives else None
        return FactoredOperator(flux, self._edisp, self._pixel, self._r, sums, second, negative)

    def _second(self, values: Array, f: Array, w: Array, w_sum: float) -> Array:
        """Second derivatives, with the PSF in true energy, by one adjoint convolution."""
        at_bins = np.zeros((self._edisp.shape[1], len(self._at_y)))
        at_bins[self._r, self._pixel] = w
        scattered = np.zeros((len(f), *self._integral.shape))
        scattered[:, self._at_y, self._at_x] = times(self._edisp, at_bins)
        scattered *= f[:, None, None] * self._exposure
        scattered += w_sum * f[:, None, None] * self._sampled.weights
        adjoint = self._convolution.apply if self._per_energy else self._convolution.adjoint_sum
        return self._integral.second(values, self._free, adjoint(scattered))


class _RecoOperator(OperatorBase):
    """Operator of an extended source with the PSF in reconstructed energy."""

    def __init__(
        self, response: ExtendedResponse, values: Array, shape: Array, gradient: Array
    ) -> None:
        self._response, self._values = response, values
        self._shape, self._gradient = shape, gradient
        self.negative = bool((shape < 0).any())

    @property
    def nbytes(self) -> int:
        return self._shape.nbytes + self._gradient.nbytes

    def keep(self, keep: Keep) -> None:
        """Do nothing, since the source moves."""

    def _forward(self, shape: Array, spectrum: Array) -> tuple[Array, float]:
        own = self._response
        if own._per_energy:
            flux = times(own._edisp.T * spectrum, own._exposure * shape)
        else:
            flux = times(own._edisp.T * spectrum, own._exposure) * shape
        convolved = own._convolution.apply(flux)
        return convolved[own._r, own._y, own._x], float(np.vdot(own._mask_image, flux))

    def _adjoint_image(self, w: Array, w_sum: float) -> Array:
        """Gradient (energy, lat, lon) with respect to the flux times exposure before the PSF."""
        own = self._response
        scattered = np.zeros((own._edisp.shape[1], *own._integral.shape))
        np.add.at(scattered, (own._r, own._y, own._x), w)
        result: Array = own._convolution.apply(scattered) + w_sum * own._mask_image
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
            weight = own._exposure * times(own._edisp, self._adjoint_image(w, w_sum))
            return own._integral.second(self._values, own._free, f[:, None, None] * weight)
        exposure = times(own._edisp.T * f, own._exposure)
        weight = (exposure * self._adjoint_image(w, w_sum)).sum(axis=0)
        return own._integral.second(self._values, own._free, weight)
