"""The likelihood of a trial source at many positions, in this process or on a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from distributed import Client
from numpy.typing import NDArray

from gmdask.cluster import Engine, make_engine
from gmdask.datasets import Datasets
from gmdask.evaluation.compensated_sum import add_compensated
from gmdask.evaluation.norm_likelihood import EnergyBins
from gmdask.evaluation.partition import (
    cube_of,
    cut_runs,
    deal,
    gather,
    n_groups,
    n_workers,
    own_models,
    plan_of,
)
from gmdask.events import Listener
from gmdask.geometry import WcsGrid, Window
from gmdask.likelihood.responses import RESPONSES
from gmdask.likelihood.trial.dataset import TrialSpec
from gmdask.likelihood.trial.group import (
    TrialGroupSpec,
    TrialPoint,
    compile_trials,
    evaluate_trials,
)
from gmdask.models import Models, SkyModel

__all__ = ["TrialLikelihood", "TrialLimits"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]

TILE = 0.5  # deg; positions that share PSF and energy dispersion
LARGE_TILE = 4.0  # deg; where these are the same anyway
BLOCK_BYTES = (
    150_000_000  # bytes per process of the bins around the positions that are solved for together
)
BIN_BYTES = 16
USUAL_WIDTH = 0.5  # deg


class TrialLimits(NamedTuple):
    """Sums over the datasets around P positions, each of shape (P,).

    Attributes
    ----------
    signal : array
        Counts of the source at a norm of 1.
    counts, npred : array
        Counts, and those predicted without the source.
    stat_null : array
        Statistic without the source.
    wall, zero : array
        Highest norm at which the prediction vanishes in a bin with counts, and in any bin; minus infinity if
        there is none.
    valid : array
        1 where counts are predicted.
    """

    signal: Array
    counts: Array
    npred: Array
    stat_null: Array
    wall: Array
    zero: Array
    valid: Array


def tiles_of(grid: WcsGrid, size: float) -> list[Window]:
    """Rectangles of pixels, of about equal size, that cover a grid.

    Parameters
    ----------
    grid : `WcsGrid`
    size : float
        Width and height in deg.
    """
    starts = []
    for n, scale in zip(grid.shape, grid.pixel_scales[::-1], strict=True):
        number = min(max(round(n * scale / size), 1), n)
        starts.append([n * k // number for k in range(number + 1)])
    rows, columns = starts
    return [Window(y0, y1, x0, x1) for y0, y1 in pairwise(rows) for x0, x1 in pairwise(columns)]


class TrialLikelihood:
    """Statistic as a function of the norm of a trial source, at each of many positions.

    Parameters
    ----------
    datasets : `Datasets`
    models : `Models`
        The global models, without the trial source; they are not changed.
    source : `SkyModel`
        The trial source; its position has no influence.
    bins : `EnergyBins`
    grid : `WcsGrid`
        Grid of positions.
    width : float or None
        Width in deg of the windows around a position.
    summed : bool
        Whether the bins of an energy range are summed.
    client : `distributed.Client`, optional
        Cluster to evaluate on. The numbers are the same to the last bit.
    on_event : callable, optional
        Receives a `DatasetsProgress` while the datasets are compiled.

    Attributes
    ----------
    blocks : list of tuple of `Window`
        Tiles of the grid whose positions are evaluated together.
    """

    def __init__(
        self, datasets: Datasets, models: Models, source: SkyModel, bins: EnergyBins, grid: WcsGrid,
        width: float | None, summed: bool, client: Client | None = None, on_event: Listener | None = None,
    ) -> None:  # fmt: skip
        specs = [
            TrialSpec(
                d.name, cube_of(d, client), tuple(models.positions_for(d.name)), own, d.response
            )
            for d, own in zip(datasets, bins.bins, strict=True)
        ]
        runs = cut_runs(specs)
        self._groups = deal(runs, n_groups(len(runs), client))
        plan = None if client is None else plan_of(client, compile_trials, list(datasets), specs, 3)
        budget = None if plan is None else plan.budget
        described = [
            self._describe(models, group, source, grid, width, summed, budget)
            for group in self._groups
        ]
        sizes = [sum(map(len, group)) for group in self._groups]
        self._engine: Engine[TrialPoint, Array] = make_engine(
            compile_trials, evaluate_trials, described, client, on_event, sizes
        )
        size = LARGE_TILE if all(RESPONSES[d.response].rough for d in datasets) else TILE
        pixels = max(
            (_pixels(d, USUAL_WIDTH if width is None else width, summed) for d in datasets),
            default=1.0,
        )
        own = pixels * len(datasets) / n_workers(client)
        self.blocks = _blocks(tiles_of(grid, size), int(BLOCK_BYTES / (BIN_BYTES * own)))

    @staticmethod
    def _describe(
        models: Models, group: list[list[TrialSpec]], source: SkyModel, grid: WcsGrid, *rest: Any
    ) -> TrialGroupSpec:
        own, specs = own_models(models, (spec for run in group for spec in run))
        remaining = iter(specs)
        runs = [[next(remaining) for _ in run] for run in group]
        plain = Models([source.copy(source.name)]).to_dict()
        return TrialGroupSpec(own, runs, plain, (grid.header, grid.shape), *rest)

    def close(self) -> None:
        """Release the compiled datasets."""
        self._engine.close()

    def _runs(self, point: TrialPoint) -> Iterator[Array]:
        """Sums of each run, in order."""
        return iter(gather([list(sums) for sums in self._engine([point] * len(self._groups))]))

    def limits(self, point: TrialPoint) -> TrialLimits:
        """Return the sums over the datasets at the positions of some tiles.

        Parameters
        ----------
        point : `TrialPoint`
            Tiles and energy range.
        """
        found = np.stack(list(self._runs(replace(point, index=None, norms=None))))
        totals = _summed(found[:, :4])
        return TrialLimits(*totals, *found[:, 4:].max(axis=0))

    def __call__(self, point: TrialPoint) -> Array:
        """Rise of the statistic over that without the source, its slope and curvature: (3, A)."""
        return _summed(np.stack(list(self._runs(point))))


def _pixels(dataset: Any, width: float, summed: bool) -> float:
    """Number of bins of a dataset in a square of some width in deg."""
    counts = dataset.counts
    scale = WcsGrid(dataset.cube.attrs["wcs"], counts.shape[-2:]).max_pixel_scale
    return float(((width / scale + 1) ** 2) * (1 if summed else counts.shape[0]))


def _blocks(tiles: list[Window], most: int) -> list[tuple[Window, ...]]:
    """Runs of tiles with a largest number of positions, unless one tile has more."""
    blocks: list[list[Window]] = []
    size = 0
    for tile in tiles:
        own = tile.shape[0] * tile.shape[1]
        if not blocks or size + own > most:
            blocks.append([])
            size = 0
        blocks[-1].append(tile)
        size += own
    return [tuple(block) for block in blocks]


def _summed(runs: Array) -> Array:
    """Compensated sum over runs (run, ...), in order."""
    total = np.zeros(runs.shape[1:])
    lost = np.zeros_like(total)
    for run in runs:
        add_compensated(total, lost, ..., run)
    result: Array = total + lost
    return result
