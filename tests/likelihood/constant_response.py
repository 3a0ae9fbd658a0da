"""A second implementation of a response, all in one file: a source is seen alike in every bin of the mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gmdask.likelihood.operators import MatrixOperator
from gmdask.likelihood.responses import Part, Places, ResponseType, Shape, whole_image

__all__ = ["CONSTANT", "ConstantResponse"]

Array = NDArray[np.float64]
EXPOSURE = 1e10  # cm2 s


class ConstantResponse:
    """Each bin gets an even share of the flux, wherever the source is."""

    nbytes = forgettable = 0
    gridded = False

    def __init__(self, shape: Shape) -> None:
        self._shape = shape

    def compile(self, values: Array) -> None:
        """Nothing is read."""

    def forget(self) -> None:
        """Nothing is kept."""

    def operator(
        self, values: Array, anchor: Array, *, derivatives: bool
    ) -> tuple[MatrixOperator, Places]:
        """See `Response`."""
        observation = self._shape.observation
        n_true, n_bins = observation.energy_true.nbin, len(self._shape.bins.r)
        share = EXPOSURE / observation.mask.size
        n_s = len(self._shape.free) if derivatives else 0
        bins = np.full((n_bins, n_true), share)
        sums = np.full(n_true, share * np.count_nonzero(observation.mask))
        no_slopes = np.zeros((n_s, n_bins, n_true)), np.zeros((n_s, n_true))

        def flat(f: Array, w: Array, w_sum: float) -> Array:
            return np.zeros((n_s, n_s))

        return MatrixOperator(bins, sums, *no_slopes, flat), slice(None)

    def image(self, values: Array, spectrum: Array) -> Part | None:
        """See `Response`."""
        operator, places = self.operator(values, values, derivatives=False)
        return whole_image(self._shape.observation, operator, places, spectrum)


CONSTANT = ResponseType((ConstantResponse,), rough=False)
