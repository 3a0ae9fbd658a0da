"""Read tables of flux points (GADF), in FITS or ECSV, as one `xarray.Dataset` of differential fluxes.

Fluxes of other types are converted as in Gammapy: norms with the reference fluxes of their table,
integral and energy fluxes with a power law of index 2.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from astropy import units as u
from astropy.io import fits
from astropy.table import Table
from numpy.typing import NDArray

from gmdask import inputs
from gmdask.errors import InputError
from gmdask.geometry import Axis
from gmdask.paths import expanded
from gmdask.store.axes import axis_coords, cube_axis
from gmdask.store.formats.gadf_writer import gti_table
from gmdask.store.formats.times import add_times
from gmdask.store.formats.validity import check_name

__all__ = ["check_flux_cube", "flux_cube", "flux_hdus", "flux_table", "read_flux_cube"]

log = logging.getLogger(__name__)

Array = NDArray[np.float64]

DNDE = u.Unit("cm-2 s-1 TeV-1")
UNITS = {
    "dnde": str(DNDE), "e2dnde": "TeV cm-2 s-1", "flux": "cm-2 s-1", "eflux": "TeV cm-2 s-1", "norm": "",
}  # fmt: skip
PARTS = ("", "_err", "_errn", "_errp", "_ul")
PLAIN = ("ts", "sqrt_ts", "stat", "stat_null")
SCAN = ("norm_scan", "stat_scan")
LOGLIKE = {"stat": "loglike", "stat_null": "loglike_null", "stat_scan": "dloglike_scan"}
SAME = 1e-6  # relative difference up to which two energies are taken to be equal


def read_flux_cube(path: str | Path, name: str | None = None) -> xr.Dataset:
    """Read the flux points of a file.

    Parameters
    ----------
    path : str or pathlib.Path
        FITS (plain or gzipped) or ECSV.
    name : str, optional
        Name of the dataset; by default the keyword NAME of the table, else the stem of the file name.

    Raises
    ------
    InputNotFoundError
        If the file does not exist.
    InputError
        If it contains something else, or the flux points have no valid likelihood.
    """
    path = expanded(path)
    table = inputs.read_table(path, "FLUXPOINTS", "table of flux points")
    stem = path.name.removesuffix(".gz").rsplit(".", 1)[0]
    name = name or str(table.meta.get("NAME", "")).strip() or stem
    where = f"{path}: dataset {name!r}"
    cube = flux_cube(table, name, where)
    if not path.name.lower().endswith(".ecsv"):
        with inputs.open_fits(path) as hdus:
            add_times(cube, hdus)
    return check_flux_cube(cube, where)


def flux_cube(table: Table, name: str, where: str) -> xr.Dataset:
    """Return the flux points of a table.

    Parameters
    ----------
    table : astropy.table.Table
        Of any SED type: dnde, e2dnde, flux, eflux or likelihood.
    name : str
        Name of the dataset.
    where : str
        Text with which messages begin.

    Returns
    -------
    xarray.Dataset
        Along ``energy``: ``dnde``, ``dnde_err``, ``dnde_errn``, ``dnde_errp``, ``dnde_ul`` and ``dnde_ref`` in
        cm-2 s-1 TeV-1 (NaN if unknown), ``is_ul``, and optionally ``mask_safe``,
        ``mask_fit``, ``ts``, ``sqrt_ts``, ``stat``, ``stat_null``, ``norm_scan`` and ``stat_scan``.

    Raises
    ------
    InputError
        If columns are missing, or have incompatible units.
    """
    columns = _Columns(table, where)
    kind = columns.kind
    low, high = columns.get("e_min", "TeV"), columns.get("e_max", "TeV")
    energy = columns.get("e_ref", "TeV")
    if energy is None:
        energy = np.sqrt(columns.need("e_min", "TeV") * columns.need("e_max", "TeV"))
    elif low is not None and high is not None:
        _compare_energies(energy, np.sqrt(low * high), where)
    reference = columns.get("ref_dnde", str(DNDE))
    if reference is None:
        reference = 1e-12 * energy**-2.0
    cube = xr.Dataset(coords=_coords(energy, low, high, where))
    fluxes, factor = {}, columns.to_dnde(kind, energy, reference)
    for part in PARTS:
        values = columns.get(f"{kind}{part}", UNITS[kind])
        fluxes[part] = np.full(len(energy), np.nan) if values is None else values * factor
    success = columns.get("success", "")
    if success is not None:
        for part in ("", "_err"):
            fluxes[part] = np.where(success != 0, fluxes[part], np.nan)
    if columns.get(f"{kind}_err", UNITS[kind]) is None:
        fluxes["_err"] = 0.5 * (fluxes["_errn"] + fluxes["_errp"])
    for part, values in fluxes.items():
        cube[f"dnde{part}"] = xr.Variable(("energy",), values, {"unit": str(DNDE)})
    cube["dnde_ref"] = xr.Variable(("energy",), reference, {"unit": str(DNDE)})
    cube["is_ul"] = xr.Variable(("energy",), columns.is_ul(kind, fluxes), {"unit": ""})
    for key in (*PLAIN, *SCAN, "mask_safe", "mask_fit"):
        values = columns.get(key, "")
        if values is not None:
            dims = ("energy", "scan") if key in SCAN else ("energy",)
            data = values.astype(bool) if key.startswith("mask") else values
            cube[key] = xr.Variable(dims, data, {"unit": ""})
    cube.attrs = {"name": name, "kind": "FluxPointsDataset", "stat_type": columns.stat_type}
    if "UL_CONF" in table.meta:
        cube.attrs["ul_conf"] = float(table.meta["UL_CONF"])
    return cube


class _Columns:
    """Columns of a table as plain arrays in given units."""

    def __init__(self, table: Table, where: str) -> None:
        self._table, self._where = table, where
        if "time_min" in table.colnames or "x_min" in table.colnames:
            msg = f"{where}: a light curve or a profile, expected the flux points of one spectrum"
            raise InputError(msg)
        declared = {"likelihood": "norm"}.get(*[str(table.meta.get("SED_TYPE", ""))] * 2)
        found = [declared] if declared else [kind for kind in UNITS if kind in table.colnames]
        if not found or found[0] not in table.colnames or found[0] not in UNITS:
            msg = f"{where}: is not a table of fluxes: columns {', '.join(table.colnames)}"
            raise InputError(msg)
        self.kind = found[0]
        self.stat_type = str(table.meta.get("STATTYPE", "chi2"))

    def get(self, name: str, unit: str) -> Array | None:
        """Return a column (energy,), for a scan (energy, scan); None if there is none."""
        factor, own = 1.0, name
        if name not in self._table.colnames:
            own, factor = LOGLIKE.get(name, ""), 2.0
            if own not in self._table.colnames:
                return None
        column = self._table[own]
        try:
            values = u.Quantity(
                np.ma.filled(np.ma.asarray(column, dtype=float), np.nan), column.unit or ""
            )
            plain = np.asarray(values.to_value(unit), dtype=float) * factor
        except (TypeError, ValueError, u.UnitsError) as error:
            msg = f"{self._where}: column {own} is in {str(column.unit)!r}, expected a unit like {unit!r}"
            raise InputError(msg) from error
        return plain if name in SCAN else plain.reshape(len(self._table))

    def need(self, name: str, unit: str) -> Array:
        """Return a column that must exist."""
        values = self.get(name, unit)
        if values is None:
            msg = f"{self._where}: column {name} is missing"
            raise InputError(msg)
        return values

    def to_dnde(self, kind: str, energy: Array, reference: Array) -> Array:
        """Return the factor (energy,) that converts a flux of an SED type to a differential flux."""
        if kind == "norm":
            self.need("ref_dnde", str(DNDE))
            return reference
        if kind in ("dnde", "e2dnde"):
            return energy ** (0.0 if kind == "dnde" else -2.0)
        low, high = self.need("e_min", "TeV"), self.need("e_max", "TeV")
        whole = 1 / low - 1 / high if kind == "flux" else np.log(high / low)
        return np.asarray(energy**-2.0 / whole)

    def is_ul(self, kind: str, fluxes: dict[str, Array]) -> NDArray[np.bool_]:
        """Return which points are limits: as given in the table, else those below 2 σ, else those with a limit."""
        is_ul, ts, root = (self.get(key, "") for key in ("is_ul", "ts", "sqrt_ts"))
        has_limits = self.get(f"{kind}_ul", UNITS[kind]) is not None
        if is_ul is not None:
            return np.asarray(is_ul == 1)
        if root is None and ts is not None:
            root = np.sqrt(np.clip(ts, 0, None)) * np.where(fluxes[""] > 0, 1, -1)
        if root is not None and has_limits:
            return np.asarray(root < 2)
        return np.isfinite(fluxes["_ul"]) if has_limits else np.isnan(fluxes[""])


def _coords(energy: Array, low: Array | None, high: Array | None, where: str) -> Any:
    """Return the energy axis, with the bin edges if they are known."""
    if not (
        np.isfinite(energy).all() and len(energy) and energy[0] > 0 and (np.diff(energy) > 0).all()
    ):
        given = ", ".join(f"{value:.4g}" for value in energy)
        msg = f"{where}: energies are {given} TeV, expected positive increasing ones"
        raise InputError(msg)
    coords = dict(axis_coords("energy", Axis("energy", energy, "log", "center", "TeV")))
    if low is not None and high is not None:
        for key, values in (("energy_min", low), ("energy_max", high)):
            coords[key] = xr.Variable(("energy",), values, {"unit": "TeV"})
    return coords


def _compare_energies(energy: Array, mean: Array, where: str) -> None:
    away = np.abs(energy / mean - 1).max(initial=0.0)
    if away > SAME:
        log.warning(
            "%s: e_ref is up to %.2g away from the geometric means of e_min and e_max; fluxes are compared at "
            "e_ref (Gammapy compares them at the means)", where, away,
        )  # fmt: skip


# --- checks -------------------------------------------------------------------------------


def check_flux_cube(cube: xr.Dataset, where: str) -> xr.Dataset:
    """Raise an error if flux points in the masks have no valid likelihood, and return them.

    Parameters
    ----------
    cube : xarray.Dataset
        See `flux_cube`.
    where : str
        Text with which messages begin.

    Raises
    ------
    InputError
        If the name cannot be printed, an error is missing or not positive, a limit or flux is infinite, or
        the norms of a scan do not increase.
    """
    check_name(cube.attrs.get("name"), where)
    used = np.ones(cube.sizes["energy"], dtype=bool)
    for key in ("mask_safe", "mask_fit"):
        if key in cube:
            used &= cube[key].values.astype(bool)
    values = {key: cube[key].values for key in ("dnde", *(f"dnde{part}" for part in PARTS[1:]))}
    for key, array in values.items():
        _refuse(used & np.isinf(array), cube, f"{key} is infinite", where)
    measured = used & np.isfinite(values["dnde"]) & ~cube["is_ul"].values.astype(bool)
    for key in ("dnde_err", "dnde_errn", "dnde_errp"):
        _refuse(measured & (values[key] <= 0), cube, f"{key} is not positive", where)
    stat_type = cube.attrs.get("stat_type")
    if stat_type == "chi2":
        _refuse(measured & np.isnan(values["dnde_err"]), cube, "dnde_err is missing", where)
    if "stat_scan" in cube:
        norms = cube["norm_scan"].values if "norm_scan" in cube else np.zeros((1, 0))
        if norms.shape != cube["stat_scan"].shape or norms.shape[1] < 3:
            msg = f"{where}: stat_scan has shape {cube['stat_scan'].shape}, expected that of norm_scan, with 3 or more"
            raise InputError(msg)
        _refuse(
            np.asarray((np.diff(norms) <= 0).any(axis=1)),
            cube,
            "norm_scan does not increase",
            where,
        )
    return cube


def _refuse(bad: NDArray[np.bool_], cube: xr.Dataset, what: str, where: str) -> None:
    if bad.any():
        at = ", ".join(f"{energy:.4g} TeV" for energy in cube["energy"].values[bad][:5])
        msg = f"{where}: {what} for {int(bad.sum())} points, at {at}; mask them, or correct them"
        raise InputError(msg)


# --- writing ------------------------------------------------------------------------------


def flux_table(cube: xr.Dataset) -> Table:
    """Return a table of flux points that Gammapy reads, with their masks.

    Its SED type is "dnde", with scans as in "likelihood". The bin edges are left out if the energies
    are not their geometric means, which Gammapy would use instead.

    Parameters
    ----------
    cube : xarray.Dataset
        In memory.
    """
    energy = cube_axis(cube, "energy", "TeV").center
    table = Table({"e_ref": u.Quantity(energy, "TeV")})
    if "energy_min" in cube.coords:
        low, high = cube["energy_min"].values, cube["energy_max"].values
        touch = np.allclose(low[1:], high[:-1], rtol=SAME, atol=0)
        if touch and np.allclose(np.sqrt(low * high), energy, rtol=SAME, atol=0):
            table["e_min"], table["e_max"] = u.Quantity(low, "TeV"), u.Quantity(high, "TeV")
    scanned = "stat_scan" in cube
    reference = cube["dnde_ref"].values
    if scanned:
        table["ref_dnde"] = u.Quantity(reference, DNDE)
    needed = ("", "_ul") if cube.attrs["stat_type"] == "distrib" else ("",)  # by Gammapy
    for part in PARTS:
        values = cube[f"dnde{part}"].values
        if part in needed or np.isfinite(values).any():
            table[f"norm{part}" if scanned else f"dnde{part}"] = (
                values / reference if scanned else u.Quantity(values, DNDE)
            )
    for key in (*PLAIN, *SCAN):
        if key in cube:
            table[key] = cube[key].values
    table["is_ul"] = cube["is_ul"].values.astype(bool)
    every = np.ones(len(energy), dtype=bool)
    safe = cube["mask_safe"].values if "mask_safe" in cube else every
    table["mask_fit"] = cube["mask_fit"].values if "mask_fit" in cube else safe
    table["mask_safe"] = safe
    table.meta = {
        "SED_TYPE": "likelihood" if scanned else "dnde",
        "STATTYPE": cube.attrs["stat_type"],
    }
    if cube.attrs["name"].isascii():
        table.meta["NAME"] = cube.attrs["name"]
    if "ul_conf" in cube.attrs:
        table.meta["UL_CONF"] = cube.attrs["ul_conf"]
    return table


def flux_hdus(cube: xr.Dataset) -> fits.HDUList:
    """Return the HDUs of flux points, as `read_flux_cube` and Gammapy read them.

    Parameters
    ----------
    cube : xarray.Dataset
        In memory.
    """
    hdus = [fits.PrimaryHDU(), fits.BinTableHDU(flux_table(cube), name="TABLE")]
    if "gti_start" in cube:
        hdus.append(gti_table(cube))
    return fits.HDUList(hdus)
