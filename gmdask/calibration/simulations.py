"""Simulations of the best model of a fit, fitted in this process or on a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from gmdask.calibration.result import Coverage
from gmdask.calibration.simulated_fit import SimulatedDataset, Simulation, fit_simulation
from gmdask.cluster.tasks import run_tasks
from gmdask.datasets import Dataset
from gmdask.datasets.kinds import KINDS
from gmdask.errors import InputError, check_kind
from gmdask.evaluation.partition import cube_of
from gmdask.events import DatasetsProgress
from gmdask.fit import Fit
from gmdask.fit.start import check_start
from gmdask.models import Models

__all__ = ["coverage"]


def coverage(
    fit: Fit,
    models: Models,
    *,
    simulations: int = 200,
    seed: int = 0,
    profiled: Sequence[str] = (),
    sources: Sequence[str] = (),
) -> Coverage:
    """Repeat a fit over simulations of its models, to see whether errors, limits and test statistics are right.

    Counts of all datasets are drawn from the predictions of the models, which are then fitted as the data were, each
    simulation by one task on the cluster of the fit if it has one. Results depend on the seed alone.

    Parameters
    ----------
    fit : `Fit`
        Datasets, and where to run; its events report the progress.
    models : `Models`
        The true models, usually as `Fit.run` leaves them. They are not changed.
    simulations : int
        Number of simulations.
    seed : int
        Seed of the random counts.
    profiled : sequence of str
        Full names of free parameters whose likelihood intervals and limits are tested; each needs one more
        fit per simulation.
    sources : sequence of str
        Names of sources whose TS is computed, likewise.

    Returns
    -------
    coverage : `Coverage`

    Raises
    ------
    InputError
        If a name is unknown, or counts of a dataset cannot be drawn (flux points).
    PlanError
        If a cluster is to read datasets that are in memory.

    Notes
    -----
    Priors are kept as they are: what they were measured with is not simulated.
    """
    check_kind(fit, Fit, "a gmdask.Fit")
    for name, number, least in (("simulations", simulations, 2), ("seed", seed, 0)):
        check_kind(number, int, f"{name}: a number")
        if number < least:
            msg = f"{name} is {number}, expected at least {least}"
            raise InputError(msg)
    check_start(fit.datasets, models)
    _check_names(models, profiled, sources)
    datasets = [_plain(dataset, fit) for dataset in fit.datasets]
    items = [
        Simulation(datasets, models.to_dict(), seed, number, tuple(profiled), tuple(sources))
        for number in range(simulations)
    ]
    fit.datasets.follow(models)
    observed = fit.datasets.stat_sum(models)
    found: dict[int, dict[str, Any]] = {}
    for number, one in run_tasks(fit_simulation, items, fit.client):
        found[number] = one
        fit.bus(DatasetsProgress("coverage", len(found), simulations))
    return Coverage(_collected([found[k] for k in range(simulations)], models, items[0], observed))


def _check_names(models: Models, profiled: Sequence[str], sources: Sequence[str]) -> None:
    for given, what in ((profiled, "profiled"), (sources, "sources")):
        if isinstance(given, str):
            msg = f"{what} is {given!r}, expected a list of names"
            raise InputError(msg)
    for name in profiled:
        if models.parameters[name].frozen:
            msg = f"parameter {name!r} is frozen, expected a free one"
            raise InputError(msg)
    for name in sources:
        models[name]  # raises an error for an unknown name


def _plain(dataset: Dataset, fit: Fit) -> SimulatedDataset:
    kind = next(name for name, made in KINDS.items() if type(dataset) is made)
    if not hasattr(dataset, "fake"):
        msg = f"dataset {dataset.name!r} is a {kind}, of which no counts can be simulated"
        raise InputError(msg)
    return SimulatedDataset(kind, dataset.name, cube_of(dataset, fit.client), dataset.response)


def _collected(
    found: Sequence[dict[str, Any]], models: Models, item: Simulation, observed: float
) -> xr.Dataset:
    """Return the results of all simulations as arrays."""
    parameters = models.parameters
    free = [k for k, parameter in enumerate(parameters) if not parameter.frozen]
    of_simulation = ("simulation",)
    shape = len(found)

    def rows(key: str, width: int) -> Any:
        return np.array([one[key] for one in found], dtype=float).reshape(shape, width)

    n = len(parameters)
    return xr.Dataset(
        {
            "value": (("simulation", "parameter"), rows("value", n)[:, free]),
            "error": (("simulation", "parameter"), rows("error", n)[:, free]),
            "truth": (("parameter",), parameters.value[free]),
            "root": (("simulation", "profiled"), rows("root", len(item.profiled))),
            "ts": (("simulation", "source"), rows("ts", len(item.sources))),
            "stat": (of_simulation, rows("stat", 1)[:, 0]),
            "success": (of_simulation, np.array([one["success"] for one in found])),
            "status": (of_simulation, np.array([one["status"] for one in found])),
            "observed_stat": ((), observed),
        },
        {
            "parameter": [parameters.names[k] for k in free],
            "unit": (("parameter",), [str(parameters[k].unit) for k in free]),
            "profiled": np.array(item.profiled, dtype=object).astype(str),
            "source": np.array(item.sources, dtype=object).astype(str),
        },
        {"seed": item.seed},
    )
