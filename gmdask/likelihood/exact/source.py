"""The exact response to a sky model: convolved with the PSF at its position, then integrated over pixels."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gmdask.irf import blend_at
from gmdask.likelihood.bins import Bins
from gmdask.likelihood.exact.footprints import pairs
from gmdask.likelihood.exact.hankel import ShapeMatrices, mean_matrix, shape_grid, shape_matrices
from gmdask.likelihood.exact.irfs import Jet, edisp_jet, jet_of, psf_table
from gmdask.likelihood.exact.located import LocatedSource
from gmdask.likelihood.exact.operator import ByShape, ExactOperator, RecoOperator
from gmdask.likelihood.exact.patch import Patch, source_axes
from gmdask.likelihood.exact.pixel_footprint import Sight
from gmdask.likelihood.exact.radial import DEG
from gmdask.likelihood.exact.reco import product
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
from gmdask.models import PointSpatialModel, SpatialModel
from gmdask.sums import matmul

__all__ = ["ExactSource", "exact_source"]

Array = NDArray[np.float64]
Places = NDArray[np.intp] | slice

PLAIN = ("e", "eta", "edge_width")  # sizes without a unit
ODD = 0.37  # shift that keeps the ends of size ranges away from round numbers


def exact_source(
    observation: Observation, bins: Bins, spatial: SpatialModel,
    apply_irf: dict[str, bool], free: list[int], keep: Keep,
) -> ExactSource | None:  # fmt: skip
    """Exact response of a map with a PSF to a known shape, None where it does not apply.

    If the PSF is in reconstructed energy, the exposure is applied before it and varies over the
    source: then it applies only to point sources. Pixels must not be so large that the nodes of one of
    them miss the core of the PSF.
    """
    if observation.psf_energy is None or not apply_irf["psf"] or observation.is_region:
        return None
    if not can_be_integrated(psf_table(observation).core, observation.grid.max_pixel_scale):
        return None
    is_point = type(spatial) is PointSpatialModel
    if not (is_point if observation.psf_energy == "energy" else has_transform(spatial)):
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
        self._found_reach = (b"nothing yet", 0.0)

    def compile(self, values: Array) -> None:
        """See `LocatedSource`."""
        if self._patch_at(values) is not None:
            self._irfs(values)

    def _reach(self, values: Array) -> float:
        """Angle in deg beyond which the convolved source is zero."""
        sizes = values[self._is_size].tobytes()
        if self._found_reach[0] != sizes:
            end = shape_grid(self._spatial, values, self._psf.table, self._psf.core).end
            self._found_reach = sizes, 2 * math.degrees(math.asin(min(end * DEG / 2, 1.0)))
        return self._found_reach[1]

    def _irfs(self, values: Array) -> tuple[Jet, Jet]:
        position, frame = self._spatial.position_at(values), self._spatial.frame
        edisp = edisp_jet(self._observation, position, frame, apply=self._apply["edisp"])
        return self._psf.at(position, frame), edisp

    def operator(
        self, values: Array, *, derivatives: bool
    ) -> tuple[ExactOperator | RecoOperator | None, Places]:
        """See `LocatedSource`."""
        patch = self._patch_at(values)
        if patch is None:
            return None, np.zeros(0, dtype=np.intp)
        psf, edisp = self._irfs(values)
        free = len(self._free) if derivatives else 0
        matrices = self._matrices(values, 1 if free else 0)
        moving = [s for s in range(free) if self._size[s] < 0]
        moved = [moving.index(s) if s in moving else -1 for s in range(free)]
        sight = self._sight(values, matrices, moving)
        tables = self._tables(psf, matrices, free, 1)

        def second() -> ByShape:
            return self._tables(psf, self._matrices(values, 2), free, 2)

        kind: type[ExactOperator]
        if self._observation.psf_energy != "energy":
            kind, response = ExactOperator, self._by_shape(edisp, free)
        else:  # the exposure is applied before the PSF
            folded = product(edisp, self._exposure_at(values, patch))
            kind, response = RecoOperator, self._by_shape(folded, free)
        return kind(sight, patch, self._shares, response, tables, moved, second), self._places

    def _sight(self, values: Array, matrices: ShapeMatrices, moving: list[int]) -> Sight:
        position, frame = self._spatial.position_at(values), self._spatial.frame
        axes = source_axes(position, frame, self._observation.grid)
        moves = np.array(self._moves[moving] * DEG).reshape(-1, 2)
        turns = np.array(self._turns[moving] * DEG)
        zones, grid = self._zones(values), matrices.grid.at_latitude(position[1])
        return Sight(axes, grid, self._angle(values), zones.nodes, zones.rules, moves, turns)

    def _matrices(self, values: Array, order: int) -> ShapeMatrices:
        return shape_matrices(self._spatial, values, self._psf.table, self._psf.core, order)

    def _zones(self, values: Array) -> Zones:
        """Zones for a range of sizes, a factor of two wide, so that they stay fixed as sizes change."""
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

    def _exposure_at(self, values: Array, patch: Patch) -> Jet:
        """Exposure (T,) in cm2 s at the source."""
        blend = blend_at(
            self._observation.grid, *self._spatial.position_at(values), self._spatial.frame
        )
        if not self._apply["exposure"]:
            return jet_of(blend, np.ones((self._observation.energy_true.nbin, 4, 4)))
        y, x = blend.y - patch.y0, blend.x - patch.x0
        nodes = self._stored[:, y][:, :, x].astype(np.float64)
        np.nan_to_num(nodes, copy=False, posinf=0.0, neginf=0.0)
        return jet_of(blend, nodes * self._observation.exposure_unit)


def _coefficients(planes: Array, matrices: Array) -> Array:
    """Coefficients (T, M, n) per sr from PSF tables (T, rad) and matrices (M, rad, n)."""
    out = np.empty((len(planes), len(matrices), matrices.shape[2]))
    for m, matrix in enumerate(matrices):
        out[:, m] = matmul(np.ascontiguousarray(planes), np.ascontiguousarray(matrix))
    out /= DEG**2
    return out
