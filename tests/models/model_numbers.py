"""How far values, integrals and derivatives of a model class are from the exact ones."""

from typing import Any, NamedTuple

import astropy.units as u
import mpmath as mp
import numpy as np

import gmdask.models as gm
from tests.models.model_cases import CASES, EDGES

# what is allowed; Gammapy's integral of the 4FGL-DR3 cutoff is as near as its series
BOUNDS: dict[Any, float] = {
    "values": 1e-12,
    "excess": 0.0,
    "integrals": 1e-10,
    "derivatives": 1e-6,
    ("SuperExpCutoffPowerLaw4FGLDR3SpectralModel", "integrals"): 1e-8,
}


class Numbers(NamedTuple):
    """Worst distances over the random parameter sets; NaN where there is nothing to compare.

    Of values from mpmath, relative (to the peak for shapes and tables of the sky); of Gammapy
    from mpmath; between both; by how much the last is more than is allowed, Gammapy's own
    distance or 1e-10; of integrals, from Gammapy's rule or (in time) the exact one; and of
    derivatives from differences with mpmath, in units of their maximum.
    """

    values: float = np.nan
    theirs: float = np.nan
    between: float = np.nan
    excess: float = np.nan
    integrals: float = np.nan
    derivatives: float = np.nan


def measure(kind: str, name: str, sets: int = 200, slow: int = 200, seed: int = 7) -> Numbers:
    """Numbers of a class; integrals and derivatives in mpmath at the first ``slow`` sets."""
    rng = np.random.default_rng(seed)
    rows = []
    with mp.workdps(30), np.errstate(all="ignore"):
        for n in range(sets):
            case = CASES[kind, name](rng)
            if len(case.points):
                rows.append(_one(kind, case, n < slow))
    with np.errstate(all="ignore"):
        columns = zip(*rows, strict=True)
        return Numbers(*(np.nanmax(c) if np.isfinite(c).any() else np.nan for c in columns))


def _one(kind: str, case: Any, slow: bool) -> Numbers:
    model, values = case.model, case.values
    at = np.array(case.points) if kind != "spatial" else gm.SkyGrid(*np.array(case.points).T)
    ours = model.evaluate(at, *values)
    exact = [mp.mpf(v) for v in values]
    points = [p if kind == "spatial" else mp.mpf(p) for p in case.points]
    truth = np.array([float(case.exact(p, *exact)) for p in points])
    scale = np.abs(truth) if case.scale is None else np.maximum(np.abs(truth), case.scale)
    scale = np.maximum(scale, 1e-290)
    found: dict[str, Any] = {"values": np.max(np.abs(ours - truth) / scale)}
    if case.theirs is not None:
        other = _theirs(kind, case)
        own, between = np.abs(other - truth) / scale, np.abs(other - ours) / scale
        good = np.isfinite(own)
        found["theirs"] = own[good].max() if good.any() else np.nan
        found["between"] = between[good].max() if good.any() else np.nan
        excess = between - np.maximum(own + 1e-12, 1e-10)
        found["excess"] = excess[good].max() if good.any() else np.nan
    if slow and (case.integral is not None or (kind == "spectral" and case.theirs is not None)):
        found["integrals"] = _integrals(kind, case)
    if slow and values and kind != "temporal":
        found["derivatives"] = _derivatives(case, model.gradient(at, *values)[1], points, exact)
    if slow and values and kind == "temporal":
        found["derivatives"] = _changes(case)
    return Numbers(**found)


def _theirs(kind: str, case: Any) -> Any:
    if kind == "spectral":
        return case.theirs(np.array(case.points) * u.TeV).to_value(case.model.output_unit)
    if kind == "temporal":
        return u.Quantity(case.theirs(np.array(case.points) * u.d)).to_value("")
    lon, lat = np.array(case.points).T
    found = u.Quantity(case.theirs(lon * u.deg, lat * u.deg))
    return found.to_value("sr-1" if found.unit != "" else "")


def _integrals(kind: str, case: Any) -> float:
    if kind == "temporal":
        truth = np.array([float(x) for x in case.integral()])
        ours = case.model.bins(*case.bounds, *case.values)
        return float(np.max(np.abs(ours - truth)) / np.max(np.abs(truth)))
    unit = case.model.output_unit * u.TeV
    theirs = case.theirs.integral(EDGES[:-1] * u.TeV, EDGES[1:] * u.TeV).to_value(unit)
    ours = case.model.integral_bins(gm.EnergyGrid(EDGES), case.model.internal_values)
    size = np.maximum(np.abs(ours), 1e-3 * np.abs(ours).max())
    return float(np.nanmax(np.abs(ours - theirs) / size))


def _derivatives(case: Any, slopes: Any, points: list[Any], exact: list[Any]) -> float:
    worst = 0.0
    for k, name in enumerate(case.model.parameter_names):
        if name in case.fixed:
            continue
        step = mp.mpf(10) ** -11 * (abs(exact[k]) or 1)
        low, high = ([*exact[:k], exact[k] + h, *exact[k + 1 :]] for h in (-step, step))
        above, below = ([case.exact(p, *v) for p in points] for v in (high, low))
        truth = np.array([float((a - b) / (2 * step)) for a, b in zip(above, below, strict=True)])
        largest = np.abs(truth).max()
        if case.largest is not None:
            largest = max(largest, case.largest[k])
        if largest > 0:
            worst = max(worst, float(np.abs(slopes[k] - truth).max() / largest))
    return worst


def _changes(case: Any) -> float:
    """Of integrals over time, from exact ones or by differences of the model's own integrals."""
    model, at = case.model, np.array(case.values)
    f, slopes = model.bins_gradient(*case.bounds, *at)
    if case.slopes is not None:
        size = np.maximum(np.abs(case.slopes).max(axis=1), np.abs(f).max())
        return float(np.max(np.abs(slopes - case.slopes).max(axis=1) / size))
    by_differences = gm.TemporalModel.bins_gradient(model, *case.bounds, *at)[1]
    if "t_ref" in model.parameter_names:  # moves both ends; differences would cross corners
        exact = [mp.mpf(v) for v in case.values]
        ends = [[case.exact(mp.mpf(t), *exact) for t in bound] for bound in case.bounds]
        moved = [float(first - last) for first, last in zip(*ends, strict=True)]
        by_differences[model.parameter_names.index("t_ref")] = moved
    size = np.abs(slopes).max(axis=1) + 1e-3 * np.abs(f).max()
    return float(np.max(np.abs(slopes - by_differences).max(axis=1) / size))
