"""Norms in each energy bin, fitted together with the free parameters of all other models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from distributed import Client
from numpy.typing import NDArray

from gmdask.datasets import Datasets, with_counts
from gmdask.datasets.operations.models import sliced_models
from gmdask.errors import ClusterLostError, FitError
from gmdask.estimators.estimation import Options
from gmdask.evaluation.joint_likelihood import Objective
from gmdask.evaluation.norm_likelihood import EnergyBins, NormLikelihood
from gmdask.events import DatasetsProgress, Listener
from gmdask.fit.profile_likelihood import cross, hold
from gmdask.fit.scans import minimum_of
from gmdask.fit.uncertainty import uncertainty
from gmdask.models import (
    BackgroundIRFModel,
    Component,
    DatasetModels,
    Models,
    ScaleSpectralModel,
    TemplateNPredModel,
)

__all__ = ["estimate_reoptimized", "scaled"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]

PER_DATASET = ("npred", "npred_excess")


def estimate_reoptimized(
    datasets: Datasets,
    models: Models,
    names: Sequence[str],
    bins: EnergyBins,
    label: Index,
    options: Options,
    fixed: dict[str, Array],
    client: Client | None = None,
    on_event: Listener | None = None,
) -> dict[str, Array]:
    """Estimate norms while all free parameters of the other models are fitted, too.

    Parameters
    ----------
    datasets : `Datasets`
    models : `Models`
        The global models; they are not changed.
    names : sequence of str
        Names of the sources.
    bins : `EnergyBins`
    label : array of shape (dataset,)
        Group of each dataset, negative for none.
    options : `Options`
    fixed : dict
        Results with all other parameters fixed; the result has the same shapes.
    client : `distributed.Client`, optional
    on_event : callable, optional
        Receives a `DatasetsProgress` before the first point and after each.
    """
    found = {key: values.copy() for key, values in fixed.items()}
    points = np.argwhere(fixed["success"])  # elsewhere the source predicts no counts
    for done, (k, i, g) in enumerate(points):
        if on_event is not None and done == 0:
            on_event(DatasetsProgress("reoptimize", 0, len(points)))
        numbers = [int(n) for n in np.flatnonzero(label == g) if bins.bins[n][i][0] < bins.bins[n][i][1]]  # fmt: skip
        part = Datasets(
            datasets[n].slice_by_idx({"energy": slice(*bins.bins[n][i])}) for n in numbers
        )
        ranges = {datasets[n].name: bins.bins[n][i] for n in numbers}
        own = scaled(models, [names[k]], ranges)
        part.set_models(own)
        one = _estimate(part, own, names[k], float(fixed["norm"][k, i, g]), options, client)
        for key in set(one) - set(PER_DATASET):
            found[key][k, i, g] = one[key]
        for key in PER_DATASET:
            found[key][k, i, numbers] = one[key]
        if on_event is not None:
            on_event(DatasetsProgress("reoptimize", done + 1, len(points)))
    return found


def scaled(models: Models, names: Sequence[str], ranges: dict[str, tuple[int, int]]) -> Models:
    """Copy the models for parts of some datasets, with a norm as the only free parameter of some sources.

    Parameters
    ----------
    models : `Models`
    names : sequence of str
        Names of the sources.
    ranges : dict
        First and end bin of the energies of each dataset, by name.
    """
    kept: list[Component] = []
    for model in models.copy():
        bound = (
            [model.dataset_name] if isinstance(model, BackgroundIRFModel) else model.datasets_names
        )
        here = None if bound is None else [dataset for dataset in bound if dataset in ranges]
        if here == []:
            continue
        if isinstance(model, TemplateNPredModel):
            cut = ranges[here[0]] if here else next(iter(ranges.values()))
            model = sliced_models(DatasetModels([model]), cut)[0]
        if here is not None and not isinstance(model, BackgroundIRFModel):
            model.datasets_names = here
        kept.append(model)
    own = Models(kept)
    for name in names:
        source = own[name]
        source.freeze()
        source.spectral_model = ScaleSpectralModel(source.spectral_model)
    return own


def _estimate(
    datasets: Datasets,
    models: Models,
    name: str,
    start: float,
    options: Options,
    client: Client | None,
) -> dict[str, Array]:
    """Estimate the norm of a scaled source."""
    norm = models[name].spectral_model.norm
    norm.value = max(start, 0.1)
    index = models.parameters.index(norm)
    objective = Objective(datasets, models, client, shared=[index])
    try:
        held = np.searchsorted(objective.parameters.shared, [index])
        best = minimum_of(objective)
        point = objective(best.values, order=2)
        variance = uncertainty(objective, point).matrix.diagonal()[index]
        error = np.sqrt(variance) if variance > 0 else np.nan
        value = best.values[index]
        found = {"norm": value, "norm_err": options.n_sigma * error, "stat": best.stat}
        rises = options.rises
        if rises:
            levels, sides = (np.array(v, dtype=float) for v in zip(*rises.values(), strict=True))
            distance = cross(objective, best, held, sides[:, None], levels).distance
            for key, d in zip(rises, distance, strict=True):
                found[key] = value + d if key == "norm_ul" else d
        scan = options.scan if "scan" in options.chosen else options.scan[:0]
        starts = []
        for at in (0.0, *scan):
            starts.append(best.values.copy())
            starts[-1][index] = at
        stats = np.array([p.stat for p in hold(objective, starts, held)])
    except ClusterLostError:
        raise
    except FitError:
        nothing = dict.fromkeys(("norm", "norm_err", "stat", "stat_null", "ts", "sqrt_ts"), np.nan)
        nothing |= dict.fromkeys(options.rises, np.nan) | dict.fromkeys(PER_DATASET, np.nan)
        return {key: np.asarray(v) for key, v in nothing.items()} | {"success": np.asarray(False)}
    finally:
        objective.close()
    ts = stats[0] - best.stat
    found |= {"stat_null": stats[0], "ts": ts, "sqrt_ts": np.sign(value) * np.sqrt(max(ts, 0.0))}
    result = {key: np.asarray(v) for key, v in found.items()} | {"success": np.asarray(True)}
    if len(scan):
        result["stat_scan"] = stats[1:]
    models.parameters.value = best.values
    return result | _predicted(datasets, models, name, value, client)


def _predicted(
    datasets: Datasets, models: Models, name: str, value: float, client: Client | None
) -> dict[str, Array]:
    """Return the predicted counts of each dataset, in all its bins."""
    models[name].spectral_model.norm.value = 1.0
    whole = EnergyBins(
        np.zeros(1),
        np.zeros(1),
        [((0, d.counts.shape[0]),) for d in with_counts(datasets, "an estimate")],
    )
    likelihood = NormLikelihood(datasets, models, [name], whole, client)
    try:
        npred = likelihood.npred(np.full((1, 1, 1), value), np.zeros(len(datasets), dtype=np.intp))
        return {
            "npred": npred[0, 0], "npred_excess": value * likelihood.limits.signal[0, 0],
        }  # fmt: skip
    finally:
        likelihood.close()
