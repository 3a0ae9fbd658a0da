"""Flux points as data: the likelihood of predicted fluxes at some energies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gmdask.likelihood.kind import Evaluation
from gmdask.likelihood.local_parameters import LocalParameters
from gmdask.likelihood.observation import Keep
from gmdask.likelihood.parameter_slots import Jacobian, Slot, Slots, add_block
from gmdask.likelihood.responses import EXACT
from gmdask.likelihood.source import SpectrumCache
from gmdask.likelihood.spectral_factors import (
    SpectralFactor,
    factors_of,
    multiplied,
    second_multiplied,
)
from gmdask.likelihood.statistics import Terms, statistic_type
from gmdask.models import DatasetModels, ModelBase, SkyModel, SpectralModel
from gmdask.store.axes import cube_axis
from gmdask.sums import times

__all__ = ["CompiledFluxPoints", "mask_of", "predicted_flux"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


class _Source(NamedTuple):
    """A source: its spectrum, the factors of it, and the positions of the parameters of all."""

    name: str
    spectrum: SpectralModel
    factors: Sequence[SpectralFactor]
    slot: Slot


class CompiledFluxPoints:
    """Likelihood of the flux points of one dataset; see `DatasetLikelihood`.

    The predicted flux is the sum of the spectra of all sources at the energies of the
    points, regardless of their spatial models, times the mean of their light curves over the good time intervals.

    Parameters
    ----------
    cube : `xarray.Dataset`
        Flux points; see `FluxPointsDataset`.
    models, free, local, keep, response
        See `Compile`. There is no response, and arrays are small.
    """

    def __init__(
        self,
        cube: xr.Dataset,
        models: DatasetModels,
        free: Mask | None = None,
        local: Mask | None = None,
        *,
        keep: Keep = np.asarray,
        response: str = EXACT,
    ) -> None:
        del keep, response
        parameters = models.parameters
        self._free = (
            np.array([not p.frozen for p in parameters], dtype=bool) if free is None else free
        )
        kind = statistic_type(cube.attrs)
        everywhere = kind(*(np.asarray(cube[name].values, dtype=float) for name in kind.reads))
        chosen = np.flatnonzero(everywhere.is_known & mask_of(cube))
        self._statistic = everywhere.at(chosen)
        self._energies = cube_axis(cube, "energy", "TeV").center[chosen]
        chosen_local = np.zeros_like(self._free) if local is None else local & self._free
        self._local = LocalParameters(models, self._free, chosen_local)
        slots = Slots(models, self._free)
        self._sources = [
            _source(model, factors_of(model, models, cube, self._energies), slots)
            for model in models
            if isinstance(model, SkyModel)
        ]

    forgettable = 0  # bytes
    gridded = ()

    def forget(self) -> None:
        """Do nothing, since nothing is kept that could be computed again."""

    def evaluate(
        self,
        values: Array,
        anchor: Array | None = None,
        *,
        order: int = 0,
        profile: bool = True,
        marginal: bool = False,
        cache: SpectrumCache | None = None,
    ) -> Evaluation:
        """Evaluate the likelihood; see `DatasetLikelihood.evaluate`."""
        del anchor, marginal
        cache = {} if cache is None else cache
        if order and profile and len(self._local.index):
            values = self._local.profile(
                values, lambda at: self.evaluate(at, order=2, profile=False, cache=cache)
            )
        seen = [self._flux(s, values, cache, derivatives=order > 0) for s in self._sources]
        flux = np.zeros(len(self._energies))
        for own, _ in seen:
            flux += own
        terms = self._statistic.dense(flux)
        if order == 0:
            return Evaluation(terms.stat, values, None, None, None, None, 0)
        return self._derivatives(values, seen, terms, order, cache)

    def _flux(
        self, source: _Source, values: Array, cache: SpectrumCache, *, derivatives: bool
    ) -> tuple[Array, Array | None]:
        """Flux (point,) of a source, and its derivatives (parameter, point)."""
        own = source.slot.internal(values)
        spectral = own[: len(source.spectrum.parameter_names)]
        key = self._key(source, spectral, int(derivatives))
        if key not in cache:
            # the value separately from the derivatives, so that its bits do not depend on whether they are requested
            f = np.asarray(source.spectrum.evaluate(self._energies, *spectral.tolist()))
            cache[key] = f, self._slopes(source, spectral) if derivatives else None
        f, df = cache[key]
        return multiplied(f, df, source.factors, own[len(spectral) :])

    def _key(self, source: _Source, spectral: Array, order: int) -> tuple[str, bytes, bytes, int]:
        """Place in the cache, apart from that of integrals over bins."""
        return f"{source.name}\0dnde", self._energies.tobytes(), spectral.tobytes(), order

    def _slopes(self, source: _Source, spectral: Array) -> Array:
        """Derivatives (parameter, point) of a spectrum."""
        return source.spectrum.gradient(self._energies, *spectral.tolist())[1]

    def _derivatives(
        self,
        values: Array,
        seen: list[tuple[Array, Array | None]],
        terms: Terms,
        order: int,
        cache: SpectrumCache,
    ) -> Evaluation:
        n_free = int(self._free.sum())
        used = np.zeros(n_free, dtype=bool)
        for source in self._sources:
            used[source.slot.columns] = True
        jacobian = Jacobian(used, len(self._energies))
        for source, (_, df) in zip(self._sources, seen, strict=True):
            assert df is not None
            slot = source.slot
            by_point = (df[slot.places] * slot.free_factors[:, None]).T
            jacobian.add(slice(None), slot.columns, by_point, np.zeros(len(slot.places)))
        # where the statistic has negative curvature, at limits, the Gauss-Newton Hessian stays positive
        convex = np.maximum(terms.second, 0.0)
        gradient, gauss_newton = jacobian.contract(terms.first, 0.0, convex)
        observed = None
        if order > 1:
            observed = jacobian.contract(terms.first, 0.0, terms.second)[1]
            for source in self._sources:
                slot = source.slot
                second = self._curvature(source, slot.internal(values), cache)
                block = times(second[np.ix_(slot.places, slot.places)], terms.first)
                add_block(observed, slot, slot, block)
        self._local.add_priors(values, gradient, gauss_newton, observed)
        active = self._local.active(values, gradient)
        return Evaluation(terms.stat, values, gradient, gauss_newton, observed, active, 0, used)

    def _curvature(self, source: _Source, own: Array, cache: SpectrumCache) -> Array:
        """Second derivatives (parameter, parameter, point) of the flux of a source."""
        n = len(source.spectrum.parameter_names)
        spectral = own[:n].tolist()
        key = self._key(source, own[:n], 2)
        if key not in cache:
            cache[key] = source.spectrum.hessian(self._energies, *spectral), None
        second = cache[key][0]
        if not source.factors:
            return second
        f = np.asarray(source.spectrum.evaluate(self._energies, *spectral))
        slopes = self._slopes(source, own[:n])
        return second_multiplied(f, slopes, second, source.factors, own[n:])


def _source(model: SkyModel, factors: Sequence[SpectralFactor], slots: Slots) -> _Source:
    parts: list[ModelBase] = [model.spectral_model, *(factor.model for factor in factors)]
    return _Source(model.name, model.spectral_model, factors, slots.of(*parts))


def mask_of(cube: xr.Dataset) -> Mask:
    """Return the points (energy,) inside the safe mask and the fit mask.

    Parameters
    ----------
    cube : `xarray.Dataset`
    """
    mask = np.ones(cube.sizes["energy"], dtype=bool)
    for key in ("mask_safe", "mask_fit"):
        if key in cube:
            mask &= cube[key].values.astype(bool)
    return mask


def predicted_flux(cube: xr.Dataset, models: DatasetModels) -> Array:
    """Return the flux (energy,) predicted by models at the energies of all points, in cm-2 s-1 TeV-1.

    Parameters
    ----------
    cube : `xarray.Dataset`
        Flux points.
    models : `DatasetModels`
    """
    energies = cube_axis(cube, "energy", "TeV").center
    flux = np.zeros(len(energies))
    for model in models:
        if isinstance(model, SkyModel):
            own = model.spectral_model
            part = np.asarray(own.evaluate(energies, *own.internal_values.tolist()))
            factors = factors_of(model, models, cube, energies)
            values = [factor.model.internal_values for factor in factors]
            flux += multiplied(part, None, factors, np.concatenate([np.zeros(0), *values]))[0]
    return flux
