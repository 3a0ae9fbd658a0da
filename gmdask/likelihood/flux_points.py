"""Flux points as data: the likelihood of predicted fluxes at some energies."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gmdask.likelihood.energy_shift import second_shifted, shifted
from gmdask.likelihood.kind import Evaluation
from gmdask.likelihood.local_parameters import LocalParameters
from gmdask.likelihood.observation import Keep
from gmdask.likelihood.parameter_slots import Jacobian, Slot, Slots, add_block
from gmdask.likelihood.responses import EXACT
from gmdask.likelihood.source import SpectrumCache
from gmdask.likelihood.spectral_factors import (
    Factors,
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
    factors: Factors
    slot: Slot


class _FluxAt(NamedTuple):
    """A spectrum at energies and parameter values, as a function of the logarithm of the scale of the energies."""

    spectrum: SpectralModel
    energies: Array
    values: list[float]

    def value(self, u: float) -> Array:
        scale = math.exp(-u)
        return np.asarray(self.spectrum.evaluate(self.energies * scale, *self.values)) * scale

    def gradient(self, u: float) -> Array:
        scale = math.exp(-u)
        return self.spectrum.gradient(self.energies * scale, *self.values)[1] * scale

    def hessian(self, u: float) -> Array:
        scale = math.exp(-u)
        return self.spectrum.hessian(self.energies * scale, *self.values) * scale


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
        at, scales, rest = self._parts(source, values)
        key = self._key(source, at, scales, int(derivatives))
        if key not in cache:
            cache[key] = shifted(at.value, at.gradient, scales, derivatives=derivatives)
        return multiplied(*cache[key], source.factors.norms, rest)

    def _parts(self, source: _Source, values: Array) -> tuple[_FluxAt, Array, Array]:
        """Split parameters into those of the spectrum, of the scales of the energies, and of the factors."""
        own, n = source.slot.internal(values), len(source.spectrum.parameter_names)
        m = n + len(source.factors.scales)
        return (
            _FluxAt(source.spectrum, self._energies, own[:n].tolist()), own[n:m], own[m:]
        )  # fmt: skip

    def _key(
        self, source: _Source, at: _FluxAt, scales: Array, order: int
    ) -> tuple[str, bytes, bytes, int]:
        """Place in the cache, apart from that of integrals over bins."""
        values = np.array([*at.values, *scales])
        return f"{source.name}\0dnde", self._energies.tobytes(), values.tobytes(), order

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
                second = self._curvature(source, values, cache)
                block = times(second[np.ix_(slot.places, slot.places)], terms.first)
                add_block(observed, slot, slot, block)
        self._local.add_priors(values, gradient, gauss_newton, observed)
        active = self._local.active(values, gradient)
        return Evaluation(terms.stat, values, gradient, gauss_newton, observed, active, 0, used)

    def _curvature(self, source: _Source, values: Array, cache: SpectrumCache) -> Array:
        """Second derivatives (parameter, parameter, point) of the flux of a source."""
        at, scales, rest = self._parts(source, values)
        key = self._key(source, at, scales, 2)
        if key not in cache:
            cache[key] = second_shifted(at.value, at.gradient, at.hessian, scales), None
        second = cache[key][0]
        if not source.factors.norms:
            return second
        f, df = shifted(at.value, at.gradient, scales, derivatives=True)
        assert df is not None
        return second_multiplied(f, df, second, source.factors.norms, rest)


def _source(model: SkyModel, factors: Factors, slots: Slots) -> _Source:
    parts: list[ModelBase] = [model.spectral_model, *factors.models]
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
            factors = factors_of(model, models, cube, energies)
            source = _FluxAt(own, energies, own.internal_values.tolist())
            n = len(factors.scales)
            part, _ = shifted(source.value, source.gradient, factors.values[:n], derivatives=False)
            flux += multiplied(part, None, factors.norms, factors.values[n:])[0]
    return flux
