"""From tables of a PSF to radial splines of a source seen through it, as matrices.

A round PSF and a shape convolve to ``C(r, ψ) = Σ_m C_m(r) cos 2m(ψ - φ)`` with

    C_m(r) = (-1)^m / 2π ∫ k dk P(k) S_m(k) J_2m(k r),

P and S_m being transforms of the PSF and of the shape. As P is linear in the values of the
PSF's table, so is C: what depends on the shape is one matrix from the table to the
coefficients of C's spline, the same for every dataset whose PSF has the same offsets.
"""

from __future__ import annotations

import math
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
from gmdask.likelihood.shared import CACHE
from gmdask.models import PointSpatialModel, SpatialModel
from gmdask.sums import matmul

__all__ = ["ShapeMatrices", "flux_weights", "shape_grid", "shape_matrices"]

Array = NDArray[np.float64]

BAND = 16.0  # wave numbers up to this over the PSF's core
CELLS = 8.0  # knots per standard deviation of the PSF
PHASE = 52.0  # radians of the fastest oscillation that 32 nodes integrate to rounding
SMOOTH_CELLS = 14.0  # knots, at least, per standard deviation of a Gaussian


class ShapeMatrices(NamedTuple):
    """Matrices from a PSF's table to coefficients of splines.

    Attributes
    ----------
    grid : `RadialGrid`
    value : array of shape (M, rad, n + 4)
    first : array of shape (P, M, rad, n + 4)
        Derivatives by the sizes of the shape.
    second : array of shape (P, P, M, rad, n + 4)
        Empty unless asked for.
    """

    grid: RadialGrid
    value: Array
    first: Array
    second: Array


def shape_matrices(
    model: SpatialModel, values: Array, table: RadialTable, core: float, order: int
) -> ShapeMatrices:
    """Matrices for a shape at some values.

    Parameters
    ----------
    model : `SpatialModel`
    values : array
        Its parameters in its internal units; position and angle do not matter.
    table : `RadialTable`
        Offsets of the PSF.
    core : float
        Width (a standard deviation) of the narrowest PSF of the dataset, in deg.
    order : {0, 1, 2}
        How many derivatives by the sizes are needed.
    """
    names = model.parameter_names
    sizes = tuple(v for n, v in zip(names, values.tolist(), strict=True) if n not in _POSITION)
    free = tuple(not p.frozen for p in model.parameters)
    key = ("radial", type(model).__name__, free, sizes, table, core, order)
    found = CACHE.get(key, lambda: _matrices(model, values, table, core, order))
    step, scale, n = found[0].tolist()
    grid = RadialGrid(step, scale, int(n))
    return ShapeMatrices(grid, found[1], found[2], found[3])


def shape_grid(model: SpatialModel, values: Array, table: RadialTable, core: float) -> RadialGrid:
    """Knots of the splines of `shape_matrices`."""
    extent = extent_of(model, values)
    # knots stay where they are as a size changes, so that no error of theirs is derived
    step = rounded(math.hypot(core / CELLS, extent.smooth / SMOOTH_CELLS), math.floor)
    inner = rounded(extent.inner, math.ceil) if extent.inner else 0.0
    return RadialGrid.reaching(step, inner, extent.reach + table.end)


_POSITION = ("lon_0", "lat_0", "phi")


def _matrices(
    model: SpatialModel, values: Array, table: RadialTable, core: float, order: int
) -> tuple[Array, Array, Array, Array]:
    extent = extent_of(model, values)
    grid = shape_grid(model, values, table, core)
    n_rad, n = len(table.nodes), grid.n + 4
    if isinstance(model, PointSpatialModel):
        value = grid.coefficients(table.basis(grid.radii).T)[None]
        return np.array(grid), value, np.zeros((0, 1, n_rad, n)), np.zeros((0, 0, 1, n_rad, n))
    k, weight, psf = _psf_transform(table, *_band(table, core, extent))
    shape = transform_of(model, values, k, core)
    n_m = len(shape.value)
    bessel = even_bessel(np.multiply.outer(k, grid.radii), n_m)
    measure = k * weight / (2 * np.pi)

    def seen(transform: Array) -> Array:
        """Spline coefficients (M, rad, n + 4) from harmonics (M, k)."""
        parts = [matmul(psf * ((-1) ** m * measure * transform[m]), bessel[m]) for m in range(n_m)]
        return grid.coefficients(np.stack(parts))

    n_p = len(shape.first) if order else 0
    first = np.zeros((n_p, n_m, n_rad, n))
    for p in range(n_p):
        if shape.first[p].any():
            first[p] = seen(shape.first[p])
    n_p = n_p if order > 1 else 0
    second = np.zeros((n_p, n_p, n_m, n_rad, n))
    for p in range(n_p):
        for q in range(p + 1):
            if shape.second[p, q].any():
                second[p, q] = second[q, p] = seen(shape.second[p, q])
    return np.array(grid), seen(shape.value), first, second


def _band(table: RadialTable, core: float, extent: Extent) -> tuple[float, float]:
    """Largest wave number and radius needed, in powers of two so that few tables serve all."""
    band = BAND / core
    if extent.smooth > 0:
        band = min(band, GAUSS_BAND / extent.smooth)
    return 2.0 ** math.ceil(math.log2(band)), 2.0 ** math.ceil(math.log2(extent.reach + table.end))


@lru_cache(maxsize=32)
def _wave_numbers(band: float, radius: float) -> tuple[Array, Array]:
    """Nodes and weights of Gauss-Legendre panels, enough for radii up to some."""
    x, w = np.polynomial.legendre.leggauss(32)
    edges = np.linspace(0.0, band, math.ceil(band * radius / PHASE) + 1)
    half = np.diff(edges) / 2
    nodes = edges[:-1, None] + half[:, None] * (x + 1)
    return nodes.ravel(), (half[:, None] * w).ravel()


@lru_cache(maxsize=8)
def _psf_transform(table: RadialTable, band: float, reach: float) -> tuple[Array, Array, Array]:
    """Wave numbers, their weights, and the matrix (rad, k) from a table to its transform."""
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


@lru_cache(maxsize=16)
def flux_weights(table: RadialTable) -> Array:
    """Weights (rad,) whose sum with the values of a table is the flux of its PSF, in deg2."""
    knots = np.unique(np.array([0.0, *table.nodes, table.end]))
    x, w = np.polynomial.legendre.leggauss(4)
    r = (knots[:-1, None] + (x + 1) / 2 * np.diff(knots)[:, None]).ravel()
    ring = 2 * np.pi * r * (w / 2 * np.diff(knots)[:, None]).ravel()
    result: Array = (table.basis(r) * ring[:, None]).sum(axis=0)
    return result
