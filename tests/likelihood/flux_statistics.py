"""The statistics of flux points in 50 digits, and data with everything that a table may hold."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import mpmath
import numpy as np

mpmath.mp.dps = 50
NAN = float("nan")


def _known(*values: float) -> bool:
    return all(np.isfinite(value) for value in values)


def exact_chi2(flux: Any, dnde: float, error: float, is_ul: float) -> Any:
    if is_ul or not _known(dnde, error) or error <= 0:
        return mpmath.mpf(0)
    return ((mpmath.mpf(dnde) - flux) / mpmath.mpf(error)) ** 2


def exact_distrib(
    flux: Any, dnde: float, error: float, below: float, above: float, limit: float, is_ul: float
) -> Any:
    if is_ul:
        if not _known(limit) or limit == 0:
            return mpmath.mpf(0)
        limit = mpmath.mpf(limit)
        return 2 * mpmath.log(mpmath.erfc((limit - flux) / limit) / mpmath.erfc(1))
    if not _known(dnde):
        return mpmath.mpf(0)
    scale = above if flux >= dnde else below
    scale = error if np.isnan(scale) else scale
    if not _known(scale):
        return mpmath.mpf(0)
    return ((flux - mpmath.mpf(dnde)) / mpmath.mpf(scale)) ** 2


def exact_profile(flux: Any, reference: float, norms: Any, scan: Any, least: float) -> Any:
    """The quadratic spline with knots half-way between the norms, but for the first and the last."""
    if not _known(least, *norms, *scan):
        return mpmath.mpf(0)
    x = [mpmath.mpf(v) for v in norms]
    knots = [(a + b) / 2 for a, b in pairwise(x[1:-1])]

    def basis(v: Any) -> list[Any]:
        powers = [mpmath.mpf(1), v, v**2]
        return powers + [(v - k) ** 2 if v > k else mpmath.mpf(0) for k in knots]

    matrix = mpmath.matrix([basis(v) for v in x])
    rise = mpmath.matrix([abs(mpmath.mpf(v) - mpmath.mpf(least)) for v in scan])
    solved = mpmath.lu_solve(matrix, rise)
    found = basis(flux / mpmath.mpf(reference))
    return sum(c * v for c, v in zip(solved, found, strict=True))


EXACT = {"chi2": exact_chi2, "distrib": exact_distrib, "profile": exact_profile}
OF_FLUXES = tuple(EXACT)

FLUXES = [-40.0, -3.0, -1e-3, 0.0, 1e-6, 0.4, 1.1, 2.6, 7.0, 40.0]
OBSERVED = {
    "chi2": [[0.0, 1.0, 2.5, -0.7, NAN], [0.1, 1.0, 0.0, NAN], [0, 1]],
    "distrib": [
        [0.2, 1.0, NAN], [0.3, NAN], [0.2, NAN], [0.5, NAN], [2.0, 0.0, -1.5, NAN], [0, 1],
    ],
}  # fmt: skip


def grid(name: str) -> tuple[np.ndarray, list[np.ndarray]]:
    """Predicted fluxes, and every combination of data; of profiles, scans of some shapes."""
    data: list[np.ndarray]
    if name != "profile":
        flux, *data = np.meshgrid(FLUXES, *OBSERVED[name], indexing="ij")
        return flux.ravel(), [np.asarray(array.ravel(), float) for array in data]
    rng = np.random.default_rng(3)
    norms = np.concatenate([[-1.0], np.geomspace(0.2, 5, 6)])
    scans = []
    for k in range(5):
        best, width = rng.normal(1.0, 0.3), rng.uniform(0.1, 0.8)
        scans.append(3 * k + ((norms - best) / width) ** 2 + 0.1 * norms**3)
    scans.append(np.where(norms > 3, np.nan, norms))
    flux, row = (a.ravel() for a in np.meshgrid(FLUXES, np.arange(len(scans)), indexing="ij"))
    least = np.array([3.0 * k for k in range(len(scans))])[row]
    other = np.where((row % 2 == 1)[:, None], 1.1 * norms, norms)  # two kinds of axes
    return flux, [0.7 + 0.1 * row, other, np.array(scans)[row], least]
