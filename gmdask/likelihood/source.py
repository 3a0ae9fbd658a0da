"""A sky model in one dataset: which operator serves it, at which parameters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gmdask.likelihood.bins import Bins
from gmdask.likelihood.corners import point_corners
from gmdask.likelihood.exact.direct import DirectSource, is_direct
from gmdask.likelihood.exact.located import LocatedSource
from gmdask.likelihood.exact.operator import ExactOperator
from gmdask.likelihood.exact.region import ExactRegion, exact_region
from gmdask.likelihood.exact.source import ExactSource, is_exact
from gmdask.likelihood.extended import ExtendedResponse
from gmdask.likelihood.gti_norm import GtiNorm
from gmdask.likelihood.observation import Keep, Observation
from gmdask.likelihood.operators import MatrixOperator, Operator
from gmdask.likelihood.pixel_integral import PixelIntegral
from gmdask.likelihood.point import PointResponse
from gmdask.likelihood.region import RegionResponse, region_response
from gmdask.models import (
    ConstantFluxSpatialModel,
    EnergyGrid,
    PointSpatialModel,
    SkyModel,
    SpatialModel,
)

__all__ = ["EXACT", "RESPONSES", "Source", "SpectrumCache", "shape_of"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]

Response = PointResponse | ExtendedResponse | RegionResponse
Places = Index | slice

RESPONSES = ("exact", "gammapy")
EXACT = RESPONSES[0]

SpectrumCache = dict[tuple[str, bytes, bytes, bool], tuple[Array, Array | None]]


class Source:
    """Response of one sky model at the bins of one dataset.

    The operator is a pure function of the shape parameters and of the *anchor*: the
    shape parameters at which PSF, energy dispersion, window and oversampling
    are taken. What was computed last is kept.

    Parameters
    ----------
    observation : `Observation`
    bins : `Bins`
    model : `SkyModel`
    spatial : `SpatialModel`
        As of `shape_of`.
    free : list of int
        Which parameters of the spatial model are free.
    temporal : `GtiNorm`, optional
        Factor of the spectrum; its parameters follow those of the spectral model.
    response : {"exact", "gammapy"}
        How sources become counts, where there is a choice.
    keep : callable, optional
        Takes an array that is kept for long, and gives it back from where it is kept.
    """

    def __init__(
        self,
        observation: Observation,
        bins: Bins,
        model: SkyModel,
        spatial: SpatialModel,
        free: list[int],
        temporal: GtiNorm | None = None,
        response: str = EXACT,
        keep: Keep = np.asarray,
    ) -> None:
        self.model, self.spatial, self._temporal = model, spatial, temporal
        self._apply = dict(model.apply_irf)
        if model.spatial_model is None:  # the same flux in every pixel, whatever the PSF
            self._apply["psf"] = False
        self._observation, self._bins, self._free = observation, bins, free
        self._owner = model.name if free else None
        self._anchored: tuple[bytes, Response | None, Places] | None = None
        self._operator: tuple[bytes, bool, Operator | None] | None = None
        self._places: Places = slice(None)
        self.exact: LocatedSource | ExactRegion | None = None
        if response == EXACT and is_exact(observation, spatial, self._apply):
            self.exact = ExactSource(observation, bins, spatial, self._apply, free, keep)
        elif response == EXACT and is_direct(observation, spatial, self._apply):
            self.exact = DirectSource(observation, bins, spatial, self._apply, free, keep)
        elif response == EXACT:
            self.exact = exact_region(observation, bins, spatial, self._apply, free)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.forgettable + (self.exact.nbytes if self.exact is not None else 0)

    @property
    def forgettable(self) -> int:
        """Bytes held of what the next evaluation can compute again."""
        held = self._operator[2].nbytes if self._operator and self._operator[2] else 0
        response = self._anchored[1] if self._anchored else None
        return held + (response.nbytes if response is not None else 0)

    @property
    def moves(self) -> bool:
        """Whether its shape has free parameters."""
        return bool(self._free)

    def compile(self, values: Array, keep: Keep) -> None:
        """Read what is needed at some parameters; if they are frozen, keep the operator.

        Parameters
        ----------
        values : array
            Parameters of the spatial model, in its internal units.
        keep : callable
            Takes an array that is kept for long, and gives it back from where it is kept.
        """
        if self.exact is not None:
            self._compile_exact(self.exact, values, keep)
            return
        center, radius = self.spatial.center(values), self.spatial.evaluation_radius(values)
        around = self._owner is not None and not self._observation.is_region
        if around and center is not None and radius is not None:
            self._observation.read_around(center, self.spatial.frame, radius, str(self._owner))
            return
        self._anchored = (values.tobytes(), *self._anchor(values))
        _, response, index = self._anchored
        if self._free:
            return
        if not isinstance(index, slice):
            index = keep(index)
        operator = self._compute(response, values, derivatives=False)
        if operator is not None:
            operator.keep(keep)
        self._operator = (values.tobytes(), False, operator)
        self._anchored = (values.tobytes(), None, index)

    def _compile_exact(self, exact: LocatedSource | ExactRegion, values: Array, keep: Keep) -> None:
        """Read what the exact response needs; if the shape is frozen, keep the operator alone."""
        if self._free:
            exact.compile(values)
            return
        operator, self._places = exact.operator(values, derivatives=False)
        if isinstance(operator, ExactOperator):  # once and for all as a matrix
            whole = operator.forward(np.eye(self._observation.energy_true.nbin))
            operator = MatrixOperator(*whole)
        if operator is not None:
            operator.keep(keep)
        self._operator = (values.tobytes(), False, operator)
        exact.forget()

    def forget(self) -> None:
        """Let go of what can be computed again, for a component that moves."""
        if self._free:
            self._anchored = self._operator = None

    def operator(
        self, values: Array, anchor: Array, *, derivatives: bool
    ) -> tuple[Operator | None, Places]:
        """Operator and the positions of its bins in the list.

        Parameters
        ----------
        values, anchor : array
            Parameters of the spatial model, in its internal units.
        derivatives : bool
            Whether derivatives by the free shape parameters are needed.

        Returns
        -------
        operator : `Operator` or None
            None where the model does not reach the mask.
        index : array, or a slice of all
            Positions of the operator's bins.
        """
        derivatives = derivatives and bool(self._free)
        if self.exact is not None:
            return self._exact_operator(self.exact, values, derivatives=derivatives)
        if self._anchored is None or self._anchored[0] != anchor.tobytes():
            self._anchored = (anchor.tobytes(), *self._anchor(anchor))
            self._operator = None
        _, response, index = self._anchored
        key = values.tobytes()
        kept = self._operator
        if kept is None or kept[0] != key or (derivatives and not kept[1]):
            kept = self._operator = (key, derivatives, self._compute(response, values, derivatives))
        return kept[2], index

    def _exact_operator(
        self, exact: LocatedSource | ExactRegion, values: Array, *, derivatives: bool
    ) -> tuple[Operator | None, Places]:
        kept, key = self._operator, values.tobytes()
        if kept is None or kept[0] != key or (derivatives and not kept[1]):
            operator, self._places = exact.operator(values, derivatives=derivatives)
            kept = self._operator = (key, derivatives, operator)
        return kept[2], self._places

    def _anchor(self, values: Array) -> tuple[Response | None, Places]:
        if self._observation.is_region:
            seen = region_response(
                self._observation, self.spatial, values, self._apply, self._bins, self._free
            )
            return seen, slice(None)
        center, radius = self.spatial.center(values), self.spatial.evaluation_radius(values)
        frame, owner = self.spatial.frame, self._owner
        anchor = self._observation.anchor(center, frame, radius, self._apply, owner)
        if anchor is None:
            return None, np.zeros(0, dtype=np.intp)
        index = self._bins.within(anchor.window)
        bins = self._bins.take(index)
        if isinstance(self.spatial, PointSpatialModel):
            return PointResponse(self._observation, anchor, bins), index
        integral = PixelIntegral(self._observation, anchor.window, self.spatial, values)
        return ExtendedResponse(self._observation, anchor, bins, integral, self._free), index

    def _compute(
        self, response: Response | None, values: Array, derivatives: bool
    ) -> Operator | None:
        if response is None:
            return None
        if isinstance(response, PointResponse):
            corners = self.corners(values, derivatives=derivatives)
            return response.operator(*corners, frozen=not self._free)
        operator = response.operator(values, derivatives=derivatives)
        if not self._free and response.after_edisp:  # frozen: once and for all as a matrix
            whole = operator.forward(np.eye(self._observation.energy_true.nbin))
            operator = MatrixOperator(*whole, negative=operator.negative)
        return operator

    def corners(self, values: Array, *, derivatives: bool) -> tuple[list[tuple[int, int]], Array]:
        """The four pixels around a point and their shares; see `point_corners`."""
        grid, frame = self._observation.grid, self.spatial.frame
        return point_corners(grid, frame, values, self._free, derivatives=derivatives)

    def spectrum(
        self, grid: EnergyGrid, values: Array, cache: SpectrumCache, *, derivatives: bool
    ) -> tuple[Array, Array | None]:
        """Integral of the spectrum per true-energy bin, with its gradient if asked.

        Parameters
        ----------
        grid : `EnergyGrid`
        values : array
            Parameters of the spectral model, then those of the temporal one.
        cache : dict
            Spectra already integrated.
        derivatives : bool
        """
        spectral = self.model.spectral_model
        own = values[: len(spectral.parameter_names)]
        key = (self.model.name, grid.nodes.tobytes(), own.tobytes(), derivatives)
        if key not in cache:
            # the value apart from the derivatives: its bits do not depend on whether they are asked for
            f = spectral.integral_bins(grid, own)
            cache[key] = f, spectral.integral_bins_gradient(grid, own)[1] if derivatives else None
        f, df = cache[key]
        if self._temporal is None:
            return f, df
        norm, slopes = self._temporal.gradient(values[len(own) :])
        whole = None if df is None else np.concatenate([df * norm, np.outer(slopes, f)])
        return f * norm, whole

    def spectrum_hessian(self, grid: EnergyGrid, values: Array) -> Array:
        """Second derivatives (P, P, T) of the spectrum by the same parameters."""
        spectral = self.model.spectral_model
        own = values[: len(spectral.parameter_names)]
        second = spectral.integral_bins_hessian(grid, own)
        if self._temporal is None:
            return second
        rest = values[len(own) :]
        norm, slopes = self._temporal.gradient(rest)
        f, df = spectral.integral_bins_gradient(grid, own)
        n, m = len(own), len(own) + len(rest)
        whole = np.zeros((m, m, len(f)))
        whole[:n, :n] = second * norm
        whole[n:, :n] = slopes[:, None, None] * df
        whole[:n, n:] = whole[n:, :n].swapaxes(0, 1)
        whole[n:, n:] = self._temporal.hessian(rest)[..., None] * f
        return whole


def shape_of(model: SkyModel) -> SpatialModel:
    """Shape of a sky model: without one, the same flux in every pixel, as Gammapy has it."""
    return ConstantFluxSpatialModel() if model.spatial_model is None else model.spatial_model
