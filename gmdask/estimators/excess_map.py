"""Maps of excess, significance and flux of counts within a radius around every position."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
import xarray as xr
from astropy import units as u
from distributed import Client
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from gmdask.attributes import KnownAttributes
from gmdask.cluster import check_client, run_tasks
from gmdask.datasets import Datasets, MapDataset, as_datasets, with_counts
from gmdask.datasets.base import chosen_response
from gmdask.errors import InputError, check_kind
from gmdask.estimators.counts_statistic import (
    error_down,
    error_up,
    excess_of_significance,
    significance_squared,
)
from gmdask.estimators.estimation import bins_of
from gmdask.estimators.flux_data import reference_fluxes
from gmdask.estimators.flux_maps import DIMS, FluxMaps, map_coords
from gmdask.estimators.map_geometry import all_energies, angle_of, map_grid
from gmdask.evaluation.partition import cube_of
from gmdask.events import DatasetsProgress, Listener
from gmdask.geometry import WcsGrid
from gmdask.likelihood.exposed_counts import ExposedCounts, ExposedSpec, exposed_counts
from gmdask.models import Models, PowerLawSpectralModel, SkyModel, SpectralModel

__all__ = ["ExcessMapEstimator"]

Array = NDArray[np.float64]

OPTIONAL = ("errn-errp", "ul", "sensitivity")


class ExcessMapEstimator(KnownAttributes):
    """Estimator of excess, significance (Li & Ma 1983, with a known background) and flux within a radius.

    Parameters
    ----------
    correlation_radius : Quantity
        Radius of the circle around each position in which counts are summed.
    energy_edges : Quantity, optional
        Edges of the energy bins, which are rounded to those of the datasets; by default one bin with all energies.
    spectral_model : `SpectralModel`, optional
        Spectrum that converts counts to fluxes; by default a power law of index 2.
    n_sigma, n_sigma_ul, n_sigma_sensitivity : float
        Number of standard deviations of errors, of upper limits, and of the sensitivity.
    selection_optional : str or list of str, optional
        Some of "errn-errp", "ul" and "sensitivity"; or "all".
    response : {"exact", "gammapy"}, optional
        How predicted counts are computed; set for the datasets. By default their setting is kept.

    Notes
    -----
    The rules are those of Gammapy's ``ExcessMapEstimator`` for datasets with a background model: counts and predicted
    counts within the masks are summed over the circle, and the exposure is averaged. Several datasets with the same
    pixels are summed, as if they were stacked.
    """

    def __init__(
        self,
        correlation_radius: Any = "0.1 deg",
        energy_edges: u.Quantity | None = None,
        *,
        spectral_model: SpectralModel | None = None,
        n_sigma: float = 1,
        n_sigma_ul: float = 2,
        n_sigma_sensitivity: float = 5,
        selection_optional: str | Collection[str] | None = None,
        response: str | None = None,
    ) -> None:
        self.correlation_radius = angle_of(correlation_radius, "correlation_radius")
        self.energy_edges = energy_edges
        self.spectral_model = PowerLawSpectralModel() if spectral_model is None else spectral_model
        check_kind(self.spectral_model, SpectralModel, "a spectral model")
        self.n_sigma, self.n_sigma_ul = float(n_sigma), float(n_sigma_ul)
        self.n_sigma_sensitivity = float(n_sigma_sensitivity)
        if not min(self.n_sigma, self.n_sigma_ul, self.n_sigma_sensitivity) > 0:
            msg = "n_sigma, n_sigma_ul and n_sigma_sensitivity: expected positive numbers"
            raise InputError(msg)
        given = selection_optional
        names = [given] if isinstance(given, str) else list(given or ())
        self.selection_optional = frozenset(OPTIONAL if "all" in names else names)
        if not self.selection_optional <= set(OPTIONAL):
            msg = f"selection_optional is {names}, expected some of {', '.join(OPTIONAL)}, or all"
            raise InputError(msg)
        self.response = None if response is None else chosen_response(response)

    def run(
        self,
        datasets: Datasets | MapDataset | Iterable[MapDataset],
        models: Models | None = None,
        client: Client | None = None,
        *,
        on_event: Listener | None = None,
    ) -> FluxMaps:
        """Estimate the maps.

        Parameters
        ----------
        datasets : `Datasets`, or one `MapDataset` or several
            With the same pixels.
        models : `Models`, optional
            The global models, whose predicted counts are no excess; they are not changed. By default there are no
            sources, and the backgrounds are those of the datasets.
        client : `distributed.Client`, optional
            Cluster to work on; by default this process.
        on_event : callable, optional
            Receives a `DatasetsProgress`.

        Returns
        -------
        maps : `FluxMaps`
            With ``counts``, ``npred``, ``npred_excess``, ``ts``, ``sqrt_ts``, ``norm`` and ``norm_err``; if requested,
            with ``norm_errn``, ``norm_errp``, ``norm_ul`` and ``norm_sensitivity``. NaN outside the masks.

        Raises
        ------
        InputError
            If a dataset is not a map of counts with Cash's statistic, their pixels differ, or no dataset has a bin
            in an energy range.
        """
        check_client(client)
        datasets = as_datasets(datasets)
        if self.response is not None:
            datasets.set_response(self.response)
        known = Models() if models is None else models
        datasets.follow(known)
        grid = map_grid(datasets, None, None, None, "CAR")
        given = all_energies(datasets) if self.energy_edges is None else self.energy_edges
        bins = bins_of(datasets, given)
        reference = SkyModel(self.spectral_model.copy(), name="excess")
        plain = Models([reference]).to_dict()
        specs = []
        for dataset, own in zip(with_counts(datasets, "a map"), bins.bins, strict=True):
            if dataset.counts.shape[-2:] != grid.shape:
                msg = f"dataset {dataset.name!r} has other pixels than {datasets[0].name!r}: stack the datasets before"
                raise InputError(msg)
            mine = Models([known[k] for k in known.positions_for(dataset.name)]).to_dict()
            specs.append(
                ExposedSpec(
                    dataset.name, cube_of(dataset, client), mine, plain, own, dataset.response
                )
            )
        parts: list[ExposedCounts | None] = [None] * len(specs)
        for done, (k, part) in enumerate(run_tasks(exposed_counts, specs, client), 1):
            parts[k] = part
            if on_event is not None:
                on_event(DatasetsProgress("compile", done, len(specs)))
        found = self._estimate([part for part in parts if part is not None], grid)
        arrays: dict[str, Any] = dict(reference_fluxes(self.spectral_model, bins.low, bins.high))
        arrays |= {key: xr.Variable(DIMS, values, {"units": ""}) for key, values in found.items()}
        attrs = {
            "n_sigma": self.n_sigma,
            "n_sigma_ul": self.n_sigma_ul,
            "response": datasets.response,
        }
        coords = {"energy": arrays["e_ref"].copy(), **map_coords(grid)}
        return FluxMaps(xr.Dataset(arrays, coords, attrs), reference)

    def _estimate(self, parts: list[ExposedCounts], grid: WcsGrid) -> dict[str, Array]:
        """Maps (range, lat, lon) of the sums of datasets."""
        mask = np.any([part.mask for part in parts], axis=0)
        radius = self.correlation_radius / float(np.mean(np.abs(_cdelt(grid))))
        half = int(radius)
        y, x = np.mgrid[-half : half + 1, -half : half + 1]
        circle = (x * x + y * y <= radius * radius).astype(float)[None]

        def within(key: str) -> Array:
            total = np.sum([getattr(part, key) * part.mask for part in parts], axis=0)
            values: Array = fftconvolve(total, circle, "same", axes=(1, 2))
            return values

        n_on, npred = np.rint(within("counts")), np.maximum(within("npred"), 0.0)
        number = np.rint(fftconvolve(mask.astype(float), circle, "same", axes=(1, 2)))
        with np.errstate(invalid="ignore", divide="ignore"):
            expected = np.maximum(within("expected"), 0.0) / number
            excess = n_on - npred
            ts = significance_squared(n_on, npred)
            found = {
                "counts": n_on, "npred": n_on, "npred_excess": excess, "ts": ts,
                "sqrt_ts": np.sign(excess) * np.sqrt(ts), "norm": excess / expected,
                "norm_err": self.n_sigma * np.sqrt(n_on) / expected,
            }  # fmt: skip
            if "errn-errp" in self.selection_optional:
                found["norm_errn"] = error_down(n_on, self.n_sigma) / expected
                found["norm_errp"] = error_up(n_on, self.n_sigma) / expected
            if "ul" in self.selection_optional:
                found["norm_ul"] = _limit(n_on, excess, self.n_sigma_ul) / expected
            if "sensitivity" in self.selection_optional:
                least = excess_of_significance(npred, self.n_sigma_sensitivity)
                found["norm_sensitivity"] = least / expected
        return {key: np.where(mask, values, np.nan) for key, values in found.items()}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} within {self.correlation_radius:.4g} deg>"


def _limit(n_on: Array, excess: Array, n_sigma: float) -> Array:
    """Upper limit of the excess; without counts that of no excess, as in Gammapy."""
    up = error_up(n_on, n_sigma)
    return np.where(n_on > 0, excess + up, up)


def _cdelt(grid: WcsGrid) -> Array:
    """Pixel sizes in deg, as in the header."""
    return np.asarray(grid.wcs.wcs.get_cdelt(), dtype=float)
