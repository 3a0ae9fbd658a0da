"""A sky model seen exactly: convolved with the PSF where it is, then integrated over pixels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gmdask.geometry import Window
from gmdask.irf import blend_at
from gmdask.likelihood.bins import Bins
from gmdask.likelihood.exact.exposure import Exposure, exposure_of, padded
from gmdask.likelihood.exact.footprints import pairs
from gmdask.likelihood.exact.hankel import ShapeMatrices, mean_matrix, shape_grid, shape_matrices
from gmdask.likelihood.exact.irfs import Jet, edisp_jet, jet_of, psf_table
from gmdask.likelihood.exact.operator import ByShape, ExactOperator, RecoOperator
from gmdask.likelihood.exact.patch import (
    Field,
    Patch,
    field_of,
    make_patch,
    source_axes,
    window_around,
)
from gmdask.likelihood.exact.pixel_footprint import Sight
from gmdask.likelihood.exact.radial import DEG
from gmdask.likelihood.exact.reco import product
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
        self._size = [sizes.index(names[k]) if names[k] in sizes else -1 for k in free]
        self._moves = np.array([[names[k] == "lon_0", names[k] == "lat_0"] for k in free], float)
        self._turns = np.array([names[k] == "phi" for k in free], float)
        self._phi = names.index("phi") if "phi" in names else None
        self._patch: Patch | None = None
        self._places: Places = slice(None)
        self._around = ((0.0, 0.0), 0.0)  # circle that the patch holds, in deg
        self._stored: NDArray[Any] = np.zeros((0, 0, 0))  # exposure of the patch
        # where the PSF is of reconstructed energies, the exposure comes before it
        self._exposed = apply_irf["exposure"] and observation.psf_energy != "energy"
        self._exposure, self._unit = Exposure.none(observation.energy_true.nbin), 1.0
        if self._exposed:
            self._exposure, self._unit = exposure_of(observation), observation.exposure_unit
        shares = self._exposure.shares * self._unit
        if observation.psf_energy == "energy":
            shares = np.ones((1, observation.energy.nbin))
        self._shares = np.ascontiguousarray(padded(shares.T).T)
        self._is_size = np.array([name in sizes for name in names])
        self._found_zones: dict[bytes, Zones] = {}
        self._found_reach = (b"nothing yet", 0.0)

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels that are kept."""
        return 0 if self._patch is None else self._patch.nbytes

    def forget(self) -> None:
        """Let go of the pixels."""
        self._patch = None

    def compile(self, values: Array) -> None:
        """Read what is needed at some parameters, and a margin for a source that moves."""
        if self._patch_at(values) is not None:
            self._irfs(values)

    def _reach(self, values: Array) -> float:
        """Angle in deg beyond which the convolved source is zero."""
        sizes = values[self._is_size].tobytes()
        if self._found_reach[0] != sizes:
            end = shape_grid(self._spatial, values, self._psf.table, self._psf.core).end
            self._found_reach = sizes, 2 * math.degrees(math.asin(min(end * DEG / 2, 1.0)))
        return self._found_reach[1]

    def _patch_at(self, values: Array) -> Patch | None:
        """Pixels that hold all that is seen of the source; None where it is outside."""
        grid, frame = self._observation.grid, self._spatial.frame
        position, reach = self._spatial.position_at(values), self._reach(values)
        if self._field.is_beyond(position, frame, reach):
            return None
        held = self._patch is not None and self._field.holds(position, frame)
        if held and reach + _apart(position, self._around[0]) < self._around[1]:
            return self._patch
        needed = window_around(grid, position, frame, reach)
        if needed is None:
            return None
        if self._patch is None or not self._patch.window.contains(needed):
            self._read(position, reach, needed)
        return self._patch

    def _read(self, position: tuple[float, float], reach: float, needed: Window) -> None:
        """Read the pixels around a position, and a margin for a source that moves."""
        grid, frame, window = self._observation.grid, self._spatial.frame, needed
        if self._free:
            reach += MARGIN * reach + MARGIN_PIXELS * grid.max_pixel_scale
            window = window_around(grid, position, frame, reach) or needed
        keep = self._keep if self._free else np.asarray
        exposure = self._exposure if self._exposed else None
        self._patch, self._places = make_patch(
            self._observation, self._bins, window, keep, exposure
        )
        self._around = position, reach
        if self._observation.psf_energy == "energy":
            self._stored = keep(np.array(self._observation.read(window)[0]))

    def _irfs(self, values: Array) -> tuple[Jet, Jet]:
        position, frame = self._spatial.position_at(values), self._spatial.frame
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
        moving = [s for s in range(free) if self._size[s] < 0]
        moved = [moving.index(s) if s in moving else -1 for s in range(free)]
        sight = self._sight(values, matrices, moving)
        tables = self._tables(psf, matrices, free, 1)

        def second() -> ByShape:
            return self._tables(psf, self._matrices(values, 2), free, 2)

        kind: type[ExactOperator]
        if self._observation.psf_energy != "energy":
            kind, response = ExactOperator, self._by_shape(edisp, free)
        else:  # the exposure comes before the PSF
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

    def _by_shape(self, jet: Jet, free: int) -> ByShape:
        """Derivatives by longitude and latitude as those by the first shape parameters."""
        first: list[Array | None] = [None] * free
        second = {}
        places = [(s, int(self._moves[s, 1])) for s in range(free) if self._moves[s].any()]
        for s, i in places if jet.first else []:
            first[s] = jet.first[i]
            for u, j in places:
                if u <= s:
                    second[s, u] = jet.second[i][j]
        return ByShape(jet.value, first, second)

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

    def _matrices(self, values: Array, order: int) -> ShapeMatrices:
        return shape_matrices(self._spatial, values, self._psf.table, self._psf.core, order)

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

    def _tables(self, psf: Jet, matrices: ShapeMatrices, free: int, order: int) -> ByShape:
        """Coefficients (T, M, n + 4) per sr of the source, and of its derivatives but for where it is."""
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


def _apart(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Separation in deg of positions in deg; a little too large."""
    lat = max(abs(a[1]), abs(b[1])) - abs(a[1] - b[1])
    return math.hypot((a[0] - b[0]) * math.cos(math.radians(lat)), a[1] - b[1]) + 1e-9


def _field_of(observation: Observation) -> Field:
    """Circle that holds the pixels of an observation, looked for once."""
    kept: Field | None = observation.made.get("field")
    if kept is None:
        kept = observation.made["field"] = field_of(observation.grid)
    return kept


def _coefficients(planes: Array, matrices: Array) -> Array:
    """Coefficients (T, M, n) per sr from PSF tables (T, rad) and matrices (M, rad, n)."""
    out = np.empty((len(planes), len(matrices), matrices.shape[2]))
    for m, matrix in enumerate(matrices):
        out[:, m] = matmul(np.ascontiguousarray(planes), np.ascontiguousarray(matrix))
    out /= DEG**2
    return out
