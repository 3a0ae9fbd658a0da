"""Estimation of norms: errors, upper limits, significance and scans."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import NamedTuple, Protocol

import numpy as np
from astropy import units as u
from numpy.typing import ArrayLike, NDArray

from gmdask.datasets import Datasets, with_counts
from gmdask.datasets.operations.energy import energy_bins
from gmdask.errors import InputError, UnknownNameError, check_kind, described
from gmdask.evaluation.norm_likelihood import EnergyBins, Summed
from gmdask.geometry import Axis
from gmdask.likelihood.norms import NormLimits
from gmdask.models import Component, Models, SkyModel
from gmdask.optimize.convex_1d import crossings, minimise
from gmdask.store.axes import cube_axis

__all__ = ["Options", "bins_of", "estimate", "options_of", "source_names"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]

OPTIONAL = ("errn-errp", "ul", "scan")
ALIGNED = 0.02  # edges closer than this fraction of a bin are taken as equal, as in Gammapy


@dataclass(frozen=True)
class Options:
    """Quantities to estimate besides norm, error and significance.

    Attributes
    ----------
    n_sigma, n_sigma_ul : float
        Number of standard deviations of errors and upper limits.
    chosen : frozenset of str
        Some of "errn-errp", "ul" and "scan".
    scan : array of shape (K,)
        Norms of the scan.
    """

    n_sigma: float
    n_sigma_ul: float
    chosen: frozenset[str]
    scan: Array

    @property
    def rises(self) -> dict[str, tuple[float, int]]:
        """Rise of the statistic, and side of the minimum, of each requested limit."""
        found: dict[str, tuple[float, int]] = {}
        if "errn-errp" in self.chosen:
            found |= {"norm_errn": (self.n_sigma**2, -1), "norm_errp": (self.n_sigma**2, 1)}
        if "ul" in self.chosen:
            found["norm_ul"] = (self.n_sigma_ul**2, 1)
        return found


def options_of(
    n_sigma: float,
    n_sigma_ul: float,
    selection: str | Collection[str] | None,
    norm_scan: ArrayLike | None,
) -> Options:
    """Validate the options given by the user."""
    for value in (n_sigma, n_sigma_ul):
        check_kind(value, Real, "a number of standard deviations")
    check_kind(selection, str | Collection | None, "selection_optional as text, or a list of it")
    if not (n_sigma > 0 and n_sigma_ul > 0):
        msg = f"n_sigma is {n_sigma} and n_sigma_ul {n_sigma_ul}, expected positive numbers"
        raise InputError(msg)
    names = [selection] if isinstance(selection, str) else list(selection or ())
    chosen = frozenset(OPTIONAL if "all" in names else names)
    if not chosen <= set(OPTIONAL):
        msg = f"selection_optional is {names}, expected some of {', '.join(OPTIONAL)}, or all"
        raise InputError(msg)
    try:
        given = np.geomspace(0.2, 5.0, 11) if norm_scan is None else norm_scan
        scan = np.asarray(given, dtype=float)
    except (TypeError, ValueError) as error:
        msg = f"norm_scan is {described(norm_scan)}, expected numbers"
        raise InputError(msg) from error
    if scan.ndim != 1 or not np.isfinite(scan).all():
        msg = f"norm_scan has shape {scan.shape}, expected finite numbers along one axis"
        raise InputError(msg)
    return Options(float(n_sigma), float(n_sigma_ul), chosen, scan)


def source_names(models: Models, source: str | int | Sequence[str | int]) -> list[str]:
    """Return the names of sources, given by name or index.

    Raises
    ------
    UnknownNameError
        If there is no such model.
    InputError
        If one is not a sky model, or no source is given.
    """
    found = [_source(models, key) for key in _listed(source)]
    for model in found:
        if not isinstance(model, SkyModel):
            msg = f"model {model.name!r} is a {type(model).__name__}, expected a SkyModel"
            raise InputError(msg)
    if not found:
        msg = "there is no source to estimate fluxes of"
        raise InputError(msg)
    return list(dict.fromkeys(model.name for model in found))


def _listed(source: object) -> list[object]:
    """Return a list of names and indices, which may have been given as a single one."""
    if isinstance(source, Sequence) and not isinstance(source, str):
        return list(source)
    return [source]


def _source(models: Models, key: object) -> Component:
    """Return the model of a given name or index."""
    if isinstance(key, bool) or not isinstance(key, str | int):
        msg = f"source is {described(key)}, expected the name of a model, its number, or a list of these"
        raise InputError(msg)
    if isinstance(key, int) and not -len(models) <= key < len(models):
        msg = f"there is no source number {key}: there are {len(models)} models"
        raise UnknownNameError(msg)
    found: Component = models[key]
    return found


def bins_of(datasets: Datasets, edges: u.Quantity) -> EnergyBins:
    """Find the bins of each dataset in energy ranges, rounded to edges of its axis as in Gammapy.

    Raises
    ------
    InputError
        If a dataset has no counts, the edges do not increase, no dataset has a bin in one of the ranges,
        or two datasets with bins in a range do not share the edges to which it is rounded.
    """
    try:
        values = np.asarray(u.Quantity(edges).to_value("TeV"), dtype=float)
    except (TypeError, ValueError, u.UnitsError) as error:
        msg = f"energy_edges is {edges!r}, expected energies"
        raise InputError(msg) from error
    if values.ndim != 1 or len(values) < 2 or not (np.diff(values) > 0).all():
        msg = f"energy_edges is {edges!r}, expected at least two increasing values"
        raise InputError(msg)
    n = len(values) - 1
    low, high = np.full(n, np.inf), np.full(n, -np.inf)
    found: list[tuple[tuple[int, int], ...]] = []
    known: dict[bytes, tuple[tuple[int, int], ...]] = {}
    unlike: list[_Rounded] = []
    for dataset in with_counts(datasets, "an estimate of fluxes"):
        axis = cube_axis(dataset.cube, "energy", "TeV")
        key = axis.edges.tobytes()
        if key not in known:
            known[key] = tuple(_range(axis, values[i], values[i + 1]) for i in range(n))
            unlike.append(_Rounded(dataset.name, axis, known[key]))
        for i, (start, stop) in enumerate(known[key]):
            if stop > start:
                low[i] = min(low[i], axis.edges[start])
                high[i] = max(high[i], axis.edges[stop])
        found.append(known[key])
    empty = ~np.isfinite(low)
    if empty.any():
        i = int(np.flatnonzero(empty)[0])
        msg = f"no dataset has an energy bin between {values[i]:.4g} and {values[i + 1]:.4g} TeV"
        raise InputError(msg)
    for i in range(n):
        _check_shared_edges([one for one in unlike if one.bins[i][1] > one.bins[i][0]], i)
    return EnergyBins(low, high, found)


class _Rounded(NamedTuple):
    """Energy axis of a dataset, and its bins in each energy range."""

    name: str
    axis: Axis
    bins: tuple[tuple[int, int], ...]

    def ends(self, i: int) -> tuple[float, float]:
        start, stop = self.bins[i]
        return float(self.axis.edges[start]), float(self.axis.edges[stop])

    def has_edge(self, energy: float) -> bool:
        """Whether an energy is an edge of the axis."""
        at = float(self.axis.to_pix(energy)) + 0.5
        return bool(abs(at - np.clip(round(at), 0, self.axis.nbin)) <= ALIGNED)

    def cuts(self, energy: float) -> bool:
        """Whether an energy lies inside a bin of the axis."""
        inside = self.axis.edges[0] < energy < self.axis.edges[-1]
        return bool(inside and not self.has_edge(energy))


def _check_shared_edges(used: list[_Rounded], i: int) -> None:
    """Reject an energy range whose bounds in one dataset lie inside a bin of another."""
    bounds = {end: one for one in used for end in one.ends(i)}
    for end, one in bounds.items():
        for other in used:
            if other.cuts(end):
                (low, high), (its_low, its_high) = one.ends(i), other.ends(i)
                shared = [f"{e:.4g}" for e in one.axis.edges if other.has_edge(float(e))]
                hint = (
                    f"expected energy_edges among {', '.join(shared)} TeV"
                    if shared
                    else "they share none"
                )
                msg = (
                    f"flux bin {i} would be {low:.4g} to {high:.4g} TeV in dataset {one.name!r} and "
                    f"{its_low:.4g} to {its_high:.4g} TeV in dataset {other.name!r}, whose energy axis has no "
                    f"edge at {end:.4g} TeV: {hint}"
                )
                raise InputError(msg)


def _range(axis: object, low: float, high: float) -> tuple[int, int]:
    try:
        return energy_bins(axis, low * u.TeV, high * u.TeV, "")  # type: ignore[arg-type]
    except InputError:
        return 0, 0


class Norms(Protocol):
    """Likelihood of norms; `NormLikelihood` is one.

    Attributes
    ----------
    shape : tuple of int
        Number of sources and of energy bins.
    limits : `NormLimits`
        Arrays of shape (source, energy, dataset).
    """

    shape: tuple[int, int]
    limits: NormLimits

    def __call__(self, norms: Array, label: Index) -> Summed:
        """Evaluate, and sum over the datasets of each group; see `NormLikelihood`."""

    def npred(self, norms: Array, label: Index) -> Array:
        """Return predicted counts; see `NormLikelihood`."""


def estimate(likelihood: Norms, label: Index, n_groups: int, options: Options) -> dict[str, Array]:
    """Estimate the norms of sources in energy bins, for each group of datasets.

    Parameters
    ----------
    likelihood : `Norms`
    label : array of shape (dataset,)
        Group of each dataset, negative for none.
    n_groups : int
    options : `Options`

    Returns
    -------
    found : dict
        Arrays of shape (source, energy, group); those per dataset have the shape (source, energy,
        dataset), and "stat_scan" has the shape (source, energy, group, K).

    Notes
    -----
    The rules are those of Gammapy's ``FluxPointsEstimator``: predictions are clipped at zero, the
    null hypothesis is a norm of zero, errors come from the curvature, and asymmetric errors and upper
    limits from the rise of the statistic. A source without counts in its bins gets the norm at which
    the first prediction vanishes, without errors.
    """
    shape = (*likelihood.shape, n_groups)
    per_group = [
        np.full(shape, fill) for fill in (0.0, -np.inf, -np.inf, -np.inf)
    ]  # signal, wall, zero, reach
    limits = likelihood.limits
    for k in np.flatnonzero(label >= 0):
        g = label[k]
        per_group[0][..., g] += np.nan_to_num(limits.signal[..., k])
        for total, own in zip(per_group[1:], (limits.wall, limits.zero, limits.reach), strict=True):
            total[..., g] = np.fmax(total[..., g], own[..., k])
    signal, wall, zero, reach = (values.reshape(-1) for values in per_group)
    seen, counted = signal > 0, np.isfinite(wall)
    lower = np.where(counted, np.maximum(wall, reach), np.where(seen, zero, -1.0))
    start = np.where(seen & ~counted, lower, np.where(lower < 1.0, 1.0, lower + 1.0))

    def function(x: Array) -> tuple[Array, Array, Array]:
        summed = likelihood(x.reshape(*shape, x.shape[-1]), label)
        stat, first, second = (values.reshape(x.shape) for values in summed)
        return stat, first, second

    minima = minimise(function, lower, start, seen & counted)
    norm = np.where(seen, minima.x, np.nan)
    second = np.where(minima.second > 0, minima.second, np.nan)
    found = {"norm": norm, "norm_err": options.n_sigma * np.sqrt(2 / second)}
    found["norm_err"] = np.where(seen & counted, found["norm_err"], np.nan)
    rises = options.rises
    if rises:
        levels, sides = (np.array(values) for values in zip(*rises.values(), strict=True))
        slope = np.where(counted, 0.0, 2 * signal)
        x = crossings(function, minima._replace(x=norm), slope, levels, sides, lower)
        for key, place, (_, side) in zip(rises, x.T, rises.values(), strict=True):
            found[key] = place if key == "norm_ul" else side * (place - norm)
    scan = options.scan if "scan" in options.chosen else options.scan[:0]
    at = np.broadcast_to(np.array([0.0, *scan]), (len(norm), 1 + len(scan)))
    stats = function(np.ascontiguousarray(at))[0]
    stat = np.where(seen, minima.stat, np.nan)
    found |= {"stat": stat, "stat_null": stats[:, 0], "ts": stats[:, 0] - stat}
    found["sqrt_ts"] = np.sign(norm) * np.sqrt(np.maximum(found["ts"], 0.0))
    result: dict[str, Array] = {key: values.reshape(shape) for key, values in found.items()}
    result["success"] = (seen & (minima.success | ~counted)).reshape(shape)
    if len(scan):
        result |= {"stat_scan": stats[:, 1:].reshape(*shape, len(scan))}
    return result | _per_dataset(likelihood, result["norm"], label)


def _per_dataset(likelihood: Norms, norm: Array, label: Index) -> dict[str, Array]:
    """Return the observed and predicted counts of each dataset (source, energy, dataset)."""
    used = label >= 0
    own = np.where(used, norm[..., np.maximum(label, 0)], np.nan)
    return {
        "npred": likelihood.npred(norm, label),
        "npred_excess": own * likelihood.limits.signal,
        "counts": np.where(used, likelihood.limits.counts, np.nan),
    }
