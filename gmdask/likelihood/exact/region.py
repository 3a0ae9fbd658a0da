"""The exact response of a region to a sky model: the fraction of the convolved source inside the region.

The fraction at each energy is linear in the PSF's table: ``P · W``, with W the integral over the
region of the matrices that convert a table to a convolved source.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gmdask.geometry import Window
from gmdask.geometry.regions import Region
from gmdask.likelihood.bins import Bins
from gmdask.likelihood.exact.footprints import even_waves, footprints, pairs, rows
from gmdask.likelihood.exact.hankel import ShapeMatrices, shape_matrices
from gmdask.likelihood.exact.irfs import Jet, edisp_jet, psf_table
from gmdask.likelihood.exact.patch import source_axes
from gmdask.likelihood.exact.radial import DEG
from gmdask.likelihood.exact.region_nodes import region_nodes
from gmdask.likelihood.exact.transforms import has_transform, size_names
from gmdask.likelihood.observation import Observation
from gmdask.likelihood.operators import MatrixOperator
from gmdask.models import SpatialModel
from gmdask.sums import matmul

__all__ = ["ExactRegion", "exact_region"]

Array = NDArray[np.float64]
Places = NDArray[np.intp] | slice

PIXEL = Window(0, 1, 0, 1)


class _Jet(NamedTuple):
    """A quantity with its derivatives with respect to the spatial parameters: (...,), (S, ...), (S, S, ...)."""

    value: Array
    first: Array
    second: Array


def exact_region(
    observation: Observation, bins: Bins, spatial: SpatialModel,
    apply_irf: dict[str, bool], free: list[int],
) -> ExactRegion | None:  # fmt: skip
    """Exact response of a dataset of one region to a model, None if it does not apply.

    It needs a PSF in true energy, a shape with a known transform, and a region supported by
    `region_nodes`.
    """
    region = observation.region
    if region is None or region.is_point or observation.psf_energy != "energy_true":
        return None
    if not (apply_irf["psf"] and has_transform(spatial)):
        return None
    if "region nodes" not in observation.made:  # computed once
        observation.made["region nodes"] = region_nodes(region, psf_table(observation).core)
    nodes: Array | None = observation.made["region nodes"]
    if nodes is None:
        return None
    return ExactRegion(observation, region, nodes, bins, spatial, apply_irf, free)


class ExactRegion:
    """Response of a region to one sky model.

    Parameters
    ----------
    observation : `Observation`
        Observation of one region.
    region : `Region`
    nodes : array
        See `region_nodes`.
    bins : `Bins`
    spatial : `SpatialModel`
    apply_irf : dict
    free : list of int
        Free parameters of the spatial model.
    """

    def __init__(
        self, observation: Observation, region: Region, nodes: Array, bins: Bins,
        spatial: SpatialModel, apply_irf: dict[str, bool], free: list[int],
    ) -> None:  # fmt: skip
        self._observation, self._bins, self._spatial = observation, bins, spatial
        self._region, self._nodes = region, nodes
        self._apply, self._free = apply_irf, free
        self._psf = psf_table(observation)
        names, sizes = spatial.parameter_names, size_names(spatial)
        own = [names[k] for k in free]
        self._moves = np.array([[n == "lon_0", n == "lat_0"] for n in own], float).reshape(-1, 2)
        self._turns = np.array([n == "phi" for n in own], float)
        self._size = [sizes.index(n) if n in sizes else None for n in own]
        self._phi = names.index("phi") if "phi" in names else None

    @property
    def nbytes(self) -> int:
        """Bytes held: none."""
        return 0

    def forget(self) -> None:
        """Do nothing, since nothing is kept."""

    def compile(self, values: Array) -> None:
        """Read what is needed at some parameter values."""
        self.operator(values, derivatives=False)

    def operator(self, values: Array, *, derivatives: bool) -> tuple[MatrixOperator | None, Places]:
        """Operator at some parameter values, and the indices of its bins: all.

        None if the source does not reach the region.
        """
        share = self._share(values, int(derivatives))
        if share is None:
            return None, np.zeros(0, dtype=np.intp)
        exposure, mask = self._observation.exposure_and_mask(PIXEL, "region")
        area = exposure[:, 0, 0] if self._apply["exposure"] else np.ones(len(exposure))
        kept, r = mask[:, 0, 0].astype(np.float64), self._bins.r
        edisp = self._edisp(values)
        n_s = len(share.first)

        def seen(matrix: Array, held: Array) -> tuple[Array, Array]:
            """Matrix (bin, T) and masked sums (T,) of an energy dispersion (T, energy) and a fraction."""
            return matrix.T[r] * (area * held), (matrix * kept).sum(axis=1) * area * held

        value, sums = seen(edisp.value, share.value)
        first, first_sums = np.zeros((n_s, *value.shape)), np.zeros((n_s, len(sums)))
        for s in range(n_s):
            first[s], first_sums[s] = seen(edisp.value, share.first[s])
            if edisp.first[s].any():
                more, more_sums = seen(edisp.first[s], share.value)
                first[s] += more
                first_sums[s] += more_sums

        def second(f: Array, w: Array, w_sum: float) -> Array:
            bent = self._share(values, 2) or share

            def total(matrix: Array, held: Array) -> float:
                m, c = seen(matrix, held)
                return float((((m * w[:, None]).sum(axis=0) + w_sum * c) * f).sum())

            out = np.zeros((n_s, n_s))
            for s, u in pairs(n_s):
                out[s, u] = out[u, s] = (
                    total(edisp.value, bent.second[s, u]) + total(edisp.second[s, u], bent.value)
                    + total(edisp.first[s], bent.first[u]) + total(edisp.first[u], bent.first[s])
                )  # fmt: skip
            return out

        return MatrixOperator(value, sums, first, first_sums, second), slice(None)

    def _by_shape(self, jet: Jet) -> _Jet:
        """Convert derivatives by longitude and latitude to derivatives by the spatial parameters."""
        n_s, shape = len(self._moves), jet.value.shape
        if not jet.first:
            return _Jet(jet.value, np.zeros((n_s, *shape)), np.zeros((n_s, n_s, *shape)))
        first, second = np.stack(jet.first), np.stack([np.stack(row) for row in jet.second])
        move = self._moves
        by_first = np.einsum("si,i...->s...", move, first)
        return _Jet(jet.value, by_first, np.einsum("si,uj,ij...->su...", move, move, second))

    def _edisp(self, values: Array) -> _Jet:
        position, frame = self._spatial.position_at(values), self._spatial.frame
        return self._by_shape(
            edisp_jet(self._observation, position, frame, apply=self._apply["edisp"])
        )

    def _share(self, values: Array, order: int) -> _Jet | None:
        """Fraction (T,) of the source inside the region; None if it does not reach it."""
        weights = self._weights(values, order)
        if weights is None:
            return None
        psf = self._by_shape(self._psf.at(self._spatial.position_at(values), self._spatial.frame))

        def of(table: Array, weight: Array) -> Array:
            result: Array = (table * weight).sum(axis=1)
            return result

        n_s, value = len(weights.first), of(psf.value, weights.value)
        first, second = np.zeros((n_s, len(value))), np.zeros((n_s, n_s, len(value)))
        for s in range(n_s):
            first[s] = of(psf.value, weights.first[s]) + of(psf.first[s], weights.value)
        for s, u in pairs(n_s) if order > 1 else []:
            second[s, u] = second[u, s] = (
                of(psf.value, weights.second[s, u]) + of(psf.second[s, u], weights.value)
                + of(psf.first[s], weights.first[u]) + of(psf.first[u], weights.first[s])
            )  # fmt: skip
        return _Jet(value, first, second)

    def _weights(self, values: Array, order: int) -> _Jet | None:
        """Weights (rad,) of the values of the PSF's table in the fraction."""
        matrices = shape_matrices(self._spatial, values, self._psf.table, self._psf.core, order)
        n_s = len(self._free) if order else 0
        prints = self._footprints(values, matrices, order)
        if not prints[0].any():
            return None
        flat = np.ascontiguousarray(prints.reshape(len(prints), -1).T)

        def of(matrix: Array) -> Array:
            """Weights (row, rad) of all footprints, by a matrix (M, rad, n + 4)."""
            wide = np.ascontiguousarray(np.moveaxis(matrix, 1, 0)).reshape(matrix.shape[1], -1)
            found: Array = matmul(wide, flat)
            return found.T

        plain = of(matrices.value)
        by_size = {
            p: of(matrices.first[p]) for p in {p for p in self._size if p is not None} if n_s
        }
        first = np.array(plain[1 : 1 + n_s])
        for s in range(n_s):
            if (p := self._size[s]) is not None:
                first[s] += by_size[p][0]
        second = np.zeros((n_s, n_s, plain.shape[1]))
        for row, (s, u) in enumerate(pairs(n_s) if order > 1 else [], 1 + n_s):
            p, q = self._size[s], self._size[u]
            bent = plain[row].copy()
            if p is not None:
                bent += by_size[p][1 + u]
            if q is not None:
                bent += by_size[q][1 + s]
            if p is not None and q is not None:
                bent += of(matrices.second[p, q])[0]
            second[s, u] = second[u, s] = bent
        return _Jet(plain[0], first, second)

    def _footprints(self, values: Array, matrices: ShapeMatrices, order: int) -> Array:
        """Integrals (row, M, n + 4) of the coefficients' basis functions; angles in deg."""
        position = self._spatial.position_at(values)
        axes = source_axes(position, self._spatial.frame, self._region.grid())
        grid = matrices.grid.at_latitude(position[1])
        n_m, n_coefficients = matrices.value.shape[0], matrices.value.shape[2]
        n_s = len(self._free) if order else 0
        out = np.zeros((rows(n_s, order), n_m, n_coefficients))
        phi = 0.0 if self._phi is None else float(values[self._phi]) * DEG
        moves, turns = self._moves[:n_s] * DEG, self._turns[:n_s] * DEG
        footprints(self._nodes, axes, grid, phi, even_waves(n_m), moves, turns, order, out)
        return out
