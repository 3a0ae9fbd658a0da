"""A sky model in one dataset: which operator serves it, at which parameters."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from gmdask.geometry import rotate
from gmdask.likelihood.bins import Bins
from gmdask.likelihood.extended import ExtendedResponse
from gmdask.likelihood.operators import MatrixOperator, Operator
from gmdask.likelihood.pixels import PixelIntegral
from gmdask.likelihood.point import PointResponse
from gmdask.likelihood.response import Keep, Observation
from gmdask.likelihood.temporal import GtiNorm
from gmdask.models import (
    ConstantFluxSpatialModel,
    EnergyGrid,
    PointSpatialModel,
    SkyModel,
    SpatialModel,
)

__all__ = ["Source", "SpectrumCache", "shape_of"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]

Response = PointResponse | ExtendedResponse
Places = Index | slice

SpectrumCache = dict[tuple[str, bytes, bytes, bool], tuple[Array, Array | None]]

STEP_FIRST, STEP_SECOND = 1e-4, 1e-2  # deg, of the differences of the pixel coordinates


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
    """

    def __init__(
        self,
        observation: Observation,
        bins: Bins,
        model: SkyModel,
        spatial: SpatialModel,
        free: list[int],
        temporal: GtiNorm | None = None,
    ) -> None:
        self.model, self.spatial, self._temporal = model, spatial, temporal
        self._apply = dict(model.apply_irf)
        if model.spatial_model is None:  # the same flux in every pixel, whatever the PSF
            self._apply["psf"] = False
        self._observation, self._bins, self._free = observation, bins, free
        self._owner = model.name if free else None
        self._anchored: tuple[bytes, Response | None, Places] | None = None
        self._operator: tuple[bytes, bool, Operator | None] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes held."""
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
        if self._anchored is None or self._anchored[0] != anchor.tobytes():
            self._anchored = (anchor.tobytes(), *self._anchor(anchor))
            self._operator = None
        _, response, index = self._anchored
        key = values.tobytes()
        kept = self._operator
        if kept is None or kept[0] != key or (derivatives and not kept[1]):
            kept = self._operator = (key, derivatives, self._compute(response, values, derivatives))
        return kept[2], index

    def _anchor(self, values: Array) -> tuple[Response | None, Places]:
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
        """The four pixels around a point and their shares, with derivatives if asked.

        Gammapy's ``PointSpatialModel``: bilinear in pixel coordinates, so that the
        centroid is kept.
        """
        x, y = (float(v) for v in self._pixel(values[0], values[1]))
        if not (math.isfinite(x) and math.isfinite(y)):
            n_shape = len(self._free) if derivatives else 0
            return [], np.zeros((1 + n_shape + n_shape**2, 0))
        column, row = math.floor(x), math.floor(y)
        pixels = [(row + i, column + j) for i in (0, 1) for j in (0, 1)]
        v, u = y - row, x - column
        in_y, in_x = np.array([1 - v, v]), np.array([1 - u, u])
        slope = np.array([-1.0, 1.0])
        share = np.outer(in_y, in_x).ravel()
        if not derivatives:
            return pixels, share[None]
        by_y, by_x = np.outer(slope, in_x).ravel(), np.outer(in_y, slope).ravel()
        mixed = np.outer(slope, slope).ravel()
        (x_1, y_1), (x_2, y_2) = self._pixel_derivatives(values)
        first = np.outer(x_1, by_x) + np.outer(y_1, by_y)
        cross = np.outer(x_1, y_1)
        second = (
            (cross + cross.T)[..., None] * mixed + x_2[..., None] * by_x + y_2[..., None] * by_y
        )
        free = self._free
        return pixels, np.concatenate(
            [share[None], first[free], second[np.ix_(free, free)].reshape(-1, 4)]
        )

    def _pixel(self, lon: Array | float, lat: Array | float) -> tuple[Array, Array]:
        grid = self._observation.grid
        return grid.to_pixel(*rotate(lon, lat, self.spatial.frame, grid.frame))

    def _pixel_derivatives(self, values: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """First (2,) and second (2, 2) derivatives of x and y by (lon, lat), by differences.

        The projection is smooth on the scale of degrees: central differences are good to
        1e-9 of the first derivatives.
        """
        h, k = STEP_FIRST, STEP_SECOND
        lon = values[0] + np.array([h, -h, 0, 0, k, -k, 0, 0, 0, k, k, -k, -k])
        lat = values[1] + np.array([0, 0, h, -h, 0, 0, k, -k, 0, k, -k, k, -k])
        firsts, seconds = [], []
        for p in self._pixel(lon, lat):
            firsts.append(np.array([p[0] - p[1], p[2] - p[3]]) / (2 * h))
            mixed = (p[9] - p[10] - p[11] + p[12]) / (4 * k * k)
            seconds.append(np.array([
                [(p[4] - 2 * p[8] + p[5]) / k**2, mixed], [mixed, (p[6] - 2 * p[8] + p[7]) / k**2],
            ]))  # fmt: skip
        return (firsts[0], firsts[1]), (seconds[0], seconds[1])

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
