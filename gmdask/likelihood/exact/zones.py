"""The number of nodes per pixel, as a function of the distance from the source.

Near the source, at the core of the PSF, a pixel is integrated with many Gauss-Legendre nodes;
further out, where the counts are fewer, with fewer nodes. The extent of each zone follows from the
convolved source itself, which may be rough if its PSF was simulated. Between adjacent zones
the counts are blended, so that nothing jumps as a source moves.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gmdask.compiling import compiled
from gmdask.likelihood.exact.nodes import BLEND
from gmdask.likelihood.exact.radial import DEG, RadialGrid
from gmdask.sums import times

__all__ = ["Zones", "can_be_integrated", "chosen_zones", "rounded", "rules_for", "zone_starts"]

Array = NDArray[np.float64]

ERROR = 5e-6  # allowed error of the integral over a pixel, relative to the maximum
RULES = (96, 64, 48, 32, 24, 16, 12, 8, 6, 5, 4, 3, 2, 1)  # nodes per side
LEAST_FINEST = 8  # nodes per side of the coarsest rule that may be the finest zone
PER_CORE = 3.0  # nodes per core of the PSF (a standard deviation) that conserve the flux
N_RADII = 96  # number of radii at which errors are computed
N_ANGLES = 3  # number of directions, from the side of a pixel to its diagonal


class Zones(NamedTuple):
    """Nodes of the pixels of each zone.

    Attributes
    ----------
    nodes : array of shape (node, 3)
        Offsets along x and y in pixels, and weight.
    rules : array of shape (zone, 3)
        First and end node, and the chord in rad at which each zone begins.
    """

    nodes: Array
    rules: Array


def rounded(value: float, rule: Callable[[float], int], steps: int = 2) -> float:
    """Round down or up to one of `steps` steps per factor of two.

    What depends on the result does not change while a size changes a little.
    """
    return float(2.0 ** (rule(steps * math.log2(value)) / steps))


def can_be_integrated(core: float, pixel: float) -> bool:
    """Whether pixels of a size are small enough for `RULES`, given the PSF's core (both in deg)."""
    return PER_CORE * pixel <= RULES[0] * core


def rules_for(core: float, pixel: float) -> tuple[int, ...]:
    """Return those of `RULES` that may be needed for a PSF's core and pixels of a size in deg."""
    return tuple(n for n in RULES if n <= max(LEAST_FINEST, 2 * PER_CORE * pixel / core))


def zone_starts(
    coefficients: Array, grid: RadialGrid, pixel: float, rules: tuple[int, ...]
) -> Array:
    """Return the radii in deg beyond which each rule is sufficient for a convolved source.

    Parameters
    ----------
    coefficients : array of shape (T, n + 4)
        Splines of the azimuthal means of the source at each energy.
    grid : `RadialGrid`
        Knots of the splines.
    pixel : float
        Size of a pixel in deg.
    rules : tuple of int
        Nodes per side, from many to few.
    """
    radii, errors, peak = _functionals(grid, pixel, rules)
    highest = np.abs(times(coefficients, peak))[:, None]
    known = highest[:, 0] > 0
    found = np.abs(times(coefficients[known], errors.reshape(errors.shape[0], -1)))
    worst = (found / highest[known]).max(axis=0, initial=0.0).reshape(errors.shape[1:])
    starts = np.zeros(len(rules))
    for k, of_rule in enumerate(worst):
        bad = np.flatnonzero(of_rule > ERROR)
        if len(bad):
            starts[k] = radii[min(bad.max() + 1, len(radii) - 1)]
    return starts


def chosen_zones(starts: Array, rules_of: tuple[int, ...]) -> Zones:
    """Return the zones that begin at some radii in deg, one per rule; unused rules are left out."""
    nodes: list[Array] = []
    rules: list[tuple[float, float, float]] = []
    rule, begin, count = max((i for i, r in enumerate(starts) if r == 0.0), default=0), 0.0, 0
    while True:
        n = rules_of[rule]
        x, w = np.polynomial.legendre.leggauss(n)
        nodes.append(np.array([(a / 2, b / 2, u * v / 4) for b, v in zip(x, w, strict=True)
                               for a, u in zip(x, w, strict=True)]))  # fmt: skip
        rules.append((count, count + n * n, begin * DEG))
        count += n * n
        if rule + 1 == len(rules_of):
            break
        begin = max(float(starts[rule + 1]), (1 + BLEND) * begin)
        rule = max(i for i in range(rule + 1, len(rules_of)) if starts[i] <= begin)
    return Zones(np.concatenate(nodes), np.array(rules))


@lru_cache(maxsize=16)
def _functionals(
    grid: RadialGrid, pixel: float, rules: tuple[int, ...]
) -> tuple[Array, Array, Array]:
    """Return radii, and errors (n + 4, rule, radius * angle) of rules as weights of a spline's coefficients.

    The last result is the weight (n + 4,) of the mean over a pixel at the source.
    """
    end = float(grid.radii[-1])
    radii = np.concatenate([[0.0], np.geomspace(0.2 * pixel, max(end, pixel), N_RADII - 1)])
    angles = np.linspace(0.0, math.pi / 4, N_ANGLES)
    right = _means(grid, pixel, radii, angles, 3 * rules[0] // 2)
    errors = np.stack([_means(grid, pixel, radii, angles, n) - right for n in rules], axis=1)
    return np.repeat(radii, len(angles)), errors, right[:, 0]


def _means(grid: RadialGrid, pixel: float, radii: Array, angles: Array, n: int) -> Array:
    """Means (n + 4, radius * angle) over pixels by n nodes per side, as weights of coefficients."""
    x, w = np.polynomial.legendre.leggauss(n)
    out = np.zeros((grid.n + 4, len(radii) * len(angles)))
    _add_means(grid.step, grid.scale, pixel / 2, radii, angles, x, w / 2, out)
    return out


@compiled
def _add_means(
    step: float, scale: float, half: float, radii: Array, angles: Array, x: Array, w: Array, out: Array
) -> None:  # fmt: skip
    """Add means over pixels of half a width to (n + 4, radius * angle); see `_means`."""
    column, last = np.empty(len(out)), len(out) - 3  # beyond knot n + 1 a spline is zero
    for place in range(out.shape[1]):
        column[:] = 0.0
        radius, angle = radii[place // len(angles)], angles[place % len(angles)]
        along, up = radius * np.cos(angle), radius * np.sin(angle)
        for i in range(len(x)):
            for j in range(len(x)):
                at_x, at_y = along + half * x[j], up + half * x[i]
                r = np.sqrt(at_x * at_x + at_y * at_y)
                q = r / (step * np.sqrt(1 + (r / scale) ** 2))
                if q >= last:
                    continue
                cell, weight = int(q), w[i] * w[j]
                u = q - cell
                v = 1 - u
                column[cell] += v * v * v / 6 * weight
                column[cell + 1] += (3 * u * u * u - 6 * u * u + 4) / 6 * weight
                column[cell + 2] += (3 * v * v * v - 6 * v * v + 4) / 6 * weight
                column[cell + 3] += u * u * u / 6 * weight
        for cell in range(len(out)):
            out[cell, place] = column[cell]
