"""Matrices from PSF tables to radial splines of a source convolved with the PSF.

A circular PSF and a source shape convolve to ``C(r, ψ) = Σ_m C_m(r) cos 2m(ψ - φ)`` with

    C_m(r) = (-1)^m / 2π ∫ k dk P(k) S_m(k) J_2m(k r),

where P and S_m are transforms of the PSF and of the shape. As P is linear in the values of the
PSF's table, so is C: the shape enters through one matrix from the table to the
coefficients of C's spline, which is the same for every dataset whose PSF has the same offsets.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import j0

from gmdask.likelihood.exact.arithmetic import even_bessel
from gmdask.likelihood.exact.radial import RadialGrid, RadialTable
from gmdask.likelihood.exact.transforms import (
    GAUSS_BAND,
    Extent,
    extent_of,
    transform_of,
)
from gmdask.likelihood.exact.zones import rounded
from gmdask.likelihood.geometry_cache import CACHE
from gmdask.models import PointSpatialModel, SpatialModel
from gmdask.sums import matmul

__all__ = [
    "ShapeMatrices", "Wavenumbers", "flux_weights", "mean_matrix", "shape_grid", "shape_matrices",
    "transformed", "wave_numbers",
]  # fmt: skip

Array = NDArray[np.float64]

BAND = 16.0  # largest wave number, times the PSF's core
CELLS = 8.0  # knots per standard deviation of the PSF
PHASE = 52.0  # radians of the fastest oscillation that 32 nodes integrate to machine precision
PART = 2_000_000  # number of values of Bessel functions held at once
SMOOTH_CELLS = 14.0  # smallest number of knots per standard deviation of a Gaussian


class ShapeMatrices(NamedTuple):
    """Matrices from a PSF's table to coefficients of splines.

    Attributes
    ----------
    grid : `RadialGrid`
    value : array of shape (M, rad, n + 4)
    first : array of shape (P, M, rad, n + 4)
        Derivatives by the sizes of the shape.
    second : array of shape (P, P, M, rad, n + 4)
        Empty unless requested.
    """

    grid: RadialGrid
    value: Array
    first: Array
    second: Array


def shape_matrices(
    model: SpatialModel, values: Array, table: RadialTable, core: float, order: int
) -> ShapeMatrices:
    """Return the matrices for a shape at some parameter values.

    Parameters
    ----------
    model : `SpatialModel`
    values : array
        Its parameters in its internal units; position and angle have no influence.
    table : `RadialTable`
        Offsets of the PSF.
    core : float
        Width (a standard deviation) of the narrowest PSF of the dataset, in deg.
    order : {0, 1, 2}
        Order of derivatives with respect to the sizes.
    """
    key = _key("radial", model, values, table, core, order)
    found = CACHE.get(key, lambda: _matrices(model, values, table, core, order))
    return ShapeMatrices(_grid_of(found[0]), found[1], found[2], found[3])


def mean_matrix(
    model: SpatialModel, values: Array, table: RadialTable, core: float
) -> tuple[RadialGrid, Array]:
    """Return knots, and the matrix (rad, n + 4) to azimuthal means of a shape; see `shape_matrices`."""
    key = _key("mean", model, values, table, core, 0)
    found = CACHE.get(key, lambda: _matrices(model, values, table, core, 0, harmonics=1)[:2])
    return _grid_of(found[0]), found[1][0]


def _key(
    what: str, model: SpatialModel, values: Array, table: RadialTable, core: float, order: int
) -> tuple[Hashable, ...]:
    pairs = zip(model.parameter_names, values.tolist(), strict=True)
    sizes = tuple(v for n, v in pairs if n not in _POSITION)
    free = tuple(not p.frozen for p in model.parameters)
    return (what, type(model).__name__, free, sizes, table, core, order)


def _grid_of(numbers: Array) -> RadialGrid:
    step, scale, n = numbers.tolist()
    return RadialGrid(step, scale, int(n))


def shape_grid(model: SpatialModel, values: Array, table: RadialTable, core: float) -> RadialGrid:
    """Knots of the splines of `shape_matrices`."""
    extent = extent_of(model, values)
    # knots do not move as a size changes, so that their error is not differentiated
    step = rounded(math.hypot(core / CELLS, extent.smooth / SMOOTH_CELLS), math.floor)
    inner = rounded(extent.inner, math.ceil) if extent.inner else 0.0
    return RadialGrid.reaching(step, inner, extent.reach + table.end)


_POSITION = ("lon_0", "lat_0", "phi")


def _matrices(
    model: SpatialModel, values: Array, table: RadialTable, core: float, order: int,
    harmonics: int | None = None,
) -> tuple[Array, Array, Array, Array]:  # fmt: skip
    """Return knots and matrices of `ShapeMatrices`, for all harmonics or the first few."""
    extent = extent_of(model, values)
    grid = shape_grid(model, values, table, core)
    n_rad, n = len(table.nodes), grid.n + 4
    if isinstance(model, PointSpatialModel):
        value = grid.coefficients(table.basis(grid.radii).T)[None]
        return np.array(grid), value, np.zeros((0, 1, n_rad, n)), np.zeros((0, 0, 1, n_rad, n))
    band, reach = _band(table, core, extent)
    k, weight, psf = _psf_transform(table, band, reach)
    shape = transform_of(model, values, k, core)
    n_m = harmonics or len(shape.value)
    n_p = len(shape.first) if order else 0
    pairs = [(p, q) for p in range(n_p if order > 1 else 0) for q in range(p + 1)]
    transforms = np.stack(
        [shape.value[:n_m]]
        + [shape.first[p, :n_m] for p in range(n_p)]
        + [shape.second[p, q, :n_m] for p, q in pairs]
    )
    transforms *= k * weight / (2 * np.pi)
    known = None
    if n_m == 1 and len(k) * grid.n <= PART:  # knots and wave numbers do not change with the size
        known = _round_bessel(band, reach + table.end, grid)
    seen = grid.coefficients(_transformed(transforms, psf, k, grid.radii, known))
    second = np.zeros((len({p for p, _ in pairs}),) * 2 + seen.shape[1:])
    for (p, q), of_pair in zip(pairs, seen[1 + n_p :], strict=True):
        second[p, q] = second[q, p] = of_pair
    return np.array(grid), seen[0], seen[1 : 1 + n_p], second


@lru_cache(maxsize=16)
def _round_bessel(band: float, radius: float, grid: RadialGrid) -> Array:
    """Bessel functions (1, k, r) of order 0 at wave numbers and knots."""
    return even_bessel(np.multiply.outer(_wave_numbers(band, radius)[0], grid.radii), 1)


def _transformed(
    transforms: Array, psf: Array, k: Array, radii: Array, known: Array | None
) -> Array:
    """Sum over k of transforms (which, M, k), a PSF's (rad, k) and Bessel functions: (which, M, rad, r).

    The Bessel functions (M, k, r) may be given.
    """
    n_which, n_m, n_k = transforms.shape
    out = np.zeros((n_which, n_m, len(psf), len(radii)))
    at_once = max(PART // (n_m * len(radii)), 1)
    for start in range(0, n_k, at_once):
        part = slice(start, start + at_once)
        own = None if known is None else known[:, part]
        bessel = even_bessel(np.multiply.outer(k[part], radii), n_m) if own is None else own
        for m in range(n_m):
            for which in range(n_which):
                if transforms[which, m, part].any():
                    seen = psf[:, part] * ((-1) ** m * transforms[which, m, part])
                    out[which, m] += matmul(seen, bessel[m])
    return out


def _band(table: RadialTable, core: float, extent: Extent) -> tuple[float, float]:
    """Largest wave number and radius needed, rounded to powers of two so that few tables are needed."""
    band = BAND / core
    if extent.smooth > 0:
        band = min(band, GAUSS_BAND / extent.smooth)
    return 2.0 ** math.ceil(math.log2(band)), 2.0 ** math.ceil(math.log2(extent.reach + table.end))


@lru_cache(maxsize=32)
def _wave_numbers(band: float, radius: float) -> tuple[Array, Array]:
    """Nodes and weights of Gauss-Legendre panels, sufficient for radii up to `radius`."""
    x, w = np.polynomial.legendre.leggauss(32)
    edges = np.linspace(0.0, band, math.ceil(band * radius / PHASE) + 1)
    half = np.diff(edges) / 2
    nodes = edges[:-1, None] + half[:, None] * (x + 1)
    return nodes.ravel(), (half[:, None] * w).ravel()


@lru_cache(maxsize=8)
def _psf_transform(table: RadialTable, band: float, reach: float) -> tuple[Array, Array, Array]:
    """Return wave numbers, their weights, and the matrix (rad, k) from a table to its transform."""
    k, weight = _wave_numbers(band, reach + table.end)
    knots = np.array([0.0, *table.nodes, table.end])
    knots = np.unique(knots)
    x, w = np.polynomial.legendre.leggauss(8)
    pieces = np.maximum(np.ceil(np.diff(knots) * band / 8), 1).astype(int)
    edges = np.concatenate([
        np.linspace(a, b, n, endpoint=False)
        for a, b, n in zip(knots[:-1], knots[1:], pieces, strict=True)
    ] + [knots[-1:]])  # fmt: skip
    r = (edges[:-1, None] + (x + 1) / 2 * np.diff(edges)[:, None]).ravel()
    ring = 2 * np.pi * r * (w / 2 * np.diff(edges)[:, None]).ravel()
    basis = (table.basis(r) * ring[:, None]).T
    return k, weight, matmul(basis, j0(np.multiply.outer(r, k)))


class Wavenumbers(NamedTuple):
    """What transforms between radii and wave numbers need for one shape and PSF.

    Attributes
    ----------
    grid : `RadialGrid`
    k, weight : array of shape (k,)
        Wave numbers in deg-1, and weights of sums over them.
    psf : array of shape (rad, k)
        From a PSF's table to its transform.
    """

    grid: RadialGrid
    k: Array
    weight: Array
    psf: Array


def wave_numbers(
    model: SpatialModel, values: Array, table: RadialTable, core: float
) -> Wavenumbers:
    """Wave numbers of `shape_matrices`; see there."""
    extent = extent_of(model, values)
    band, reach = _band(table, core, extent)
    return Wavenumbers(shape_grid(model, values, table, core), *_psf_transform(table, band, reach))


def transformed(
    numbers: Wavenumbers, jobs: list[tuple[Array, Array, NDArray[np.int64]]]
) -> list[Array]:
    """Coefficients (energy, M, n + 4), per deg2, of PSF tables (energy, rad) and harmonics (M, k).

    Each job comes with the waves (M, 2) of its harmonics; see `Sight`. The sign of a harmonic's
    transform is taken to be in the harmonic.
    """
    grid, k, weight, psf = numbers
    radii = grid.radii
    most = max(int(waves[:, 0].max()) for _, _, waves in jobs)
    seen = [matmul(np.ascontiguousarray(planes), psf) for planes, _, _ in jobs]
    out = [np.zeros((len(p), len(h), len(radii))) for p, h, _ in jobs]
    at_once = max(PART // ((most + 2) * len(radii)), 1)
    for start in range(0, len(k), at_once):
        part = slice(start, start + at_once)
        x = np.multiply.outer(k[part], radii)
        even = even_bessel(x, most // 2 + 2)
        for planes, (_, harmonics, waves), to in zip(seen, jobs, out, strict=True):
            for m, wave in enumerate(waves[:, 0].tolist()):
                bessel = even[wave // 2]
                if wave % 2:
                    bessel = x * (bessel + even[wave // 2 + 1]) / (2 * wave)
                factor = harmonics[m, part] * k[part] * weight[part] / (2 * np.pi)
                if factor.any():
                    to[:, m] += matmul(planes[:, part] * factor, bessel)
    return [grid.coefficients(values) for values in out]


@lru_cache(maxsize=16)
def flux_weights(table: RadialTable) -> Array:
    """Weights (rad,) that integrate a PSF table to its flux, in deg2."""
    knots = np.unique(np.array([0.0, *table.nodes, table.end]))
    x, w = np.polynomial.legendre.leggauss(4)
    r = (knots[:-1, None] + (x + 1) / 2 * np.diff(knots)[:, None]).ravel()
    ring = 2 * np.pi * r * (w / 2 * np.diff(knots)[:, None]).ravel()
    result: Array = (table.basis(r) * ring[:, None]).sum(axis=0)
    return result
