"""Gammapy's response: a source is evaluated on the pixels, and then convolved on their grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gmdask.geometry import Window
from gmdask.likelihood.anchor import anchor_at, read_around
from gmdask.likelihood.convolution import Convolution
from gmdask.likelihood.corners import point_corners
from gmdask.likelihood.extended import ExtendedResponse
from gmdask.likelihood.operators import MatrixOperator, Operator
from gmdask.likelihood.pixel_integral import PixelIntegral
from gmdask.likelihood.point import PointResponse
from gmdask.likelihood.region import RegionResponse, region_response
from gmdask.likelihood.responses.base import Kept, Part, Places, Shape
from gmdask.models import ConstantFluxSpatialModel, PointSpatialModel
from gmdask.sums import times

__all__ = ["GriddedResponse"]

Array = NDArray[np.float64]
Anchored = PointResponse | ExtendedResponse | RegionResponse

NOWHERE: Places = np.zeros(0, dtype=np.intp)


class GriddedResponse:
    """See `Response`; PSF, energy dispersion, window and oversampling are those at the anchor.

    Parameters
    ----------
    shape : `Shape`
    """

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._owner = shape.name if shape.free else None
        self._anchored: tuple[bytes, Anchored | None, Places] | None = None
        self._kept: Kept | None = None

    @property
    def gridded(self) -> bool:
        """True, except where nothing depends on the shape: all-sky fluxes, and regions without a PSF."""
        observation, _, spatial, apply_irf, *_ = self._shape
        same = isinstance(spatial, ConstantFluxSpatialModel)
        inside = observation.is_region and not (
            apply_irf["psf"] and observation.psf_energy is not None
        )
        return not (same or inside)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        response = None if self._anchored is None else self._anchored[1]
        held = 0 if response is None else response.nbytes
        return held + (0 if self._kept is None else self._kept.nbytes)

    @property
    def forgettable(self) -> int:
        """Bytes of the operator, and of the response at the anchor."""
        return self.nbytes if self._shape.free else 0

    def compile(self, values: Array) -> None:
        """See `Response`."""
        observation, spatial = self._shape.observation, self._shape.spatial
        center, radius = spatial.center(values), spatial.evaluation_radius(values)
        around = self._owner is not None and not observation.is_region
        if around and center is not None and radius is not None:
            read_around(observation, center, spatial.frame, radius, str(self._owner))
            return
        response, places = self._anchor(values)
        self._anchored = (values.tobytes(), response, places)
        if self._shape.free:
            return
        if not isinstance(places, slice):
            places = self._shape.keep(places)
        operator = self._compute(response, values, derivatives=False)
        if operator is not None:
            operator.keep(self._shape.keep)
        self._kept = Kept(values.tobytes(), False, operator, places)
        self._anchored = (values.tobytes(), None, places)

    def operator(
        self, values: Array, anchor: Array, *, derivatives: bool
    ) -> tuple[Operator | None, Places]:
        """See `Response`."""
        derivatives = derivatives and bool(self._shape.free)
        if self._anchored is None or self._anchored[0] != anchor.tobytes():
            self._anchored, self._kept = (anchor.tobytes(), *self._anchor(anchor)), None
        _, response, places = self._anchored
        kept = self._kept
        if kept is None or not kept.serves(values, derivatives=derivatives):
            operator = self._compute(response, values, derivatives=derivatives)
            kept = self._kept = Kept(values.tobytes(), derivatives, operator, places)
        return kept.operator, kept.places

    def forget(self) -> None:
        """See `Response`."""
        if self._shape.free:
            self._anchored = self._kept = None

    def _anchor(self, values: Array) -> tuple[Anchored | None, Places]:
        observation, bins, spatial, apply_irf, free, *_ = self._shape
        if observation.is_region:
            seen = region_response(observation, spatial, values, apply_irf, bins, free)
            return seen, slice(None)
        center, radius = spatial.center(values), spatial.evaluation_radius(values)
        anchor = anchor_at(observation, center, spatial.frame, radius, apply_irf, self._owner)
        if anchor is None:
            return None, NOWHERE
        index = bins.within(anchor.window)
        own = bins.take(index)
        if isinstance(spatial, PointSpatialModel):
            return PointResponse(observation, anchor, own), index
        integral = PixelIntegral(observation, anchor.window, spatial, values)
        return ExtendedResponse(observation, anchor, own, integral, free), index

    def _compute(
        self, response: Anchored | None, values: Array, *, derivatives: bool
    ) -> Operator | None:
        if response is None:
            return None
        free = self._shape.free
        if isinstance(response, PointResponse):
            corners = self._corners(values, derivatives=derivatives)
            return response.operator(*corners, frozen=not free)
        operator = response.operator(values, derivatives=derivatives)
        if not free and response.after_edisp:  # frozen: converted to a matrix once
            whole = operator.forward(np.eye(self._shape.observation.energy_true.nbin))
            operator = MatrixOperator(*whole, negative=operator.negative)
        return operator

    def _corners(self, values: Array, *, derivatives: bool) -> tuple[list[tuple[int, int]], Array]:
        """The four pixels around a point source and their weights; see `point_corners`."""
        grid, frame = self._shape.observation.grid, self._shape.spatial.frame
        return point_corners(grid, frame, values, self._shape.free, derivatives=derivatives)

    def image(self, values: Array, spectrum: Array) -> Part | None:
        """See `Response`; images are convolved, and no operator is made."""
        observation, spatial = self._shape.observation, self._shape.spatial
        radius = spatial.evaluation_radius(values)
        anchor = anchor_at(
            observation, spatial.center(values), spatial.frame, radius, self._shape.apply_irf
        )
        if anchor is None:
            return None
        window = anchor.window
        if isinstance(spatial, PointSpatialModel):
            image = self._corner_image(window, values)
        else:
            integral = PixelIntegral(observation, window, spatial, values)
            image = integral.images(values, []).values[0]
        kernels = None if anchor.kernel is None else anchor.kernel.values
        exposure = anchor.exposure * spectrum[:, None, None]
        n_true, n_reco = anchor.edisp.shape
        if observation.psf_energy == "energy":
            flux = times(anchor.edisp.T, exposure * image)
            counts = Convolution(kernels, n_reco, window.shape).apply(flux)
        else:
            true = Convolution(kernels, n_true, window.shape).apply(image) * exposure
            counts = times(anchor.edisp.T, true)
        return window, counts

    def _corner_image(self, window: Window, values: Array) -> Array:
        """Weights (lat, lon) of the four pixels around a point; those outside the window are lost."""
        image = np.zeros(window.shape)
        pixels, shares = self._corners(values, derivatives=False)
        for (row, column), share in zip(pixels, shares[0], strict=True):
            y, x = row - window.y0, column - window.x0
            if 0 <= y < image.shape[0] and 0 <= x < image.shape[1]:
                image[y, x] += share
        return image
