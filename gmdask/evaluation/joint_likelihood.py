"""The joint likelihood of all datasets as a function of the global parameters."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal, overload

import numpy as np
from astropy import units as u
from distributed import Client
from numpy.typing import NDArray

from gmdask.cluster import Engine, make_engine
from gmdask.datasets import Datasets
from gmdask.errors import FitError
from gmdask.evaluation.compensated_sum import once, scattered_sum
from gmdask.evaluation.partition import cube_of, cut_runs, deal, describe, gather, n_groups, plan_of
from gmdask.evaluation.passes import LocalPart, Pass, SecondOrderPass, Value
from gmdask.evaluation.step_limits import StepLimits
from gmdask.events import Listener
from gmdask.likelihood.responses import RESPONSES
from gmdask.likelihood.work_unit import (
    DatasetSpec,
    Point,
    RunResult,
    compile_group,
    evaluate_points,
)
from gmdask.models import BackgroundIRFModel, Models
from gmdask.optimize.coordinates import Kinds, Turn
from gmdask.optimize.problem import Problem

__all__ = ["Objective", "OutOfTimeError", "periods_of"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Index = NDArray[np.intp]

N_ENERGIES = (
    20  # number of energies at which the sensitivity of spectra to their parameters is computed
)
ROUND = 0.01  # smallest eccentricity at the start of a search
SMALL = 1e-3  # deg; smallest size at the start of a search
FLAT = (
    1e-6  # an angle is undetermined if the statistic changes by less than this over a full rotation
)
NOTHING: Index = np.zeros(0, dtype=np.intp)


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
    free, local : boolean array of shape (N,)
        Free parameters, and those among them that are minimised on the worker that holds the data: the
        free parameters of a background model that are not linked to anything else.
    shared : array
        Positions of the other free parameters.
    passes : int
        Evaluations over all data so far.
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
        parameters = models.parameters
        self._models = models
        self.free: Mask = np.array([not p.frozen for p in parameters], dtype=bool)
        self._prior = models.prior_sum
        self.local = self.free & _local_parameters(models, datasets)
        self.local[list(shared)] = False
        self.shared: Index = np.flatnonzero(self.free & ~self.local)
        place = np.full(len(parameters), -1, dtype=np.intp)
        place[self.shared] = np.arange(len(self.shared))
        specs, self._indices, self._touched = [], [], []
        of_component = [
            np.array([parameters.index(p) for _, p in component.named_parameters()], dtype=np.intp)
            for component in models
        ]
        for dataset in datasets:
            components = models.positions_for(dataset.name)
            index = once(np.concatenate([NOTHING, *(of_component[k] for k in components)]))
            shared = place[index[self.free[index] & ~self.local[index]]]
            cube = cube_of(dataset, client)
            specs.append(DatasetSpec(
                dataset.name, cube, tuple(components), self.free[index], self.local[index], shared,
                dataset.response, dataset.compile,
            ))  # fmt: skip
            self._indices.append(index)
            self._touched.append(shared)
        self.passes, self.end_time = 0, math.inf
        self._periods = periods_of(models)
        self._on_pixels = any(RESPONSES[d.response].rough for d in datasets)
        self._reach = StepLimits(models, self.shared, _energies(datasets))
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

    @property
    def start(self) -> Array:
        """Values of all parameters in the global models."""
        return self._models.parameters.value

    def sizes(self) -> Mask:
        """Shared parameters (S,) that are sizes of sources."""
        return self._reach.sizes

    def even(self) -> Mask:
        """Shared parameters (S,) that enter only by their square: sizes of most shapes, and eccentricities."""
        return self._reach.even

    def unfelt(self, point: Pass) -> Mask:
        """Shared parameters (S,) of components without any effect on the data, such as sources outside of all maps."""
        felt = point.gradient != 0
        for hessian in (point.hessian, point.observed):
            if hessian is not None:
                felt |= np.diag(hessian) != 0
        blocks = self._blocks()
        return ~np.isin(blocks, blocks[felt])

    def degrees(self) -> Array:
        """One degree in the unit of each shared parameter (S,); NaN for parameters that are not angles."""
        units = [self._models.parameters[int(i)].unit for i in self.shared]
        return np.array([u.Unit("deg").to(x) if x.is_equivalent("deg") else np.nan for x in units])

    def flat_angles(self, point: Pass) -> Mask:
        """Shared parameters (S,) that are angles of shapes which are round at a point."""
        period = np.array([self._periods.get(int(i), (0.0, np.inf))[1] for i in self.shared])
        curvature = np.where(np.isfinite(period), np.diag(point.hessian), np.inf)
        return np.asarray(curvature < FLAT / period**2)

    def turned_round(self, errors: Array) -> Mask:
        """Shared parameters (S,) that are angles with errors (S,) of more than a quarter of the period."""
        period = np.array([self._periods.get(int(i), (0.0, np.inf))[1] for i in self.shared])
        return np.asarray(errors > 0.25 * period)

    def beginning(self) -> Array:
        """Values of the shared parameters (S,) at which a search starts.

        The statistic has no slope along a size of zero, or along the angle of a round shape: sizes and
        eccentricities are therefore made a little larger, within their limits.
        """
        upper, degrees = self.limits()[1], self.degrees()
        begin = self.start[self.shared]
        least = np.where(np.isnan(degrees), ROUND, SMALL * np.nan_to_num(degrees, nan=0.0))
        small = self.even() & (begin < least)
        small &= self.sizes() | np.isin(np.arange(len(begin)), [t.e for t in self._turns()])
        return np.where(small, np.minimum(least, upper), begin)

    def limits(self) -> tuple[Array, Array]:
        """Return the lower and upper limits of the shared parameters; infinite for none.

        An angle that may take all values is periodic and has no limits.
        """
        lower, upper = self._all_limits()
        return lower[self.shared], upper[self.shared]

    def _all_limits(self) -> tuple[Array, Array]:
        parameters = self._models.parameters
        lower = np.where(np.isnan(parameters.min), -np.inf, parameters.min)
        upper = np.where(np.isnan(parameters.max), np.inf, parameters.max)
        low, high = self._prior.limits()
        lower, upper = np.maximum(lower, low), np.minimum(upper, high)
        for component in self._models:
            for model in component.models.values():
                for parameter, least, most in model.domains():
                    k = parameters.index(parameter)
                    lower[k], upper[k] = max(lower[k], least), min(upper[k], most)
        for index in self._periods:
            lower[index], upper[index] = -np.inf, np.inf
        return lower, upper

    def at_limits(self, values: Array) -> Mask:
        """Whether each of all parameters (N,) is at a limit."""
        lower, upper = self._all_limits()
        return np.asarray((values <= lower) | (values >= upper))

    def check_values(self, values: Array) -> None:
        """Raise a ValueError for values (N,) that no fit from the start can reach; it names one of them."""
        lower, upper = self._all_limits()
        wrong = np.where(self.free, (values < lower) | (values > upper), values != self.start)
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            name = self._models.parameters.names[at]
            expected = (
                f"{lower[at]} to {upper[at]}" if self.free[at] else f"{self.start[at]}, frozen"
            )
            msg = f"{name} is {values[at]}, expected {expected}"
            raise ValueError(msg)

    def problem(self) -> Problem:
        """Describe the shared parameters to a minimiser.

        Parameters with logarithmic scans scale their model. Where sources are rendered on the pixel
        grid, the statistic has kinks and small steps along parameters that move what is seen.
        """
        parameters = self._models.parameters
        amplitudes = np.array([p.interp == "log" for p in parameters], dtype=bool)[self.shared]
        rough = self._on_pixels and bool(self._reach.moving.any())
        kinds = Kinds(amplitudes, self._reach.even, self._turns())
        blocks = self._blocks()
        touches = np.zeros((self.n_datasets, int(blocks.max(initial=-1)) + 1), dtype=bool)
        for number, spec_shared in enumerate(self._touched):
            touches[number, blocks[spec_shared]] = True
        return Problem(*self.limits(), kinds, self._reach, blocks, touches, rough)

    def _turns(self) -> tuple[Turn, ...]:
        """Pairs of an eccentricity and an angle that are both free."""
        parameters, at = self._models.parameters, {int(k): n for n, k in enumerate(self.shared)}
        found = []
        for component in self._models:
            for model in component.models.values():
                even = {default.name for default in model.defaults if default.even}
                own = {name: at.get(parameters.index(p)) for name, p in model.named_parameters()}
                e, phi = own.get("e"), own.get("phi")
                if "e" in even and e is not None and phi is not None:
                    found.append(Turn(e, phi, float(model.parameter("phi").unit.to("rad"))))
        return tuple(found)

    def _blocks(self) -> Index:
        """Index of the first component that each shared parameter belongs to."""
        parameters = self._models.parameters
        blocks = np.full(len(parameters), -1, dtype=np.intp)
        for number, component in reversed(list(enumerate(self._models))):
            blocks[[parameters.index(p) for _, p in component.named_parameters()]] = number
        return np.unique(blocks[self.shared], return_inverse=True)[1].astype(np.intp)

    def with_shared(self, values: Array, shared: Array) -> Array:
        """Return all parameters, with new values of the shared ones; angles are wrapped to their limits."""
        result = values.copy()
        result[self.shared] = shared
        for index, (lower, period) in self._periods.items():
            if not lower <= result[index] <= lower + period:
                result[index] = lower + (result[index] - lower) % period
        return result

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

    def several(self, several: Sequence[Array], *, profile: bool = True) -> list[Pass]:
        """Evaluate with first derivatives at several points in one call of the cluster; see `__call__`."""
        answers = self._answers(several, None, 1, profile=profile)
        return [self._pass(v, results, 1) for v, results in zip(several, answers, strict=True)]

    def value(self, values: Array) -> Value:
        """Evaluate over all data at values (N,), without derivatives; local parameters are not changed."""
        results = self._answers([values], None, 0, profile=False)[0]
        self.passes += 1
        return self._value(values.copy(), results)

    def _answers(
        self, several: Sequence[Array], anchor: Array | None, order: int, *, profile: bool
    ) -> list[list[RunResult]]:
        """Results of the runs of datasets at several points."""
        payloads = [
            [Point(v[i], None if anchor is None else anchor[i], order, profile) for v in several]
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
        return Value(values, values[self.shared], stat, stats, floors)

    def _pass(self, values: Array, results: Sequence[RunResult], order: int) -> Pass:
        self.passes += 1
        values, n = values.copy(), len(self.shared)
        found = np.concatenate([run.values for run in results])
        position = np.concatenate(self._indices)
        is_local = self.local[position]
        values[position[is_local]] = found[is_local]
        _, slope, curvature = self._prior(values)
        gradient = scattered_sum([(r.shared, r.gradient) for r in results], n)
        gradient = gradient + slope[self.shared]
        hessian = scattered_sum([(r.shared, r.hessian) for r in results], n)
        hessian = hessian + np.diag(np.maximum(curvature[self.shared], 0.0))
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
        observed = observed + np.diag(curvature[self.shared])
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
            free = [f"{n} = {v:g}" for (n, v), f in zip(pairs, self.free, strict=True) if f]
            more = f" and {len(free) - 5} more" if len(free) > 5 else ""
            msg = f"the statistic is {start.stat} at the start, {', '.join(free[:5])}{more}"
            raise FitError(msg)
        finite = np.isfinite(gradient) & np.isfinite(np.diag(hessian))
        if not finite.all():
            full = {id(p): name for name, p in reversed(self._models.named_parameters())}
            bad = [self._models.parameters[int(k)] for k in self.shared[~finite]]
            names = ", ".join(full[id(parameter)] for parameter in bad)
            msg = f"the statistic has no finite derivative by {names}: check the start values of their model"
            raise FitError(msg)

    def _local_parts(self, results: Sequence[RunResult]) -> list[LocalPart]:
        blocks = [
            pair for run in results for pair in zip(run.blocks, run.block_shared, strict=True)
        ]
        parts = []
        for index, (block, shared) in zip(self._indices, blocks, strict=True):
            own = index[self.local[index]]
            if len(own):
                parts.append(LocalPart(own, shared, block))
        return parts

    def close(self) -> None:
        """Release the compiled groups."""
        self._engine.close()


def _local_parameters(models: Models, datasets: Datasets) -> Mask:
    """Free parameters of a background model of one of the datasets that occur nowhere else."""
    parameters = models.parameters
    uses = Counter(id(parameter) for _, parameter in models.named_parameters())
    names = set(datasets.names)
    own = {
        id(parameter)
        for model in models
        if isinstance(model, BackgroundIRFModel) and model.dataset_name in names
        for _, parameter in model.named_parameters()
        if uses[id(parameter)] == 1
    }
    return np.array([id(parameter) in own for parameter in parameters], dtype=bool)


def periods_of(models: Models) -> dict[int, tuple[float, float]]:
    """Return lower limit and period of the angles that may take all values, by position."""
    parameters = models.parameters
    found = {}
    for component in models:
        for model in component.models.values():
            for parameter, period in model.periods:
                if parameter.max - parameter.min >= period * (1 - 1e-12):
                    found[parameters.index(parameter)] = parameter.min, period
    return found


def _energies(datasets: Datasets) -> Array:
    """Energies (TeV) over the range of the first dataset."""
    if not len(datasets):
        return np.ones(1)
    low, high = next(iter(datasets)).energy_range
    return np.geomspace(low, high, N_ENERGIES)
