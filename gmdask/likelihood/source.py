"""A sky model in one dataset: its response, and its spectrum."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gmdask.likelihood.bins import Bins
from gmdask.likelihood.observation import Keep, Observation
from gmdask.likelihood.responses import EXACT, Shape, make_response
from gmdask.likelihood.spectral_factors import SpectralFactor, multiplied, second_multiplied
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
    factors : sequence of `SpectralFactor`
        Factors of the spectrum; their parameters follow those of the spectral model.
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
        factors: Sequence[SpectralFactor] = (),
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
            Parameters of the spectral model, then those of the factors.
        cache : dict
            Spectra already integrated.
        derivatives : bool
        """
        spectral = self.model.spectral_model
        own = values[: len(spectral.parameter_names)]
        key = (self.model.name, grid.nodes.tobytes(), own.tobytes(), int(derivatives))
        if key not in cache:
            # the value apart from the derivatives: its bits do not depend on whether they are asked for
            f = spectral.integral_bins(grid, own)
            cache[key] = f, spectral.integral_bins_gradient(grid, own)[1] if derivatives else None
        f, df = cache[key]
        return multiplied(f, df, self._factors, values[len(own) :])

    def spectrum_hessian(self, grid: EnergyGrid, values: Array, cache: SpectrumCache) -> Array:
        """Second derivatives (P, P, T) of the spectrum by the same parameters."""
        spectral = self.model.spectral_model
        own = values[: len(spectral.parameter_names)]
        key = (self.model.name, grid.nodes.tobytes(), own.tobytes(), 2)
        if key not in cache:
            cache[key] = spectral.integral_bins_hessian(grid, own), None
        second = cache[key][0]
        if not self._factors:
            return second
        f, df = spectral.integral_bins_gradient(grid, own)
        return second_multiplied(f, df, second, self._factors, values[len(own) :])


def shape_of(model: SkyModel) -> SpatialModel:
    """Shape of a sky model: without one, the same flux in every pixel, as Gammapy has it."""
    return ConstantFluxSpatialModel() if model.spatial_model is None else model.spatial_model
