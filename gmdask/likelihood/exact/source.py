"""The exact response to a sky model: convolved with the PSF at its position, then integrated over pixels."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from gmdask.likelihood.bins import Bins
from gmdask.likelihood.exact.exposure_terms import exposure_terms
from gmdask.likelihood.exact.footprints import even_waves, pairs
from gmdask.likelihood.exact.hankel import (
    ShapeMatrices,
    mean_matrix,
    shape_grid,
    shape_matrices,
    wave_numbers,
)
from gmdask.likelihood.exact.irfs import Jet, edisp_jet, psf_table
from gmdask.likelihood.exact.located import LocatedSource
from gmdask.likelihood.exact.moments import TERMS, moment_of
from gmdask.likelihood.exact.operator import ByShape, ExactOperator, RecoOperator
from gmdask.likelihood.exact.patch import Patch, source_axes
from gmdask.likelihood.exact.pixel_footprint import Sight
from gmdask.likelihood.exact.radial import DEG
from gmdask.likelihood.exact.reco import SumOperator, TermTables, product
from gmdask.likelihood.exact.transforms import has_transform
from gmdask.likelihood.exact.zones import (
    Zones,
    can_be_integrated,
    chosen_zones,
    rounded,
    rules_for,
    zone_starts,
)
from gmdask.likelihood.observation import Keep, Observation
from gmdask.models import SpatialModel
from gmdask.sums import matmul

__all__ = ["ExactSource", "exact_source"]

Array = NDArray[np.float64]
Places = NDArray[np.intp] | slice

PLAIN = ("e", "eta", "edge_width")  # sizes without a unit
LEAST = (
    1e-10  # terms below this fraction of the exposure are neglected: it is constant over the source
)
ODD = 0.37  # shift that keeps the ends of size ranges away from round numbers


def exact_source(
    observation: Observation, bins: Bins, spatial: SpatialModel,
    apply_irf: dict[str, bool], free: list[int], keep: Keep,
) -> ExactSource | None:  # fmt: skip
    """Exact response of a map with a PSF to a known shape, None where it does not apply.

    Pixels must not be so large that the nodes of one of them miss the core of the PSF.
    """
    if observation.psf_energy is None or not apply_irf["psf"] or observation.is_region:
        return None
    if not can_be_integrated(psf_table(observation).core, observation.grid.max_pixel_scale):
        return None
    if not has_transform(spatial):
        return None
    return ExactSource(observation, bins, spatial, apply_irf, free, keep)


class ExactSource(LocatedSource):
    """Response to one sky model at the bins of one dataset with a PSF; see `exact_source`.

    See `LocatedSource`.
    """

    def __init__(
        self, observation: Observation, bins: Bins, spatial: SpatialModel,
        apply_irf: dict[str, bool], free: list[int], keep: Keep,
    ) -> None:  # fmt: skip
        super().__init__(observation, bins, spatial, apply_irf, free, keep)
        self._psf = psf_table(observation)
        names, sizes = spatial.parameter_names, self._sizes
        self._size = [sizes.index(names[k]) if names[k] in sizes else -1 for k in free]
        self._turns = np.array([names[k] == "phi" for k in free], float)
        self._phi = names.index("phi") if "phi" in names else None
        self._is_size = np.array([name in sizes for name in names])
        self._found_zones: dict[bytes, Zones] = {}
        self._last_zones: tuple[bytes, Zones] | None = None
        self._found_reach = (b"nothing yet", 0.0)
        self._found_matrices: tuple[bytes, int, ShapeMatrices] | None = None

    def compile(self, values: Array) -> None:
        """See `LocatedSource`."""
        if self._patch_at(values) is not None:
            self._irfs(values, 1)

    def _reach(self, values: Array) -> float:
        """Angle in deg beyond which the convolved source is zero."""
        sizes = values[self._is_size].tobytes()
        if self._found_reach[0] != sizes:
            end = shape_grid(self._spatial, values, self._psf.table, self._psf.core).end
            self._found_reach = sizes, 2 * math.degrees(math.asin(min(end * DEG / 2, 1.0)))
        return self._found_reach[1]

    def _irfs(self, values: Array, order: int) -> tuple[Jet, Jet]:
        """PSF, with derivatives up to an order, and energy dispersion at the source."""
        position, frame = self._spatial.position_at(values), self._spatial.frame
        edisp = edisp_jet(self._observation, position, frame, apply=self._apply["edisp"])
        return self._psf.at(position, frame, order), edisp

    def operator(
        self, values: Array, *, derivatives: bool
    ) -> tuple[ExactOperator | SumOperator | None, Places]:
        """See `LocatedSource`."""
        patch = self._patch_at(values)
        if patch is None:
            return None, np.zeros(0, dtype=np.intp)
        psf, edisp = self._irfs(values, 2 if self._after else 1)
        free = len(self._free) if derivatives else 0
        matrices = self._matrices(values, 1 if free else 0)
        moving = [s for s in range(free) if self._size[s] < 0]
        moved = [moving.index(s) if s in moving else -1 for s in range(free)]
        sight = self._sight(values, matrices, moving)
        tables = self._tables(psf, matrices, free, 1)

        def second() -> ByShape:
            return self._tables(self._irfs(values, 2)[0], self._matrices(values, 2), free, 2)

        bent = self._by_shape(edisp, free)
        if not self._after:
            found = ExactOperator(sight, patch, self._shares, bent, tables, moved, second)
            return found, self._places
        terms = self._exposure_terms(values, patch, free)
        whole = product(bent, terms[0])
        first = RecoOperator(sight, patch, self._shares, whole, tables, moved, second)
        largest = np.abs(terms[0].value).max(initial=0.0)
        if max((np.abs(t.value).max() for t in terms[1:]), default=0.0) <= LEAST * largest:
            return first, self._places
        rest = self._rest(values, psf, free)
        seconds = cache(partial(rest.tables, 2))

        def second_of(i: int) -> ByShape:
            return seconds()[i]

        parts = [first]
        for i, (term, own) in enumerate(zip(terms[1:], rest.tables(1 if free else 0), strict=True)):
            seen, response = sight._replace(waves=rest.moments[i].waves), product(bent, term)
            later = partial(second_of, i)
            parts.append(RecoOperator(seen, patch, self._shares, response, own, moved, later))
        return SumOperator(parts), self._places

    def _rest(self, values: Array, psf: Jet, free: int) -> TermTables:
        """What the terms of the exposure after the first one look like through the PSF."""
        model, table, core = self._spatial, self._psf.table, self._psf.core
        numbers = wave_numbers(model, values, table, core)
        moments = [moment_of(model, values, numbers.k, core, term) for term in TERMS[1:]]
        return TermTables(numbers, moments, self._by_shape(psf, free), self._size[:free])

    def _sight(self, values: Array, matrices: ShapeMatrices, moving: list[int]) -> Sight:
        position, frame = self._spatial.position_at(values), self._spatial.frame
        axes = source_axes(position, frame, self._observation.grid)
        moves = np.array(self._moves[moving] * DEG).reshape(-1, 2)
        turns = np.array(self._turns[moving] * DEG)
        zones, grid = self._zones(values), matrices.grid.at_latitude(position[1])
        waves = even_waves(matrices.value.shape[0])
        return Sight(axes, grid, self._angle(values), waves, zones.nodes, zones.rules, moves, turns)

    def _matrices(self, values: Array, order: int) -> ShapeMatrices:
        sizes, found = values[self._is_size].tobytes(), self._found_matrices
        if found is None or found[:2] != (sizes, order):
            core, table = self._psf.core, self._psf.table
            found = sizes, order, shape_matrices(self._spatial, values, table, core, order)
            self._found_matrices = found
        return found[2]

    def _zones(self, values: Array) -> Zones:
        """Zones for a range of sizes, a factor of two wide, so that they stay fixed as sizes change."""
        sizes = values[self._is_size].tobytes()
        if self._last_zones is None or self._last_zones[0] != sizes:
            self._last_zones = sizes, self._zones_of(values)
        return self._last_zones[1]

    def _zones_of(self, values: Array) -> Zones:
        ends = [self._rounded_sizes(values, rule) for rule in (math.floor, math.ceil)]
        key = np.concatenate(ends)[np.tile(self._is_size, 2)].tobytes()
        if key not in self._found_zones:
            table, core = self._psf.table, self._psf.core
            pixel = self._observation.grid.max_pixel_scale
            rules, starts = rules_for(core, pixel), []
            for near in ends:
                grid, mean = mean_matrix(self._spatial, near, table, core)
                starts.append(zone_starts(matmul(self._psf.center, mean), grid, pixel, rules))
            self._found_zones[key] = chosen_zones(np.maximum(*starts), rules)
        return self._found_zones[key]

    def _rounded_sizes(self, values: Array, rule: Callable[[float], int]) -> Array:
        """Round lengths to powers of two, and dimensionless values to quarters, both shifted."""
        near = values.copy()
        for k, name in enumerate(self._spatial.parameter_names):
            if name in PLAIN:
                near[k] = min(max((rule(4 * float(values[k]) + ODD) - ODD) / 4, 0.02), 0.98)
            elif self._is_size[k] and values[k] != 0:
                size = (1 + ODD) * rounded(abs(float(values[k])) / (1 + ODD), rule, 1)
                near[k] = math.copysign(size, values[k])
        return near

    def _angle(self, values: Array) -> float:
        return 0.0 if self._phi is None else float(values[self._phi]) * DEG

    def _tables(self, psf: Jet, matrices: ShapeMatrices, free: int, order: int) -> ByShape:
        """Coefficients (T, M, n + 4) per sr of the source, and of its derivatives except by position."""
        found = ByShape(_coefficients(psf.value, matrices.value), [None] * free, {})
        bent = self._by_shape(psf, free)
        for s in range(free):
            if (by_place := bent.first[s]) is not None:
                found.first[s] = _coefficients(by_place, matrices.value)
            elif (p := self._size[s]) >= 0:
                found.first[s] = _coefficients(psf.value, matrices.first[p])
        for s, u in pairs(free) if order > 1 else []:
            p, q = self._size[s], self._size[u]
            if p >= 0 and q >= 0:
                found.second[s, u] = _coefficients(psf.value, matrices.second[p, q])
            elif (s, u) in bent.second:
                found.second[s, u] = _coefficients(bent.second[s, u], matrices.value)
            elif max(p, q) >= 0 and (by_place := bent.first[s if q >= 0 else u]) is not None:
                found.second[s, u] = _coefficients(by_place, matrices.first[max(p, q)])
        return found

    def _exposure_terms(self, values: Array, patch: Patch, free: int) -> list[ByShape]:
        """Exposure in cm2 s over the source; see `exposure_terms`."""
        if not self._apply["exposure"]:
            return [ByShape(np.ones(self._observation.energy_true.nbin), [None] * free, {})]
        unit = self._observation.exposure_unit
        found = exposure_terms(
            self._observation.grid, patch, self._stored, self._spatial, values, self._free[:free]
        )
        return [
            ByShape(t.value * unit, [None if d is None else d * unit for d in t.first],
                    {pair: d * unit for pair, d in t.second.items()}) for t in found
        ]  # fmt: skip


def _coefficients(planes: Array, matrices: Array) -> Array:
    """Coefficients (T, M, n) per sr from PSF tables (T, rad) and matrices (M, rad, n)."""
    out = np.empty((len(planes), len(matrices), matrices.shape[2]))
    for m, matrix in enumerate(matrices):
        out[:, m] = matmul(np.ascontiguousarray(planes), np.ascontiguousarray(matrix))
    out /= DEG**2
    return out
