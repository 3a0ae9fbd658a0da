"""A source in the likelihood of a dataset: its counts, and their derivatives by the parameters of the dataset."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gmdask.likelihood.bins import Bins
from gmdask.likelihood.observation import Keep, Observation
from gmdask.likelihood.operators import Linear, Operator
from gmdask.likelihood.parameter_slots import Jacobian, Slot, Slots, add_block
from gmdask.likelihood.responses import Places
from gmdask.likelihood.source import Source, SpectrumCache, shape_of
from gmdask.likelihood.spectral_factors import factors_of
from gmdask.likelihood.statistics import Terms
from gmdask.likelihood.template import TemplateSource
from gmdask.models import DatasetModels, EnergyGrid, ModelBase, SkyModel, TemplateNPredModel
from gmdask.store.axes import cube_axis
from gmdask.sums import times

__all__ = ["SourceCounts", "SourceTerm", "source_terms"]

Array = NDArray[np.float64]


class SourceTerm(NamedTuple):
    """A source of a dataset, with the slots of its spectral and spatial parameters.

    Parameters of energy scales, of a temporal model and of norms of the exposure follow the spectral ones, as they are
    factors of the spectrum.
    """

    source: Source | TemplateSource
    grid: EnergyGrid
    spectral: Slot
    spatial: Slot

    def compile(self, values: Array) -> None:
        """Read what the response needs at the dataset's parameters (N,)."""
        self.source.response.compile(self.spatial.internal(values))

    def counts(
        self, values: Array, anchor: Array, cache: SpectrumCache, *, derivatives: bool
    ) -> SourceCounts | None:
        """Return the counts at the dataset's parameters (N,), with the response at an anchor (N,).

        None if the source does not reach any bin.
        """
        at = self.spatial.internal(values)
        anchored = at if anchor is values else self.spatial.internal(anchor)
        operator, bins = self.source.response.operator(at, anchored, derivatives=derivatives)
        if operator is None:
            return None
        spectral = self.spectral.internal(values)
        f, df = self.source.spectrum(self.grid, spectral, cache, derivatives=derivatives)
        if df is None:
            seen, df = _plain(*operator.forward(f)), np.zeros((0, len(f)))
        else:
            places, factors = self.spectral.places, self.spectral.free_factors
            seen = operator.linear(f, np.ascontiguousarray((df[places] * factors[:, None]).T))
        return SourceCounts(self, operator, bins, f, df, seen)


class SourceCounts(NamedTuple):
    """Counts of one source at some values of the parameters: the operator, its bins, the spectrum, and the counts."""

    term: SourceTerm
    operator: Operator
    bins: Places
    f: Array
    df: Array
    seen: Linear

    @property
    def may_be_negative(self) -> bool:
        """Whether the counts may be negative somewhere."""
        return self.operator.negative or bool(self.f.min() < 0)

    def add_jacobian(self, jacobian: Jacobian) -> None:
        """Add the derivatives of the counts."""
        slot, seen = self.term.spectral, self.seen
        if len(slot.places):
            jacobian.add(self.bins, slot.columns, seen.spectral, seen.spectral_total)
        slot = self.term.spatial
        if len(slot.places):
            factors = slot.free_factors
            jacobian.add(self.bins, slot.columns, seen.shape * factors, seen.shape_total * factors)

    def add_second(
        self, values: Array, terms: Terms, observed: Array, cache: SpectrumCache
    ) -> None:
        """Add ``Σ first · ∂²npred`` to a Hessian (P, P), in place."""
        w, w_sum = terms.first[self.bins], terms.first_sum
        source, grid, spectral, spatial = self.term
        bent = self.operator.bent(self.f, w, w_sum)
        if len(spectral.places):
            second = source.spectrum_hessian(grid, spectral.internal(values), cache)
            block = times(second[np.ix_(spectral.places, spectral.places)], bent.adjoint)
            add_block(observed, spectral, spectral, block)
        if len(spatial.places):
            add_block(observed, spatial, spatial, bent.second_shape)
        if len(spectral.places) and len(spatial.places):
            cross = times(bent.adjoint_shape, self.df[spectral.places].T)
            add_block(observed, spatial, spectral, cross)
            add_block(observed, spectral, spatial, cross.T)


def source_terms(
    observation: Observation,
    cube: xr.Dataset,
    models: DatasetModels,
    bins: Bins,
    slots: Slots,
    response: str,
    keep: Keep,
) -> list[SourceTerm]:
    """Return the sources of a dataset.

    Parameters
    ----------
    observation : `Observation`
    cube : `xarray.Dataset`
        The data of the observation.
    models : `DatasetModels`
    bins : `Bins`
    slots : `Slots`
        Positions of the parameters of the models.
    response : {"exact", "gammapy"}
    keep : callable
        Takes an array that is kept permanently, and returns it from where it is kept.
    """
    terms = []
    # the unit of the file determines the number of nodes
    axis = cube_axis(cube, "energy_true")
    grid = EnergyGrid(axis.edges, axis.unit)
    for model in models:
        if isinstance(model, SkyModel):
            shape = shape_of(model)
            factors = factors_of(model, models, cube, observation.energy_true.center)
            spatial = slots.of(shape)
            free = spatial.places.tolist()
            source = Source(observation, bins, model, shape, free, factors, response, keep)
            spectrum: list[ModelBase] = [model.spectral_model, *factors.models]
            terms.append(SourceTerm(source, grid, slots.of(*spectrum), spatial))
        elif isinstance(model, TemplateNPredModel):
            template = TemplateSource(observation, bins, model)
            terms.append(SourceTerm(template, grid, slots.of(model.spectral_model), slots.of()))
    return terms


def _plain(counts: Array, total: Array) -> Linear:
    """Wrap counts without derivatives."""
    none = np.zeros(0)
    return Linear(
        counts, float(total), np.zeros((len(counts), 0)), none, np.zeros((len(counts), 0)), none
    )
