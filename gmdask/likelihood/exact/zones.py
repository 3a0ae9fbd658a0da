"""How many nodes a pixel needs, by its distance from the source.

Near the source, where the PSF's core is, a pixel is integrated with many Gauss-Legendre nodes;
further out, where less is at stake, with fewer. How far each rule has to reach follows from the
convolved source itself, which may be rough where its PSF was simulated. From one rule to the
next the counts are blended, so that nothing jumps as a source moves.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gmdask.likelihood.exact.nodes import BLEND
from gmdask.likelihood.exact.radial import DEG, RadialGrid
from gmdask.sums import times

__all__ = ["Zones", "chosen_zones", "rounded", "zone_starts"]

Array = NDArray[np.float64]

ERROR = 5e-6  # of the maximum, allowed to the integral over a pixel
RULES = (8, 6, 5, 4, 3, 2, 1)  # nodes per side
REFERENCE = 12  # nodes per side that are compared with
N_RADII = 96  # at which errors are looked at
N_ANGLES = 3  # from the side of a pixel to its diagonal


class Zones(NamedTuple):
    """Nodes of the pixels of each zone.

    Attributes
    ----------
    nodes : array of shape (node, 3)
        Offsets along x and y in pixels, and weight.
    rules : array of shape (zone, 3)
        First node, end, and the chord in rad at which each zone begins.
    """

    nodes: Array
    rules: Array


def rounded(value: float, rule: Callable[[float], int], steps: int = 2) -> float:
    """Round down or up to one of so many steps per factor of two.

    What depends on it stays as it is while a size changes a little.
    """
    return float(2.0 ** (rule(steps * math.log2(value)) / steps))


def zone_starts(coefficients: Array, grid: RadialGrid, pixel: float) -> Array:
    """Radii in deg from which on each of `RULES` is enough for a convolved source.

    Parameters
    ----------
    coefficients : array of shape (T, n + 4)
        Splines of the source at each energy, azimuthal means.
    grid : `RadialGrid`
        Knots of the splines.
    pixel : float
        Size of a pixel in deg.
    """
    radii, errors, peak = _functionals(grid, pixel)
    highest = np.abs(times(coefficients, peak))[:, None]
    known = highest[:, 0] > 0
    found = np.abs(times(coefficients[known], errors.reshape(errors.shape[0], -1)))
    worst = (found / highest[known]).max(axis=0, initial=0.0).reshape(errors.shape[1:])
    starts = np.zeros(len(RULES))
    for k, of_rule in enumerate(worst):
        bad = np.flatnonzero(of_rule > ERROR)
        if len(bad):
            starts[k] = radii[min(bad.max() + 1, len(radii) - 1)]
    return starts


def chosen_zones(starts: Array) -> Zones:
    """Zones that begin at some radii in deg, one for each of `RULES`; those of no use are left out."""
    nodes: list[Array] = []
    rules: list[tuple[float, float, float]] = []
    rule, begin, count = max((i for i, r in enumerate(starts) if r == 0.0), default=0), 0.0, 0
    while True:
        n = RULES[rule]
        x, w = np.polynomial.legendre.leggauss(n)
        nodes.append(np.array([(a / 2, b / 2, u * v / 4) for b, v in zip(x, w, strict=True)
                               for a, u in zip(x, w, strict=True)]))  # fmt: skip
        rules.append((count, count + n * n, begin * DEG))
        count += n * n
        if rule + 1 == len(RULES):
            break
        begin = max(float(starts[rule + 1]), (1 + BLEND) * begin)
        rule = max(i for i in range(rule + 1, len(RULES)) if starts[i] <= begin)
    return Zones(np.concatenate(nodes), np.array(rules))


@lru_cache(maxsize=64)
def _functionals(grid: RadialGrid, pixel: float) -> tuple[Array, Array, Array]:
    """Radii, and errors (n + 4, rule, radius * angle) of rules as weights of a spline's coefficients.

    The last is the weight (n + 4,) of the mean over a pixel at the source.
    """
    end = float(grid.radii[-1])
    radii = np.concatenate([[0.0], np.geomspace(0.2 * pixel, max(end, pixel), N_RADII - 1)])
    angles = np.linspace(0.0, math.pi / 4, N_ANGLES)
    right = _means(grid, pixel, radii, angles, REFERENCE)
    errors = np.stack([_means(grid, pixel, radii, angles, n) - right for n in RULES], axis=1)
    worst_of_angles = errors.reshape(errors.shape[0], len(RULES), len(radii) * len(angles))
    return np.repeat(radii, len(angles)), worst_of_angles, right[:, 0, 0]


def _means(grid: RadialGrid, pixel: float, radii: Array, angles: Array, n: int) -> Array:
    """Means (n + 4, radius, angle) over pixels by n nodes per side, as weights of coefficients."""
    x, w = np.polynomial.legendre.leggauss(n)
    along_x = radii[:, None, None, None] * np.cos(angles)[:, None, None] + pixel / 2 * x
    along_y = radii[:, None, None, None] * np.sin(angles)[:, None, None] + pixel / 2 * x[:, None]
    r = np.hypot(along_x, along_y)
    q = r / (grid.step * np.sqrt(1 + (r / grid.scale) ** 2))
    cell = np.minimum(q.astype(int), grid.n)
    u = q - cell
    inside = q < grid.n + 1
    v = 1 - u
    parts = (v**3 / 6, (3 * u**3 - 6 * u**2 + 4) / 6, (3 * v**3 - 6 * v**2 + 4) / 6, u**3 / 6)
    out = np.zeros((grid.n + 4, len(radii), len(angles)))
    i, j = np.meshgrid(np.arange(len(radii)), np.arange(len(angles)), indexing="ij")
    weights = np.outer(w, w) / 4 * inside
    for k, part in enumerate(parts):
        at = np.minimum(cell + k, grid.n + 3)
        np.add.at(out, (at, i[..., None, None], j[..., None, None]), part * weights)
    return out
