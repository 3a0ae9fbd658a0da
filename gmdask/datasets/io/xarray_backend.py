"""Datasets in xarray: an engine for stores, and an accessor for energies and sky positions.

The WCS travels with the coordinates, so that it survives xarray's operations: ``lat`` and
``lon`` are pixel numbers of the grid whose WCS cards are the attributes of the coordinate ``sky``
(``psf_sky``, ``edisp_sky`` for the responses).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import xarray as xr
from astropy.coordinates import SkyCoord
from astropy.units import Quantity
from astropy.wcs import WCS
from xarray.backends import BackendEntrypoint

from gmdask.datasets.derived_cube import in_dask, lazy
from gmdask.datasets.operations.arrays import joined
from gmdask.datasets.operations.energy import energy_bins
from gmdask.datasets.operations.irf import IRFS
from gmdask.datasets.operations.sky import IRF_MIN_PIXELS, pixel_window
from gmdask.errors import InputError, UnknownNameError
from gmdask.geometry import Axis, WcsGrid, Window, nearest_pixel, rotate
from gmdask.store import Row, Store
from gmdask.store.axes import cube_axis

__all__ = ["GmdaskBackend", "as_cube", "as_xarray", "sky_coords"]

Data = TypeVar("Data", xr.Dataset, xr.DataArray)

EVEN = 1e-6  # pixels; tolerance of even spacing


def sky_coords(cube: xr.Dataset, keys: Iterable[str] = ("", *IRFS)) -> dict[str, Any]:
    """Return the coordinates that define the positions of a cube's pixels.

    Parameters
    ----------
    cube : `xarray.Dataset`
    keys : iterable of str
        "" for the maps, "psf" and "edisp" for the responses.
    """
    coords: dict[str, Any] = {}
    for key in keys:
        prefix = f"{key}_" if key else ""
        if f"{prefix}lat" in cube.dims:
            for dim in (f"{prefix}lat", f"{prefix}lon"):
                coords[dim] = xr.Variable((dim,), np.arange(float(cube.sizes[dim])))
            coords[f"{prefix}sky"] = xr.Variable((), 0, dict(cube.attrs[f"{prefix}wcs"]))
    return coords


def as_xarray(cube: xr.Dataset) -> xr.Dataset:
    """Return a cube with Dask arrays, and coordinates that define the positions of its pixels.

    Parameters
    ----------
    cube : `xarray.Dataset`
    """
    return lazy(cube).assign_coords(sky_coords(cube))


def as_cube(data: xr.Dataset) -> xr.Dataset:
    """Invert `as_xarray`, after any operations on the pixels.

    Parameters
    ----------
    data : `xarray.Dataset`

    Raises
    ------
    InputError
        If its pixels are not evenly spaced, their WCS is lost, or an attribute contradicts it.
    """
    attrs = dict(data.attrs)
    coords = []
    for key in ("", *IRFS):
        prefix = f"{key}_" if key else ""
        if f"{prefix}sky" in data.coords:
            cards, begun = data.gmdask.cards(key), dict(data.coords[f"{prefix}sky"].attrs)
            if attrs.get(f"{prefix}wcs", cards) not in (cards, begun):
                msg = (
                    f"attribute '{prefix}wcs' contradicts the coordinate '{prefix}sky', which defines where "
                    "the pixels lie: change the coordinate, or omit the attribute"
                )
                raise InputError(msg)
            attrs[f"{prefix}wcs"] = cards
            coords += [f"{prefix}sky", f"{prefix}lat", f"{prefix}lon"]
    result = _with_edges(data.drop_vars(coords))
    result.attrs = attrs
    return result


def _axis(data: xr.Dataset | xr.DataArray, dim: str) -> Axis:
    """Return the axis of a dimension, from its centres if the edges are lost."""
    edges = data.coords.get(f"{dim}_edges")
    coord = data.coords[dim]
    if edges is not None and edges.size == coord.size + 1:
        return cube_axis(data, dim)
    attrs = coord.attrs
    return Axis(
        dim, np.atleast_1d(coord.values), str(attrs["interp"]), "center", str(attrs["unit"])
    )


def _with_edges(data: xr.Dataset) -> xr.Dataset:
    """Return a dataset with the edges of the remaining bins of its axes."""
    cuts = {}
    for name, coord in data.coords.items():
        dim = str(name)
        edges = data.coords.get(f"{dim}_edges")
        if edges is None or edges.size == coord.size + 1:
            continue
        whole = Axis(dim, edges.values, str(coord.attrs["interp"])).center
        first = int(np.argmin(np.abs(whole - coord.values[0])))
        found = whole[first : first + coord.size]
        if found.size != coord.size or not np.allclose(found, coord.values, rtol=EVEN, atol=0):
            msg = f"the bins along {dim!r} are no longer consecutive"
            raise InputError(msg)
        cuts[f"{dim}_edge"] = slice(first, first + coord.size + 1)
    return data.isel(cuts)


class _Accessor(Generic[Data]):
    """Energies and sky positions of a dataset or an array: ``data.gmdask``."""

    def __init__(self, data: Data) -> None:
        self._data: Data = data

    def cards(self, key: str = "") -> dict[str, Any]:
        """Return the WCS cards of the present pixels.

        Parameters
        ----------
        key : {"", "psf", "edisp"}
            Kind of maps.

        Raises
        ------
        InputError
            If the pixels are not evenly spaced, or their WCS is lost.
        """
        prefix = f"{key}_" if key else ""
        if f"{prefix}sky" not in self._data.coords:
            msg = f"coordinate '{prefix}sky', with the WCS of the pixels, is missing"
            raise InputError(msg)
        cards = dict(self._data.coords[f"{prefix}sky"].attrs)
        steps = []
        for axis, dim in ((1, f"{prefix}lon"), (2, f"{prefix}lat")):
            pixels = np.atleast_1d(self._data.coords[dim].values)
            step = (pixels[-1] - pixels[0]) / (len(pixels) - 1) if len(pixels) > 1 else 1.0
            if len(pixels) > 1 and (step <= 0 or np.ptp(np.diff(pixels)) > EVEN):
                msg = f"the pixels along {dim!r} are not evenly spaced"
                raise InputError(msg)
            first = cards.get(f"CRPIX{axis}", 0.0) - pixels[0] - 1
            cards[f"CRPIX{axis}"] = float(first / step + 1)
            steps.append((axis, float(step)))
        for axis, step in steps:
            for name in [k for k in cards if k.startswith("CD") and k.endswith(f"_{axis}")] or [
                f"CDELT{axis}"
            ]:
                cards[name] = cards.get(name, 1.0) * step
        return cards

    def grid(self, key: str = "") -> WcsGrid:
        """Return the present pixels; see `cards`."""
        prefix = f"{key}_" if key else ""
        sizes = [self._data.sizes.get(f"{prefix}{dim}", 1) for dim in ("lat", "lon")]
        return WcsGrid(self.cards(key), (sizes[0], sizes[1]))

    @property
    def wcs(self) -> WCS:
        """Return the WCS of the present pixels."""
        return self.grid().wcs.deepcopy()

    def sel(
        self,
        energy: Quantity | str | tuple[Any, Any] | None = None,
        position: SkyCoord | None = None,
        width: Any = None,
    ) -> Data:
        """Select a part around an energy and a position.

        Parameters
        ----------
        energy : Quantity, str or pair of these, optional
            Reconstructed energy, whose bin is selected; or two, rounded to bin edges.
        position : `~astropy.coordinates.SkyCoord`, optional
            Position, whose pixel is selected.
        width : Quantity, float or pair of these, optional
            Size in longitude and latitude of a rectangle around the position; numbers are in deg.

        Returns
        -------
        `xarray.Dataset` or `xarray.DataArray`
            With all dimensions; the responses cover the same part of the sky.

        Raises
        ------
        InputError
            If energy or position are outside.
        """
        cuts: dict[str, slice] = {}
        if energy is not None:
            cuts |= self._energies(energy)
        if position is not None:
            for key in ("", *IRFS):
                if f"{key}_sky".lstrip("_") in self._data.coords:
                    cuts |= self._pixels(key, position, width)
        return self._data.isel(cuts)

    def _energies(self, energy: Any) -> dict[str, slice]:
        axis = _axis(self._data, "energy")
        if isinstance(energy, tuple):
            low, high = energy
            start, stop = energy_bins(axis, low, high, "selection")
        else:
            at = float(axis.to_pix(Quantity(energy).to_value(axis.unit)))
            start = int(np.floor(at + 0.5))
            stop = start + 1
            if not 0 <= start < axis.nbin:
                msg = f"selection: {energy} is outside the axis of energy"
                raise InputError(msg)
        cuts = {"energy": slice(start, stop)}
        if "energy_edge" in self._data.dims:
            cuts["energy_edge"] = slice(start, stop + 1)
        return cuts

    def _pixels(self, key: str, position: SkyCoord, width: Any) -> dict[str, slice]:
        prefix = f"{key}_" if key else ""
        grid = self.grid(key)
        icrs = position.icrs
        x, y = (
            float(v) for v in grid.to_pixel(*rotate(icrs.ra.deg, icrs.dec.deg, "icrs", grid.frame))
        )
        window: Window | None
        if width is None:
            inside = (
                0 <= np.floor(y + 0.5) < grid.shape[0] and 0 <= np.floor(x + 0.5) < grid.shape[1]
            )
            row, column = nearest_pixel(y, grid.shape[0]), nearest_pixel(x, grid.shape[1])
            window = Window(row, row + 1, column, column + 1)
        else:
            sides = np.broadcast_to(Quantity(width, "deg").value, 2)
            size = float(sides[0]), float(sides[1])
            window = pixel_window(grid, (y, x), size, 1 if key == "" else IRF_MIN_PIXELS)
            inside = window is not None
        if key == "" and not inside:
            msg = f"selection: {position.to_string()} is outside the map"
            raise InputError(msg)
        rows, columns = (slice(None), slice(None)) if window is None else window.slices
        return {f"{prefix}lat": rows, f"{prefix}lon": columns}


class DatasetAccessor(_Accessor[xr.Dataset]):
    """Energies and sky positions of a dataset."""


class ArrayAccessor(_Accessor[xr.DataArray]):
    """Energies and sky positions of an array."""


_register_dataset: Any = xr.register_dataset_accessor  # untyped
_register_array: Any = xr.register_dataarray_accessor
_register_dataset("gmdask")(DatasetAccessor)
_register_array("gmdask")(ArrayAccessor)


class GmdaskBackend(BackendEntrypoint):
    """Engine "gmdask" of `xarray.open_dataset`: one dataset of a store, or all of them."""

    description = "Open stores of gamma-ray datasets"
    open_dataset_parameters = ("filename_or_obj", "drop_variables", "dataset")

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        dataset: str | int | None = None,
    ) -> xr.Dataset:
        """Open a store, lazily.

        Parameters
        ----------
        filename_or_obj : str or path
            The store.
        drop_variables : str or list of str, optional
            Arrays to leave out.
        dataset : str or int, optional
            Name or index of the dataset; by default all, along the dimension "dataset", if they
            have the same axes and pixels.

        Raises
        ------
        UnknownNameError
            If there is no such dataset.
        InputError
            If all are requested, and they differ.
        """
        store = Store.open(filename_or_obj)
        cubes = [store.open_row(row) for row in _chosen(store, dataset)]
        found = as_xarray(cubes[0]) if len(cubes) == 1 else _together(cubes, store.url)
        return found.drop_vars(drop_variables or [], errors="ignore")

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Whether it is a store."""
        return isinstance(filename_or_obj, str | Path) and Path(filename_or_obj, "commits").is_dir()


def _chosen(store: Store, dataset: str | int | None) -> list[Row]:
    rows = list(store.rows)
    if isinstance(dataset, int) and -len(rows) <= dataset < len(rows):
        return [rows[dataset]]
    found = [row for row in rows if dataset is None or row.name == dataset]
    if not found:
        msg = f"{store.url}: there is no dataset {dataset!r} among its {len(rows)}"
        raise UnknownNameError(msg)
    return found


def _together(cubes: list[xr.Dataset], where: str) -> xr.Dataset:
    """Combine datasets along a dimension, without the tables of each."""
    first = cubes[0]
    arrays = {str(key): array for key, array in first.data_vars.items() if array.ndim > 1}
    for cube in cubes[1:]:
        name, own = cube.attrs["name"], {k for k, v in cube.data_vars.items() if v.ndim > 1}
        same = own == set(arrays) and all(cube[k].shape == v.shape for k, v in arrays.items())
        if not same or not first.coords.equals(cube.coords):
            msg = f"{where}: dataset {name!r} has other axes than {first.attrs['name']!r}; choose one with dataset="
            raise InputError(msg)
    parts = {
        key: joined([_lengthened(cube[key].variable, key) for cube in cubes], "dataset")
        for key in arrays
    }
    names = xr.Variable(("dataset",), [cube.attrs["name"] for cube in cubes])
    same = all(cube.attrs["wcs"] == first.attrs["wcs"] for cube in cubes)
    attrs = {k: v for k, v in first.attrs.items() if all(cube.attrs.get(k) == v for cube in cubes)}
    result = xr.Dataset(parts, coords={**first.coords, "dataset": names}, attrs=attrs)
    return result.assign_coords(sky_coords(first, ["", *IRFS] if same else []))


def _lengthened(variable: xr.Variable, name: str) -> xr.Variable:
    """Return an array with an additional dimension "dataset" of length one."""
    in_front = in_dask(variable, name)
    return xr.Variable(("dataset", *variable.dims), in_front.data[None], dict(variable.attrs))
