"""The exposure over a source as a small polynomial, where it comes before the PSF.

In the scaled plane of the shape, whose radius z has a size as its unit, the exposure is projected
onto the polynomials of `moments.TERMS`, weighted with the shape: the nodes are a Gauss-Radau rule
of its radial moments, so that a polynomial of degree 5 is projected exactly. Where the size is
zero all nodes are at the source.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import beta, factorial

from gmdask.geometry import Grid
from gmdask.irf.blend import blend_axis
from gmdask.likelihood.exact.moments import TERMS, scale_of
from gmdask.likelihood.exact.operator import ByShape
from gmdask.likelihood.exact.patch import Patch, source_axes
from gmdask.likelihood.exact.radial import DEG, chord
from gmdask.models import (
    DiskSpatialModel,
    GaussianSpatialModel,
    GeneralizedGaussianSpatialModel,
    PointSpatialModel,
    SpatialModel,
)

__all__ = ["exposure_terms"]

Array = NDArray[np.float64]

N_ANGLES = 8
# steps of the differences by which places in pixels, which are smooth, are derived
STEPS = {"lon_0": 1e-3, "lat_0": 1e-3, "e": 1e-4, "phi": 0.05}
LEAST_STEP = 1e-6


@lru_cache(maxsize=8)
def _rule(kind: type[SpatialModel]) -> tuple[Array, Array]:
    """Nodes (2, node) in the scaled plane, and the matrix (term, node) of the projection."""
    k = np.arange(5)
    if kind is GaussianSpatialModel:
        moments = 2.0**k * factorial(k)
    elif kind is GeneralizedGaussianSpatialModel:
        moments = factorial(k).astype(float)
    elif kind is DiskSpatialModel:
        moments = 1 / (k + 1.0)
    else:
        moments = 1.5 * beta(k + 1, 1.5)
    system = np.array([[moments[2], moments[1]], [moments[3], moments[2]]])
    a, b = np.linalg.solve(system, -moments[3:5])
    squares = np.array([0.0, *sorted(np.roots([1.0, a, b]).real)])
    shares = np.linalg.solve(np.vander(squares, 3, increasing=True).T, moments[:3])
    angle = np.arange(N_ANGLES) * 2 * np.pi / N_ANGLES
    z = np.concatenate([[0.0], np.repeat(np.sqrt(squares[1:]), N_ANGLES)])
    omega = np.concatenate([[0.0], angle, angle + np.pi / N_ANGLES])
    weight = np.concatenate([shares[:1], np.repeat(shares[1:] / N_ANGLES, N_ANGLES)])
    basis = np.stack([
        z**t.power * (np.sin(t.wave * omega) if t.sine else np.cos(t.wave * omega)) for t in TERMS
    ])  # fmt: skip
    gram = np.einsum("an,bn,n->ab", basis, basis, weight)
    return z * np.stack([np.cos(omega), np.sin(omega)]), np.linalg.solve(gram, basis * weight)


def _places(grid: Grid, spatial: SpatialModel, values: Array, nodes: Array) -> Array:
    """Pixel coordinates (2, node), y and x, of nodes in the scaled plane of a shape."""
    at = dict(zip(spatial.parameter_names, values.tolist(), strict=True))
    east, north, toward = source_axes(spatial.position_at(values), spatial.frame, grid)
    size, phi, e = (
        float(chord(scale_of(spatial, at))) * DEG,
        at.get("phi", 0.0) * DEG,
        at.get("e", 0.0),
    )
    u, v = nodes[0] * size, nodes[1] * size * math.sqrt(max(1 - e * e, 0.0))
    x, y = u * math.sin(phi) + v * math.cos(phi), u * math.cos(phi) - v * math.sin(phi)
    square = np.minimum(x * x + y * y, 3.9)
    across = np.sqrt(1 - square / 4)
    vectors = (
        np.outer(1 - square / 2, toward) + np.outer(x * across, east) + np.outer(y * across, north)
    )
    lon, lat = np.arctan2(vectors[:, 1], vectors[:, 0]), np.arcsin(np.clip(vectors[:, 2], -1, 1))
    found_x, found_y = grid.to_pixel(lon / DEG, lat / DEG)
    return np.stack([found_y, found_x])


def _moved(
    grid: Grid, spatial: SpatialModel, values: Array, nodes: Array, free: list[int]
) -> tuple[Array, Array, Array]:
    """Places of nodes, and their derivatives (S, 2, node) and (S, S, 2, node) by what is free."""
    names = spatial.parameter_names
    steps = [STEPS.get(names[k], 1e-3 * max(abs(float(values[k])), LEAST_STEP)) for k in free]

    def at(*moves: tuple[int, float]) -> Array:
        moved = values.copy()
        for s, by in moves:
            moved[free[s]] += by * steps[s]
        return _places(grid, spatial, moved, nodes)

    n, here = len(free), at()
    first, second = np.zeros((n, *here.shape)), np.zeros((n, n, *here.shape))
    for s in range(n):
        up, down = at((s, 1.0)), at((s, -1.0))
        first[s] = (up - down) / (2 * steps[s])
        second[s, s] = (up - 2 * here + down) / steps[s] ** 2
        for u in range(s):
            mixed = at((s, 1.0), (u, 1.0)) - at((s, 1.0), (u, -1.0))
            mixed += at((s, -1.0), (u, -1.0)) - at((s, -1.0), (u, 1.0))
            second[s, u] = second[u, s] = mixed / (4 * steps[s] * steps[u])
    return here, first, second


def _interpolated(grid: Grid, patch: Patch, stored: Array, y: float, x: float) -> Array:
    """Exposure (T, 3, 3) at a pixel coordinate, and its derivatives along y and x."""
    (rows, in_y), (columns, in_x) = blend_axis(y, grid.shape[0]), blend_axis(x, grid.shape[1])
    rows = np.clip(rows - patch.y0, 0, stored.shape[1] - 1)
    columns = np.clip(columns - patch.x0, 0, stored.shape[2] - 1)
    near = stored[:, rows][:, :, columns].astype(np.float64)
    np.nan_to_num(near, copy=False, posinf=0.0, neginf=0.0)
    result: Array = np.einsum("ay,tyx,bx->tab", in_y, near, in_x)
    return result


def exposure_terms(
    grid: Grid,
    patch: Patch,
    stored: Array,
    spatial: SpatialModel,
    values: Array,
    free: list[int],
) -> list[ByShape]:
    """Coefficients (T,) of each of `TERMS`, of a point of the first one alone, with derivatives.

    Parameters
    ----------
    grid : `Grid`
        Pixels of the dataset.
    patch : `Patch`
    stored : array of shape (T, lat, lon)
        Exposure of the patch.
    spatial : `SpatialModel`
    values : array
        Its parameters in its internal units.
    free : list of int
        Which of them are derived by.
    """
    if isinstance(spatial, PointSpatialModel):
        nodes, matrix = np.zeros((2, 1)), np.ones((1, 1))
    else:
        nodes, matrix = _rule(type(spatial))
    here, first, second = _moved(grid, spatial, values, nodes, free)
    maps = np.stack([_interpolated(grid, patch, stored, *p) for p in here.T.tolist()], axis=-1)
    value, by_y, by_x = maps[:, 0, 0], maps[:, 1, 0], maps[:, 0, 1]
    n = len(free)

    def projected(of_nodes: Array) -> Array:
        result: Array = (matrix[:, None, :] * of_nodes).sum(axis=-1)
        return result

    values_of = projected(value)
    by = [projected(by_y * first[s, 0] + by_x * first[s, 1]) for s in range(n)]
    both = {}
    for s in range(n):
        for u in range(s + 1):
            (sy, sx), (uy, ux) = first[s], first[u]
            both[s, u] = projected(
                maps[:, 2, 0] * sy * uy + maps[:, 1, 1] * (sy * ux + sx * uy)
                + maps[:, 0, 2] * sx * ux + by_y * second[s, u, 0] + by_x * second[s, u, 1]
            )  # fmt: skip
    return [
        ByShape(values_of[a], [b[a] for b in by], {pair: b[a] for pair, b in both.items()})
        for a in range(len(matrix))
    ]
