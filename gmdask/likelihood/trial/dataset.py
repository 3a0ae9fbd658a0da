"""One dataset, seen from many trial positions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gmdask.errors import InputError
from gmdask.geometry import WcsGrid, Window, rotate, round_up_to_odd
from gmdask.likelihood.memory import Memory
from gmdask.likelihood.npred import npred_parts
from gmdask.likelihood.observation import Observation
from gmdask.likelihood.responses import EXACT
from gmdask.likelihood.source import shape_of
from gmdask.likelihood.spectral_factors import with_norms_of_exposure
from gmdask.likelihood.statistics import statistic_type
from gmdask.likelihood.statistics.cash import Cash
from gmdask.likelihood.trial.kernels import FIELDS, first_bins
from gmdask.likelihood.trial.shapes import Places, make_shape
from gmdask.models import DatasetModels, Models, SkyModel
from gmdask.store.cube_source import CubeSource, named_cube

__all__ = ["TrialDataset", "TrialSpec", "Windows"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Mask = NDArray[np.bool_]

CONTAINMENT = 0.95  # fraction of a point source within the window, if no width is given
NOWHERE = -1e6  # pixel coordinate of positions that the projection does not show


@dataclass(frozen=True)
class TrialSpec:
    """A dataset, as plain data.

    Attributes
    ----------
    name : str
    cube : `CubeSource` or `xarray.Dataset`
        Location of the data, or the data.
    components : tuple of int
        Indices of its models among those of the group.
    bins : tuple of (int, int)
        First and end bin of each energy range; equal if the dataset has no bin there.
    response : {"exact", "gammapy"}
        How predicted counts are computed.
    """

    name: str
    cube: CubeSource | xr.Dataset
    components: tuple[int, ...]
    bins: tuple[tuple[int, int], ...]
    response: str = EXACT


class Windows(NamedTuple):
    """The bins around P positions.

    Attributes
    ----------
    limits : array of shape (FIELDS, P)
    valid : boolean array of shape (P,)
        Whether counts are predicted at the position.
    first, last : array of shape (P,)
    kept : array of shape (2, N)
        See `gmdask.likelihood.trial.kernels.add_gridded`.
    """

    limits: Array
    valid: Mask
    first: Index
    last: Index
    kept: Array


class _Layers(NamedTuple):
    """Bins that are compared in one energy range: counts and predicted counts (3, layer, lat, lon), and their mask."""

    data: Array
    mask: Mask


class TrialDataset:
    """Counts of a dataset and its predicted counts, in which a trial source is placed anywhere.

    Parameters
    ----------
    spec : `TrialSpec`
    models : `Models`
        Models of the group.
    source : `SkyModel`
        The trial source; its position has no influence.
    width : float or None
        Width in deg of the windows around it; None for what contains 95 % of a point source.
    summed : bool
        Whether the bins of an energy range are summed, and only their images compared.
    memory : `Memory`
        Storage of arrays.

    Raises
    ------
    InputError
        If the dataset is not a map of counts with Cash's statistic.
    ModelError
        If the trial source predicts negative counts.
    """

    def __init__(
        self, spec: TrialSpec, models: Models, source: SkyModel, width: float | None, summed: bool, memory: Memory
    ) -> None:  # fmt: skip
        self._spec, self._width, self._source = spec, width, source
        own = DatasetModels([models[k] for k in spec.components])
        cube, own = with_norms_of_exposure(named_cube(spec.name, spec.cube), own)
        cube = _with_responses(cube, memory)
        observation = self._observation = Observation(cube)
        if observation.is_region or statistic_type(cube.attrs) is not Cash:
            msg = f"dataset {spec.name!r}: expected a map of counts with the statistic cash for a map of trial sources"
            raise InputError(msg)
        npred = np.maximum(npred_parts(observation, cube, own, (), spec.response)[0], 0.0)
        mask = observation.mask & np.isfinite(npred)
        self._layers = [
            _layers(
                observation.counts[start:stop], npred[start:stop], mask[start:stop], summed, memory
            )
            for start, stop in spec.bins
        ]
        self._shape = make_shape(
            spec.response, cube, observation, source, memory.keep(mask), summed, memory.keep
        )
        observation.release()

    def _half(self, bins: tuple[int, int]) -> Index:
        """Half width (lat, lon) in pixels of the windows, without the central pixel."""
        width = 2 * self._radius(bins) if self._width is None else self._width
        npix = round_up_to_odd(width / self._observation.grid.max_pixel_scale)
        return np.full(2, npix // 2, dtype=np.intp)

    def _radius(self, bins: tuple[int, int]) -> float:
        """Radius in deg that contains most of the source."""
        observation, spatial = self._observation, shape_of(self._source)
        own, psf = float(spatial.evaluation_radius(spatial.internal_values) or 0.0), observation.psf
        if psf is None:
            return own + observation.grid.max_pixel_scale
        edges = observation.energy.edges[list(bins)]
        axis = observation.energy if observation.psf_energy == "energy" else observation.energy_true
        energies = axis.center[(axis.center >= edges[0]) & (axis.center <= edges[1])]
        found = psf.containment_radius(*psf.grid.center, energies, CONTAINMENT)
        return own + float(found.max(initial=observation.grid.max_pixel_scale))

    def windows(self, grid: WcsGrid, tiles: tuple[Window, ...], group: int) -> Windows | None:
        """Return the bins around the pixels of some tiles of a grid; None if there are none.

        Parameters
        ----------
        grid : `WcsGrid`
            The grid of positions.
        tiles : tuple of `Window`
        group : int
            Number of the energy range.
        """
        start, stop = self._spec.bins[group]
        if start == stop:
            return None
        parts = [self._tile(grid, tile, group) for tile in tiles]
        if not any(part is not None for part in parts):
            return None
        return _joined([
            _nothing(tile.shape[0] * tile.shape[1]) if part is None else part
            for tile, part in zip(tiles, parts, strict=True)
        ])  # fmt: skip

    def _tile(self, grid: WcsGrid, tile: Window, group: int) -> Windows | None:
        own, half = self._observation.grid, self._half(self._spec.bins[group])
        ranges = (np.arange(s.start, s.stop, dtype=float) for s in tile.slices)
        y, x = (a.ravel() for a in np.meshgrid(*ranges, indexing="ij"))
        lon, lat = rotate(*grid.to_sky(x, y), grid.frame, own.frame)
        pixel = np.stack(own.to_pixel(lon, lat)[::-1])
        at = np.rint(np.where(np.isfinite(pixel), pixel, NOWHERE)).astype(np.intp)
        size = np.array(own.shape)[:, None]
        reached = ((at >= -half[:, None]) & (at < size + half[:, None])).all(axis=0)
        if not reached.any():
            return None
        low = np.maximum(at[:, reached].min(axis=1) - half, 0).tolist()
        high = np.minimum(at[:, reached].max(axis=1) + half + 1, own.shape).tolist()
        window = Window(low[0], high[0], low[1], high[1])
        data, mask = self._layers[group]
        data = np.ascontiguousarray(data[:, :, *window.slices])
        mask = np.ascontiguousarray(mask[:, *window.slices])
        if not mask.any():
            return None
        rows, columns = at - np.array(low)[:, None]
        first = first_bins(rows, columns, half, data[0])
        limits, kept = np.zeros((FIELDS, len(rows))), np.empty((2, first[-1]))
        limits[4:] = -np.inf
        middle = grid.to_sky((tile.x0 + tile.x1 - 1) / 2, (tile.y0 + tile.y1 - 1) / 2)
        places = Places(
            rows, columns, half, lon, lat, (float(middle[0]), float(middle[1])), grid.frame
        )
        bins = self._spec.bins[group]
        if not self._shape.suits(grid):
            msg = (
                f"dataset {self._spec.name!r}: its pixels are not those of the map, as Gammapy's response needs "
                "(the exact one, with a round source, does not)"
            )
            raise InputError(msg)
        last = self._shape.add(places, window, bins, mask, data, first, limits, kept)
        valid = np.zeros(len(rows), dtype=bool)
        inside = (rows >= 0) & (rows < mask.shape[1]) & (columns >= 0) & (columns < mask.shape[2])
        predicted = mask.any(axis=0) & (data[1].sum(axis=0) > 0)
        valid[inside] = predicted[rows[inside], columns[inside]]
        return Windows(limits, valid, first[:-1], last, kept)


def _with_responses(cube: xr.Dataset, memory: Memory) -> xr.Dataset:
    """Read the response maps, of which positions all over the map need every part."""
    found = {}
    for key in ("psf", "edisp"):
        if key in cube:
            variable = cube[key].variable
            found[key] = variable.copy(data=memory.keep(np.asarray(variable.values)))
    return cube.assign(found)


def _layers(counts: Array, npred: Array, mask: Mask, summed: bool, memory: Memory) -> _Layers:
    """Bins of an energy range, each as a layer or summed to one."""
    data = np.stack([counts, npred]) * mask
    if summed:
        data, mask = data.sum(axis=1, keepdims=True), np.asarray(mask.any(axis=0, keepdims=True))
    null = Cash(data[0]).per_bin(data[1]) * mask
    return _Layers(memory.keep(np.concatenate([data, null[None]])), memory.keep(mask))


def _nothing(n: int) -> Windows:
    """Windows of positions that no bin is near to."""
    limits = np.zeros((FIELDS, n))
    limits[4:] = -np.inf
    none = np.zeros(n, dtype=np.intp)
    return Windows(limits, np.zeros(n, dtype=bool), none, none, np.zeros((2, 0)))


def _joined(parts: list[Windows]) -> Windows:
    """Windows of several tiles, one after the other."""
    if len(parts) == 1:
        return parts[0]
    starts = np.cumsum([0, *(part.kept.shape[1] for part in parts)])
    return Windows(
        np.concatenate([part.limits for part in parts], axis=1),
        np.concatenate([part.valid for part in parts]),
        np.concatenate([part.first + start for part, start in zip(parts, starts, strict=False)]),
        np.concatenate([part.last + start for part, start in zip(parts, starts, strict=False)]),
        np.concatenate([part.kept for part in parts], axis=1),
    )
