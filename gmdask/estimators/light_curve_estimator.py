"""Light curves: the norm of a source in each energy bin, over time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr
from astropy import units as u
from astropy.time import Time
from distributed import Client
from numpy.typing import NDArray

from gmdask.cluster import check_client
from gmdask.datasets import Datasets, MapDataset, as_datasets
from gmdask.datasets.operations.gti import time_intervals, utc_text
from gmdask.errors import InputError, described
from gmdask.estimators.estimation import bins_of, source_names
from gmdask.estimators.flux_points_estimator import PER_DATASET, FluxPointsEstimator, dataset_of
from gmdask.estimators.light_curve import LightCurve
from gmdask.events import Listener
from gmdask.models import Models

__all__ = ["LightCurveEstimator"]

Index = NDArray[np.intp]


class LightCurveEstimator(FluxPointsEstimator):
    """Estimator of the norms of one or several sources in energy bins, over time.

    Parameters
    ----------
    time_intervals : list of pairs of `~astropy.time.Time`, optional
        Start and end of each point, which uses the datasets whose good time intervals lie within.
        Times given as text are UTC.
    groups : list of list of str, optional
        Names of the datasets of each point, as an alternative to time intervals.
    atol : Quantity or str
        Time by which datasets may extend beyond an interval.
    **options
        Options of `FluxPointsEstimator`.

    Notes
    -----
    By default there is one point per observation; observations that overlap in time are merged. As in Gammapy,
    intervals without any dataset are left out.
    """

    def __init__(
        self,
        source: str | int | Sequence[str | int] = 0,
        energy_edges: u.Quantity | None = None,
        *,
        time_intervals: Sequence[Any] | None = None,
        groups: Sequence[Sequence[str]] | None = None,
        atol: u.Quantity | str = "1e-6 s",
        **options: Any,
    ) -> None:
        if time_intervals is not None and groups is not None:
            msg = "time_intervals and groups are both given, expected only one of them"
            raise InputError(msg)
        super().__init__(source, energy_edges, **options)
        self.time_intervals, self.groups = time_intervals, groups
        try:
            self.atol = u.Quantity(atol, "s")
        except (TypeError, ValueError, u.UnitsError) as error:
            msg = f"atol is {described(atol)}, expected a time such as '1e-6 s'"
            raise InputError(msg) from error

    def run(  # type: ignore[override]
        self,
        datasets: Datasets | MapDataset | Iterable[MapDataset],
        models: Models,
        client: Client | None = None,
        *,
        on_event: Listener | None = None,
    ) -> LightCurve | dict[str, LightCurve]:
        """Estimate the light curve.

        Parameters
        ----------
        datasets : `Datasets`, or one `MapDataset` or several
        models : `Models`
            The global models; they are not changed.
        client : `distributed.Client`, optional
            Cluster to work on; by default this process. The numbers are the same to the last bit.
        on_event : callable, optional
            Receives a `DatasetsProgress` while the datasets are compiled, and with `reoptimize` for each
            point.

        Returns
        -------
        curve : `LightCurve`, or a dict of them by name if several sources were requested

        Raises
        ------
        UnknownNameError
            If there is no such source or dataset.
        InputError
            If a dataset has no good time intervals, or no interval has a dataset.
        """
        check_client(client)
        datasets = as_datasets(datasets)
        self._begin(datasets, models)
        names = source_names(models, self.source)
        bins = bins_of(datasets, self.energy_edges)
        label, low, high = self._points(datasets)
        found = self._estimate(datasets, models, names, bins, [label], client, on_event)[0]
        curves = {}
        for k, name in enumerate(names):
            own = {
                key: _per_time(values[k], label, len(low)) if key in PER_DATASET
                else np.swapaxes(values[k], 0, 1)
                for key, values in found.items()
            }  # fmt: skip
            reference = models[name].spectral_model.copy()
            dims = ("time", "energy")
            data = dataset_of(own, name, bins, self._options, reference, dims, datasets)
            times = {
                key: xr.Variable(("time",), times.mjd, {"units": "d"})
                for key, times in (("time_min", low), ("time_max", high))
            }
            curves[name] = LightCurve(
                data.assign_coords(times).assign_attrs(time_scale=low.scale), reference
            )
        return curves[names[0]] if isinstance(self.source, str | int) else curves

    def _points(self, datasets: Datasets) -> tuple[Index, Time, Time]:
        """Return the point of each dataset, and the start and end of the points."""
        start, stop = _spans(datasets)
        label = np.full(len(datasets), -1, dtype=np.intp)
        if self.groups is not None:
            for g, group in enumerate(self.groups):
                for name in group:
                    label[datasets.names.index(datasets[name].name)] = g
            used = [np.flatnonzero(label == g) for g in range(len(self.groups))]
            if not used or not all(map(len, used)):
                msg = "groups: each point needs datasets that no other point uses"
                raise InputError(msg)
            return label, Time([start[k].min() for k in used]), Time([stop[k].max() for k in used])
        low, high = _merged(start, stop) if self.time_intervals is None else self._intervals()
        kept: list[tuple[Time, Time]] = []
        for t_min, t_max in zip(low, high, strict=True):
            inside = (start >= t_min - self.atol) & (stop <= t_max + self.atol)
            if inside.any():
                label[inside] = len(kept)
                kept.append((t_min, t_max))
        if not kept:
            span = f"{utc_text(start.min())} to {utc_text(stop.max())}"
            msg = f"no dataset lies within any of the time intervals: the datasets span {span}"
            raise InputError(msg)
        low, high = (getattr(Time(list(times)), start.scale) for times in zip(*kept, strict=True))
        return label, low, high

    def _intervals(self) -> tuple[Time, Time]:
        try:
            pairs = [(Time(low), Time(high)) for low, high in self.time_intervals or ()]
        except (TypeError, ValueError) as error:
            reason = str(error).splitlines()[0]  # astropy's message; further lines list all formats
            msg = f"time_intervals is {self.time_intervals!r}, expected pairs of times ({reason})"
            raise InputError(msg) from error
        pairs = sorted(pairs, key=lambda pair: float(pair[0].tt.mjd))
        for (_, end), (begin, _) in pairwise(pairs):
            if begin < end:
                msg = f"time_intervals overlap: one ends at {utc_text(end)}, the next begins at {utc_text(begin)}"
                raise InputError(msg)
        if not pairs:
            msg = "time_intervals is empty"
            raise InputError(msg)
        low, high = zip(*pairs, strict=True)
        return Time(list(low)), Time(list(high))


def _spans(datasets: Datasets) -> tuple[Time, Time]:
    """Return the start and end of each dataset."""
    spans = []
    for dataset in datasets:
        intervals = time_intervals(dataset.cube)
        if intervals is None:
            msg = f"dataset {dataset.name!r} has no good time intervals, which a light curve needs"
            raise InputError(msg)
        spans.append((intervals[0].min(), intervals[1].max()))
    if not spans:
        msg = "there are no datasets to make a light curve of"
        raise InputError(msg)
    start, stop = zip(*spans, strict=True)
    return Time(list(start)), Time(list(stop))


def _merged(start: Time, stop: Time) -> tuple[Time, Time]:
    """Return the intervals in order of time, with overlapping ones merged."""
    order = np.argsort(start)
    low, high = [start[order[0]]], [stop[order[0]]]
    for k in order[1:]:
        if start[k] < high[-1]:
            high[-1] = max(high[-1], stop[k])
        else:
            low.append(start[k])
            high.append(stop[k])
    return Time(low), Time(high)


def _per_time(values: NDArray[np.float64], label: Index, n: int) -> NDArray[np.float64]:
    """Spread values (energy, dataset) over the time of each dataset, as (time, energy, dataset)."""
    mine = np.arange(n)[:, None] == label
    return np.where(mine[:, None, :], values, np.nan)
