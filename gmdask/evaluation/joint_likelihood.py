"""The joint likelihood of all datasets as a function of the global parameters."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal, overload

import numpy as np
from distributed import Client
from numpy.typing import NDArray

from gmdask.cluster import Engine, make_engine
from gmdask.datasets import Datasets
from gmdask.errors import FitError
from gmdask.evaluation.compensated_sum import once, scattered_sum
from gmdask.evaluation.fit_parameters import FitParameters
from gmdask.evaluation.partition import cube_of, cut_runs, deal, describe, gather, n_groups, plan_of
from gmdask.evaluation.passes import LocalPart, Pass, SecondOrderPass, Value
from gmdask.events import Listener
from gmdask.likelihood.responses import RESPONSES
from gmdask.likelihood.work_unit import (
    DatasetSpec,
    Point,
    RunResult,
    compile_group,
    evaluate_points,
)
from gmdask.models import Models
from gmdask.optimize.problem import Problem

__all__ = ["Objective", "OutOfTimeError"]

Array = NDArray[np.float64]


class OutOfTimeError(Exception):
    """An evaluation was requested after the time limit."""


class Objective:
    """Joint likelihood of datasets, in this process or on a cluster.

    Parameters
    ----------
    datasets : `Datasets`
        Datasets with models.
    models : `Models`
        The global models.
    client : `distributed.Client`, optional
        Cluster to evaluate on.
    on_event : callable, optional
        Receives events about the workers of the cluster.
    shared : iterable of int
        Positions of parameters that are shared even if they could be local.

    Attributes
    ----------
    parameters : `FitParameters`
        The parameters, N in all, S of them free and shared by datasets.
    passes : int
        Evaluations over all data so far.
    gridded : tuple of str
        Names of the models that are rendered on the pixel grid in some dataset, since the exact response does not
        apply; known after the first evaluation with derivatives.
    plan : `MemoryPlan` or None
        Memory plan of the workers; None if they have no memory limit.
    end_time : float
        Time of `time.monotonic` after which no evaluation but the first is started.

    Raises
    ------
    PlanError
        If the workers have too little memory.
    """

    def __init__(
        self,
        datasets: Datasets,
        models: Models,
        client: Client | None = None,
        on_event: Listener | None = None,
        *,
        shared: Iterable[int] = (),
    ) -> None:
        self._models, self._prior = models, models.prior_sum
        self.parameters = FitParameters(models, datasets, shared)
        free, local = self.parameters.free, self.parameters.local
        specs, self._indices, self._touched = [], [], []
        for dataset in datasets:
            components = models.positions_for(dataset.name)
            index = once(self.parameters.of_components(components))
            touched = self.parameters.shared_of(index)
            cube = cube_of(dataset, client)
            specs.append(DatasetSpec(
                dataset.name, cube, tuple(components), free[index], local[index], touched,
                dataset.response, dataset.compile,
            ))  # fmt: skip
            self._indices.append(index)
            self._touched.append(touched)
        self.passes, self.end_time = 0, math.inf
        self.gridded: tuple[str, ...] = ()
        self._on_pixels = any(RESPONSES[d.response].rough for d in datasets)
        self.plan = (
            None if client is None else plan_of(client, compile_group, list(datasets), specs)
        )
        budget = None if self.plan is None else self.plan.budget
        runs, indices = cut_runs(specs), cut_runs(self._indices)
        n = n_groups(len(runs), client)
        self._group_index = [
            np.concatenate([index for run in group for index in run]) for group in deal(indices, n)
        ]
        described = [describe(group, models, budget) for group in deal(runs, n)]
        sizes = [sum(map(len, group)) for group in deal(runs, n)]
        self._engine: Engine[Sequence[Point], list[list[RunResult]]] = make_engine(
            compile_group, evaluate_points, described, client, on_event, sizes
        )

    @property
    def n_datasets(self) -> int:
        """Number of datasets."""
        return len(self._indices)

    @property
    def n_groups(self) -> int:
        """Number of groups of datasets."""
        return len(self._engine)

    def problem(self) -> Problem:
        """Describe the shared parameters to a minimiser."""
        return self.parameters.problem(self._touched, rough=self._on_pixels)

    @overload
    def __call__(
        self,
        values: Array,
        *,
        anchor: Array | None = None,
        order: Literal[2],
        profile: bool = True,
    ) -> SecondOrderPass: ...

    @overload
    def __call__(
        self,
        values: Array,
        *,
        anchor: Array | None = None,
        order: int = 1,
        profile: bool = True,
    ) -> Pass: ...

    def __call__(
        self,
        values: Array,
        *,
        anchor: Array | None = None,
        order: int = 1,
        profile: bool = True,
    ) -> Pass:
        """Evaluate over all data, with derivatives.

        Parameters
        ----------
        values : array of shape (N,)
            All parameters; for local ones, these are the start values of their minimisation.
        anchor : array of shape (N,), optional
            Parameters at which the response is computed; by default `values`.
        order : {1, 2}
            See `Point`.
        profile : bool
            Whether local parameters are minimised.

        Raises
        ------
        FitError
            If the first evaluation gives no finite statistic or derivatives; a later one counts
            as infinite.
        OutOfTimeError
            If the time limit has passed.
        """
        if self.passes and time.monotonic() > self.end_time:
            raise OutOfTimeError
        answers = self._answers([values], anchor, order, profile=profile)
        return self._pass(values, answers[0], order)

    def several(
        self, several: Sequence[Array], *, profile: bool = True, marginal: bool = False
    ) -> list[Pass]:
        """Evaluate with first derivatives at several points in one call of the cluster.

        Parameters
        ----------
        several : sequence of array of shape (N,)
        profile : bool
            See `__call__`.
        marginal : bool
            Whether the likelihood is integrated over local parameters around their optimum.
        """
        answers = self._answers(several, None, 1, profile=profile, marginal=marginal)
        return [self._pass(v, results, 1) for v, results in zip(several, answers, strict=True)]

    def value(self, values: Array) -> Value:
        """Evaluate over all data at values (N,), without derivatives; local parameters are not changed."""
        results = self._answers([values], None, 0, profile=False)[0]
        self.passes += 1
        return self._value(values.copy(), results)

    def _answers(
        self,
        several: Sequence[Array],
        anchor: Array | None,
        order: int,
        *,
        profile: bool,
        marginal: bool = False,
    ) -> list[list[RunResult]]:
        """Results of the runs of datasets at several points."""
        payloads = [
            [
                Point(v[i], None if anchor is None else anchor[i], order, profile, marginal)
                for v in several
            ]
            for i in self._group_index
        ]
        answers = self._engine(payloads)
        return [gather([group[n] for group in answers]) for n in range(len(several))]

    def _value(self, values: Array, results: Sequence[RunResult]) -> Value:
        stats = np.concatenate([run.stats for run in results])
        floors = np.concatenate([run.floors for run in results])
        try:
            stat = math.fsum([*stats, self._prior(values)[0]])
        except (OverflowError, ValueError):  # from infinite or nearly infinite numbers
            stat = math.inf
        return Value(values, values[self.parameters.shared], stat, stats, floors)

    def _pass(self, values: Array, results: Sequence[RunResult], order: int) -> Pass:
        self.passes += 1
        self.gridded = tuple(dict.fromkeys(name for run in results for name in run.gridded))
        values, n = values.copy(), len(self.parameters.shared)
        found = np.concatenate([run.values for run in results])
        position = np.concatenate(self._indices)
        is_local = self.parameters.local[position]
        values[position[is_local]] = found[is_local]
        _, slope, curvature = self._prior(values)
        gradient = scattered_sum([(r.shared, r.gradient) for r in results], n)
        gradient = gradient + slope[self.parameters.shared]
        hessian = scattered_sum([(r.shared, r.hessian) for r in results], n)
        hessian = hessian + np.diag(np.maximum(curvature[self.parameters.shared], 0.0))
        value = self._value(values, results)
        if self.passes == 1:
            self._check_start(value, gradient, hessian)
        elif not (
            math.isfinite(value.stat) and np.isfinite(gradient).all() and np.isfinite(hessian).all()
        ):
            value = replace(value, stat=math.inf)
        if order < 2:
            return Pass(**vars(value), gradient=gradient, hessian=hessian)
        observed = scattered_sum([(r.shared, r.observed) for r in results], n)
        observed = observed + np.diag(curvature[self.parameters.shared])
        # the Gauss-Newton Hessian replaces the observed one where that is not positive
        observed = np.where(np.isfinite(observed), observed, 0.0)
        local = self._local_parts(results)
        return SecondOrderPass(
            **vars(value), gradient=gradient, hessian=hessian, observed=observed, local=local
        )

    def _check_start(self, start: Value, gradient: Array, hessian: Array) -> None:
        """Raise an error if the statistic, or a derivative of it, is not finite at the start."""
        if not math.isfinite(start.stat):
            pairs = zip(self._models.parameters.names, start.values.tolist(), strict=True)
            free = [
                f"{n} = {v:g}" for (n, v), f in zip(pairs, self.parameters.free, strict=True) if f
            ]
            more = f" and {len(free) - 5} more" if len(free) > 5 else ""
            msg = f"the statistic is {start.stat} at the start, {', '.join(free[:5])}{more}"
            raise FitError(msg)
        finite = np.isfinite(gradient) & np.isfinite(np.diag(hessian))
        if not finite.all():
            full = {id(p): name for name, p in reversed(self._models.named_parameters())}
            bad = [self._models.parameters[int(k)] for k in self.parameters.shared[~finite]]
            names = ", ".join(full[id(parameter)] for parameter in bad)
            msg = f"the statistic has no finite derivative by {names}: check the start values of their model"
            raise FitError(msg)

    def _local_parts(self, results: Sequence[RunResult]) -> list[LocalPart]:
        blocks = [
            pair for run in results for pair in zip(run.blocks, run.block_shared, strict=True)
        ]
        parts = []
        for index, (block, shared) in zip(self._indices, blocks, strict=True):
            own = index[self.parameters.local[index]]
            if len(own):
                parts.append(LocalPart(own, shared, block))
        return parts

    def close(self) -> None:
        """Release the compiled groups."""
        self._engine.close()
