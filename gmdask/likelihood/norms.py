"""The likelihood of a source's norm in energy bins, with everything else fixed.

Counts of a source are linear in its norm. With everything else fixed, a dataset needs, for
each source and energy bin, only the source's counts and the other predicted counts in the bins of the mask
that have counts, and the sums over the other bins. All norms are then evaluated at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gmdask.errors import ModelError
from gmdask.geometry import Window
from gmdask.likelihood.dataset_likelihood import CompiledDataset
from gmdask.likelihood.described_unit import DescribedGroup
from gmdask.likelihood.memory import Memory
from gmdask.likelihood.npred import npred_parts
from gmdask.likelihood.observation import Observation
from gmdask.likelihood.responses import EXACT
from gmdask.likelihood.statistics import TRUNCATION, Statistic, statistic_type
from gmdask.likelihood.threads import one_thread
from gmdask.models import DatasetModels, Models, ResponseModifier, SkyModel
from gmdask.store.cube_source import CubeSource, named_cube

__all__ = [
    "NormGroup",
    "NormGroupSpec",
    "NormLimits",
    "NormSpec",
    "compile_norms",
    "evaluate_norms",
]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

NOTHING = 1e-9  # fraction of a source's highest bin below which counts are rounding errors of the convolution
REACH = 10.0  # lowest norm that is exact, in units of the norm and of its expected error


@dataclass(frozen=True)
class NormSpec:
    """A dataset and the requested norms, as plain data.

    Attributes
    ----------
    name : str
    cube : `CubeSource` or `xarray.Dataset`
        Location of the data, or the data.
    components : tuple of int
        Indices of its models among those of the group.
    sources : tuple of str
        Names of the sources whose norms are requested.
    bins : tuple of (int, int)
        First and end bin of each energy range; equal if the dataset has no bin there.
    response : {"exact", "gammapy"}
        How predicted counts are computed.
    """

    name: str
    cube: CubeSource | xr.Dataset
    components: tuple[int, ...]
    sources: tuple[str, ...]
    bins: tuple[tuple[int, int], ...]
    response: str = EXACT


@dataclass(frozen=True)
class NormGroupSpec:
    """Datasets that are evaluated together; see `gmdask.likelihood.work_unit.GroupSpec`."""

    models: dict[str, Any]
    datasets: Sequence[NormSpec]
    budget: int | None = None


class NormLimits(NamedTuple):
    """Properties of the norms of a dataset, each of shape (source * energy bin,).

    Attributes
    ----------
    signal : array
        Counts of the source in the mask, at a norm of 1.
    counts : array
        Counts in the mask.
    wall : array
        Highest norm at which the prediction vanishes in a bin with counts; minus
        infinity if there is none. For statistics that allow negative predictions, the lowest norm that
        is considered.
    zero : array
        The same for all bins of the mask.
    reach : array
        Lowest norm for which the statistic is exact.
    """

    signal: Array
    counts: Array
    wall: Array
    zero: Array
    reach: Array


class _Norm(NamedTuple):
    """One source in one energy bin: the bins that are kept, and the sum over the others.

    The others contribute ``fixed + 2 norm slope`` to the statistic, and ``plain + norm slope`` to npred.
    """

    signal: Array
    rest: Array
    data: tuple[Array, ...]
    fixed: float
    plain: float
    slope: float


class CompiledNorms:
    """Norms of one dataset.

    Parameters
    ----------
    spec : `NormSpec`
    models : `Models`
        Models of the group.
    memory : `Memory`
        Storage of arrays.

    Raises
    ------
    ModelError
        If a source predicts negative counts.
    """

    def __init__(self, spec: NormSpec, models: Models, memory: Memory) -> None:
        own = DatasetModels([models[k] for k in spec.components])
        cube = named_cube(spec.name, spec.cube)
        observation = Observation(cube)
        total, parts = _parts(observation, cube, own, spec.sources, spec.response)
        kind = statistic_type(cube.attrs)
        statistic = kind(*(observation.data(name) for name in kind.reads))
        norms, limits = [], []
        for source in spec.sources:
            window, signal = parts.get(source, (Window(0, 0, 0, 0), np.zeros((len(total), 0, 0))))
            largest = float(signal.max(initial=0.0))
            if signal.min(initial=0.0) < -1e-6 * max(largest, TRUNCATION):
                msg = f"source {source!r} predicts negative counts in dataset {spec.name!r}: its norm is not defined"
                raise ModelError(msg)
            for start, stop in spec.bins:
                energies = slice(start, stop)
                norm, limit = _norm(
                    observation,
                    statistic,
                    total[energies],
                    window,
                    signal[energies],
                    energies,
                    largest,
                )
                norms.append(norm)
                limits.append(limit)
        self.limits = NormLimits(*np.array(limits).reshape(-1, len(NormLimits._fields)).T.copy())
        sizes = np.array([len(norm.signal) for norm in norms], dtype=np.intp)
        self._filled = np.flatnonzero(sizes)
        self._starts = (np.cumsum(sizes) - sizes)[self._filled]
        self._sizes = sizes[self._filled]
        self._signal, self._rest, *data = (
            memory.keep(np.concatenate([np.zeros(0), *arrays]))
            for arrays in zip(*((n.signal, n.rest, *n.data) for n in norms), strict=True)
        )
        self._statistic = kind(*data)
        self._fixed, self._plain, self._slope = (
            np.array(values) for values in list(zip(*norms, strict=True))[3:]
        )

    def evaluate(self, norms: Array) -> Array:
        """Evaluate the statistic, its first and second derivative with respect to the norm, and npred.

        Parameters
        ----------
        norms : array of shape (source * energy bin, K)

        Returns
        -------
        result : array of shape (4, source * energy bin, K)
        """
        slope = self._slope[:, None]
        result = np.stack([
            self._fixed[:, None] + 2 * norms * slope,
            np.broadcast_to(2 * slope, norms.shape),
            np.zeros(norms.shape),
            self._plain[:, None] + norms * slope,
        ])  # fmt: skip
        for k in range(norms.shape[1] if len(self._filled) else 0):
            npred = self._rest + self._signal * np.repeat(norms[self._filled, k], self._sizes)
            first, second = self._statistic.slopes(npred)
            terms = (
                self._statistic.per_bin(npred),
                self._signal * first,
                self._signal * self._signal * second,
                self._statistic.predicted(npred),
            )
            for row, term in enumerate(terms):
                result[row, self._filled, k] += np.add.reduceat(term, self._starts)
        return result


def _parts(
    observation: Observation,
    cube: xr.Dataset,
    models: DatasetModels,
    sources: Sequence[str],
    response: str,
) -> tuple[Array, dict[str, tuple[Window, Array]]]:
    """Return the predicted counts of all models, and of some sources in their windows."""
    if not observation.is_region:
        return npred_parts(observation, cube, models, sources, response)
    shape = observation.mask.shape
    window = Window(0, shape[1], 0, shape[2])
    bare = cube.drop_vars("background", errors="ignore")

    def npred(data: xr.Dataset, own: DatasetModels) -> Array:
        compiled = CompiledDataset(data, own, bins="all", response=response)
        return compiled.npred(own.parameters.value).reshape(shape)

    alone = [m for m in models if m.name in sources and isinstance(m, SkyModel)]
    modifiers = [m for m in models if isinstance(m, ResponseModifier)]
    return npred(cube, models), {
        m.name: (window, npred(bare, DatasetModels([m, *modifiers]))) for m in alone
    }


def _norm(
    observation: Observation,
    statistic: Statistic,
    total: Array,
    window: Window,
    signal: Array,
    energies: slice,
    largest: float,
) -> tuple[_Norm, tuple[float, ...]]:
    """Choose the bins to keep for one source in one energy bin."""
    mask, statistic = observation.mask[energies], statistic.at(energies)
    inside = (slice(None), *window.slices)
    seen = np.zeros(mask.shape, dtype=bool)
    seen[inside] = signal > NOTHING * largest
    seen &= mask
    own = np.zeros(0) if not seen.any() else signal[seen[inside]]
    at, rest = statistic.at(seen), total[seen] - own
    ratio = np.where(own > 0, rest, np.inf) / np.where(own > 0, own, 1.0)
    variance = float(np.sum(own * own / at.spread(rest)))
    reach = REACH * (1.0 + (variance**-0.5 if variance > 0 else 0.0))
    kept = ~at.is_linear | (ratio < reach)
    fixed_bins = mask & ~seen
    others, plain = total[fixed_bins], float(rest[~kept].sum())
    fixed = statistic.at(fixed_bins).dense(others, plain).stat
    plain += float(statistic.predicted(others).sum())
    slope = float(own[~kept].sum())
    norm = _Norm(own[kept], rest[kept], at.at(kept).data, fixed, plain, slope)
    wall = -float(ratio[at.is_bounded].min(initial=np.inf))
    zero = -float(ratio.min(initial=np.inf))
    if at.signed and seen.any():
        wall = zero = -reach
    return norm, (
        float(own.sum()),
        float(observation.counts[energies][mask].sum()),
        wall,
        zero,
        -reach,
    )


class NormGroup(DescribedGroup[NormGroupSpec]):
    """Norms of the datasets of a group; see `NormGroupSpec`."""

    @cached_property
    def datasets(self) -> list[CompiledNorms]:
        """Norms of each dataset."""
        return self._compiled(lambda _: None)

    def compile(self, on_made: Callable[[int], None]) -> None:
        """Compile the datasets, and report how many are done."""
        self.datasets = self._compiled(on_made)

    def _compiled(self, on_made: Callable[[int], None]) -> list[CompiledNorms]:
        models, made = Models.from_dict(self.spec.models), []
        for dataset in self.spec.datasets:
            made.append(CompiledNorms(dataset, models, self.memory))
            on_made(len(made))
        return made


def compile_norms(
    spec: NormGroupSpec,
    folder: str | None = None,
    *,
    on_made: Callable[[int], None] = lambda _: None,
) -> NormGroup:
    """Compile a group from its description, on one thread; see `compile_group`."""
    group = NormGroup(spec, folder)
    with one_thread():
        group.compile(on_made)
    return group


def evaluate_norms(
    group: NormGroup, norms: Sequence[Array] | None
) -> list[Array] | list[NormLimits]:
    """Evaluate a group at the norms of each dataset, or return their limits if the norms are None.

    Parameters
    ----------
    group : `NormGroup`
    norms : sequence of array of shape (source * energy bin, K), or None
    """
    with one_thread():
        if norms is None:
            return [dataset.limits for dataset in group.datasets]
        results = []
        for dataset, own in zip(group.datasets, norms, strict=True):
            results.append(dataset.evaluate(np.require(own, requirements=["C", "A"])))
            group.memory.rest()
        return results
