"""Profiles: fluxes of regions, as if each were a source with the spectrum of a model."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from astropy import units as u
from distributed import Client
from numpy.typing import ArrayLike, NDArray

from gmdask.attributes import KnownAttributes
from gmdask.cluster import check_client, run_tasks
from gmdask.datasets import Datasets, MapDataset, as_datasets
from gmdask.datasets.base import chosen_response
from gmdask.errors import InputError, check_kind
from gmdask.estimators.estimation import bins_of, estimate, options_of
from gmdask.estimators.flux_points_estimator import dataset_of
from gmdask.estimators.flux_profile import FluxProfile
from gmdask.estimators.map_geometry import all_energies
from gmdask.evaluation.norm_likelihood import EnergyBins, Summed
from gmdask.evaluation.partition import cube_of
from gmdask.events import DatasetsProgress, Listener
from gmdask.geometry import separation
from gmdask.geometry.regions import Region
from gmdask.likelihood.norms import NormLimits
from gmdask.likelihood.region_counts import RegionCounts, RegionSpec, region_counts
from gmdask.likelihood.statistics.cash import Cash
from gmdask.models import Models, PowerLawSpectralModel, SkyModel, SpectralModel

__all__ = ["FluxProfileEstimator"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]


class FluxProfileEstimator(KnownAttributes):
    """Estimator of fluxes of regions, in energy bins.

    Parameters
    ----------
    regions : sequence
        Regions in the sky, see `Region`; at least two.
    energy_edges : Quantity, optional
        Edges of the energy bins, which are rounded to those of the datasets; by default one bin with all energies.
    spectral_model : `SpectralModel`, optional
        Spectrum of each region; by default a power law of index 2.
    n_sigma, n_sigma_ul, selection_optional, norm_scan, response
        See `FluxPointsEstimator`.

    Notes
    -----
    The rules are those of Gammapy's ``FluxProfileEstimator``: counts within the safe mask and predicted counts of the
    models are summed over each region, and the exposure is averaged. The flux is that in the region, not corrected for
    the PSF. All regions and bins are solved for together.
    """

    def __init__(
        self,
        regions: Sequence[Any],
        energy_edges: u.Quantity | None = None,
        *,
        spectral_model: SpectralModel | None = None,
        n_sigma: float = 1,
        n_sigma_ul: float = 2,
        selection_optional: str | Collection[str] | None = None,
        norm_scan: ArrayLike | None = None,
        response: str | None = None,
    ) -> None:
        self.regions = [Region(region) for region in regions]
        if len(self.regions) < 2:
            msg = "a profile needs at least two regions"
            raise InputError(msg)
        self.energy_edges = energy_edges
        self.spectral_model = PowerLawSpectralModel() if spectral_model is None else spectral_model
        check_kind(self.spectral_model, SpectralModel, "a spectral model")
        self._options = options_of(n_sigma, n_sigma_ul, selection_optional, norm_scan)
        self.response = None if response is None else chosen_response(response)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self.regions)} regions>"

    @property
    def projected_distance(self) -> u.Quantity:
        """Distance (region,) of each region from the first, or the mean radius of annuli."""
        lon, lat = self.regions[0].center
        found = []
        for region in self.regions:
            shape = region.shapes[0]
            if hasattr(shape, "inner_radius") and hasattr(shape, "outer_radius"):
                found.append(float((shape.inner_radius + shape.outer_radius).to_value("deg") / 2))
            else:
                x, y = (np.asarray(v) for v in region.center)
                found.append(float(separation(x, y, lon, lat)))
        if not (np.diff(found) > 0).all():
            msg = f"the distances of the regions do not increase: {', '.join(f'{d:.4g}' for d in found)} deg"
            raise InputError(msg)
        return u.Quantity(found, "deg")

    def run(
        self,
        datasets: Datasets | MapDataset | Iterable[MapDataset],
        models: Models | None = None,
        client: Client | None = None,
        *,
        on_event: Listener | None = None,
    ) -> FluxProfile:
        """Estimate the fluxes.

        Parameters
        ----------
        datasets : `Datasets`, or one `MapDataset` or several
        models : `Models`, optional
            The global models, whose predicted counts belong to the background; they are not changed. By default there
            are no sources, and the backgrounds are those of the datasets.
        client : `distributed.Client`, optional
            Cluster to work on; by default this process.
        on_event : callable, optional
            Receives a `DatasetsProgress`.

        Returns
        -------
        profile : `FluxProfile`

        Raises
        ------
        InputError
            If a dataset is not a map of counts with Cash's statistic, a region contains no pixel of it, no dataset
            has a bin in an energy range, or the distances of the regions do not increase.
        """
        check_client(client)
        datasets = as_datasets(datasets)
        distance = self.projected_distance.value
        if self.response is not None:
            datasets.set_response(self.response)
        known = Models() if models is None else models
        datasets.follow(known)
        given = all_energies(datasets) if self.energy_edges is None else self.energy_edges
        bins = bins_of(datasets, given)
        reference = SkyModel(self.spectral_model.copy(), name="profile")
        plain, regions = Models([reference]).to_dict(), tuple(r.to_dict() for r in self.regions)
        specs = []
        for dataset in datasets:
            mine = Models([known[k] for k in known.positions_for(dataset.name)]).to_dict()
            specs.append(
                RegionSpec(
                    dataset.name, cube_of(dataset, client), mine, plain, regions, dataset.response
                )
            )
        parts: dict[int, RegionCounts] = {}
        for done, (k, part) in enumerate(run_tasks(region_counts, specs, client), 1):
            parts[k] = part
            if on_event is not None:
                on_event(DatasetsProgress("compile", done, len(specs)))
        norms = _RegionNorms([parts[k] for k in range(len(specs))], bins)
        found = estimate(norms, np.zeros(len(specs), dtype=np.intp), 1, self._options)
        own = {
            key: values if key in ("npred", "npred_excess", "counts") else values[:, :, 0]
            for key, values in found.items()
        }
        dims = ("projected_distance", "energy")
        data = dataset_of(own, "profile", bins, self._options, self.spectral_model, dims, datasets)
        middle = 0.5 * (distance[1:] + distance[:-1])
        low = np.concatenate([[1.5 * distance[0] - 0.5 * distance[1]], middle])
        high = np.concatenate([middle, [1.5 * distance[-1] - 0.5 * distance[-2]]])
        for key, values in (("x_ref", distance), ("x_min", low), ("x_max", high)):
            data[key] = xr.Variable(("projected_distance",), values, {"units": "deg"})
        return FluxProfile(data, self.spectral_model.copy())


class _RegionNorms:
    """Likelihood of the norms of regions; see `NormLikelihood`."""

    def __init__(self, parts: list[RegionCounts], bins: EnergyBins) -> None:
        shape = (
            len(parts[0].counts),
            len(bins.low),
            len(parts),
            max(p.counts.shape[1] for p in parts),
        )
        counts, npred, signal = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        used = np.zeros(shape, dtype=bool)
        for d, (part, own) in enumerate(zip(parts, bins.bins, strict=True)):
            for g, (start, stop) in enumerate(own):
                for target, values in (
                    (counts, part.counts),
                    (npred, part.npred),
                    (signal, part.expected),
                ):
                    target[:, g, d, start:stop] = values[:, start:stop]
                used[:, g, d, start:stop] = part.mask[:, start:stop]
        self.shape = shape[0], shape[1]
        self._used, self._npred, self._signal = used, npred, np.where(used, signal, 0.0)
        self._cash = Cash(counts)
        ratio = np.where(self._signal > 0, npred, np.inf) / np.where(
            self._signal > 0, self._signal, 1.0
        )
        occupied = np.where(counts > 0, ratio, np.inf)
        self.limits = NormLimits(
            self._signal.sum(axis=-1), np.where(used, counts, 0.0).sum(axis=-1), -occupied.min(axis=-1),
            -ratio.min(axis=-1), np.full(shape[:3], -np.inf),
        )  # fmt: skip

    def __call__(self, norms: Array, label: Index) -> Summed:
        """Sum over the datasets; see `NormLikelihood`."""
        del label
        total = np.empty((3, *norms.shape))
        for k in range(norms.shape[-1]):
            npred = self._npred + norms[:, :, :1, k, None] * self._signal
            first, second = self._cash.slopes(npred)
            terms = self._cash.per_bin(npred), self._signal * first, self._signal**2 * second
            for row, term in zip(total, terms, strict=True):
                row[..., 0, k] = np.where(self._used, term, 0.0).sum(axis=(-2, -1))
        return Summed(*total)

    def npred(self, norms: Array, label: Index) -> Array:
        """Predicted counts (region, energy, dataset) at norms (region, energy, 1)."""
        del label
        counts = self._cash.predicted(self._npred + norms[..., None] * self._signal)
        result: Array = np.where(self._used, counts, 0.0).sum(axis=-1)
        return result
