"""One observation for the likelihood: counts in the mask, and the response."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from astropy.units import Unit
from numpy.typing import NDArray

from gmdask.errors import InputError
from gmdask.geometry import Grid, WcsGrid, Window, grid_from, rotate, wcs_of
from gmdask.geometry.regions import Region
from gmdask.irf import EDispMap, PSFKernel, PSFMap, TiledMap, overlap_matrix
from gmdask.store.axes import cube_axis

__all__ = ["Keep", "Observation"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Keep = Callable[[NDArray[Any]], NDArray[Any]]

PATCH_MARGIN = 4  # pixels by which a component may move before more data are read


def _factor(array: xr.DataArray, unit: str) -> float:
    return float(Unit(array.attrs.get("unit", "")).to(unit))


class Patch(NamedTuple):
    """Stored exposure and mask around a moving component."""

    window: Window
    exposure: NDArray[Any]
    mask: Mask


class Observation:
    """Arrays and response of one dataset, read from its (lazy) cube.

    Parameters
    ----------
    cube : `xarray.Dataset`
        One dataset with counts, exposure and, if available, background, masks,
        psf and edisp. Counts, masks, background and exposure are read on
        first use; of the IRF maps, only the tiles near a source.
    keep : callable, optional
        Takes an array that is kept permanently, and returns it from where it is kept.

    Notes
    -----
    Internal units: TeV, deg, cm2, s. Arrays have the order (energy, lat, lon).
    """

    def __init__(self, cube: xr.Dataset, keep: Keep | None = None) -> None:
        self.name = str(cube.attrs.get("name", ""))
        self._cube, self._keep = cube, keep or np.asarray
        self._patches: dict[str, Patch] = {}
        self._tiled: list[TiledMap] = []
        self.made: dict[str, Any] = {}  # quantities that users of the observation compute once
        self._released = self._keeps_tiles = False
        counts = cube["counts"]
        self.grid = grid_from(cube.attrs, counts.shape[-2:])
        plain = cube.attrs.get("region")
        self.is_region = plain is not None
        self.region = Region.from_dict(plain) if plain else None
        self.energy = cube_axis(cube, "energy", "TeV")
        self.energy_true = cube_axis(cube, "energy_true", "TeV")

    @cached_property
    def counts(self) -> Array:
        """Counts (energy, lat, lon)."""
        return np.ascontiguousarray(self._cube["counts"].values, dtype=np.float64)

    def data(self, name: str) -> Array:
        """Return an array (energy, lat, lon) that a statistic reads."""
        if name == "counts":
            return self.counts
        return np.ascontiguousarray(self._cube[name].values, dtype=np.float64)

    @cached_property
    def background(self) -> Array | None:
        """Background (energy, lat, lon), or None."""
        if "background" not in self._cube:
            return None
        return np.ascontiguousarray(self._cube["background"].values, dtype=np.float64)

    @cached_property
    def mask(self) -> Mask:
        """``mask_safe & mask_fit`` (energy, lat, lon)."""
        everything = Window(0, self.grid.shape[0], 0, self.grid.shape[1])
        return self._mask_of(everything)

    @cached_property
    def mask_image(self) -> Mask:
        """Mask (lat, lon): any energy."""
        return np.asarray(self.mask.any(axis=0))

    @cached_property
    def exposure_unit(self) -> float:
        """Factor that converts the stored exposure to cm2 s."""
        return _factor(self._cube["exposure"], "cm2 s")

    @cached_property
    def _exposure(self) -> NDArray[Any]:
        """Exposure (energy_true, lat, lon) as stored."""
        exposure: NDArray[Any] = self._cube["exposure"].values
        return exposure

    def release(self) -> None:
        """Release the arrays of the whole grid; they are read again when needed."""
        self.__dict__["mask_image"] = self._keep(self.mask_image)
        self._released = True
        for name in ("counts", "background", "mask", "_exposure"):
            self.__dict__.pop(name, None)

    def _mask_of(self, window: Window) -> Mask:
        y, x = window.slices
        mask = np.ones((self._cube.sizes["energy"], *window.shape), dtype=bool)
        for name in ("mask_safe", "mask_fit"):
            if name in self._cube:
                mask &= self._cube[name][:, y, x].values.astype(bool)
        return mask

    def patch(self, window: Window, owner: str) -> Patch:
        """Return exposure and mask of a window and its surroundings, which are kept for a moving component."""
        kept = self._patches.get(owner)
        if kept is not None and kept.window.contains(window):
            return kept
        around = window.grown(PATCH_MARGIN, self.grid.shape)
        exposure, mask = self.read(around)
        patch = Patch(around, self._keep(np.array(exposure)), self._keep(np.array(mask)))
        self._patches[owner] = patch
        return patch

    def read(self, window: Window) -> tuple[NDArray[Any], Mask]:
        """Return the stored exposure, and the mask, of a window."""
        y, x = window.slices
        if not self._released:
            return self._exposure[:, y, x], self.mask[:, y, x]
        return self._cube["exposure"][:, y, x].values, self._mask_of(window)

    def whole_exposure(self) -> NDArray[Any]:
        """Return the exposure (energy_true, lat, lon) as stored."""
        if self._released:
            return np.asarray(self._cube["exposure"].values)
        return self._exposure

    def exposure_and_mask(self, window: Window, owner: str | None) -> tuple[Array, Mask]:
        """Return the exposure in cm2 s, with 0 for values that are not finite, and the mask of a window."""
        if owner is None:
            exposure, mask = self.read(window)
        else:
            patch = self.patch(window, owner)
            y, x = window.within(patch.window).slices
            exposure, mask = patch.exposure[:, y, x], patch.mask[:, y, x]
        values = np.array(exposure, dtype=np.float64, order="C")
        values *= self.exposure_unit
        np.nan_to_num(values, copy=False, posinf=0.0, neginf=0.0)
        return values, np.ascontiguousarray(mask)

    @cached_property
    def psf_energy(self) -> str | None:
        """Energy axis of the PSF: "energy_true", "energy" or None."""
        if "psf" not in self._cube:
            return None
        return str(self._cube["psf"].dims[0]).removeprefix("psf_")

    @cached_property
    def psf(self) -> PSFMap | None:
        """PSF over the field of view."""
        if self.psf_energy is None:
            return None
        psf = self._cube["psf"]
        grid = WcsGrid(self._cube.attrs["psf_wcs"], (psf.shape[-2], psf.shape[-1]))
        energy = cube_axis(self._cube, str(psf.dims[0]), "TeV")
        return PSFMap(
            self._tiles(psf),
            _factor(psf, "deg-2"),
            energy,
            cube_axis(self._cube, "rad", "deg"),
            grid,
        )

    @cached_property
    def edisp(self) -> EDispMap | None:
        """Energy dispersion over the field of view."""
        if "edisp" not in self._cube:
            return None
        edisp = self._cube["edisp"]
        grid = WcsGrid(self._cube.attrs["edisp_wcs"], (edisp.shape[-2], edisp.shape[-1]))
        true = cube_axis(self._cube, str(edisp.dims[0]), "TeV")
        if true.nbin != self.energy_true.nbin:
            msg = (
                f"dataset {self.name!r}: energy dispersion has {true.nbin} true energies, "
                f"exposure {self.energy_true.nbin}"
            )
            raise InputError(msg)
        migra = cube_axis(self._cube, "migra", "") if "migra" in edisp.dims else None
        return EDispMap(self._tiles(edisp), grid, true.center, self.energy.edges, migra)

    def _tiles(self, array: xr.DataArray) -> TiledMap:
        tiles = TiledMap(_Lazy(array), keep=self._keep_tile)
        self._tiled.append(tiles)
        return tiles

    def _keep_tile(self, values: NDArray[Any]) -> NDArray[Any]:
        return self._keep(values) if self._keeps_tiles else values

    def keep_tiles(self) -> None:
        """Keep the tiles of the IRF maps from now on; those read before were temporary."""
        self._keeps_tiles = True
        for tiles in self._tiled:
            tiles.forget()

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays held in memory."""
        held = [value for value in self.__dict__.values() if isinstance(value, np.ndarray)]
        held += [array for patch in self._patches.values() for array in patch[1:]]
        irfs = [self.__dict__.get(name) for name in ("psf", "edisp")]
        return int(sum(a.nbytes for a in held) + sum(irf.nbytes for irf in irfs if irf is not None))

    @property
    def required_psf(self) -> PSFMap:
        """Return the PSF of a dataset that must have one.

        Raises
        ------
        InputError
            If it has no PSF.
        """
        if self.psf is None:
            msg = f"dataset {self.name!r}: there is no PSF"
            raise InputError(msg)
        return self.psf

    @cached_property
    def max_kernel_width(self) -> float:
        """Width in deg that no PSF kernel exceeds."""
        return 0.0 if self.psf is None else self.psf.max_width(wcs_of(self.grid, "a PSF on pixels"))

    def read_irfs(self, position: tuple[float, float], frame: str) -> None:
        """Read the tiles of PSF and energy dispersion around a position."""
        if self.psf is not None:
            self.psf.profiles(*self._in_psf(position, frame))
        self.edisp_at(position, frame, apply=True)

    def _in_psf(self, position: tuple[float, float] | None, frame: str) -> tuple[float, float]:
        """Position in the PSF map for a position."""
        grid = self.required_psf.grid
        if position is None or grid.shape == (1, 1):  # one kernel for the whole field
            own: Grid = grid if position is None else self.grid
            position, frame = own.center, own.frame
        lon, lat = rotate(*position, frame, grid.frame)
        return float(lon), float(lat)

    def kernel_on(
        self, position: tuple[float, float] | None, frame: str, target: WcsGrid
    ) -> PSFKernel:
        """Return the PSF kernels at a position, for pixels other than those of the dataset.

        Parameters
        ----------
        position : tuple of float, or None
            Longitude and latitude in `frame`, in deg; the centre of the map if there is none.
        frame : str
        target : `WcsGrid`
            Pixels of the kernels.
        """
        psf = self.required_psf
        axis = self.energy_true if self.psf_energy == "energy_true" else self.energy
        return psf.kernel(*self._in_psf(position, frame), axis.center, target)

    def edisp_at(self, position: tuple[float, float] | None, frame: str, apply: bool) -> Array:
        """Return the energy dispersion (energy_true, energy) at a position.

        Parameters
        ----------
        position : tuple of float, or None
            Longitude and latitude in `frame`, in deg; the centre of the map if there is none.
        frame : str
        apply : bool
            Whether energy dispersion applies; otherwise only the overlap of bins is used.
        """
        if self.edisp is None or not apply:
            return overlap_matrix(self.energy_true.edges, self.energy.edges)
        if position is None:
            position, frame = self.edisp.grid.center, self.edisp.grid.frame
        lon, lat = rotate(*position, frame, self.edisp.grid.frame)
        return self.edisp.matrix(*self.edisp.pixel(float(lon), float(lat)))


class _Lazy:
    """A DataArray that is sliced and read as a plain array."""

    def __init__(self, array: xr.DataArray) -> None:
        self._variable = array.variable
        self.shape = tuple(int(n) for n in array.shape)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        part = self._variable[key]
        # lazy values are computed in this process, whatever clients exist
        data = part.data.compute(scheduler="synchronous") if part.chunks else part.values
        return np.asarray(data)
