"""A group of datasets that are evaluated together: the unit of work of a fit.

A group is described by plain data, compiled where the data are read, and gives back a few
numbers per pass. Sums are formed per *run*, a fixed stretch of datasets, so that what a fit
adds up does not depend on how the runs were grouped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from gmdask.likelihood.arrow import LocalBlock, eliminate, local_block
from gmdask.likelihood.compiled import CompiledDataset, Evaluation, SpectrumCache
from gmdask.models import DatasetModels
from gmdask.store import Row, Store

__all__ = ["CompiledGroup", "DatasetSpec", "Point", "RunResult", "StoredCube", "compile_group", "evaluate_group"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Index = NDArray[np.intp]


@dataclass(frozen=True)
class StoredCube:
    """Where the cube of a dataset is found.

    Attributes
    ----------
    url : str
        Place of the store.
    version : int
        Number of the commit it was found in.
    row : `Row`
        Row of the store.
    """

    url: str
    version: int
    row: Row


@dataclass(frozen=True)
class DatasetSpec:
    """One dataset and its models, as plain data.

    Attributes
    ----------
    name : str
        Name of the dataset, which may differ from that in the store.
    cube : `StoredCube` or `xarray.Dataset`
        Where the data are, or the data.
    models : dict
        Plain data of its `DatasetModels`.
    free, local : boolean array of shape (N,)
        Which of its N parameters are derived by, and which of them minimised over in place.
    shared : array
        Positions, among the shared parameters of the fit, of the free ones that are not local.
    """

    name: str
    cube: StoredCube | xr.Dataset
    models: dict[str, Any]
    free: Mask
    local: Mask
    shared: Index


@dataclass(frozen=True)
class Point:
    """Where to evaluate, and what.

    Attributes
    ----------
    values : array
        Parameters of all datasets of the group, one after the other.
    anchor : array or None
        Parameters at which the response is taken, likewise; None for `values`.
    order : {0, 1, 2}
        0: value; 1: with gradient and Gauss-Newton Hessian; 2: with observed Hessian.
    """

    values: Array
    anchor: Array | None
    order: int


@dataclass(frozen=True)
class RunResult:
    """Sums over one run of datasets, and what is kept of each.

    Attributes
    ----------
    stats : array of shape (dataset,)
    floors : array of shape (dataset,)
        Bins with counts that no component reaches.
    values : array
        Parameters of the datasets, one after the other, local ones at their optimum.
    shared : array of shape (S,)
        Which shared parameters the sums are over.
    gradient, hessian, observed : array of shape (S,), (S, S), (S, S), or None
        Of the profile likelihood.
    blocks : tuple of `LocalBlock`
        One per dataset, in order 2.
    block_shared : tuple of array
        Which shared parameters the slopes of the blocks are over.
    """

    stats: Array
    floors: Index
    values: Array
    shared: Index
    gradient: Array | None
    hessian: Array | None
    observed: Array | None
    blocks: tuple[LocalBlock, ...]
    block_shared: tuple[Index, ...]


@cache
def _threads() -> ThreadpoolController:
    """Controller of the linear algebra libraries of this process."""
    return ThreadpoolController()


@cache
def _store(url: str, version: int) -> Store:  # noqa: ARG001  (a new version is opened anew)
    return Store.open(url)


class CompiledGroup:
    """Compiled datasets of some runs.

    Parameters
    ----------
    runs : sequence of sequence of `DatasetSpec`
    """

    def __init__(self, runs: Sequence[Sequence[DatasetSpec]]) -> None:
        self.runs = [[(spec, _compile(spec)) for spec in run] for run in runs]

    def __sizeof__(self) -> int:
        """Bytes held, for whoever counts memory."""
        return sum(dataset.nbytes for run in self.runs for _, dataset in run)


def _compile(spec: DatasetSpec) -> CompiledDataset:
    cube = spec.cube
    if isinstance(cube, StoredCube):
        cube = _store(cube.url, cube.version).open_row(cube.row)
    cube = cube.assign_attrs(name=spec.name)
    return CompiledDataset(cube, DatasetModels.from_dict(spec.models), spec.free, spec.local)


def compile_group(runs: Sequence[Sequence[DatasetSpec]]) -> CompiledGroup:
    """Compile a group from its description.

    Parameters
    ----------
    runs : sequence of sequence of `DatasetSpec`
        Runs of the group, in order.
    """
    return CompiledGroup(runs)


def evaluate_group(group: CompiledGroup, point: Point) -> list[RunResult]:
    """Evaluate a group, on one thread.

    Parameters
    ----------
    group : `CompiledGroup`
    point : `Point`

    Returns
    -------
    results : list of `RunResult`
        One per run, in order.
    """
    cache: SpectrumCache = {}
    values = np.require(point.values, requirements=["C", "A"])
    anchor = values if point.anchor is None else np.require(point.anchor, requirements=["C", "A"])
    results, start = [], 0
    with _threads().limit(limits=1):
        for run in group.runs:
            evaluations = []
            for spec, dataset in run:
                stop = start + len(spec.free)
                evaluations.append(
                    dataset.evaluate(values[start:stop], anchor[start:stop], order=point.order, cache=cache)
                )
                start = stop
            results.append(_run_result([spec for spec, _ in run], evaluations, point.order))
    return results


def _run_result(specs: Sequence[DatasetSpec], evaluations: Sequence[Evaluation], order: int) -> RunResult:
    shared = np.unique(np.concatenate([spec.shared for spec in specs])).astype(np.intp)
    n = len(shared)
    gradient, hessian, observed = np.zeros(n), np.zeros((n, n)), np.zeros((n, n))
    blocks: list[LocalBlock] = []
    for spec, evaluation in zip(specs, evaluations, strict=True):
        if evaluation.gradient is None or evaluation.gauss_newton is None:
            continue
        local = spec.local[spec.free]
        place = np.searchsorted(shared, spec.shared)
        block = local_block(evaluation.gauss_newton, local, evaluation.active)
        own_gradient, own_hessian = eliminate(evaluation.gradient, evaluation.gauss_newton, local, block)
        hessian[np.ix_(place, place)] += own_hessian
        if evaluation.observed is not None:
            block = local_block(evaluation.observed, local, evaluation.active)
            own_gradient, own_observed = eliminate(evaluation.gradient, evaluation.observed, local, block)
            observed[np.ix_(place, place)] += own_observed
            blocks.append(block)
        gradient[place] += own_gradient
    return RunResult(
        stats=np.array([e.stat for e in evaluations]),
        floors=np.array([e.n_floor for e in evaluations], dtype=np.intp),
        values=np.concatenate([e.values for e in evaluations]),
        shared=shared,
        gradient=gradient if order else None,
        hessian=hessian if order else None,
        observed=observed if order > 1 else None,
        blocks=tuple(blocks),
        block_shared=tuple(spec.shared for spec in specs) if order > 1 else (),
    )
