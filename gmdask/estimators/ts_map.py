"""Maps of the test statistic and the flux of a trial source at every position."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
import xarray as xr
from astropy import units as u
from distributed import Client
from numpy.typing import NDArray

from gmdask.attributes import KnownAttributes
from gmdask.cluster import check_client
from gmdask.datasets import Datasets, MapDataset, as_datasets
from gmdask.datasets.base import chosen_response
from gmdask.errors import InputError, check_kind
from gmdask.estimators.estimation import Options, bins_of, options_of
from gmdask.estimators.flux_data import reference_fluxes
from gmdask.estimators.flux_maps import DIMS, FluxMaps, map_coords
from gmdask.estimators.map_geometry import all_energies, angle_of, map_grid
from gmdask.evaluation.norm_likelihood import EnergyBins
from gmdask.evaluation.trial_likelihood import TrialLikelihood, TrialLimits
from gmdask.events import DatasetsProgress, Listener
from gmdask.geometry import WcsGrid, Window
from gmdask.likelihood.trial.group import TrialPoint
from gmdask.models import Models, PointSpatialModel, PowerLawSpectralModel, SkyModel
from gmdask.optimize.convex_1d import crossings, minimise

__all__ = ["TSMapEstimator"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]


class TSMapEstimator(KnownAttributes):
    """Estimator of the test statistic and the flux of a trial source at every position.

    Parameters
    ----------
    kernel_model : `SkyModel`, optional
        The trial source; its position has no influence. By default a point source with a power law of index 2.
    kernel_width : Quantity, optional
        Width of the square around each position in which counts are compared, rounded up to an odd number of
        pixels. By default the square that contains 95 % of a point source, for each dataset.
    energy_edges : Quantity, optional
        Edges of the energy bins, which are rounded to those of the datasets; by default one bin with all energies.
    position, width, binsz, proj : optional
        Centre, size and pixels of the map as for `MapDataset.create`; by default the pixels of the first dataset,
        as many as contain all datasets.
    n_sigma, n_sigma_ul : float
        Number of standard deviations of errors and of upper limits.
    selection_optional : str or list of str, optional
        "errn-errp", "ul", or both ("all").
    sum_over_energy_groups : bool
        Whether the counts of an energy bin of the map are summed over the energies of the dataset, as in
        Gammapy. Otherwise the energies of the counts are used, too, which is more sensitive.
    response : {"exact", "gammapy"}, optional
        How predicted counts are computed; set for the datasets. By default their setting is kept.

    Notes
    -----
    All datasets are fitted jointly, each with its own PSF and without stacking. The statistic of each dataset is a
    convex function of the norm of the trial source, with everything else at the values of the models. Norms of all
    positions are solved for together by Newton steps: only sums over the datasets leave the workers.

    With the exact response, the source is convolved with the PSF and integrated over the pixels wherever it lies
    between them, with the PSF and the energy dispersion at the centre of tiles of half a degree. With Gammapy's, it
    has the image of a source at the centre of each dataset, as in Gammapy's ``TSMapEstimator``, and the
    pixels of the datasets must be those of the map.

    The norm is not lower than that at which the prediction vanishes in some bin. Counts beyond the square are not
    used, and flux beyond it is lost with the exact response, while Gammapy's normalises the image to 1 within it.
    """

    def __init__(
        self,
        kernel_model: SkyModel | None = None,
        kernel_width: Any = None,
        energy_edges: u.Quantity | None = None,
        *,
        position: Any = None,
        width: Any = None,
        binsz: Any = None,
        proj: str = "CAR",
        n_sigma: float = 1,
        n_sigma_ul: float = 2,
        selection_optional: str | Collection[str] | None = None,
        sum_over_energy_groups: bool = True,
        response: str | None = None,
    ) -> None:
        if kernel_model is None:
            kernel_model = SkyModel(PowerLawSpectralModel(), PointSpatialModel(), name="trial")
        check_kind(kernel_model, SkyModel, "a SkyModel as the trial source")
        if kernel_model.spatial_model is None or kernel_model.spatial_model.position is None:
            msg = f"source {kernel_model.name!r} has no position, which a trial source needs"
            raise InputError(msg)
        self.kernel_model = kernel_model
        self.kernel_width = None if kernel_width is None else angle_of(kernel_width, "kernel_width")
        self.energy_edges = energy_edges
        self.position, self.width, self.binsz, self.proj = position, width, binsz, proj
        self._options = options_of(n_sigma, n_sigma_ul, selection_optional, [])
        self.sum_over_energy_groups = bool(sum_over_energy_groups)
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
        models : `Models`, optional
            The global models without the trial source; they are not changed. By default there are no sources, and
            the backgrounds are those of the datasets.
        client : `distributed.Client`, optional
            Cluster to work on; by default this process. The numbers are the same to the last bit.
        on_event : callable, optional
            Receives a `DatasetsProgress` while the datasets are compiled, and while the positions are solved for.

        Returns
        -------
        maps : `FluxMaps`
            With ``norm``, ``norm_err``, ``ts``, ``sqrt_ts``, ``npred``, ``npred_excess``, ``counts``, ``stat``,
            ``stat_null``, ``niter`` and ``success``; and ``norm_errn``, ``norm_errp``, ``norm_ul`` if requested.

        Raises
        ------
        InputError
            If a dataset is not a map of counts with Cash's statistic, or no dataset has a bin in an energy range.
        ModelError
            If the trial source predicts negative counts.
        """
        check_client(client)
        datasets = as_datasets(datasets)
        if self.response is not None:
            datasets.set_response(self.response)
        known = Models() if models is None else models
        datasets.follow(known)
        grid = map_grid(datasets, self.position, self.width, self.binsz, self.proj)
        bins = bins_of(
            datasets, all_energies(datasets) if self.energy_edges is None else self.energy_edges
        )
        source = self.kernel_model
        likelihood = TrialLikelihood(
            datasets,
            known,
            source,
            bins,
            grid,
            self.kernel_width,
            self.sum_over_energy_groups,
            client,
            on_event,
        )
        try:
            found = _solved(likelihood, grid, len(bins.low), self._options, on_event)
        finally:
            likelihood.close()
        return FluxMaps(_maps(found, bins, grid, source, self._options, datasets), source)

    def __repr__(self) -> str:
        width = "" if self.kernel_width is None else f", width {self.kernel_width:.4g} deg"
        return f"<{type(self).__name__} of {self.kernel_model.name!r}{width}>"


def _solved(
    likelihood: TrialLikelihood,
    grid: WcsGrid,
    n_groups: int,
    options: Options,
    on_event: Listener | None,
) -> dict[str, Array]:
    """Solve for all positions; maps (energy, lat, lon)."""
    blocks = likelihood.blocks
    maps: dict[str, Array] = {}
    for group in range(n_groups):
        for number, tiles in enumerate(blocks):
            found = _block(likelihood, TrialPoint(tiles, group), options)
            for key, values in found.items():
                image = maps.setdefault(key, np.full((n_groups, *grid.shape), np.nan))[group]
                _place(image, tiles, values)
            if on_event is not None:
                done = group * len(blocks) + number + 1
                on_event(DatasetsProgress("map", done, n_groups * len(blocks)))
    return maps


def _place(image: Array, tiles: tuple[Window, ...], values: Array) -> None:
    """Write the values of the positions of some tiles to an image."""
    start = 0
    for tile in tiles:
        size = tile.shape[0] * tile.shape[1]
        image[tile.slices] = values[start : start + size].reshape(tile.shape)
        start += size


class _Function:
    """The statistic of some positions, evaluated again only where the norm has changed.

    Until the statistic itself is needed, the second derivative is that for which a Newton step solves for the
    reciprocal of ``Σ n s / npred``, which is almost linear in the norm: it is linear if one bin has counts.

    Attributes
    ----------
    with_stat : bool
        Whether the statistic is needed, and not only its derivatives.
    calls : array of shape (A,)
        Number of evaluations of each position.
    """

    def __init__(
        self, likelihood: TrialLikelihood, point: TrialPoint, index: Index, signal: Array
    ) -> None:
        self._likelihood, self._point, self._index = likelihood, point, index
        self._signal = signal[:, None]
        self.with_stat, self.calls = False, np.zeros(len(index), dtype=np.intp)
        self._x: Array = np.full((len(index), 1), np.nan)
        self._last: Array = np.zeros((3, len(index), 1))

    def __call__(self, x: Array) -> tuple[Array, Array, Array]:
        """Value, slope and second derivative at norms (A, K)."""
        if x.shape != self._x.shape:
            self._x, self._last = np.full(x.shape, np.nan), np.zeros((3, *x.shape))
        row, column = np.nonzero(self._x != x)
        if len(row):
            index, norms = self._index[row], np.ascontiguousarray(x[row, column])
            point = TrialPoint(self._point.tiles, self._point.group, index, norms, self.with_stat)
            last = self._last.copy()
            last[:, row, column] = self._likelihood(point)
            self._x, self._last = x.copy(), last
            np.add.at(self.calls, row, 1)
        rise, slope, second = self._last
        if not self.with_stat:
            total = self._signal - 0.5 * slope  # zero where there are no counts
            second = np.divide(second * self._signal, total, out=second.copy(), where=total > 0)
        return rise, slope, second

    def forget(self) -> None:
        """Evaluate everything anew, with the statistic."""
        self.with_stat, self._x = True, np.full_like(self._x, np.nan)


def _block(likelihood: TrialLikelihood, point: TrialPoint, options: Options) -> dict[str, Array]:
    """Solve for the positions of some tiles; NaN where no counts are predicted."""
    limits = likelihood.limits(point)
    index = np.flatnonzero((limits.valid > 0) & (limits.signal > 0))
    own = TrialLimits(*(values[index] for values in limits))
    counted = np.isfinite(own.wall)
    lower = np.where(np.isfinite(own.zero), own.zero, 0.0)
    start = np.maximum(
        (own.counts - own.npred) / own.signal, lower + 0.05 * own.counts / own.signal
    )
    function = _Function(likelihood, point, index, own.signal)
    inner = lower <= own.wall  # the slope at the limit is minus infinity
    at_limit = function(np.where(inner, start, lower)[:, None])[1][:, 0] >= 0
    moves = counted & (inner | ~at_limit)
    minima = minimise(function, lower, np.where(moves, start, lower), moves)
    niter = np.where(counted, function.calls, 0)
    function.forget()
    norm = minima.x
    rise, slope, second = (values[:, 0] for values in function(norm[:, None]))
    minima = minima._replace(stat=rise, second=second)
    err = options.n_sigma / np.sqrt(np.where(second > 0, second / 2, np.nan))
    found = {"norm": norm, "norm_err": np.where(counted, err, np.nan)}
    rises = options.rises
    if rises:
        levels, sides = (np.array(values) for values in zip(*rises.values(), strict=True))
        at = crossings(function, minima, np.maximum(slope, 0.0), levels, sides, lower)
        for key, place, (_, side) in zip(rises, at.T, rises.values(), strict=True):
            found[key] = place if key == "norm_ul" else side * (place - norm)
    ts = np.maximum(-rise, 0.0)
    excess = norm * own.signal
    found |= {
        "ts": ts, "sqrt_ts": np.sign(norm) * np.sqrt(ts), "npred": own.npred + excess, "npred_excess": excess,
        "counts": own.counts, "stat": own.stat_null - ts, "stat_null": own.stat_null, "niter": niter.astype(float),
        "success": (minima.success | ~moves).astype(float),
    }  # fmt: skip
    whole: dict[str, Array] = {}
    for key, values in found.items():
        whole[key] = np.full(len(limits.valid), np.nan)
        whole[key][index] = values
    return whole


def _maps(
    found: dict[str, Array], bins: EnergyBins, grid: WcsGrid, source: SkyModel, options: Options, datasets: Datasets
) -> xr.Dataset:  # fmt: skip
    """Return the dataset of `FluxMaps`."""
    arrays: dict[str, Any] = dict(reference_fluxes(source.spectral_model, bins.low, bins.high))
    for key, values in found.items():
        if key == "success":
            arrays[key] = xr.Variable(DIMS, np.nan_to_num(values).astype(bool))
        else:
            arrays[key] = xr.Variable(DIMS, values, {"units": ""})
    attrs = {
        "source": source.name, "n_sigma": options.n_sigma, "n_sigma_ul": options.n_sigma_ul,
        "response": datasets.response,
    }  # fmt: skip
    return xr.Dataset(arrays, {"energy": arrays["e_ref"].copy(), **map_coords(grid)}, attrs)
