"""The likelihood of the norms of sources in energy bins, in this process or on a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from distributed import Client
from numpy.typing import NDArray

from gmdask.cluster import Engine, make_engine
from gmdask.datasets import Datasets
from gmdask.evaluation.compensated_sum import add_compensated
from gmdask.evaluation.partition import cube_of, deal, gather, n_groups, own_models, plan_of
from gmdask.events import Listener
from gmdask.likelihood.norms import (
    NormGroupSpec,
    NormLimits,
    NormSpec,
    compile_norms,
    evaluate_norms,
)
from gmdask.models import Models

__all__ = ["EnergyBins", "NormLikelihood", "Summed"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]


class EnergyBins(NamedTuple):
    """Energy ranges, rounded to the axes of the datasets.

    Attributes
    ----------
    low, high : array of shape (range,)
        In TeV: the widest range among all datasets.
    bins : list of tuple of (int, int)
        For each dataset, first and end bin of each range; equal if it has no bin there.
    """

    low: Array
    high: Array
    bins: list[tuple[tuple[int, int], ...]]


class Summed(NamedTuple):
    """Sums over the datasets of each group, each of shape (source, energy, group, K)."""

    stat: Array
    first: Array
    second: Array


class NormLikelihood:
    """Statistic as a function of norms, with all other parameters at the values of the models.

    Parameters
    ----------
    datasets : `Datasets`
    models : `Models`
        The global models; they are not changed.
    sources : sequence of str
        Names of the sources.
    bins : `EnergyBins`
    client : `distributed.Client`, optional
        Cluster to evaluate on. The numbers are the same to the last bit.
    on_event : callable, optional
        Receives a `DatasetsProgress` while the datasets are compiled.

    Attributes
    ----------
    has : boolean array of shape (source, dataset)
        Whether a source contributes to a dataset.
    """

    def __init__(
        self,
        datasets: Datasets,
        models: Models,
        sources: Sequence[str],
        bins: EnergyBins,
        client: Client | None = None,
        on_event: Listener | None = None,
    ) -> None:
        self.shape = len(sources), len(bins.low)
        self.n_datasets = len(datasets)
        self.has = np.array(
            [[models[source].applies_to(d.name) for d in datasets] for source in sources],
            dtype=bool,
        ).reshape(len(sources), len(datasets))
        self._numbers = np.flatnonzero(self.has.any(axis=0))
        chosen = [datasets[int(k)] for k in self._numbers]
        specs = [
            NormSpec(
                dataset.name,
                cube_of(dataset, client),
                tuple(models.positions_for(dataset.name)),
                tuple(s for s, there in zip(sources, self.has[:, k], strict=True) if there),
                bins.bins[k],
                dataset.response,
            )
            for dataset, k in zip(chosen, self._numbers, strict=True)
        ]
        n = n_groups(len(specs), client)
        self._groups = deal(list(zip(self._numbers.tolist(), specs, strict=True)), n)
        cubes = 1 + max((len(spec.sources) for spec in specs), default=0)
        plan = None if client is None else plan_of(client, compile_norms, chosen, specs, cubes)
        budget = None if plan is None else plan.budget
        described = [
            NormGroupSpec(*own_models(models, (spec for _, spec in group)), budget)
            for group in self._groups
        ]
        self._engine: Engine[list[Array] | None, list[Array] | list[NormLimits]] = make_engine(
            compile_norms, evaluate_norms, described, client, on_event, list(map(len, self._groups))
        )
        self.limits = self._limits()

    def close(self) -> None:
        """Release the compiled datasets."""
        self._engine.close()

    def _limits(self) -> NormLimits:
        """Limits, each of shape (source, energy, dataset)."""
        answers = self._engine([None] * len(self._groups))
        found = np.full((len(NormLimits._fields), *self.shape, self.n_datasets), np.nan)
        for k, limits in zip(self._numbers, gather(answers), strict=True):
            found[:, self.has[:, k], :, k] = np.array(limits).reshape(
                len(found), -1, self.shape[1]
            ).transpose(1, 0, 2)  # fmt: skip
        return NormLimits(*found)

    def _evaluate(self, norms: Array, label: Index) -> list[tuple[int, Array]]:
        """For each dataset of a group: its index, and its values (4, source, energy, K)."""
        active = [int(k) for k in self._numbers]
        asked = {k: norms[self.has[:, k], :, label[k]] for k in active if label[k] >= 0}
        n = norms.shape[-1]
        payloads = [
            [
                asked[k].reshape(-1, n) if k in asked else np.zeros((len(spec.sources) * self.shape[1], 0))
                for k, spec in group
            ]
            for group in self._groups
        ]  # fmt: skip
        found = [np.asarray(values) for values in gather(self._engine(payloads))]
        return [
            (k, values.reshape(4, -1, self.shape[1], n))
            for k, values in zip(active, found, strict=True)
            if k in asked
        ]

    def __call__(self, norms: Array, label: Index) -> Summed:
        """Evaluate, and sum in the order of the datasets.

        Parameters
        ----------
        norms : array of shape (source, energy, group, K)
        label : array of shape (dataset,)
            Group of each dataset, negative for none.
        """
        total = np.zeros((3, *norms.shape))
        lost = np.zeros_like(total)
        for k, values in self._evaluate(norms, label):
            at = (slice(None), self.has[:, k], slice(None), label[k])
            add_compensated(total, lost, at, values[:3].swapaxes(0, 1))
        return Summed(*(total + lost))

    def npred(self, norms: Array, label: Index) -> Array:
        """Return predicted counts (source, energy, dataset) of all models at norms (source, energy, group)."""
        result = np.full((*self.shape, self.n_datasets), np.nan)
        for k, values in self._evaluate(norms[..., None], label):
            result[self.has[:, k], :, k] = values[3, ..., 0]
        return result
