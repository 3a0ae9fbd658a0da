"""A sky model in one dataset: its response, and its spectrum."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from gmdask.likelihood.bins import Bins
from gmdask.likelihood.energy_shift import Function, second_shifted, shifted
from gmdask.likelihood.observation import Keep, Observation
from gmdask.likelihood.responses import EXACT, Shape, make_response
from gmdask.likelihood.spectral_factors import Factors, multiplied, second_multiplied
from gmdask.models import ConstantFluxSpatialModel, EnergyGrid, SkyModel, SpatialModel

__all__ = ["Source", "SpectrumCache", "shape_of"]

Array = NDArray[np.float64]

# spectra by name of the model, nodes, parameters and order of derivatives; of order 2, these alone
SpectrumCache = dict[tuple[str, bytes, bytes, int], tuple[Array, Array | None]]


class Source:
    """One sky model at the bins of one dataset.

    Parameters
    ----------
    observation : `Observation`
    bins : `Bins`
    model : `SkyModel`
    spatial : `SpatialModel`
        As returned by `shape_of`.
    free : list of int
        Free parameters of the spatial model.
    factors : `Factors`
        Scales of the energies and factors of the spectrum; their parameters follow those of the spectral model.
    response : {"exact", "gammapy"}
        How predicted counts are computed, if there is a choice.
    keep : callable, optional
        Takes an array that is kept permanently, and returns it from where it is kept.

    Attributes
    ----------
    response : `Response`
    moves : bool
        Whether the shape has free parameters.
    """

    def __init__(
        self,
        observation: Observation,
        bins: Bins,
        model: SkyModel,
        spatial: SpatialModel,
        free: list[int],
        factors: Factors,
        response: str = EXACT,
        keep: Keep = np.asarray,
    ) -> None:
        self.model, self._factors, self.moves = model, factors, bool(free)
        apply_irf = dict(model.apply_irf)
        if model.spatial_model is None:  # the same flux in every pixel, whatever the PSF
            apply_irf["psf"] = False
        shape = Shape(observation, bins, spatial, apply_irf, free, model.name, keep)
        self.response = make_response(response, shape)

    def spectrum(
        self, grid: EnergyGrid, values: Array, cache: SpectrumCache, *, derivatives: bool
    ) -> tuple[Array, Array | None]:
        """Integral of the spectrum per true-energy bin, with its gradient if asked.

        Parameters
        ----------
        grid : `EnergyGrid`
        values : array
            Parameters of the spectral model, then of the scales of the energies, and of the factors.
        cache : dict
            Spectra already integrated.
        derivatives : bool
        """
        own, scales, rest = self._parts(values)
        f, df = self._seen(grid, own, scales, cache, derivatives=derivatives)
        return multiplied(f, df, self._factors.norms, rest)

    def _seen(
        self,
        grid: EnergyGrid,
        own: Array,
        scales: Array,
        cache: SpectrumCache,
        *,
        derivatives: bool,
    ) -> tuple[Array, Array | None]:
        """Integral at the energies of the instrument, before the factors."""
        if not len(scales):
            return self._integral(grid, own, cache, derivatives=derivatives)
        return shifted(*self._at(grid, own, cache), scales, derivatives=derivatives)

    def _at(self, grid: EnergyGrid, own: Array, cache: SpectrumCache) -> tuple[Function, Function]:
        """Integral and its gradient as functions of the logarithm of the scale of the energies."""
        return (
            lambda u: self._integral(_shifted(grid, u), own, cache, derivatives=False)[0],
            lambda u: _known(self._integral(_shifted(grid, u), own, cache, derivatives=True)[1]),
        )

    def _parts(self, values: Array) -> tuple[Array, Array, Array]:
        """Split parameters into those of the spectral model, of the scales, and of the factors."""
        n, m = len(self.model.spectral_model.parameter_names), len(self._factors.scales)
        return values[:n], values[n : n + m], values[n + m :]

    def _integral(
        self, grid: EnergyGrid, own: Array, cache: SpectrumCache, *, derivatives: bool
    ) -> tuple[Array, Array | None]:
        spectral = self.model.spectral_model
        key = (self.model.name, grid.nodes.tobytes(), own.tobytes(), int(derivatives))
        if key not in cache:
            # the value apart from the derivatives: its bits do not depend on whether they are asked for
            f = spectral.integral_bins(grid, own)
            cache[key] = f, spectral.integral_bins_gradient(grid, own)[1] if derivatives else None
        return cache[key]

    def spectrum_hessian(self, grid: EnergyGrid, values: Array, cache: SpectrumCache) -> Array:
        """Second derivatives (P, P, T) of the spectrum by the same parameters."""
        own, scales, rest = self._parts(values)
        spectral = self.model.spectral_model

        def inner(u: float) -> Array:
            at = _shifted(grid, u)
            key = (self.model.name, at.nodes.tobytes(), own.tobytes(), 2)
            if key not in cache:
                cache[key] = spectral.integral_bins_hessian(at, own), None
            return cache[key][0]

        second = inner(0.0)
        if len(scales):
            second = second_shifted(*self._at(grid, own, cache), inner, scales)
        if not self._factors.norms:
            return second
        f, df = self._seen(grid, own, scales, cache, derivatives=True)
        return second_multiplied(f, _known(df), second, self._factors.norms, rest)


def _shifted(grid: EnergyGrid, u: float) -> EnergyGrid:
    return grid if u == 0 else grid.scaled(math.exp(-u))


def _known(array: Array | None) -> Array:
    """Return derivatives that were asked for."""
    assert array is not None
    return array


def shape_of(model: SkyModel) -> SpatialModel:
    """Shape of a sky model: without one, the same flux in every pixel, as Gammapy has it."""
    return ConstantFluxSpatialModel() if model.spatial_model is None else model.spatial_model
