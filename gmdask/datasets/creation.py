"""Creation of cubes: empty ones for stacking, and ones from arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from astropy import units as u
from astropy.coordinates import SkyCoord

from gmdask.errors import InputError
from gmdask.geometry import Axis, WcsGrid
from gmdask.geometry.fits_header import vounit
from gmdask.geometry.regions import Region
from gmdask.irf import overlap_matrix
from gmdask.likelihood.statistics.weighted import WeightedCash
from gmdask.store.axes import axis_coords
from gmdask.store.formats.validity import KERNEL_SUMS, check_values, warn_of_sums

__all__ = [
    "BINSZ_IRF",
    "ResponseMap",
    "array_cube",
    "axis_from",
    "default_rad",
    "empty_cube",
    "empty_responses",
    "energy_axes",
    "irf_cards",
    "pixel_cards",
]

BINSZ_IRF = 0.2  # deg; pixel size of response maps
RAD = np.linspace(0.0, 0.66, 67)  # deg; offsets of the PSF
REFERENCE = {"mjdrefi": 51544, "mjdreff": 0.0, "timesys": "tt"}  # 2000-01-01


@dataclass(frozen=True)
class ResponseMap:
    """A response map over the field of view.

    Attributes
    ----------
    values : array of shape (energy, rad, lat, lon) or (energy_true, energy or migra, lat, lon)
    axes : tuple of Axis
        Axes of the first two dimensions: "energy_true" or "energy" and "rad" for a PSF,
        "energy_true" and "energy" or "migra" for an energy dispersion.
    wcs : mapping
        FITS WCS cards of its pixels.
    unit : str
        VOUnit.
    exposure : array of shape (energy, lat, lon), optional
        Weight in stacking.
    exposure_unit : str
        Unit of the exposure.
    """

    values: Any
    axes: tuple[Axis, Axis]
    wcs: Mapping[str, Any]
    unit: str = ""
    exposure: Any = None
    exposure_unit: str = "cm2 s"


def axis_from(name: str, given: Any, where: str, interp: str = "log") -> Axis:
    """Return an axis with a given name.

    Parameters
    ----------
    name : str
    given : `Axis` or Quantity
        An axis, or bin edges.
    where : str
        Text with which messages begin.
    interp : {"log", "lin"}
        Scale of the axis, if edges are given.

    Raises
    ------
    InputError
        If it is neither, or the edges do not increase.
    """
    if isinstance(given, Axis):
        return Axis(name, given.nodes, given.interp, given.node_type, given.unit)
    if not isinstance(given, u.Quantity) or given.ndim != 1 or len(given) < 2:
        msg = f"{where}: axis {name!r} is {given!r}, expected edges with a unit, or an Axis"
        raise InputError(msg)
    return Axis(name, given.value, interp, "edges", vounit(str(given.unit), where))


def pixel_cards(
    position: SkyCoord, width: tuple[float, float], binsz: float, proj: str, frame: str
) -> tuple[dict[str, Any], tuple[int, int]]:
    """Return the WCS cards and shape (lat, lon) of square pixels around a position.

    Parameters
    ----------
    position : `~astropy.coordinates.SkyCoord`
    width : tuple of float
        Size in longitude and latitude, in deg.
    binsz : float
        Pixel size in deg.
    proj : str
        Code of the projection.
    frame : {"icrs", "galactic"}
    """
    names = ("GLON-", "GLAT-") if frame == "galactic" else ("RA---", "DEC--")
    at = position.transform_to(frame).spherical
    npix = [max(int(np.round(side / binsz)), 1) for side in width]
    cards: dict[str, Any] = {
        "CTYPE1": names[0] + proj, "CTYPE2": names[1] + proj, "CRPIX1": (npix[0] + 1) / 2,
        "CRPIX2": (npix[1] + 1) / 2, "CRVAL1": float(at.lon.deg), "CRVAL2": float(at.lat.deg),
        "CDELT1": -binsz, "CDELT2": binsz, "CUNIT1": "deg", "CUNIT2": "deg",
    }  # fmt: skip
    if frame == "icrs":
        cards["RADESYS"] = "ICRS"
    return cards, (npix[1], npix[0])


def array_cube(
    name: str,
    wcs: Mapping[str, Any],
    axes: tuple[Axis, Axis],
    arrays: Mapping[str, Any],
    exposure_unit: str = "cm2 s",
    responses: Mapping[str, ResponseMap | None] | None = None,
    region: Region | None = None,
) -> xr.Dataset:
    """Create a cube from arrays.

    Parameters
    ----------
    name : str
        Name of the dataset.
    wcs : mapping
        FITS WCS cards.
    axes : tuple of Axis
        "energy" and "energy_true".
    arrays : mapping
        counts, exposure and optionally background, mask_safe, mask_fit, weights; they are not
        copied, and may be lazy.
    exposure_unit : str
        VOUnit.
    responses : mapping of `ResponseMap`
        "psf" and "edisp".
    region : Region, optional
        Region of the arrays, if they belong to one.

    Raises
    ------
    InputError
        If a shape does not match the axes and pixels, or values are invalid.
    """
    where = f"dataset {name!r}"
    energy, energy_true = axes
    units = {"exposure": exposure_unit}
    arrays = {
        key: _numbers(values, units.get(key, ""), f"{where}: {key!r}")
        for key, values in arrays.items()
        if values is not None
    }
    for key in ("counts", "exposure"):
        if key not in arrays:
            msg = f"{where}: {key!r} is missing"
            raise InputError(msg)
    pixels = tuple(arrays["counts"].shape[1:])
    cube = xr.Dataset(
        coords={**axis_coords("energy", energy), **axis_coords("energy_true", energy_true)}
    )
    for key, values in arrays.items():
        axis = energy_true if key == "exposure" else energy
        dims = (axis.name, "lat", "lon")
        _check_shape(values, (axis.nbin, *pixels), f"{where}: {key!r}")
        data = _mask(values, f"{where}: {key!r}") if key.startswith("mask") else values
        cube[key] = xr.Variable(dims, data, {"unit": exposure_unit if key == "exposure" else ""})
    cube.attrs = {"name": name, "kind": "MapDataset", "wcs": dict(wcs)}
    if "weights" in arrays:
        cube.attrs["stat_type"] = WeightedCash.name
    if region is not None:
        cube.attrs |= {"kind": "SpectrumDataset", "region": region.to_dict(), "wcs": region.pixel()}
    given: Mapping[str, Any] = responses or {}
    for key, response in given.items():
        if response is not None:
            cube = _with_response(cube, key, response, where)
    checked = check_values(cube, where)
    warn_of_sums({name: checked.attrs.get(KERNEL_SUMS, {})})
    return checked


def _numbers(values: Any, unit: str, where: str) -> Any:
    """Return an array, converted to a unit if it has another one."""
    if isinstance(values, u.Quantity):
        try:
            return values.to_value(unit)
        except u.UnitsError as error:
            msg = f"{where} is in {values.unit}, expected {unit or 'no unit'}"
            raise InputError(msg) from error
    return values if hasattr(values, "dtype") else np.asarray(values)


def _mask(values: Any, where: str) -> Any:
    """Return a mask as booleans; weights are not accepted."""
    if values.dtype.kind == "f" and not bool(((values == 0) | (values == 1)).all()):
        msg = f"{where} has values other than 0 and 1, expected booleans; weights are a separate array"
        raise InputError(msg)
    return values.astype(bool)


def _with_response(cube: xr.Dataset, key: str, response: Any, where: str) -> xr.Dataset:
    if not isinstance(response, ResponseMap):
        msg = f"{where}: {key!r} is a {type(response).__name__}, expected a ResponseMap"
        raise InputError(msg)
    first, second = response.axes
    own = f"{key}_{first.name}"
    dims = (own, second.name, f"{key}_lat", f"{key}_lon")
    pixels = tuple(response.values.shape[2:])
    _check_shape(response.values, (first.nbin, second.nbin, *pixels), f"{where}: {key!r}")
    coords = axis_coords(own, first)
    if second.name not in cube.coords:
        coords |= axis_coords(second.name, second)
    cube = cube.assign_coords(coords).assign_attrs({f"{key}_wcs": dict(response.wcs)})
    cube[key] = xr.Variable(dims, response.values, {"unit": response.unit})
    if response.exposure is not None:
        exposure = f"{key}_exposure"
        _check_shape(response.exposure, (first.nbin, *pixels), f"{where}: {exposure!r}")
        attrs = {"unit": response.exposure_unit}
        cube[exposure] = xr.Variable((own, *dims[2:]), response.exposure, attrs)
    return cube


def _check_shape(values: Any, expected: tuple[int, ...], where: str) -> None:
    if tuple(values.shape) != expected:
        msg = f"{where} has shape {tuple(values.shape)}, expected {expected}"
        raise InputError(msg)


def empty_cube(
    name: str,
    wcs: Mapping[str, Any],
    shape: tuple[int, int],
    axes: tuple[Axis, Axis],
    responses: Mapping[str, ResponseMap | None],
    region: Region | None = None,
) -> xr.Dataset:
    """Create an empty cube for stacking: zeros, with no bin in the safe mask.

    Parameters
    ----------
    name, wcs, axes, responses, region
        See `array_cube`.
    shape : tuple of int
        Number of pixels (lat, lon).
    """
    energy, energy_true = axes
    bins = (energy.nbin, *shape)
    arrays = {
        "counts": np.zeros(bins, dtype=np.float32),
        "background": np.zeros(bins, dtype=np.float32),
        "mask_safe": np.zeros(bins, dtype=bool),
        "exposure": np.zeros((energy_true.nbin, *shape), dtype=np.float32),
    }
    cube = array_cube(name, wcs, axes, arrays, "m2 s", responses, region)
    for key in ("gti_start", "gti_stop"):
        cube[key] = xr.Variable(("gti",), np.zeros(0), {"unit": "s"})
    return cube.assign_attrs(gti=dict(REFERENCE))


def empty_responses(
    wcs: Mapping[str, Any],
    shape: tuple[int, int],
    axes: tuple[Axis, Axis],
    rad: Axis | None,
    migra: Axis | None,
    *,
    reco_psf: bool = False,
) -> dict[str, ResponseMap | None]:
    """Create responses without exposure: no PSF values, and the energy dispersion of a perfect instrument.

    Parameters
    ----------
    wcs, shape
        Pixels of the maps.
    axes : tuple of Axis
        "energy" and "energy_true".
    rad : Axis or None
        Offset axis of the PSF, None for no PSF.
    migra : Axis or None
        Migration axis of the energy dispersion, None for kernels.
    reco_psf : bool
        Whether the PSF is given in reconstructed energy.
    """
    energy, energy_true = axes
    psf = None
    if rad is not None:
        first = energy if reco_psf else energy_true
        zeros = np.zeros((first.nbin, rad.nbin, *shape), dtype=np.float32)
        psf = ResponseMap(zeros, (first, rad), wcs, "sr-1", zeros[:, 0], "m2 s")
    if migra is None:
        factor = float(u.Unit(energy.unit).to(energy_true.unit))
        matrix, second = overlap_matrix(energy_true.edges, energy.edges * factor), energy
    else:
        away = np.abs(np.arange(migra.nbin) - migra.to_pix([1.0])[0])
        density = np.clip(1 - away, 0, None) / np.diff(migra.edges)
        matrix, second = np.tile(density, (energy_true.nbin, 1)), migra
    values = np.broadcast_to(matrix[:, :, None, None], (*matrix.shape, *shape)).astype(np.float32)
    exposure = np.zeros((energy_true.nbin, *shape), dtype=np.float32)
    edisp = ResponseMap(values, (energy_true, second), wcs, "", exposure, "m2 s")
    return {"psf": psf, "edisp": edisp}


def default_rad() -> Axis:
    """Return Gammapy's default offset axis of a PSF."""
    return Axis("rad", RAD, "lin", "edges", "deg")


def irf_cards(
    cards: Mapping[str, Any], shape: tuple[int, int], binsz: float
) -> tuple[dict[str, Any], tuple[int, int]]:
    """Return the WCS cards and shape of the coarser pixels of responses over the same field.

    Parameters
    ----------
    cards, shape
        Pixels of the maps.
    binsz : float
        Pixel size in deg.
    """
    grid = WcsGrid(cards, shape)
    frame = grid.frame
    position = SkyCoord(*grid.center, unit="deg", frame=frame)
    scales = grid.pixel_scales
    width = shape[1] * scales[0], shape[0] * scales[1]
    return pixel_cards(position, width, binsz, grid.projection, frame)


def energy_axes(energy: Any, energy_true: Any, where: str) -> tuple[Axis, Axis]:
    """Return the axes "energy" and "energy_true"."""
    true = energy if energy_true is None else energy_true
    return axis_from("energy", energy, where), axis_from("energy_true", true, where)
