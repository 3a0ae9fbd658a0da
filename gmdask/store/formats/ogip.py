"""Read OGIP spectra (PHA) with their background (BKG), effective area (ARF) and energy dispersion (RMF)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from astropy.io import fits
from astropy.units import Unit, UnitsError
from numpy.typing import NDArray

from gmdask.errors import InputError
from gmdask.geometry import Axis
from gmdask.inputs import open_fits
from gmdask.store.axes import axis_coords, same_axis
from gmdask.store.formats.ogip_rows import has_rows, row_name, spectrum_of_row, split_row
from gmdask.store.formats.region_map import NOWHERE, read_region
from gmdask.store.formats.times import add_times
from gmdask.store.formats.validity import check_values

__all__ = ["GROUPS", "is_ogip", "ogip_files", "read_ogip"]

Array = NDArray[np.float64]

MATRICES = ("MATRIX", "SPECRESP MATRIX")
PARTS = {"BACKFILE": "background", "ANCRFILE": "effective area", "RESPFILE": "energy dispersion"}
DIMS = ("energy", "lat", "lon")
GROUPS = "groups"  # attribute of a cube: first channel of each group, where there are groups
SAME = 1e-6  # relative difference up to which two edges are taken to be equal


@dataclass(frozen=True)
class _Spectrum:
    """The SPECTRUM extension of a file.

    Attributes
    ----------
    channel : array of shape (channel,)
    counts, backscal : array of shape (channel,)
    good : boolean array of shape (channel,)
        Whether QUALITY is 0.
    first : boolean array of shape (channel,)
        Whether a group begins there, by GROUPING; everywhere if there are no groups.
    exposure : float
        In s.
    """

    channel: NDArray[np.int64]
    counts: Array
    backscal: Array
    good: NDArray[np.bool_]
    first: NDArray[np.bool_]
    exposure: float


class _Redistribution(NamedTuple):
    """An RMF: channels with their energies, true energies, and the energy dispersion (energy_true, energy)."""

    channels: NDArray[np.int64]
    energy: Axis
    energy_true: Axis
    matrix: Array


def is_ogip(hdus: fits.HDUList) -> bool:
    """Whether an open file contains an OGIP spectrum."""
    return "SPECTRUM" in hdus


def ogip_files(path: str | Path) -> list[Path]:
    """Return the file of a spectrum and those that it refers to.

    Parameters
    ----------
    path : str or pathlib.Path
        Path of a FITS file, with the row of a spectrum if there are several, ``file{row}``. If it contains
        no OGIP spectrum, only this path is returned.
    """
    file, row = split_row(path)
    header = fits.Header()
    with open_fits(file) as hdus:
        if is_ogip(hdus):
            header = spectrum_of_row(hdus["SPECTRUM"], row, str(file)).header
    others = (_companion(file, header, key) for key in PARTS if _named(header, key))
    return [file, *(split_row(other)[0] for other in others)]


def read_ogip(
    path: str | Path, hdus: fits.HDUList, name: str | None, row: int | None = None
) -> xr.Dataset:
    """Read a spectrum and the files that it refers to, which lie in the same folder.

    Parameters
    ----------
    path : str or pathlib.Path
        Path of the spectrum.
    hdus : astropy.io.fits.HDUList
        The open file.
    name : str or None
        Name of the dataset; by default OBS_ID, else the stem of the file name, with the row if there are
        several spectra.
    row : int, optional
        Row of the spectrum, from 1, in a file with several (type II).

    Returns
    -------
    xarray.Dataset
        A SpectrumDatasetOnOff, or without a background file a SpectrumDataset; see `read_map_dataset`.

    Raises
    ------
    InputNotFoundError
        If a file that it refers to does not exist.
    InputError
        If a file is damaged, or has other content than expected.

    Notes
    -----
    Channels stay as they are; groups of them, by the column GROUPING, are listed in ``attrs["groups"]``.
    Bins with a QUALITY other than 0 are excluded from the safe mask. The acceptances are BACKSCAL; that
    of the background is multiplied by the ratio of its EXPOSURE to that of the spectrum. A background file
    with several spectra and no row in its name has those of the same rows. If the energies
    of the effective area are not those of the energy dispersion, it is averaged over the latter's bins.
    """
    name = name or row_name(hdus["SPECTRUM"], path, row)
    where = f"{path}: dataset {name!r}"
    hdu = spectrum_of_row(hdus["SPECTRUM"], row, where)
    header = hdu.header
    spectrum = _spectrum(hdu, where)
    rmf = _read_rmf(path, header, where) if _named(header, "RESPFILE") else None
    channels, energy = _energies(hdus, rmf, where)
    energy_true, area = _read_arf(path, header, where)
    if rmf is not None and not same_axis(energy_true, rmf.energy_true):
        energy_true, area = rmf.energy_true, _mean_area(energy_true, area, rmf.energy_true)
    cube = _counts(spectrum, channels, energy, where)
    cube = cube.assign_coords(axis_coords("energy_true", energy_true))
    own = {"name": name, "kind": "SpectrumDataset", "primary": {}, **_region(hdus, where)}
    cube.attrs = own | cube.attrs
    if _named(header, "BACKFILE"):
        _add_background(cube, path, header, row, spectrum, channels, where)
    exposure = (area * spectrum.exposure)[:, None, None]
    attrs = {"unit": "cm2 s", "meta": {"livetime": f"{spectrum.exposure} s"}}
    cube["exposure"] = xr.Variable(("energy_true", "lat", "lon"), exposure, attrs)
    if rmf is not None:
        cube = _with_edisp(cube, rmf.matrix, energy_true, exposure)
    add_times(cube, hdus)
    return check_values(cube, where)


def _energies(
    hdus: fits.HDUList, rmf: _Redistribution | None, where: str
) -> tuple[NDArray[np.int64], Axis]:
    """Return the channels and their energies, from HDU EBOUNDS of the spectrum or else of its RMF."""
    if "EBOUNDS" in hdus:
        channels, energy = _bounds(hdus["EBOUNDS"], where)
    elif rmf is not None:
        return rmf.channels, rmf.energy
    else:
        msg = f"{where}: no energies: it has no HDU EBOUNDS and refers to no RESPFILE"
        raise InputError(msg)
    if rmf is not None and not (
        np.array_equal(channels, rmf.channels) and same_axis(energy, rmf.energy)
    ):
        msg = f"{where}: the energies of its channels do not match those of RESPFILE"
        raise InputError(msg)
    return channels, energy


def _counts(
    spectrum: _Spectrum, channels: NDArray[np.int64], energy: Axis, where: str
) -> xr.Dataset:
    """Return a cube with counts, safe mask and groups, in the order of the energies."""
    order = _order(spectrum, channels, where)
    cube = xr.Dataset(coords=axis_coords("energy", energy))
    _put(cube, "counts", spectrum.counts[order])
    _put(cube, "mask_safe", spectrum.good[order])
    first = spectrum.first[order]
    if not first.all():
        first[0] = True
        cube.attrs[GROUPS] = np.flatnonzero(first).tolist()
    return cube


def _region(hdus: fits.HDUList, where: str) -> dict[str, Any]:
    region = read_region(hdus, "REGION", where)
    if region is None:
        return {"wcs": NOWHERE, "region": {}}
    return {"wcs": region.pixel(), "region": region.to_dict()}


def _put(cube: xr.Dataset, key: str, values: NDArray[Any]) -> None:
    cube[key] = xr.Variable(DIMS, values[:, None, None], {"unit": ""})


def _named(header: fits.Header, key: str) -> bool:
    return str(header.get(key, "")).strip().lower() not in ("", "none")


def _companion(path: str | Path, header: fits.Header, key: str) -> Path:
    return Path(path).parent / str(header[key]).strip()


# --- the tables -----------------------------------------------------------------------------


def _column(hdu: Any, name: str, where: str, default: float | None = None) -> Array:
    """Return a column of a table, or else the keyword of this name for all rows."""
    if name in hdu.columns.names:
        return np.asarray(hdu.data[name], dtype=np.float64)
    value = hdu.header.get(name, default)
    if not isinstance(value, int | float) or isinstance(value, bool):
        msg = f"{where}: HDU {hdu.name}: column {name} is missing"
        raise InputError(msg)
    return np.full(len(hdu.data), float(value))


def _spectrum(hdu: Any, where: str) -> _Spectrum:
    header = hdu.header
    if "COUNTS" not in hdu.columns.names:
        msg = f"{where}: HDU SPECTRUM has no column COUNTS: rates are not supported"
        raise InputError(msg)
    if (_column(hdu, "AREASCAL", where, 1.0) != 1).any():
        msg = f"{where}: HDU SPECTRUM: AREASCAL is not 1, which is not supported"
        raise InputError(msg)
    exposure = header.get("EXPOSURE")
    if not isinstance(exposure, int | float) or not exposure > 0:
        msg = f"{where}: HDU SPECTRUM: keyword EXPOSURE is {exposure!r}, expected a positive time"
        raise InputError(msg)
    return _Spectrum(
        _column(hdu, "CHANNEL", where).astype(np.int64),
        _column(hdu, "COUNTS", where),
        _column(hdu, "BACKSCAL", where, 1.0),
        _column(hdu, "QUALITY", where, 0.0) == 0,
        _column(hdu, "GROUPING", where, 0.0) != -1,
        float(exposure),
    )


def _edges(hdu: Any, names: tuple[str, str], axis: str, where: str) -> Axis:
    """Return the axis of the rows of a table, from the columns of their lower and upper edges."""
    for column in names:
        if column not in hdu.columns.names:
            msg = f"{where}: HDU {hdu.name}: column {column} is missing"
            raise InputError(msg)
    low, high = (np.asarray(hdu.data[column], dtype=np.float64) for column in names)
    if len(low) == 0 or not np.allclose(high[:-1], low[1:], rtol=SAME, atol=0):
        msg = f"{where}: HDU {hdu.name}: {names[0]} and {names[1]} must describe consecutive bins without gaps"
        raise InputError(msg)
    unit = hdu.columns[names[0]].unit or "keV"
    return Axis(axis, np.append(low, high[-1]), "log", "edges", str(unit))


def _bounds(hdu: Any, where: str) -> tuple[NDArray[np.int64], Axis]:
    """Return the channels, and the axis of their energies."""
    axis = _edges(hdu, ("E_MIN", "E_MAX"), "energy", where)
    return _column(hdu, "CHANNEL", where).astype(np.int64), axis


def _order(spectrum: _Spectrum, channels: NDArray[np.int64], where: str) -> NDArray[np.intp]:
    """Return the positions of channels in a spectrum."""
    place = {int(channel): i for i, channel in enumerate(spectrum.channel)}
    if len(place) != len(channels) or set(place) != set(channels.tolist()):
        msg = f"{where}: the {len(place)} channels of HDU SPECTRUM do not match its {len(channels)} energies"
        raise InputError(msg)
    return np.array([place[int(channel)] for channel in channels], dtype=np.intp)


# --- other files ----------------------------------------------------------------------------


def _add_background(
    cube: xr.Dataset,
    path: str | Path,
    header: fits.Header,
    row: int | None,
    spectrum: _Spectrum,
    channels: NDArray[np.int64],
    where: str,
) -> None:
    file, own_row = split_row(_companion(path, header, "BACKFILE"))
    with open_fits(file, "background") as hdus:
        if not is_ogip(hdus):
            msg = f"{where}: {file} (BACKFILE) has no HDU SPECTRUM"
            raise InputError(msg)
        hdu = hdus["SPECTRUM"]
        if own_row is None and has_rows(hdu):
            own_row = row
        off = _spectrum(spectrum_of_row(hdu, own_row, f"{where}: {file}"), f"{where}: {file}")
    order, own = _order(off, channels, f"{where}: {file}"), _order(spectrum, channels, where)
    _put(cube, "counts_off", off.counts[order])
    _put(cube, "acceptance", spectrum.backscal[own])
    _put(cube, "acceptance_off", off.backscal[order] * (off.exposure / spectrum.exposure))
    cube["mask_safe"] &= xr.Variable(DIMS, off.good[order][:, None, None])
    cube.attrs |= {"kind": "SpectrumDatasetOnOff", "stat_type": "wstat"}


def _read_arf(path: str | Path, header: fits.Header, where: str) -> tuple[Axis, Array]:
    """Return the true energies, and the effective area in cm2."""
    if not _named(header, "ANCRFILE"):
        msg = f"{where}: keyword ANCRFILE does not name a file with the effective area"
        raise InputError(msg)
    file = _companion(path, header, "ANCRFILE")
    where = f"{where}: {file}"
    with open_fits(file, "effective area") as hdus:
        if "SPECRESP" not in hdus or "SPECRESP" not in hdus["SPECRESP"].columns.names:
            msg = f"{where} (ANCRFILE) has no HDU SPECRESP with a column SPECRESP"
            raise InputError(msg)
        hdu = hdus["SPECRESP"]
        axis = _edges(hdu, ("ENERG_LO", "ENERG_HI"), "energy_true", where)
        try:
            factor = Unit(hdu.columns["SPECRESP"].unit or "cm2").to("cm2")
        except (ValueError, UnitsError) as error:
            msg = f"{where}: column SPECRESP does not have a unit of area"
            raise InputError(msg) from error
        return axis, _column(hdu, "SPECRESP", where) * factor


def _mean_area(axis: Axis, area: Array, wanted: Axis) -> Array:
    """Average an effective area over other bins; it is 0 beyond its own."""
    edges = axis.edges * Unit(axis.unit).to(wanted.unit)
    below = np.concatenate([[0.0], np.cumsum(area * np.diff(edges))])
    total = np.interp(wanted.edges, edges, below)
    return np.asarray(np.diff(total) / np.diff(wanted.edges))


def _read_rmf(path: str | Path, header: fits.Header, where: str) -> _Redistribution:
    file = _companion(path, header, "RESPFILE")
    where = f"{where}: {file}"
    with open_fits(file, "energy dispersion") as hdus:
        hdu = next((hdus[key] for key in MATRICES if key in hdus), None)
        if hdu is None or "EBOUNDS" not in hdus:
            msg = f"{where} (RESPFILE) must have the HDUs MATRIX and EBOUNDS"
            raise InputError(msg)
        if str(hdu.header.get("HDUCLAS3", "REDIST")).strip() == "FULL":
            msg = f"{where}: HDU {hdu.name} includes an effective area (HDUCLAS3 is FULL), which is not supported"
            raise InputError(msg)
        channels, energy = _bounds(hdus["EBOUNDS"], where)
        axis = _edges(hdu, ("ENERG_LO", "ENERG_HI"), "energy_true", where)
        matrix = _matrix(hdu, int(channels[0]), energy.nbin, where)
        return _Redistribution(channels, energy, axis, matrix)


def _matrix(hdu: Any, first: int, n: int, where: str) -> Array:
    """Read a matrix (energy_true, energy) whose rows consist of groups of consecutive channels."""
    for column in ("N_GRP", "F_CHAN", "N_CHAN", "MATRIX"):
        if column not in hdu.columns.names:
            msg = f"{where}: HDU {hdu.name}: column {column} is missing"
            raise InputError(msg)
    number = hdu.columns.names.index("F_CHAN") + 1
    first = int(hdu.header.get(f"TLMIN{number}", first))
    matrix = np.zeros((len(hdu.data), n))
    for row, (groups, starts, lengths, values) in enumerate(
        zip(*(hdu.data[column] for column in ("N_GRP", "F_CHAN", "N_CHAN", "MATRIX")), strict=True)
    ):
        starts, lengths = np.atleast_1d(starts)[:groups], np.atleast_1d(lengths)[:groups]
        values, at = np.atleast_1d(values), 0
        for start, length in zip(starts.astype(int) - first, lengths.astype(int), strict=True):
            if start < 0 or length < 0 or start + length > n or at + length > len(values):
                msg = f"{where}: HDU {hdu.name}: row {row} has channels beyond the last of {n}"
                raise InputError(msg)
            matrix[row, start : start + length] = values[at : at + length]
            at += length
    return matrix


def _with_edisp(cube: xr.Dataset, matrix: Array, true: Axis, exposure: Array) -> xr.Dataset:
    """Add an energy dispersion that is constant over the region to a cube."""
    dims = ("edisp_energy_true", "energy", "edisp_lat", "edisp_lon")
    cube = cube.assign_coords(axis_coords(dims[0], true)).assign_attrs(
        edisp_wcs=dict(cube.attrs["wcs"])
    )
    cube["edisp"] = xr.Variable(dims, matrix[:, :, None, None], {"unit": ""})
    weights = xr.Variable((dims[0], *dims[2:]), exposure.copy(), {"unit": "cm2 s"})
    return cube.assign(edisp_exposure=weights)
