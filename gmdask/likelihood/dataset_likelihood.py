"""One compiled dataset: small operators from which its likelihood is evaluated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gmdask.likelihood.background import (
    Background,
    SpatialBackground,
    background_of,
    make_background,
)
from gmdask.likelihood.bins import Bins, all_bins, masked_bins, occupied_bins
from gmdask.likelihood.gti_norm import temporal_norm
from gmdask.likelihood.observation import Keep, Observation
from gmdask.likelihood.operators import Linear, Operator
from gmdask.likelihood.parameter_slots import Jacobian, Slot, add_block, limits
from gmdask.likelihood.responses import EXACT, Places
from gmdask.likelihood.source import Source, SpectrumCache, shape_of
from gmdask.likelihood.statistics import Terms, statistic_type
from gmdask.likelihood.template import TemplateSource
from gmdask.models import (
    DatasetModels,
    EnergyGrid,
    ModelBase,
    PriorSum,
    SkyModel,
    TemplateNPredModel,
)
from gmdask.optimize.bounded_newton import minimise_bounded
from gmdask.optimize.quadratic import at_limit
from gmdask.store.axes import cube_axis
from gmdask.sums import gram, times

__all__ = ["CompiledDataset", "Evaluation", "SpectrumCache"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Index = NDArray[np.intp]

BINS: dict[str, Callable[[Observation, Mask], Bins]] = {
    "occupied": occupied_bins, "masked": masked_bins, "all": all_bins,
}  # fmt: skip


class Evaluation(NamedTuple):
    """Likelihood of one dataset.

    Attributes
    ----------
    stat : float
        ``-2 log L``, without priors.
    values : array of shape (N,)
        All parameters of the dataset's models; local ones at their optimum.
    gradient : array of shape (P,), or None
        With respect to the free parameters, including the priors of the local ones.
    gauss_newton, observed : array of shape (P, P), or None
        Hessians with respect to the free parameters, likewise.
    active : boolean array of shape (P,), or None
        Free parameters except local ones that are held at a limit.
    n_floor : int
        Number of bins with counts, but without predicted counts from any component.
    used : boolean array of shape (P,), or None
        Free parameters that affect this dataset.
    """

    stat: float
    values: Array
    gradient: Array | None
    gauss_newton: Array | None
    observed: Array | None
    active: Mask | None
    n_floor: int
    used: Mask | None = None


class _Term(NamedTuple):
    """A source of the dataset, with the slots of its spectral and spatial parameters.

    Parameters of a temporal model follow the spectral ones, as both determine the spectrum.
    """

    source: Source | TemplateSource
    spectral: Slot
    spatial: Slot


class _Part(NamedTuple):
    """Contribution of one source at some parameter values: operator, its bins, spectrum, and counts."""

    term: _Term
    operator: Operator
    bins: Places
    f: Array
    df: Array
    seen: Linear


def _plain(counts: Array, total: Array) -> Linear:
    """Wrap counts without derivatives."""
    none = np.zeros(0)
    return Linear(
        counts, float(total), np.zeros((len(counts), 0)), none, np.zeros((len(counts), 0)), none
    )


class CompiledDataset:
    """Likelihood of one dataset as a function of its models' parameters.

    Parameters
    ----------
    cube : `xarray.Dataset`
        The dataset, lazy or in memory.
    models : `DatasetModels`
        Models that apply to it, with N parameters in total.
    free : boolean array of shape (N,), optional
        Parameters of the derivatives, P in total; by default those that are not frozen.
    local : boolean array of shape (N,), optional
        Free parameters that are minimised over, with their priors; by default none.
    bins : {"occupied", "masked", "all"}
        Bins to evaluate. "occupied", those in which the statistic is not linear, is exact unless a
        spectrum, norm or background is negative; in that case "masked" replaces it
        automatically. "all" is for `npred`.
    keep : callable, optional
        Takes an array that is kept permanently, and returns it from where it is kept.
    response : {"exact", "gammapy"}
        How predicted counts are computed.

    Notes
    -----
    Parameters are vectors in the order and units of ``models.parameters``.
    """

    def __init__(
        self,
        cube: xr.Dataset,
        models: DatasetModels,
        free: Mask | None = None,
        local: Mask | None = None,
        bins: str = "occupied",
        keep: Keep = np.asarray,
        response: str = EXACT,
    ) -> None:
        parameters = models.parameters
        self.response = response
        self._cube, self._models, self._keep = cube, models, keep
        self.free = (
            np.array([not p.frozen for p in parameters], dtype=bool) if free is None else free
        )
        self.local = np.zeros_like(self.free) if local is None else local & self.free
        self._any_local = bool(self.local.any())
        column = np.where(self.free, np.cumsum(self.free) - 1, -1)
        self.observation = observation = Observation(cube, keep)
        self.name = observation.name
        self._energy_grid = _energy_grid(cube)
        kind = statistic_type(cube.attrs)
        everywhere = kind(*(observation.data(name) for name in kind.reads))
        self._mode = "masked" if bins == "occupied" and not kind.linear else bins
        chosen = BINS[self._mode](observation, everywhere.is_linear)
        self.bins = Bins(keep(chosen.r), keep(chosen.y), keep(chosen.x))
        self._n_bins = len(self.bins.r)
        self.statistic = everywhere.at((self.bins.r, self.bins.y, self.bins.x), keep)
        positions = {id(p): i for i, p in enumerate(parameters)}
        self._terms = self._make_terms(models, positions, column)
        self._scale: int | None = None  # parameter of the background that only multiplies
        self._background, self._norm = self._make_background(models, positions, column)
        self._norms = np.array([p.name == "norm" for p in parameters], dtype=bool)
        self._lower, self._upper = limits(models, self._norms & self.local)
        self._own = np.flatnonzero(self.local)
        self._prior = PriorSum([parameters[k].prior for k in self._own.tolist()])
        low, high = self._prior.limits()
        self._lower[self._own] = np.maximum(self._lower[self._own], low)
        self._upper[self._own] = np.minimum(self._upper[self._own], high)
        self._dense: CompiledDataset | None = None
        values = parameters.value
        for moves in (False, True):
            if moves:
                observation.keep_tiles()
            for term in self._terms:
                if term.source.moves == moves:
                    term.source.response.compile(term.spatial.internal(values))
        observation.release()

    def forget(self) -> None:
        """Release whatever the next evaluation can compute again."""
        self._dense = None
        for term in self._terms:
            term.source.response.forget()

    def _make_terms(
        self, models: DatasetModels, positions: dict[int, int], column: Index
    ) -> list[_Term]:
        terms = []
        for model in models:
            if isinstance(model, SkyModel):
                shape, norm = shape_of(model), temporal_norm(model, self._cube)
                spatial = Slot([shape], positions, column)
                free = spatial.places.tolist()
                source = Source(
                    self.observation, self.bins, model, shape, free, norm, self.response, self._keep
                )
                spectrum: list[ModelBase] = [model.spectral_model]
                if norm is not None:
                    spectrum.append(norm.model)
                terms.append(_Term(source, Slot(spectrum, positions, column), spatial))
            elif isinstance(model, TemplateNPredModel):
                template = TemplateSource(self.observation, self.bins, model)
                own = Slot([model.spectral_model], positions, column)
                terms.append(_Term(template, own, Slot([], positions, column)))
        return terms

    def _make_background(
        self, models: DatasetModels, positions: dict[int, int], column: Index
    ) -> tuple[Background | SpatialBackground | None, Slot | None]:
        found = background_of(models, self.observation)
        if self.observation.background is None:
            return None, None
        norm, spatial = None, None
        if found is not None:
            norm, spatial = found.spectral_model, found.spatial_model
            if norm.linear is not None:
                self._scale = norm.parameter_names.index(norm.linear)
        background = make_background(self.observation, self.bins, norm, spatial)
        background.keep(self._keep)
        if norm is None:
            return background, None
        return background, Slot([norm] if spatial is None else [norm, spatial], positions, column)

    # --- pieces ------------------------------------------------------------------------

    def _parts(
        self, values: Array, anchor: Array, cache: SpectrumCache, *, derivatives: bool
    ) -> list[_Part]:
        parts = []
        for term in self._terms:
            source = term.source
            at = term.spatial.internal(values)
            anchored = at if anchor is values else term.spatial.internal(anchor)
            operator, index = source.response.operator(at, anchored, derivatives=derivatives)
            if operator is None:
                continue
            spectrum = term.spectral.internal(values)
            f, df = source.spectrum(self._energy_grid, spectrum, cache, derivatives=derivatives)
            if df is None:
                seen, df = _plain(*operator.forward(f)), np.zeros((0, len(f)))
            else:
                places, factors = term.spectral.places, term.spectral.free_factors
                seen = operator.linear(f, np.ascontiguousarray((df[places] * factors[:, None]).T))
            parts.append(_Part(term, operator, index, f, df, seen))
        return parts

    def _background_counts(self, values: Array) -> tuple[Array, float, float]:
        """Return background counts (bin,), their masked sum, and a negative number if the norm may be negative."""
        if self._background is None:
            return np.zeros(self._n_bins), 0.0, 0.0
        own = np.zeros(0) if self._norm is None else self._norm.internal(values)
        return self._background.predict(own)

    def _source_counts(self, parts: Sequence[_Part]) -> tuple[Array, float]:
        """Return the counts (bin,) of all sources, and their masked sum."""
        counts, total = np.zeros(self._n_bins), 0.0
        for part in parts:
            counts[part.bins] += part.seen.counts
            total += part.seen.total
        return counts, total

    def npred(self, values: Array, anchor: Array | None = None) -> Array:
        """Predicted counts (bin,), not clipped."""
        parts = self._parts(values, values if anchor is None else anchor, {}, derivatives=False)
        return self._source_counts(parts)[0] + self._background_counts(values)[0]

    def _compare(self, npred: Array, total: float, *, derivatives: bool = True) -> Terms:
        if self._mode == "occupied":
            return self.statistic.sparse(npred, total, derivatives=derivatives)
        return self.statistic.dense(npred)

    # --- evaluation --------------------------------------------------------------------

    def evaluate(
        self,
        values: Array,
        anchor: Array | None = None,
        *,
        order: int = 0,
        profile: bool = True,
        cache: SpectrumCache | None = None,
    ) -> Evaluation:
        """Evaluate the likelihood.

        Parameters
        ----------
        values : array of shape (N,)
            Parameters.
        anchor : array of shape (N,), optional
            Parameters at which PSF, energy dispersion and pixels are computed; by default `values`.
        order : {0, 1, 2}
            0: value, with local parameters as given; 1: also gradient and Gauss-Newton
            Hessian; 2: also the observed Hessian.
        profile : bool
            Whether local parameters are minimised, in orders 1 and 2.
        cache : dict, optional
            Spectra that were already integrated, shared by datasets in one pass.

        Returns
        -------
        evaluation : `Evaluation`
        """
        cache = {} if cache is None else cache
        anchor = values if anchor is None else anchor
        parts = self._parts(values, anchor, cache, derivatives=order > 0)
        negative = any(part.operator.negative or part.f.min() < 0 for part in parts)
        negative = negative or (self._background is not None and self._background.negative)
        occupied = self._mode == "occupied"
        if not (negative and occupied):
            source, source_sum = self._source_counts(parts)
            if order and profile and self._any_local:
                values = self._profile(values, source, source_sum)
            background, total, lowest = self._background_counts(values)
            negative = negative or lowest < 0
        if negative and occupied:
            return self._as_dense().evaluate(
                values, anchor, order=order, profile=profile, cache=cache
            )
        npred, total = source + background, source_sum + total
        terms = self._compare(npred, total, derivatives=order > 0)
        if order == 0:
            return Evaluation(terms.stat, values, None, None, None, None, terms.n_floor)
        return self._derivatives(values, parts, terms, order, cache)

    def _as_dense(self) -> CompiledDataset:
        """Return the same dataset, evaluated in every bin of the mask."""
        if self._dense is None:
            self._dense = CompiledDataset(
                self._cube, self._models, self.free, self.local, "masked", response=self.response
            )
        return self._dense

    def _profile(self, values: Array, source: Array, source_sum: float) -> Array:
        """Return the values with the local parameters, all of the background, at their optimum."""
        background, slot = self._background, self._norm
        if background is None or slot is None:
            return values
        moving = np.flatnonzero(self.local[slot.index])
        places, factors = slot.index[moving], slot.factors[moving]
        at, order = slot.internal(values), np.searchsorted(self._own, places)
        own = values[self._own]
        unit: Array | None = None
        if moving.tolist() == [self._scale]:  # the counts are those at 1 times the parameter
            at[moving] = 1.0
            unit, unit_sum, _ = background.predict(at)

        least: int | None = (
            None  # bins with counts but no prediction at the start: a step must not add to them
        )

        def likelihood(local: Array) -> tuple[float, Array, Array]:
            nonlocal least
            at[moving] = local * factors
            if unit is not None:
                scale = float(at[moving[0]])
                terms = self._compare(source + scale * unit, source_sum + scale * unit_sum)
                slope = times(unit, terms.first) + terms.first_sum * unit_sum
                slopes = np.array([slope]), gram(unit[None], terms.second)
            else:
                counts, total, _ = background.predict(at)
                terms = self._compare(source + counts, source_sum + total)
                slopes = background.derivatives(at, moving, terms)
            least = terms.n_floor if least is None else least
            return (terms.stat if terms.n_floor <= least else np.inf), *slopes

        def function(local: Array) -> tuple[float, Array, Array]:
            stat, gradient, hessian = likelihood(local)
            gradient, hessian = gradient * factors, hessian * np.outer(factors, factors)
            if not len(self._prior):
                return stat, gradient, hessian
            own[order] = local
            prior, slope, curvature = self._prior(own)
            return stat + prior, gradient + slope[order], hessian + np.diag(curvature[order])

        result = values.copy()
        limits = self._lower[places], self._upper[places]
        # a step that overflows is rejected; a start that is not finite is reported to the caller
        with np.errstate(over="ignore", invalid="ignore"), suppress(np.linalg.LinAlgError):
            result[places] = minimise_bounded(
                function, values[places], *limits, self._norms[places]
            )
        return result

    def _derivatives(
        self, values: Array, parts: Sequence[_Part], terms: Terms, order: int, cache: SpectrumCache
    ) -> Evaluation:
        n_free = int(self.free.sum())
        slots = [slot for part in parts for slot in (part.term.spectral, part.term.spatial)]
        if self._norm is not None:
            slots.append(self._norm)
        used = np.zeros(n_free, dtype=bool)
        for slot in slots:
            used[slot.columns] = True
        jacobian = Jacobian(used, self._n_bins)
        for part in parts:
            self._source_jacobian(part, jacobian)
        self._background_jacobian(values, jacobian)
        gradient, gauss_newton = jacobian.contract(terms.first, terms.first_sum, terms.second)
        observed = None
        if order > 1:
            observed = gauss_newton.copy()
            for part in parts:
                self._source_second(values, part, terms, observed, cache)
            self._background_second(values, terms, observed)
        if len(self._prior):
            _, slope, curvature = self._prior(values[self._own])
            own = np.cumsum(self.free)[self._own] - 1
            gradient[own] += slope
            gauss_newton[own, own] += np.maximum(curvature, 0.0)
            if observed is not None:
                observed[own, own] += curvature
        held = at_limit(values[self.free], gradient, self._lower[self.free], self._upper[self.free])
        active = ~(held & self.local[self.free])
        return Evaluation(
            terms.stat, values, gradient, gauss_newton, observed, active, terms.n_floor, used
        )

    def _source_jacobian(self, part: _Part, jacobian: Jacobian) -> None:
        slot, seen = part.term.spectral, part.seen
        if len(slot.places):
            jacobian.add(part.bins, slot.columns, seen.spectral, seen.spectral_total)
        slot = part.term.spatial
        if len(slot.places):
            factors = slot.free_factors
            jacobian.add(part.bins, slot.columns, seen.shape * factors, seen.shape_total * factors)

    def _background_jacobian(self, values: Array, jacobian: Jacobian) -> None:
        background, slot = self._background, self._norm
        if background is None or slot is None or not len(slot.places):
            return
        counts, total = background.jacobian(slot.internal(values), slot.places)
        factors = slot.free_factors
        jacobian.add(slice(None), slot.columns, (counts * factors[:, None]).T, total * factors)

    def _source_second(
        self, values: Array, part: _Part, terms: Terms, observed: Array, cache: SpectrumCache
    ) -> None:
        """Add ``Σ first · ∂²npred`` of one source."""
        w, w_sum = terms.first[part.bins], terms.first_sum
        spectral, spatial = part.term.spectral, part.term.spatial
        bent = part.operator.bent(part.f, w, w_sum)
        if len(spectral.places):
            own = spectral.internal(values)
            second = part.term.source.spectrum_hessian(self._energy_grid, own, cache)
            block = times(second[np.ix_(spectral.places, spectral.places)], bent.adjoint)
            add_block(observed, spectral, spectral, block)
        if len(spatial.places):
            add_block(observed, spatial, spatial, bent.second_shape)
        if len(spectral.places) and len(spatial.places):
            cross = times(bent.adjoint_shape, part.df[spectral.places].T)
            add_block(observed, spatial, spectral, cross)
            add_block(observed, spectral, spatial, cross.T)

    def _background_second(self, values: Array, terms: Terms, observed: Array) -> None:
        background, slot = self._background, self._norm
        if background is None or slot is None or not len(slot.places):
            return
        second = background.curvature(slot.internal(values), slot.places, terms)
        add_block(observed, slot, slot, second)

    @property
    def nbytes(self) -> int:
        """Bytes held by operators, data and the arrays of the observation."""
        held = self.statistic.nbytes + sum(index.nbytes for index in self.bins)
        held += self.observation.nbytes + sum(t.source.response.nbytes for t in self._terms)
        held += self._background.nbytes if self._background else 0
        return held + (self._dense.nbytes if self._dense else 0)

    @property
    def forgettable(self) -> int:
        """Bytes that `forget` releases."""
        held = sum(term.source.response.forgettable for term in self._terms)
        return held + (self._dense.nbytes if self._dense else 0)


def _energy_grid(cube: xr.Dataset) -> EnergyGrid:
    """Return the true-energy bins in the unit of the file, which determines the number of nodes."""
    axis = cube_axis(cube, "energy_true")
    return EnergyGrid(axis.edges, axis.unit)
