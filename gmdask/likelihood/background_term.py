"""The background in the likelihood of a dataset, whose own parameters are minimised over where the data are."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from gmdask.likelihood.background import (
    Background,
    SpatialBackground,
    background_of,
    make_background,
)
from gmdask.likelihood.bins import Bins
from gmdask.likelihood.local_parameters import LocalParameters
from gmdask.likelihood.observation import Keep, Observation
from gmdask.likelihood.parameter_slots import Jacobian, Slot, Slots, add_block
from gmdask.likelihood.statistics import Terms
from gmdask.models import DatasetModels
from gmdask.optimize.bounded_newton import minimise_bounded
from gmdask.sums import gram, times

__all__ = ["BackgroundTerm", "background_term"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Compare = Callable[[Array, float], Terms]


class BackgroundTerm:
    """The background of a dataset, with the slot of the parameters of its norm.

    Parameters
    ----------
    background : `Background` or `SpatialBackground`
    slot : `Slot` or None
        None if there is no background model.
    scale : int or None
        Position in the slot of the parameter that only multiplies the background.
    """

    def __init__(
        self, background: Background | SpatialBackground, slot: Slot | None, scale: int | None
    ) -> None:
        self.background, self.slot, self._scale = background, slot, scale

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.background.nbytes

    @property
    def negative(self) -> bool:
        """Whether the template is negative anywhere in the mask."""
        return self.background.negative

    def counts(self, values: Array) -> tuple[Array, float, float]:
        """Return counts (bin,), their masked sum, and a negative number if the norm may be negative."""
        own = np.zeros(0) if self.slot is None else self.slot.internal(values)
        return self.background.predict(own)

    def add_jacobian(self, values: Array, jacobian: Jacobian) -> None:
        """Add the derivatives of the counts."""
        slot = self.slot
        if slot is None or not len(slot.places):
            return
        counts, total = self.background.jacobian(slot.internal(values), slot.places)
        factors = slot.free_factors
        jacobian.add(slice(None), slot.columns, (counts * factors[:, None]).T, total * factors)

    def add_second(self, values: Array, terms: Terms, observed: Array) -> None:
        """Add ``Σ first · ∂²npred`` to a Hessian (P, P), in place."""
        slot = self.slot
        if slot is None or not len(slot.places):
            return
        second = self.background.curvature(slot.internal(values), slot.places, terms)
        add_block(observed, slot, slot, second)

    def local_places(self, local: LocalParameters) -> Index:
        """Return the positions in the slot of the local parameters."""
        return np.flatnonzero(np.isin([] if self.slot is None else self.slot.index, local.index))

    def likelihood(
        self,
        values: Array,
        local: LocalParameters,
        source: Array,
        source_sum: float,
        compare: Compare,
    ) -> Callable[[Array], tuple[float, Array, Array]]:
        """Return the statistic and its derivatives as a function of the local parameters, all of the background.

        Parameters
        ----------
        values : array of shape (N,)
            The other parameters.
        local : `LocalParameters`
            The function takes their values in the order of the slot.
        source : array of shape (bin,)
            Counts of all sources.
        source_sum : float
            Their masked sum.
        compare : callable
            Compares predicted counts (bin,) with masked sum to the data.
        """
        background, slot = self.background, self.slot
        assert slot is not None
        moving = self.local_places(local)
        places, factors = slot.index[moving], slot.factors[moving]
        at, order = slot.internal(values), np.searchsorted(local.index, places)
        own = values[local.index]
        unit: Array | None = None
        if moving.tolist() == [self._scale]:  # the counts are those at 1 times the parameter
            at[moving] = 1.0
            unit, unit_sum, _ = background.predict(at)

        # number of bins with counts but no prediction at the start: a step must not add to them
        least: int | None = None

        def likelihood(x: Array) -> tuple[float, Array, Array]:
            nonlocal least
            at[moving] = x * factors
            if unit is not None:
                scale = float(at[moving[0]])
                terms = compare(source + scale * unit, source_sum + scale * unit_sum)
                slope = times(unit, terms.first) + terms.first_sum * unit_sum
                slopes = np.array([slope]), gram(unit[None], terms.second)
            else:
                counts, total, _ = background.predict(at)
                terms = compare(source + counts, source_sum + total)
                slopes = background.derivatives(at, moving, terms)
            least = terms.n_floor if least is None else least
            return (terms.stat if terms.n_floor <= least else np.inf), *slopes

        def function(x: Array) -> tuple[float, Array, Array]:
            stat, gradient, hessian = likelihood(x)
            gradient, hessian = gradient * factors, hessian * np.outer(factors, factors)
            if not len(local.prior):
                return stat, gradient, hessian
            own[order] = x
            prior, slope, curvature = local.prior(own)
            return stat + prior, gradient + slope[order], hessian + np.diag(curvature[order])

        return function

    def profile(
        self,
        values: Array,
        local: LocalParameters,
        source: Array,
        source_sum: float,
        compare: Compare,
    ) -> Array:
        """Return the values (N,) with the local parameters at their optimum, from these values; see `likelihood`."""
        if self.slot is None:
            return values
        places = self.slot.index[self.local_places(local)]
        function = self.likelihood(values, local, source, source_sum, compare)
        result = values.copy()
        bounds = local.lower[places], local.upper[places]
        # a step that overflows is rejected; a start that is not finite is reported to the caller
        with np.errstate(over="ignore", invalid="ignore"), suppress(np.linalg.LinAlgError):
            result[places] = minimise_bounded(
                function, values[places], *bounds, local.norms[places]
            )
        return result


def background_term(
    observation: Observation, models: DatasetModels, bins: Bins, slots: Slots, keep: Keep
) -> BackgroundTerm | None:
    """Return the background of a dataset, None if it has none.

    Parameters
    ----------
    observation : `Observation`
    models : `DatasetModels`
    bins : `Bins`
    slots : `Slots`
        Positions of the parameters of the models.
    keep : callable
        Takes an array that is kept permanently, and returns it from where it is kept.
    """
    found = background_of(models, observation)
    if observation.background is None:
        return None
    norm, spatial, scale = None, None, None
    if found is not None:
        norm, spatial = found.spectral_model, found.spatial_model
        if norm.linear is not None:
            scale = norm.parameter_names.index(norm.linear)
    background = make_background(observation, bins, norm, spatial)
    background.keep(keep)
    if norm is None:
        return BackgroundTerm(background, None, None)
    slot = slots.of(norm) if spatial is None else slots.of(norm, spatial)
    return BackgroundTerm(background, slot, scale)
