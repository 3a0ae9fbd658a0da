"""The fit of one simulation, wherever it is run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from gmdask.datasets import Dataset, Datasets
from gmdask.datasets.kinds import KINDS
from gmdask.errors import GmdaskError
from gmdask.fit import Fit, FitResult
from gmdask.models import Models
from gmdask.store.cube_source import CubeSource, named_cube

__all__ = ["SimulatedDataset", "Simulation", "fit_simulation"]


@dataclass(frozen=True)
class SimulatedDataset:
    """A dataset whose counts are replaced by random ones, as plain data.

    Attributes
    ----------
    kind, name : str
    cube : `CubeSource` or `xarray.Dataset`
        Location of the data, or the data.
    response : {"exact", "gammapy"}
    """

    kind: str
    name: str
    cube: CubeSource | xr.Dataset
    response: str


@dataclass(frozen=True)
class Simulation:
    """One simulation of a set of datasets, and what is to be found from it, as plain data.

    Attributes
    ----------
    datasets : sequence of `SimulatedDataset`
    models : dict
        The true models.
    seed, number : int
        Seed of all simulations, and the number of this one.
    profiled : tuple of str
        Full names of the parameters that are also held at their true values.
    sources : tuple of str
        Names of the sources that are also left out.
    """

    datasets: Sequence[SimulatedDataset]
    models: dict[str, Any]
    seed: int
    number: int
    profiled: tuple[str, ...]
    sources: tuple[str, ...]


def fit_simulation(simulation: Simulation) -> dict[str, Any]:
    """Draw the counts, fit the models from their true values, and test them.

    Parameters
    ----------
    simulation : `Simulation`

    Returns
    -------
    found : dict
        "status" and "success"; "value" and "error" of all parameters; "stat"; "root" (per profiled parameter, the
        signed root of the rise of the statistic at the true value) and "ts" (per source). Numbers are NaN if the fit
        failed.
    """
    truth = Models.from_dict(simulation.models)
    nothing = [math.nan] * len(truth.parameters)
    failed = {
        "status": "failed", "success": False, "value": nothing, "error": nothing, "stat": math.nan,
        "root": [math.nan] * len(simulation.profiled),
        "ts": [math.nan] * len(simulation.sources),
    }  # fmt: skip
    try:
        datasets = _drawn(simulation, truth)
        own = truth.copy()
        result = Fit(datasets).run(own)
        return {
            "status": result.status.value,
            "success": result.success,
            "value": own.parameters.value.tolist(),
            "error": own.parameters.error.tolist(),
            "stat": result.total_stat,
            "root": [_root(datasets, own, truth, result, name) for name in simulation.profiled],
            "ts": [_ts(datasets, own, result, name) for name in simulation.sources],
        }
    except GmdaskError:
        return failed


def _drawn(simulation: Simulation, truth: Models) -> Datasets:
    """Datasets with counts drawn from the true models."""
    made: list[Dataset] = []
    for place, plain in enumerate(simulation.datasets):
        cube = named_cube(plain.name, plain.cube)
        dataset: Any = KINDS[plain.kind](cube, response=plain.response)
        dataset.set_models(truth)
        seeds = np.random.SeedSequence([simulation.seed, simulation.number, place])
        made.append(dataset.fake(int(seeds.generate_state(1)[0])))
    return Datasets(made)


def _root(datasets: Datasets, fitted: Models, truth: Models, result: FitResult, name: str) -> float:
    """Signed square root of the rise of the statistic where a parameter is held at its true value."""
    held = fitted.copy()
    parameter, true = held.parameters[name], truth.parameters[name].value
    sign = math.copysign(1.0, parameter.value - true)
    parameter.value, parameter.frozen = true, True
    if all(p.frozen for p in held.parameters):
        stat = datasets.stat_sum(held)
    else:
        stat = Fit(datasets).optimize(held).total_stat
    return sign * math.sqrt(max(stat - result.total_stat, 0.0))


def _ts(datasets: Datasets, fitted: Models, result: FitResult, name: str) -> float:
    """Rise of the statistic without a source."""
    rest = Models([model.copy(name=model.name) for model in fitted if model.name != name])
    if not len(rest) or all(p.frozen for p in rest.parameters):
        return datasets.stat_sum(rest) - result.total_stat
    return Fit(datasets).optimize(rest).total_stat - result.total_stat
