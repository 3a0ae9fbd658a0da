"""A sky model seen exactly: convolved with the PSF where it is, then integrated over pixels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gmdask.irf import blend_at
from gmdask.likelihood.bins import Bins
from gmdask.likelihood.exact.curvature import second
from gmdask.likelihood.exact.hankel import ShapeMatrices, mean_matrix, shape_grid, shape_matrices
from gmdask.likelihood.exact.irfs import Jet, edisp_jet, jet_of, psf_table
from gmdask.likelihood.exact.kernels import LAT, LON, PHI, SIZE, forward
from gmdask.likelihood.exact.operator import ExactOperator
from gmdask.likelihood.exact.patch import (
    Field,
    Patch,
    field_of,
    make_patch,
    source_axes,
    window_around,
)
from gmdask.likelihood.exact.radial import DEG
from gmdask.likelihood.exact.reco import RecoOperator, product
from gmdask.likelihood.exact.transforms import has_transform, size_names
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

__all__ = ["ExactSource", "is_exact"]

Array = NDArray[np.float64]
Places = NDArray[np.intp] | slice

MARGIN = 0.1  # of the reach of a source that moves, read around it
MARGIN_PIXELS = 3
PLAIN = ("e", "eta", "edge_width")  # sizes without a unit
ODD = 0.37  # shift that keeps the ends of ranges of sizes away from round numbers
KINDS = {"lon_0": LON, "lat_0": LAT, "phi": PHI}


def is_exact(observation: Observation, spatial: SpatialModel, apply_irf: dict[str, bool]) -> bool:
    """Whether the exact response serves a model in a dataset: a map with a PSF, a known shape.

    Where the PSF is in reconstructed energy, the exposure comes before it and varies over the
    shape: only points are served there. Pixels must not be so large that the nodes of one of
    them miss the core of the PSF.
    """
    if observation.psf_energy is None or not apply_irf["psf"] or observation.is_region:
        return False
    if not can_be_integrated(psf_table(observation).core, observation.grid.max_pixel_scale):
        return False
    if observation.psf_energy == "energy":
        return type(spatial) is PointSpatialModel
    return has_transform(spatial)


class ExactSource:
    """Response to one sky model at the bins of one dataset.

    The operator is a pure function of the shape parameters; what was computed or read last
    is kept.

    Parameters
    ----------
    observation : `Observation`
    bins : `Bins`
    spatial : `SpatialModel`
        For which `is_exact`.
    apply_irf : dict
    free : list of int
        Which parameters of the spatial model are free.
    keep : callable
        Takes an array that is kept for long, and gives it back from where it is kept.
    """

    def __init__(
        self, observation: Observation, bins: Bins, spatial: SpatialModel,
        apply_irf: dict[str, bool], free: list[int], keep: Keep,
    ) -> None:  # fmt: skip
        self._observation, self._bins, self._spatial = observation, bins, spatial
        self._apply, self._free, self._keep = apply_irf, free, keep
        self._psf = psf_table(observation)
        self._field = _field_of(observation)
        names = spatial.parameter_names
        sizes = size_names(spatial)
        self._kinds = np.array([KINDS.get(names[k], SIZE) for k in free], dtype=np.int64)
        self._size = [sizes.index(names[k]) if names[k] in sizes else -1 for k in free]
        angles = (LON, LAT, PHI)
        self._scale = np.array([DEG if k in angles else 1.0 for k in self._kinds])
        self._phi = names.index("phi") if "phi" in names else None
        self._patch: Patch | None = None
        self._is_size = np.array([name in sizes for name in names])
        self._found_zones: dict[bytes, Zones] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels that are kept."""
        return 0 if self._patch is None else self._patch.nbytes

    def forget(self) -> None:
        """Let go of the pixels."""
        self._patch = None

    def compile(self, values: Array) -> None:
        """Read what is needed at some parameters, and a margin for a source that moves."""
        self._patch_at(values)
        self._irfs(values)

    def _reach(self, values: Array) -> float:
        """Angle in deg beyond which the convolved source is zero."""
        end = shape_grid(self._spatial, values, self._psf.table, self._psf.core).end
        return 2 * math.degrees(math.asin(min(end * DEG / 2, 1.0)))

    def _position(self, values: Array) -> tuple[float, float]:
        position = self._spatial.center(values)
        assert position is not None
        return position

    def _patch_at(self, values: Array) -> Patch | None:
        """Pixels that hold all that is seen of the source; None where it is outside."""
        grid, frame = self._observation.grid, self._spatial.frame
        position, reach = self._position(values), self._reach(values)
        if self._field.is_beyond(source_axes(position, frame, grid)[2], reach):
            return None
        needed = window_around(grid, position, frame, reach)
        if needed is None:
            return None
        if self._patch is None or not self._patch.window.contains(needed):
            window = needed
            if self._free:
                around = MARGIN * reach + MARGIN_PIXELS * grid.max_pixel_scale
                window = window_around(grid, position, frame, reach + around) or needed
            keep = self._keep if self._free else np.asarray
            self._patch = make_patch(
                self._observation, self._bins, window, keep, exposed=self._apply["exposure"]
            )
        return self._patch

    def _irfs(self, values: Array) -> tuple[Jet, Jet]:
        position, frame = self._position(values), self._spatial.frame
        edisp = edisp_jet(self._observation, position, frame, apply=self._apply["edisp"])
        return self._psf.at(position, frame), edisp

    def operator(
        self, values: Array, *, derivatives: bool
    ) -> tuple[ExactOperator | RecoOperator | None, Places]:
        """Operator and the positions of its bins in the list.

        Parameters
        ----------
        values : array
            Parameters of the spatial model, in its internal units.
        derivatives : bool
            Whether derivatives by the free shape parameters are needed.
        """
        patch = self._patch_at(values)
        if patch is None:
            return None, np.zeros(0, dtype=np.intp)
        psf, edisp = self._irfs(values)
        free = len(self._free) if derivatives else 0
        matrices = self._matrices(values, 1 if free else 0)
        tables, table_of = self._tables(psf, matrices, free)
        reco = self._observation.psf_energy == "energy"
        exposure, unit, n_t = patch.exposure, patch.unit, len(edisp.value)
        if reco:  # it comes before the PSF
            n_t, unit = edisp.value.shape[1], 1.0
            exposure = np.ones((*patch.window.shape, n_t), dtype=np.float32)
        flux = np.zeros((1 + free, patch.n_pixels, n_t))
        sums = np.zeros((len(patch.patterns), 1 + free, n_t))
        kinds = self._kinds[:free]
        axes, grid = self._geometry(values, matrices)
        forward(
            patch.vectors, exposure, patch.pattern, patch.place, axes, tables, grid,
            self._angle(values), *self._zones(values), kinds, table_of, flux, sums,
        )  # fmt: skip
        scale = np.concatenate([[unit], unit * self._scale[:free]])
        flux *= scale[:, None, None]
        sums *= scale[:, None]
        turns = np.zeros((free, 2))
        for s, kind in enumerate(kinds.tolist()):
            if kind in (LON, LAT):
                turns[s, 0 if kind == LON else 1] = 1.0

        def curve(of_pattern: Array, of_pixel: Array) -> Array:
            return unit * self._second(values, patch, exposure, psf, of_pattern, of_pixel)

        if reco:
            folded = product(edisp, self._exposure_at(values, patch))
            which = [int(k) for k in kinds]
            return RecoOperator(
                flux, sums, folded, which, patch, curve if free else None
            ), patch.places
        operator = ExactOperator(flux, sums, edisp, turns, patch, curve if free else None)
        return operator, patch.places

    def _exposure_at(self, values: Array, patch: Patch) -> Jet:
        """Exposure (T,) in cm2 s at the source."""
        blend = blend_at(self._observation.grid, *self._position(values), self._spatial.frame)
        y, x = blend.y - patch.window.y0, blend.x - patch.window.x0
        nodes = patch.exposure[np.ix_(y, x)].astype(np.float64) * patch.unit
        return jet_of(blend, np.moveaxis(nodes, -1, 0))

    def _matrices(self, values: Array, order: int) -> ShapeMatrices:
        return shape_matrices(self._spatial, values, self._psf.table, self._psf.core, order)

    def _geometry(self, values: Array, matrices: ShapeMatrices) -> tuple[Array, Array]:
        position, frame = self._position(values), self._spatial.frame
        axes = source_axes(position, frame, self._observation.grid)
        return axes, matrices.grid.at_latitude(position[1])

    def _zones(self, values: Array) -> Zones:
        """Zones that serve a range of sizes, a factor of two wide: they stay as these change."""
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
        """Values with lengths rounded to powers of two, and plain numbers to quarters, but for a shift."""
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

    def _tables(
        self, psf: Jet, matrices: ShapeMatrices, free: int
    ) -> tuple[Array, NDArray[np.int64]]:
        """Coefficients (table, M, n, T) of the value and of first derivatives, and where each is."""
        wanted: list[tuple[Array, Array]] = [(psf.value, matrices.value)]
        table_of = np.full(free, -1, dtype=np.int64)
        for s in range(free):
            kind = int(self._kinds[s])
            pair = None
            if kind in (LON, LAT) and psf.first:
                pair = (psf.first[0 if kind == LON else 1] / DEG, matrices.value)
            elif kind == SIZE:
                pair = (psf.value, matrices.first[self._size[s]])
            if pair is not None:
                table_of[s] = len(wanted)
                wanted.append(pair)
        return _coefficients(wanted), table_of

    def _second(
        self, values: Array, patch: Patch, exposure: NDArray[Any], psf: Jet, of_pattern: Array,
        of_pixel: Array,
    ) -> Array:  # fmt: skip
        """Weighted second derivatives (S, S) by the free shape parameters."""
        free = len(self._free)
        matrices = self._matrices(values, 2)
        first, table_of = self._tables(psf, matrices, free)
        wanted: list[tuple[Array, Array]] = []
        two = np.full((free, free), -1, dtype=np.int64)
        for s in range(free):
            for u in range(s + 1):
                pair = self._pair(s, u, psf, matrices)
                if pair is not None:
                    two[s, u] = two[u, s] = len(first) + len(wanted)
                    wanted.append(pair)
        tables = np.concatenate([first, _coefficients(wanted)]) if wanted else first
        axes, grid = self._geometry(values, matrices)
        out = np.zeros((free, free))
        second(
            patch.vectors, exposure, patch.pattern, patch.place, axes, tables, grid,
            self._angle(values), *self._zones(values), self._kinds, table_of, two,
            of_pattern, of_pixel, out,
        )  # fmt: skip
        result: Array = out * np.outer(self._scale, self._scale)
        return result

    def _pair(
        self, s: int, u: int, psf: Jet, matrices: ShapeMatrices
    ) -> tuple[Array, Array] | None:
        """What the table of a second derivative is made of."""
        kinds = int(self._kinds[s]), int(self._kinds[u])
        moved = [0 if k == LON else 1 for k in kinds if k in (LON, LAT)]
        sized = [self._size[i] for i in (s, u) if self._size[i] >= 0]
        if len(sized) == 2:
            return psf.value, matrices.second[sized[0], sized[1]]
        if len(moved) == 2 and psf.first:
            return psf.second[moved[0]][moved[1]] / DEG**2, matrices.value
        if len(moved) == 1 and len(sized) == 1 and psf.first:
            return psf.first[moved[0]] / DEG, matrices.first[sized[0]]
        return None


def _field_of(observation: Observation) -> Field:
    """Circle that holds the pixels of an observation, looked for once."""
    kept: Field | None = observation.made.get("field")
    if kept is None:
        kept = observation.made["field"] = field_of(observation.grid)
    return kept


def _coefficients(wanted: list[tuple[Array, Array]]) -> Array:
    """Coefficients (table, M, n, T) per sr from PSF tables (T, rad) and matrices (M, rad, n)."""
    n_m, _, n = wanted[0][1].shape
    out = np.empty((len(wanted), n_m, n, len(wanted[0][0])))
    for k, (planes, matrices) in enumerate(wanted):
        for m in range(n_m):
            out[k, m] = matmul(np.ascontiguousarray(matrices[m].T), np.ascontiguousarray(planes.T))
    out /= DEG**2
    return out
