"""A group of datasets in which a trial source is placed at many positions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gmdask.geometry import WcsGrid, Window
from gmdask.likelihood.described_unit import DescribedGroup
from gmdask.likelihood.threads import one_thread
from gmdask.likelihood.trial.dataset import TrialDataset, TrialSpec, Windows
from gmdask.likelihood.trial.kernels import FIELDS, slopes
from gmdask.models import Models

__all__ = ["TrialGroup", "TrialGroupSpec", "TrialPoint", "compile_trials", "evaluate_trials"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]


@dataclass(frozen=True)
class TrialGroupSpec:
    """Datasets that are evaluated together, as plain data.

    Attributes
    ----------
    models : dict
        Plain data of the models that apply to any of the datasets.
    runs : sequence of sequence of `TrialSpec`
        Datasets of each run, whose sums are returned.
    source : dict
        Plain data of models with the trial source alone.
    grid : tuple
        WCS cards, and shape (lat, lon), of the grid of positions.
    width : float or None
        Width in deg of the windows around a position.
    summed : bool
        Whether the bins of an energy range are summed.
    budget : int or None
        Bytes that all groups of a process may hold; None for no limit.
    """

    models: dict[str, Any]
    runs: Sequence[Sequence[TrialSpec]]
    source: dict[str, Any]
    grid: tuple[dict[str, Any], tuple[int, int]]
    width: float | None
    summed: bool
    budget: int | None = None


@dataclass(frozen=True)
class TrialPoint:
    """Where to evaluate.

    Attributes
    ----------
    tiles : tuple of `Window`
        Rectangles of pixels of the grid; their P pixels are the positions, in this order.
    group : int
        Number of the energy range.
    index : array of shape (A,) or None
        Positions to evaluate; None for the limits of all of them.
    norms : array of shape (A,) or None
        Norms at these positions.
    with_stat : bool
        Whether the statistic is needed, and not only its derivatives.
    """

    tiles: tuple[Window, ...]
    group: int
    index: Index | None = None
    norms: Array | None = None
    with_stat: bool = False


class TrialGroup(DescribedGroup[TrialGroupSpec]):
    """Datasets of a group; see `TrialGroupSpec`."""

    _kept: tuple[Any, list[list[Windows]]] | None = None

    @cached_property
    def runs(self) -> list[list[TrialDataset]]:
        """Datasets of each run."""
        return self._compiled(lambda _: None)

    def compile(self, on_made: Callable[[int], None]) -> None:
        """Compile the datasets, and report how many are done."""
        self.runs = self._compiled(on_made)

    def _compiled(self, on_made: Callable[[int], None]) -> list[list[TrialDataset]]:
        spec, made = self.spec, 0
        models, source = Models.from_dict(spec.models), Models.from_dict(spec.source)[0]
        runs: list[list[TrialDataset]] = []
        for run in spec.runs:
            runs.append([])
            for dataset in run:
                runs[-1].append(
                    TrialDataset(dataset, models, source, spec.width, spec.summed, self.memory)
                )
                made += 1
                on_made(made)
        return runs

    def windows(self, point: TrialPoint) -> list[list[Windows]]:
        """Windows of the datasets of each run, without datasets that have none; the last ones are kept."""
        key = point.tiles, point.group
        if self._kept is None or self._kept[0] != key:
            self._kept = None
            grid = WcsGrid(*self.spec.grid)
            found = [[d.windows(grid, *key) for d in run] for run in self.runs]
            self._kept = key, [[w for w in run if w is not None] for run in found]
            self.memory.rest()
        return self._kept[1]


def compile_trials(
    spec: TrialGroupSpec,
    folder: str | None = None,
    *,
    on_made: Callable[[int], None] = lambda _: None,
) -> TrialGroup:
    """Compile a group from its description, on one thread; see `compile_group`."""
    group = TrialGroup(spec, folder)
    with one_thread():
        group.compile(on_made)
    return group


def evaluate_trials(group: TrialGroup, point: TrialPoint) -> Array:
    """Evaluate a group at some positions.

    Parameters
    ----------
    group : `TrialGroup`
    point : `TrialPoint`

    Returns
    -------
    sums : array of shape (run, 3, A) or (run, FIELDS + 1, P)
        Sums over the datasets of each run. With norms, of the rise of the statistic over that without the source,
        and of its derivatives; without, the limits of `add_gridded`, and whether the position is valid.
    """
    with one_thread():
        runs = group.windows(point)
        if point.index is None or point.norms is None:
            return np.stack([_limits(run, point) for run in runs])
        index, norms = (np.require(a, requirements=["C", "A"]) for a in (point.index, point.norms))
        out = np.zeros((len(runs), 3, len(index)))
        for run, sums in zip(runs, out, strict=True):
            for own in run:
                slopes(
                    index,
                    norms,
                    own.first,
                    own.last,
                    own.kept,
                    own.limits[0],
                    point.with_stat,
                    sums,
                )
        return out


def _limits(run: list[Windows], point: TrialPoint) -> Array:
    """Limits (FIELDS + 1, P) of a run."""
    n = sum(tile.shape[0] * tile.shape[1] for tile in point.tiles)
    out = np.zeros((FIELDS + 1, n))
    out[4:6] = -np.inf
    for own in run:
        out[:4] += own.limits[:4]
        np.maximum(out[4:6], own.limits[4:], out=out[4:6])
        out[6] = np.maximum(out[6], own.valid)
    return out
