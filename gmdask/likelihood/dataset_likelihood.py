"""One compiled dataset: small operators from which its likelihood is evaluated."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gmdask.likelihood.background_term import background_term
from gmdask.likelihood.bins import Bins, all_bins, masked_bins, occupied_bins
from gmdask.likelihood.kind import Evaluation
from gmdask.likelihood.laplace import Laplace
from gmdask.likelihood.local_parameters import LocalParameters
from gmdask.likelihood.observation import Keep, Observation
from gmdask.likelihood.parameter_slots import Jacobian, Slots
from gmdask.likelihood.responses import EXACT
from gmdask.likelihood.source import SpectrumCache
from gmdask.likelihood.source_term import SourceCounts, source_terms
from gmdask.likelihood.statistics import Terms, statistic_type
from gmdask.models import DatasetModels

__all__ = ["CompiledDataset"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

BINS: dict[str, Callable[[Observation, Mask], Bins]] = {
    "occupied": occupied_bins, "masked": masked_bins, "all": all_bins,
}  # fmt: skip


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
        self._cube, self._models, self._response = cube, models, response
        self.free = (
            np.array([not p.frozen for p in parameters], dtype=bool) if free is None else free
        )
        self.local = np.zeros_like(self.free) if local is None else local & self.free
        self.observation = observation = Observation(cube, keep)
        self.name = observation.name
        kind = statistic_type(cube.attrs)
        everywhere = kind(*(observation.data(name) for name in kind.reads))
        self._mode = "masked" if bins == "occupied" and not kind.linear else bins
        chosen = BINS[self._mode](observation, everywhere.is_linear)
        self.bins = Bins(keep(chosen.r), keep(chosen.y), keep(chosen.x))
        self._n_bins = len(self.bins.r)
        self.statistic = everywhere.at((self.bins.r, self.bins.y, self.bins.x), keep)
        slots = Slots(models, self.free)
        self.sources = source_terms(observation, cube, models, self.bins, slots, response, keep)
        self.background = background_term(observation, models, self.bins, slots, keep)
        self._local = LocalParameters(models, self.free, self.local)
        slot = None if self.background is None else self.background.slot
        of_background = np.zeros(0, dtype=np.intp) if slot is None else slot.index
        # whether local parameters change no counts but those of the background
        self._only_background = bool(np.isin(self._local.index, of_background).all())
        self._dense: CompiledDataset | None = None
        values = parameters.value
        for moves in (False, True):
            if moves:
                observation.keep_tiles()
            for term in self.sources:
                if term.source.moves == moves:
                    term.compile(values)
        observation.release()

    def forget(self) -> None:
        """Release whatever the next evaluation can compute again."""
        self._dense = None
        for term in self.sources:
            term.source.response.forget()

    @property
    def gridded(self) -> tuple[str, ...]:
        """Names of the models that are rendered on the pixel grid."""
        sources = [term.source for term in self.sources]
        return tuple(source.model.name for source in sources if source.response.gridded)

    # --- predicted counts --------------------------------------------------------------

    def _parts(
        self, values: Array, anchor: Array, cache: SpectrumCache, *, derivatives: bool
    ) -> list[SourceCounts]:
        parts = (
            term.counts(values, anchor, cache, derivatives=derivatives) for term in self.sources
        )
        return [part for part in parts if part is not None]

    def _background_counts(self, values: Array) -> tuple[Array, float, float]:
        """Return background counts (bin,), their masked sum, and a negative number if the norm may be negative."""
        if self.background is None:
            return np.zeros(self._n_bins), 0.0, 0.0
        return self.background.counts(values)

    def _source_counts(self, parts: Sequence[SourceCounts]) -> tuple[Array, float]:
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
        marginal: bool = False,
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
        marginal : bool
            Whether the likelihood is integrated over local parameters around their optimum, in order 1 with
            `profile`; see `Laplace`.
        cache : dict, optional
            Spectra that were already integrated, shared by datasets in one pass.

        Returns
        -------
        evaluation : `Evaluation`
        """
        cache = {} if cache is None else cache
        anchor = values if anchor is None else anchor
        if order and profile and not self._only_background:
            values = self._local.profile(
                values, lambda at: self.evaluate(at, anchor, order=2, profile=False, cache=cache)
            )
            profile = False
        parts = self._parts(values, anchor, cache, derivatives=order > 0)
        negative = any(part.may_be_negative for part in parts)
        negative = negative or (self.background is not None and self.background.negative)
        occupied = self._mode == "occupied"
        if not (negative and occupied):
            source, source_sum = self._source_counts(parts)
            if order and profile and len(self._local.index) and self.background is not None:
                values = self.background.profile(
                    values, self._local, source, source_sum, self._compare
                )
            background, total, lowest = self._background_counts(values)
            negative = negative or lowest < 0
        if negative and occupied:
            return self._as_dense().evaluate(
                values, anchor, order=order, profile=profile, marginal=marginal, cache=cache
            )
        npred, total = source + background, source_sum + total
        terms = self._compare(npred, total, derivatives=order > 0)
        if order == 0:
            return Evaluation(terms.stat, values, None, None, None, None, terms.n_floor)
        integral = None
        if marginal and len(self._local.index) and self.background is not None:
            integral = Laplace(
                self.background,
                self._local,
                self.statistic,
                self._compare,
                values,
                source,
                source_sum,
            )
        return self._derivatives(values, parts, terms, order, cache, integral)

    def _as_dense(self) -> CompiledDataset:
        """Return the same dataset, evaluated in every bin of the mask."""
        if self._dense is None:
            self._dense = CompiledDataset(
                self._cube, self._models, self.free, self.local, "masked", response=self._response
            )
        return self._dense

    def _derivatives(
        self,
        values: Array,
        parts: Sequence[SourceCounts],
        terms: Terms,
        order: int,
        cache: SpectrumCache,
        integral: Laplace | None,
    ) -> Evaluation:
        background, local = self.background, self._local
        slots = [slot for part in parts for slot in (part.term.spectral, part.term.spatial)]
        if background is not None and background.slot is not None:
            slots.append(background.slot)
        used = np.zeros(int(self.free.sum()), dtype=bool)
        for slot in slots:
            used[slot.columns] = True
        jacobian = Jacobian(used, self._n_bins)
        for part in parts:
            part.add_jacobian(jacobian)
        if background is not None:
            background.add_jacobian(values, jacobian)
        gradient, gauss_newton = jacobian.contract(terms.first, terms.first_sum, terms.second)
        observed = None
        if order > 1:
            observed = gauss_newton.copy()
            for part in parts:
                part.add_second(values, terms, observed, cache)
            if background is not None:
                background.add_second(values, terms, observed)
        local.add_priors(values, gradient, gauss_newton, observed)
        active = local.active(values, gradient)
        stat = terms.stat
        if integral is not None and background is not None:
            background.add_second(
                values, terms, gauss_newton
            )  # the optimum responds by its Hessian
            more, slope = integral.log_det(jacobian, active)
            stat, gradient = stat + more, gradient + slope
        return Evaluation(
            stat, values, gradient, gauss_newton, observed, active, terms.n_floor, used
        )

    @property
    def nbytes(self) -> int:
        """Bytes held by operators, data and the arrays of the observation."""
        held = self.statistic.nbytes + sum(index.nbytes for index in self.bins)
        held += self.observation.nbytes + sum(t.source.response.nbytes for t in self.sources)
        held += 0 if self.background is None else self.background.nbytes
        return held + (self._dense.nbytes if self._dense else 0)

    @property
    def forgettable(self) -> int:
        """Bytes that `forget` releases."""
        held = sum(term.source.response.forgettable for term in self.sources)
        return held + (self._dense.nbytes if self._dense else 0)
