"""How a trial source looks in a dataset, at many positions: exactly, or as in Gammapy's maps."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gmdask.errors import InputError, ModelError
from gmdask.geometry import WcsGrid, Window, rotate, wcs_of
from gmdask.geometry.aligned import pixel_offset
from gmdask.likelihood.exact.hankel import shape_matrices
from gmdask.likelihood.exact.irfs import edisp_jet, psf_table
from gmdask.likelihood.exact.patch import pixel_vectors
from gmdask.likelihood.exact.radial import DEG, RadialGrid
from gmdask.likelihood.exact.transforms import has_transform
from gmdask.likelihood.npred import npred_parts
from gmdask.likelihood.observation import Keep, Observation
from gmdask.likelihood.responses import EXACT
from gmdask.likelihood.source import shape_of
from gmdask.likelihood.trial.kernels import add_gridded, add_located, pixel_rules
from gmdask.models import DatasetModels, EnergyGrid, SkyModel
from gmdask.store.axes import cube_axis

__all__ = ["Places", "TrialShape", "make_shape"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Mask = NDArray[np.bool_]

NODES = 1024  # number of nodes of the profile of a source


class Places(NamedTuple):
    """P positions of a tile.

    Attributes
    ----------
    rows, columns : array of shape (P,)
        Their nearest pixels, counted from the first ones of a window.
    half : array of shape (2,)
        Half width (lat, lon) in pixels of the surroundings in which the source is seen.
    lon, lat : array of shape (P,)
        Positions in deg, in the frame of the dataset.
    middle : tuple of float
        Centre of the tile in deg.
    frame : str
        Frame of the centre.
    """

    rows: Index
    columns: Index
    half: Index
    lon: Array
    lat: Array
    middle: tuple[float, float]
    frame: str


class TrialShape(Protocol):
    """A trial source in one dataset."""

    def suits(self, grid: WcsGrid) -> bool:
        """Whether it can be placed at the pixels of a grid."""

    def add(
        self, places: Places, window: Window, bins: tuple[int, int], mask: Mask, data: Array,
        first: Index, limits: Array, kept: Array,
    ) -> Index:  # fmt: skip
        """Add the bins around some positions.

        Parameters
        ----------
        places : `Places`
        window : `Window`
            Pixels of `mask` and `data`.
        bins : tuple of int
            First and end bin of the energy range.
        mask, data, first, limits, kept
            See `gmdask.likelihood.trial.kernels.add_gridded`, which also says what is returned.
        """


class _Seen:
    """What both shapes know of the dataset: counts per true energy before the PSF."""

    def __init__(
        self, cube: xr.Dataset, observation: Observation, source: SkyModel, bins_mask: Mask, summed: bool, keep: Keep
    ) -> None:  # fmt: skip
        self._observation, self._source, self._mask, self._summed = (
            observation,
            source,
            bins_mask,
            summed,
        )
        self._exposure = keep(observation.whole_exposure())
        axis, spectral = cube_axis(cube, "energy_true"), source.spectral_model
        self._flux = spectral.integral_bins(
            EnergyGrid(axis.edges, axis.unit), spectral.internal_values
        )
        if not self._flux.min(initial=0.0) >= 0:
            msg = f"source {source.name!r} predicts negative counts: its norm is not defined"
            raise ModelError(msg)

    def _true_counts(self, window: Window) -> Array:
        """Counts (energy_true, lat, lon) of a source at norm 1 that has its whole flux in each pixel."""
        if not self._source.apply_irf["exposure"]:
            return np.broadcast_to(self._flux[:, None, None], (len(self._flux), *window.shape))
        exposure = np.array(self._exposure[:, *window.slices], dtype=np.float64)
        np.nan_to_num(exposure, copy=False, posinf=0.0, neginf=0.0)
        exposure *= (self._flux * self._observation.exposure_unit)[:, None, None]
        return exposure

    def _bins_mask(self, window: Window, bins: tuple[int, int]) -> Mask:
        """Mask (energy, lat, lon) of the single bins of an energy range."""
        return self._mask[slice(*bins), *window.slices]


class _Located(_Seen):
    """A round source of the exact response, with PSF and energy dispersion at the centre of each tile."""

    def suits(self, grid: WcsGrid) -> bool:
        """See `TrialShape`."""
        return bool(grid)

    def add(
        self, places: Places, window: Window, bins: tuple[int, int], mask: Mask, data: Array,
        first: Index, limits: Array, kept: Array,
    ) -> Index:  # fmt: skip
        """See `TrialShape`."""
        observation, apply_irf = self._observation, self._source.apply_irf
        at = places.middle, places.frame
        edisp = edisp_jet(observation, *at, apply=apply_irf["edisp"]).value[:, slice(*bins)]
        step, table = self._profiles(*at, places.half)
        true = np.moveaxis(self._true_counts(window), 0, -1)
        angle = observation.grid.solid_angles(*window.slices)[..., None]
        used = np.moveaxis(self._bins_mask(window, bins), 0, -1).astype(np.float64)
        if observation.psf_energy == "energy":
            table, weights = table[:, slice(*bins)], (true @ edisp) * angle
            mix = np.eye(weights.shape[-1])
            if self._summed:
                weights, mix = weights * used, mix.sum(axis=1, keepdims=True)
        elif self._summed:
            weights, mix = true * (used @ edisp.T) * angle, np.ones((len(edisp), 1))
        else:
            weights, mix = true * angle, edisp
        some = np.flatnonzero(weights.any(axis=(0, 1)) & mix.any(axis=1))
        lon, lat = places.lon * DEG, places.lat * DEG
        vectors = np.stack(
            [np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1
        )
        around = pixel_vectors(observation.grid, window)
        chosen = (np.ascontiguousarray(a) for a in (table[:, some], weights[..., some], mix[some]))
        table, weights, mix = chosen
        found: Index = add_located(
            places.rows, places.columns, places.half, vectors, around, pixel_rules(), table, step, weights, mix,
            mask, data, first, limits, kept,
        )  # fmt: skip
        return found

    def _profiles(
        self, position: tuple[float, float], frame: str, half: Index
    ) -> tuple[float, Array]:
        """Distance of nodes as a chord of the unit sphere, and profiles (node, energy) per sr at these."""
        spatial, psf = shape_of(self._source), psf_table(self._observation)
        matrices = shape_matrices(spatial, spatial.internal_values, psf.table, psf.core, 0)
        if len(matrices.value) > 1:
            msg = f"source {self._source.name!r} is not round: expected a round one, or response='gammapy'"
            raise InputError(msg)
        coefficients = psf.at(position, frame).value @ matrices.value[0] / DEG**2
        window = float(np.hypot(*(half + 1.0))) * self._observation.grid.max_pixel_scale
        reach = min(matrices.grid.end, window)
        table = _spline_values(matrices.grid, coefficients, np.linspace(0.0, reach, NODES))
        return reach * DEG / (NODES - 1), table


def _spline_values(grid: RadialGrid, coefficients: Array, radii: Array) -> Array:
    """Values (radius, energy) of splines with coefficients (energy, n + 4); see `RadialGrid`."""
    q = radii / (grid.step * np.sqrt(1 + (radii / grid.scale) ** 2))
    cell = np.minimum(q.astype(np.intp), grid.n)
    u = (q - cell)[:, None]
    v = 1 - u
    weights = v**3 / 6, (3 * u**3 - 6 * u**2 + 4) / 6, (3 * v**3 - 6 * v**2 + 4) / 6, u**3 / 6
    parts = [w * coefficients.T[cell + k] for k, w in enumerate(weights)]
    values: Array = np.maximum(sum(parts[1:], parts[0]), 0.0)
    return values


class _Gridded(_Seen):
    """A source of Gammapy's maps: its image at the centre of the map, times the exposure of each pixel."""

    def __init__(
        self, cube: xr.Dataset, observation: Observation, source: SkyModel, bins_mask: Mask, summed: bool, keep: Keep
    ) -> None:  # fmt: skip
        super().__init__(cube, observation, source, bins_mask, summed, keep)
        self._irfs = cube.drop_vars([key for key in cube.data_vars if key not in ("psf", "edisp")])
        self._sky = {key: cube[key].dims for key in ("counts", "exposure")}
        self._attrs = dict(cube["exposure"].attrs)
        self._made: dict[int, Array] = {}
        self._suited: dict[WcsGrid, bool] = {}

    def suits(self, grid: WcsGrid) -> bool:
        """See `TrialShape`."""
        if grid not in self._suited:
            own = wcs_of(self._observation.grid, "a map of trial sources")
            self._suited[grid] = pixel_offset(own, grid, grid.frame) is not None
        return self._suited[grid]

    def add(
        self, places: Places, window: Window, bins: tuple[int, int], mask: Mask, data: Array,
        first: Index, limits: Array, kept: Array,
    ) -> Index:  # fmt: skip
        """See `TrialShape`."""
        energies = slice(*bins)
        kernels = self._kernels(int(places.half[0]))[energies]
        edisp = self._observation.edisp_at(None, "", apply=True)[:, energies]
        true = self._true_counts(window)
        exposure = (edisp.T @ true.reshape(len(true), -1)).reshape(-1, *true.shape[1:])
        which = np.broadcast_to(np.arange(len(kernels))[:, None, None], exposure.shape)
        if self._summed:
            used = self._bins_mask(window, bins)
            patterns, place = _patterns(used)
            mean = patterns / np.maximum(patterns.sum(axis=1, keepdims=True), 1.0)
            kernels = np.tensordot(mean, kernels, axes=1)
            which, exposure = place[None], (exposure * used).sum(axis=0, keepdims=True)
        kernels, which = np.ascontiguousarray(kernels), np.ascontiguousarray(which)
        found: Index = add_gridded(
            places.rows,
            places.columns,
            places.half,
            kernels,
            which,
            exposure,
            mask,
            data,
            first,
            limits,
            kept,
        )
        return found

    def _kernels(self, half: int) -> Array:
        """Images (energy, 2 half + 1, 2 half + 1) of the source at the centre of the map, normalised to 1."""
        if half not in self._made:
            counts = self._image(half)
            total = counts.sum(axis=(1, 2), keepdims=True)
            self._made[half] = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
        return self._made[half]

    def _image(self, half: int) -> Array:
        """Counts (energy, 2 half + 1, 2 half + 1) of the source at the centre of the map."""
        grid = wcs_of(self._observation.grid, "a map of trial sources")
        side = 2 * half + 1
        header = {
            **grid.header, "CRPIX1": half + 1.0, "CRPIX2": half + 1.0,
            "CRVAL1": grid.center[0], "CRVAL2": grid.center[1],
            "CDELT1": -grid.max_pixel_scale, "CDELT2": grid.max_pixel_scale,
        }  # fmt: skip
        header = {
            k: v
            for k, v in header.items()
            if not k.startswith(("LONPOLE", "LATPOLE", "CD1_", "CD2_", "PC"))
        }
        exposure = np.repeat(self._exposure_near_center(), side * side).reshape(-1, side, side)
        arrays = {"counts": np.zeros((len(self._mask), side, side)), "exposure": exposure}
        cube = self._irfs.assign({
            key: xr.Variable(self._sky[key], values, self._attrs) for key, values in arrays.items()
        }).assign_attrs(wcs=header)  # fmt: skip
        source = self._source.copy("trial")
        spatial = shape_of(source)
        lon, lat = rotate(*grid.center, grid.frame, spatial.frame)
        spatial.parameters["lon_0"].value = float(lon)
        spatial.parameters["lat_0"].value = float(lat)
        return npred_parts(Observation(cube), cube, DatasetModels([source]), (), "gammapy")[0]

    def _exposure_near_center(self) -> NDArray[Any]:
        """Exposure (energy_true,) as stored, of the pixel nearest to the centre that has any."""
        grid = self._observation.grid
        y, x = np.indices(grid.shape, dtype=float)
        away = np.hypot(y - (grid.shape[0] - 1) / 2, x - (grid.shape[1] - 1) / 2)
        away = np.where((self._exposure > 0).any(axis=0), away, math.inf)
        nearest = np.unravel_index(int(np.argmin(away)), away.shape)
        y0, x0 = (int(n) for n in nearest)
        return np.asarray(self._exposure[:, y0, x0])


def _patterns(mask: Mask) -> tuple[Array, Index]:
    """Return the distinct sets of energies (K, energy) of a mask (energy, lat, lon), and the one of each pixel."""
    flat = mask.reshape(len(mask), -1)
    place, first = np.zeros(flat.shape[1], dtype=np.int64), np.zeros(1, dtype=np.intp)
    for start in range(0, len(flat), 32):
        bits = flat[start : start + 32]
        codes = (place << 32) + (1 << np.arange(len(bits))) @ bits
        _, first, place = np.unique(codes, return_index=True, return_inverse=True)
    return flat[:, first].T.astype(np.float64), place.reshape(mask.shape[1:])


def make_shape(
    response: str, cube: xr.Dataset, observation: Observation, source: SkyModel, mask: Mask, summed: bool, keep: Keep
) -> TrialShape:  # fmt: skip
    """Return the shape of a trial source in a dataset.

    Parameters
    ----------
    response : {"exact", "gammapy"}
        The exact one needs a PSF, and a shape whose transform is known; otherwise Gammapy's is used.
    cube : `xarray.Dataset`
    observation : `Observation`
        Observation of the cube.
    source : `SkyModel`
    mask : boolean array of shape (energy, lat, lon)
    summed : bool
        Whether the bins of an energy range are summed.
    keep : callable
        Takes an array that is kept permanently, and returns it from where it is kept.

    Raises
    ------
    ModelError
        If the source predicts negative counts.
    """
    seen = observation.psf_energy is not None and source.apply_irf["psf"]
    kind = _Located if response == EXACT and seen and has_transform(shape_of(source)) else _Gridded
    return kind(cube, observation, source, mask, summed, keep)
