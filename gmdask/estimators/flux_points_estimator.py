"""Flux points: the norm of a source in each energy bin."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from astropy import units as u
from distributed import Client
from numpy.typing import ArrayLike, NDArray

from gmdask.attributes import KnownAttributes
from gmdask.cluster import check_client
from gmdask.datasets import Datasets, MapDataset, as_datasets
from gmdask.datasets.base import chosen_response
from gmdask.estimators.estimation import Options, bins_of, estimate, options_of, source_names
from gmdask.estimators.flux_data import reference_fluxes
from gmdask.estimators.flux_points import FluxPoints
from gmdask.estimators.reoptimized import estimate_reoptimized
from gmdask.evaluation.norm_likelihood import EnergyBins, NormLikelihood
from gmdask.events import Listener, counted
from gmdask.models import Models, SkyModel

__all__ = ["FluxPointsEstimator"]

Array = NDArray[np.float64]

PER_DATASET = ("npred", "npred_excess", "counts")


class FluxPointsEstimator(KnownAttributes):
    """Estimator of the norms of one or several sources in energy bins.

    Parameters
    ----------
    source : str, int, or list of these
        Names or indices of sky models.
    energy_edges : Quantity
        Edges of the energy bins, which are rounded to those of the datasets.
    n_sigma, n_sigma_ul : float
        Number of standard deviations of errors and of upper limits.
    selection_optional : str or list of str, optional
        Some of "errn-errp", "ul", "scan"; or "all".
    reoptimize : bool
        Whether the free parameters of all other models are also fitted in each bin; those of the source
        itself never are.
    norm_scan : array, optional
        Norms at which "scan" evaluates the statistic; by default 11 from 0.2 to 5.
    per_dataset : bool
        Whether each dataset is also estimated alone.
    response : {"exact", "gammapy"}, optional
        How predicted counts are computed; set for the datasets. By default their setting is kept.

    Notes
    -----
    Rules and numbers are those of Gammapy's ``FluxPointsEstimator``. Without `reoptimize`, each dataset
    is folded with the response once, whatever the number of bins and sources, and all norms are
    solved for together.

    If the minimum lies at a norm below which predictions are clipped at zero, the curvature there, and
    with it ``norm_err``, is one-sided: use the asymmetric errors.
    """

    def __init__(
        self,
        source: str | int | Sequence[str | int] = 0,
        energy_edges: u.Quantity | None = None,
        *,
        n_sigma: float = 1,
        n_sigma_ul: float = 2,
        selection_optional: str | Collection[str] | None = None,
        reoptimize: bool = False,
        norm_scan: ArrayLike | None = None,
        per_dataset: bool = False,
        response: str | None = None,
    ) -> None:
        self.source = source
        self.energy_edges = u.Quantity([1, 10], "TeV") if energy_edges is None else energy_edges
        self._options = options_of(n_sigma, n_sigma_ul, selection_optional, norm_scan)
        self.reoptimize, self.per_dataset = reoptimize, per_dataset
        self.response = None if response is None else chosen_response(response)

    def __repr__(self) -> str:
        edges = u.Quantity(self.energy_edges)
        more = ", ".join(sorted(self._options.chosen))
        return (
            f"<{type(self).__name__} of {self.source!r}: {counted(max(edges.size - 1, 0), 'energy bin')}, "
            f"{edges.min():.4g} to {edges.max():.4g}{', ' if more else ''}{more}"
            f"{', other models fitted too' if self.reoptimize else ''}>"
        )

    def run(
        self,
        datasets: Datasets | MapDataset | Iterable[MapDataset],
        models: Models,
        client: Client | None = None,
        *,
        on_event: Listener | None = None,
    ) -> FluxPoints | dict[str, FluxPoints]:
        """Estimate the flux points.

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
        points : `FluxPoints`, or a dict of them by name if several sources were requested

        Raises
        ------
        UnknownNameError
            If there is no such source.
        InputError
            If a source is not a sky model, or no dataset has a bin in an energy range.
        ModelError
            If a source predicts negative counts.
        """
        check_client(client)
        datasets = as_datasets(datasets)
        self._begin(datasets, models)
        names = source_names(models, self.source)
        bins = bins_of(datasets, self.energy_edges)
        labels = [np.zeros(len(datasets), dtype=np.intp)]
        labels += [np.arange(len(datasets))] if self.per_dataset else []
        found = self._estimate(datasets, models, names, bins, labels, client, on_event)
        points = {
            name: _points(self._options, models[name], bins, datasets, k, *found)
            for k, name in enumerate(names)
        }
        return points[names[0]] if isinstance(self.source, str | int) else points

    def _begin(self, datasets: Datasets, models: Models) -> None:
        """Set the response and the models of the datasets."""
        if self.response is not None:
            datasets.set_response(self.response)
        datasets.follow(models)

    def _estimate(
        self,
        datasets: Datasets,
        models: Models,
        names: list[str],
        bins: EnergyBins,
        labels: Sequence[NDArray[np.intp]],
        client: Client | None,
        on_event: Listener | None,
    ) -> list[dict[str, Array]]:
        """Estimate for several groupings of the datasets."""
        likelihood = NormLikelihood(datasets, models, names, bins, client, on_event)
        found: list[dict[str, Array]] = []
        try:
            for label in labels:
                n = int(label.max(initial=-1)) + 1
                values = estimate(likelihood, label, n, self._options)
                if self.reoptimize:
                    values = estimate_reoptimized(
                        datasets, models, names, bins, label, self._options, values, client, on_event
                    )  # fmt: skip
                found.append(values)
        finally:
            likelihood.close()
        return found


def _points(
    options: Options,
    source: SkyModel,
    bins: EnergyBins,
    datasets: Datasets,
    k: int,
    joint: dict[str, Array],
    apart: dict[str, Array] | None = None,
) -> FluxPoints:
    """Flux points of source number k."""
    reference = source.spectral_model.copy()
    own = {
        key: values[k] if key in PER_DATASET else values[k, :, 0] for key, values in joint.items()
    }
    data = dataset_of(own, source.name, bins, options, reference, ("energy",), datasets)
    if apart is None:
        return FluxPoints(data, reference)
    each = {key: np.swapaxes(values[k], 0, 1) for key, values in apart.items()}
    dims = ("dataset", "energy")
    alone = dataset_of(each, source.name, bins, options, reference, dims, datasets)
    return FluxPoints(data, reference, FluxPoints(alone, reference))


def dataset_of(
    found: dict[str, Array],
    source: str,
    bins: EnergyBins,
    options: Options,
    reference: Any,
    dims: tuple[str, ...],
    datasets: Datasets,
) -> xr.Dataset:
    """Return the dataset of `FluxData` from the estimated arrays.

    Parameters
    ----------
    found : dict
        Arrays along `dims`, followed by the datasets or by the norms of the scan where they apply.
    """
    arrays = reference_fluxes(reference, bins.low, bins.high)
    for key, values in found.items():
        more: tuple[str, ...] = ("scan",) if key == "stat_scan" else ()
        if key in PER_DATASET and "dataset" not in dims:
            more = ("dataset",)  # in addition to the dimensions of the norms
        attrs = {} if key == "success" else {"units": ""}
        arrays[key] = xr.Variable((*dims, *more), values, attrs)
    if "stat_scan" in found:
        arrays["norm_scan"] = xr.Variable(("scan",), options.scan, {"units": ""})
    header: dict[str, Any] = {
        "source": source,
        "n_sigma": options.n_sigma,
        "n_sigma_ul": options.n_sigma_ul,
        "response": datasets.response,
    }
    coords = {"dataset": datasets.names, "energy": arrays["e_ref"].copy()}
    return xr.Dataset(arrays, coords=coords, attrs=header)
