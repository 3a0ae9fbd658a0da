"""How many nodes a pixel needs, by its distance from the source.

Near the source, where the PSF's core is, a pixel is integrated with many Gauss-Legendre nodes;
further out, where less is at stake and everything is smoother, with fewer. From one rule to the
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

__all__ = ["Zones", "rounded", "zones_of"]

Array = NDArray[np.float64]

ERROR = 4e-6  # of the maximum, allowed to the integral over a pixel
RULES = (12, 8, 6, 5, 4, 3, 2, 1)  # nodes per side
RADII = np.linspace(0.0, 16.0, 161)  # at which errors are looked at, in widths of the profile


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


def zones_of(widths: Array, inner: float, smooth: float, pixel: float) -> Zones:
    """Zones for a source.

    Parameters
    ----------
    widths : array
        Standard deviations in deg of the PSF at each energy.
    inner : float
        Radius in deg within which the shape may have edges.
    smooth : float
        Standard deviation in deg of a smooth shape; 0 for others.
    pixel : float
        Size of a pixel in deg.
    """
    inner = rounded(inner, math.ceil, 8) if inner > 0 else 0.0
    seen = {rounded(math.hypot(w, smooth), math.floor) for w in widths.tolist() if w > 0}
    return _zones(tuple(sorted(seen)), inner, pixel)


@lru_cache(maxsize=256)
def _zones(widths: tuple[float, ...], inner: float, pixel: float) -> Zones:
    """Zones for widths that are rounded down."""
    starts = []
    for n in RULES:
        needed = [_quiet_from(n, w / pixel) * w * math.sqrt(2) for w in widths]
        starts.append(max(needed, default=0.0))
    first = max((i for i, r in enumerate(starts) if r == 0.0), default=0)
    nodes: list[Array] = []
    rules: list[tuple[float, float, float]] = []
    last = 0.0
    for n, start in zip(RULES[first:], starts[first:], strict=True):
        begin = 0.0 if not rules else max(inner + start, (1 + BLEND) * last)
        x, w = np.polynomial.legendre.leggauss(n)
        count = int(sum(len(a) for a in nodes))
        nodes.append(np.array([(a / 2, b / 2, u * v / 4) for b, v in zip(x, w, strict=True)
                               for a, u in zip(x, w, strict=True)]))  # fmt: skip
        rules.append((count, count + n * n, begin * np.pi / 180))
        last = begin
    return Zones(np.concatenate(nodes), np.array(rules))


@lru_cache(maxsize=1024)
def _quiet_from(n: int, width: float) -> float:
    """Radius, in widths of a profile, from which on n nodes per side are enough.

    Parameters
    ----------
    n : int
    width : float
        Standard deviation of the profile in pixels.
    """
    x, w = np.polynomial.legendre.leggauss(16)
    few, weights = np.polynomial.legendre.leggauss(n)
    worst = np.zeros(len(RADII))
    for profile in (_gaussian, _king):
        for angle in (0.0, math.pi / 4):
            at = (
                RADII[:, None, None]
                * np.array([math.cos(angle), math.sin(angle)])[:, None, None, None]
            )
            right = profile(_offset(at, x / 2 / width)) @ (w / 2) @ (w / 2)
            found = profile(_offset(at, few / 2 / width)) @ (weights / 2) @ (weights / 2)
            worst = np.maximum(worst, np.abs(found - right))
    bad = np.flatnonzero(worst > ERROR)
    return float(RADII[min(bad.max() + 1, len(RADII) - 1)]) if len(bad) else 0.0


def _offset(at: Array, nodes: Array) -> Array:
    """Squared distances (radius, y, x) of nodes from the centre of a profile."""
    result: Array = (at[0] + nodes[None, None, :]) ** 2 + (at[1] + nodes[None, :, None]) ** 2
    return result


def _gaussian(square: Array) -> Array:
    return np.asarray(np.exp(-square / 2))


def _king(square: Array) -> Array:
    return np.asarray((1 + square / 5) ** -2.5)
