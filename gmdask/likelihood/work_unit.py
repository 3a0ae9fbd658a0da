"""A group of datasets that are evaluated together: the unit of work of a fit.

A group is described by plain data, compiled where the data are read, and returns a few
numbers per pass. Sums are formed per *run*, a fixed sequence of datasets, so that the sums of a
fit do not depend on how the runs are grouped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import Any, TypeVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gmdask.likelihood.arrow_hessian import LocalBlock, eliminate, local_block
from gmdask.likelihood.dataset_likelihood import CompiledDataset
from gmdask.likelihood.described_unit import DescribedGroup
from gmdask.likelihood.kind import Compile, DatasetLikelihood, Evaluation
from gmdask.likelihood.memory import Memory
from gmdask.likelihood.npred import npred_images
from gmdask.likelihood.responses import EXACT
from gmdask.likelihood.source import SpectrumCache
from gmdask.likelihood.threads import one_thread
from gmdask.models import DatasetModels, Models
from gmdask.store.cube_source import CubeSource, named_cube

__all__ = [
    "CompiledGroup",
    "DatasetSpec",
    "GroupSpec",
    "Point",
    "RunResult",
    "compile_group",
    "evaluate_group",
    "evaluate_points",
    "npred_cube",
]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Index = NDArray[np.intp]
T = TypeVar("T")


@dataclass(frozen=True)
class DatasetSpec:
    """One dataset and its models, as plain data.

    Attributes
    ----------
    name : str
        Name of the dataset, which may differ from that in the store.
    cube : `CubeSource` or `xarray.Dataset`
        Location of the data, or the data.
    components : tuple of int
        Indices of its models among the components of the group.
    free, local : boolean array of shape (N,)
        Free ones among its N parameters, and local ones, which are minimised on the worker.
    shared : array
        Positions, among the shared parameters of the fit, of the free ones that are not local.
    response : {"exact", "gammapy"}
        How predicted counts are computed.
    compile : callable
        Makes the likelihood of its kind of dataset.
    """

    name: str
    cube: CubeSource | xr.Dataset
    components: tuple[int, ...]
    free: Mask
    local: Mask
    shared: Index
    response: str = EXACT
    compile: Compile = CompiledDataset


@dataclass(frozen=True)
class GroupSpec:
    """A group of datasets and their models, as plain data.

    Attributes
    ----------
    models : dict
        Plain data of the models that apply to any of the datasets.
    runs : sequence of sequence of `DatasetSpec`
        Datasets of each run, in order.
    budget : int or None
        Bytes that all groups of a process may hold; None for no limit.
    """

    models: dict[str, Any]
    runs: Sequence[Sequence[DatasetSpec]]
    budget: int | None = None


@dataclass(frozen=True)
class Point:
    """Where to evaluate, and which derivatives.

    Attributes
    ----------
    values : array
        Parameters of all datasets of the group, one after the other.
    anchor : array or None
        Parameters at which the response is computed, likewise; None for `values`.
    order : {0, 1, 2}
        0: value at exactly these parameters; 1: also gradient and Gauss-Newton Hessian,
        2: also the observed Hessian.
    profile : bool
        Whether local parameters are minimised, in orders 1 and 2.
    marginal : bool
        Whether the likelihood is integrated over them, in order 1.
    """

    values: Array
    anchor: Array | None
    order: int
    profile: bool = True
    marginal: bool = False


@dataclass(frozen=True)
class RunResult:
    """Sums over one run of datasets, and results per dataset.

    Attributes
    ----------
    stats : array of shape (dataset,)
    floors : array of shape (dataset,)
        Number of bins with counts, but without predicted counts from any component.
    values : array
        Parameters of the datasets, one after the other, local ones at their optimum.
    shared : array of shape (S,)
        Shared parameters of the sums: those that affect any of the datasets.
    gradient, hessian, observed : array of shape (S,), (S, S), (S, S)
        Derivatives of the profile likelihood; those that were not requested are empty.
    blocks : tuple of `LocalBlock`
        One per dataset, in order 2.
    block_shared : tuple of array
        Shared parameters of the slopes of the blocks.
    gridded : tuple of str
        Names of the models that are rendered on the pixel grid, since the exact response does not apply.
    """

    stats: Array
    floors: Index
    values: Array
    shared: Index
    gradient: Array
    hessian: Array
    observed: Array
    blocks: tuple[LocalBlock, ...]
    block_shared: tuple[Index, ...]
    gridded: tuple[str, ...] = ()


class _CompiledRun:
    """Compiled datasets of one run, and the shared parameters over which it sums."""

    def __init__(
        self,
        specs: Sequence[DatasetSpec],
        models: Models,
        memory: Memory,
        on_made: Callable[[], None],
    ) -> None:
        self.specs, self._memory = specs, memory
        self.datasets: list[DatasetLikelihood] = []
        for spec in specs:
            self.datasets.append(_compile(spec, models, memory))
            self._settle(self.datasets[-1])
            on_made()
        memory.rest()
        exact = (d for spec, d in zip(specs, self.datasets, strict=True) if spec.response == EXACT)
        self._gridded = tuple(dict.fromkeys(name for dataset in exact for name in dataset.gridded))
        self._locals = [spec.local[spec.free] for spec in specs]

    def _settle(self, dataset: DatasetLikelihood) -> None:
        """Keep memory within its budget after a dataset was compiled or evaluated."""
        if not self._memory.try_cache(id(dataset), dataset.forgettable):
            dataset.forget()

    def evaluate(
        self, values: Array, anchor: Array | None, point: Point, cache: SpectrumCache
    ) -> RunResult:
        """Evaluate the datasets and sum the results."""
        order = point.order
        evaluations, start = [], 0
        for spec, dataset in zip(self.specs, self.datasets, strict=True):
            own = slice(start, start + len(spec.free))
            anchored = None if anchor is None else anchor[own]
            evaluations.append(
                dataset.evaluate(
                    values[own],
                    anchored,
                    order=order,
                    profile=point.profile,
                    marginal=point.marginal,
                    cache=cache,
                )
            )
            self._settle(dataset)
            start = own.stop
        self._memory.rest()
        stats = np.array([e.stat for e in evaluations])
        floors = np.array([e.n_floor for e in evaluations], dtype=np.intp)
        if order == 0:
            nothing, none = np.zeros(0, dtype=np.intp), np.zeros((0, 0))
            return RunResult(stats, floors, values, nothing, np.zeros(0), none, none, (), ())
        found = np.concatenate([e.values for e in evaluations])
        sums = self._sums(evaluations, order)
        return RunResult(stats, floors, found, *sums, gridded=self._gridded)

    def _sums(
        self, evaluations: Sequence[Evaluation], order: int
    ) -> tuple[Index, Array, Array, Array, tuple[LocalBlock, ...], tuple[Index, ...]]:
        """Gradient and Hessians of the profile likelihood, and in order 2 the local blocks."""
        reached = [
            spec.shared[_known(e.used)[~local]]
            for spec, e, local in zip(self.specs, evaluations, self._locals, strict=True)
        ]
        shared: Index = np.unique(np.concatenate(reached)).astype(np.intp)
        n = len(shared)
        gradient, hessian, observed = np.zeros(n), np.zeros((n, n)), np.zeros((n, n))
        blocks: list[LocalBlock] = []
        for evaluation, own, local in zip(evaluations, reached, self._locals, strict=True):
            place = np.searchsorted(shared, own)
            at, chosen = np.ix_(place, place), local | _known(evaluation.used)
            cut, is_local = np.ix_(chosen, chosen), local[chosen]
            slope, active = _known(evaluation.gradient)[chosen], _known(evaluation.active)[chosen]
            second = _known(evaluation.gauss_newton)[cut]
            block = local_block(second, is_local, active)
            own_gradient, own_hessian = eliminate(slope, second, is_local, block)
            hessian[at] += own_hessian
            if evaluation.observed is not None:
                second = evaluation.observed[cut]
                if np.isfinite(second).all():
                    block = local_block(second, is_local, active)
                own_gradient, own_observed = eliminate(slope, second, is_local, block)
                observed[at] += own_observed
                blocks.append(block)
            gradient[place] += own_gradient
        if order < 2:
            return shared, gradient, hessian, np.zeros((0, 0)), (), ()
        return shared, gradient, hessian, observed, tuple(blocks), tuple(reached)


def _known(array: T | None) -> T:
    """Return an array of an evaluation with derivatives, which is not None."""
    assert array is not None
    return array


class CompiledGroup(DescribedGroup[GroupSpec]):
    """Compiled datasets of some runs; see `GroupSpec`."""

    @cached_property
    def runs(self) -> list[_CompiledRun]:
        """Compiled datasets."""
        return self._compiled(lambda _: None)

    def compile(self, on_made: Callable[[int], None]) -> None:
        """Compile the datasets, and report how many are done."""
        self.runs = self._compiled(on_made)

    def _compiled(self, on_made: Callable[[int], None]) -> list[_CompiledRun]:
        models, made = Models.from_dict(self.spec.models), count(1)
        return [
            _CompiledRun(run, models, self.memory, lambda: on_made(next(made)))
            for run in self.spec.runs
        ]


def _compile(spec: DatasetSpec, models: Models, memory: Memory) -> DatasetLikelihood:
    own = DatasetModels([models[k] for k in spec.components])
    cube = named_cube(spec.name, spec.cube)
    return spec.compile(cube, own, spec.free, spec.local, keep=memory.keep, response=spec.response)


def npred_cube(
    name: str,
    cube: CubeSource | xr.Dataset,
    models: dict[str, Any],
    *,
    background: bool = True,
    response: str = EXACT,
) -> Array:
    """Return the predicted counts in all bins of a dataset, clipped at zero.

    Parameters
    ----------
    name, cube, models
        See `DatasetSpec`.
    background : bool
        Whether to include the background; the sources alone are not clipped.
    response : {"exact", "gammapy"}
        How predicted counts are computed.

    Returns
    -------
    npred : array of shape (energy, lat, lon)
    """
    data, own = named_cube(name, cube), DatasetModels.from_dict(models)
    if not background:
        data = data.drop_vars("background", errors="ignore")
    if data.attrs.get("region") is None:
        npred = npred_images(data, own, response)
    else:
        compiled = CompiledDataset(data, own, bins="all", response=response)
        npred = compiled.npred(own.parameters.value)
    if background:
        npred = np.clip(npred, 0.0, None)
    return npred.reshape(data["counts"].shape)


def compile_group(
    spec: GroupSpec,
    folder: str | None = None,
    *,
    on_made: Callable[[int], None] = lambda _: None,
) -> CompiledGroup:
    """Compile a group from its description.

    Parameters
    ----------
    spec : `GroupSpec`
    folder : str, optional
        Folder for data that do not fit in memory.
    on_made : callable, optional
        Receives the number of datasets compiled so far.
    """
    group = CompiledGroup(spec, folder)
    with one_thread():
        group.compile(on_made)
    return group


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
    anchor = None if point.anchor is None else np.require(point.anchor, requirements=["C", "A"])
    results, start = [], 0
    with one_thread():
        for run in group.runs:
            own = slice(start, start + sum(len(spec.free) for spec in run.specs))
            anchored = None if anchor is None else anchor[own]
            results.append(run.evaluate(values[own], anchored, point, cache))
            start = own.stop
    return results


def evaluate_points(group: CompiledGroup, points: Sequence[Point]) -> list[list[RunResult]]:
    """Evaluate a group at several points; see `evaluate_group`."""
    return [evaluate_group(group, point) for point in points]
