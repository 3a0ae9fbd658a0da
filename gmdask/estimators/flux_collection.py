"""Flux points of several sources, whose norms are fitted together in each energy bin."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np
from astropy import units as u
from distributed import Client
from numpy.typing import NDArray

from gmdask.attributes import KnownAttributes
from gmdask.cluster import check_client
from gmdask.datasets import Datasets, MapDataset, as_datasets
from gmdask.datasets.base import chosen_response
from gmdask.estimators.estimation import Options, bins_of, options_of, source_names
from gmdask.estimators.flux_points import FluxPoints
from gmdask.estimators.flux_points_estimator import dataset_of
from gmdask.estimators.reoptimized import scaled
from gmdask.evaluation.joint_likelihood import Objective
from gmdask.events import DatasetsProgress, Listener
from gmdask.fit.profile_likelihood import cross
from gmdask.fit.scans import minimum_of
from gmdask.fit.uncertainty import uncertainty
from gmdask.models import BackgroundIRFModel, Models

__all__ = ["FluxCollectionEstimator"]

Array = NDArray[np.float64]

KEYS = ("norm", "norm_err", "stat", "stat_null", "ts", "sqrt_ts")


class FluxCollectionEstimator(KnownAttributes):
    """Estimator of flux points of several sources, which are fitted together in each energy bin.

    Parameters
    ----------
    sources : list of str or int
        Names or indices of sky models; the others are kept fixed.
    energy_edges : Quantity
        Edges of the energy bins, which are rounded to those of the datasets.
    n_sigma, n_sigma_ul : float
        Number of standard deviations of errors and of upper limits.
    selection_optional : str or list of str, optional
        "errn-errp", "ul", or both ("all").
    reoptimize : bool
        Whether the free parameters of the background models are fitted, too.
    response : {"exact", "gammapy"}, optional
        How predicted counts are computed; set for the datasets. By default their setting is kept.

    Notes
    -----
    As Gammapy's ``FluxCollectionEstimator`` with a fit. Errors and limits of a source are those of the profile over the
    norms of the others; the null hypothesis of its ``ts`` is a norm of zero, with the others at their best values.
    """

    def __init__(
        self,
        sources: Sequence[str | int],
        energy_edges: u.Quantity,
        *,
        n_sigma: float = 1,
        n_sigma_ul: float = 2,
        selection_optional: str | Collection[str] | None = None,
        reoptimize: bool = False,
        response: str | None = None,
    ) -> None:
        self.sources, self.energy_edges = sources, energy_edges
        self._options = options_of(n_sigma, n_sigma_ul, selection_optional, [])
        self.reoptimize = bool(reoptimize)
        self.response = None if response is None else chosen_response(response)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.sources!r}>"

    def run(
        self,
        datasets: Datasets | MapDataset | Iterable[MapDataset],
        models: Models,
        client: Client | None = None,
        *,
        on_event: Listener | None = None,
    ) -> dict[str, FluxPoints]:
        """Estimate the flux points.

        Parameters
        ----------
        datasets : `Datasets`, or one `MapDataset` or several
        models : `Models`
            The global models; they are not changed.
        client : `distributed.Client`, optional
            Cluster to work on; by default this process.
        on_event : callable, optional
            Receives a `DatasetsProgress` after each energy bin.

        Returns
        -------
        points : dict of `FluxPoints`
            By name of the source.

        Raises
        ------
        UnknownNameError
            If there is no such source.
        InputError
            If a source is not a sky model, or no dataset has a bin in an energy range.
        FitError
            If no minimum is found in an energy bin.
        """
        check_client(client)
        datasets = as_datasets(datasets)
        if self.response is not None:
            datasets.set_response(self.response)
        datasets.follow(models)
        names = source_names(models, list(self.sources))
        bins = bins_of(datasets, self.energy_edges)
        n = len(bins.low)
        found = {key: np.full((len(names), n), np.nan) for key in (*KEYS, *self._options.rises)}
        for i in range(n):
            numbers = [k for k, own in enumerate(bins.bins) if own[i][0] < own[i][1]]
            part = Datasets(
                datasets[k].slice_by_idx({"energy": slice(*bins.bins[k][i])}) for k in numbers
            )
            own = scaled(models, names, {datasets[k].name: bins.bins[k][i] for k in numbers})
            for model in own:
                if model.name not in names and not (
                    self.reoptimize and isinstance(model, BackgroundIRFModel)
                ):
                    model.freeze()
            part.set_models(own)
            for key, values in _norms(part, own, names, self._options, client).items():
                found[key][:, i] = values
            if on_event is not None:
                on_event(DatasetsProgress("reoptimize", i + 1, n))
        points = {}
        for k, name in enumerate(names):
            mine = {key: array[k] for key, array in found.items()}
            mine["success"] = np.isfinite(mine["norm"])
            reference = models[name].spectral_model.copy()
            data = dataset_of(mine, name, bins, self._options, reference, ("energy",), datasets)
            points[name] = FluxPoints(data, reference)
        return points


def _norms(
    datasets: Datasets,
    models: Models,
    names: Sequence[str],
    options: Options,
    client: Client | None,
) -> dict[str, Array]:
    """Fit the norms of scaled sources; arrays of shape (source,)."""
    norms = [models[name].spectral_model.norm for name in names]
    index = np.array([models.parameters.index(norm) for norm in norms])
    objective = Objective(datasets, models, client, shared=index.tolist())
    try:
        best = minimum_of(objective)
        errors = np.sqrt(
            uncertainty(objective, objective(best.values, order=2)).matrix.diagonal()[index]
        )
        found = {"norm": best.values[index], "norm_err": options.n_sigma * errors}
        null = np.empty(len(names))
        for k, place in enumerate(index):
            values = best.values.copy()
            values[place] = 0.0
            null[k] = objective(values, order=0).stat
        rises = options.rises
        if rises:
            held = np.searchsorted(objective.parameters.shared, index)
            levels, sides = (np.array(v, dtype=float) for v in zip(*rises.values(), strict=True))
            for k in range(len(names)):
                distance = cross(objective, best, held[[k]], sides[:, None], levels).distance
                for key, d in zip(rises, distance, strict=True):
                    value = found["norm"][k] + d if key == "norm_ul" else d
                    found.setdefault(key, np.full(len(names), np.nan))[k] = value
    finally:
        objective.close()
    ts = null - best.stat
    stat = np.full(len(names), best.stat)
    found |= {"stat": stat, "stat_null": null, "ts": ts}
    found["sqrt_ts"] = np.sign(found["norm"]) * np.sqrt(np.maximum(ts, 0.0))
    return found
