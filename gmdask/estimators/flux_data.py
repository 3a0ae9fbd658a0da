"""Fluxes as norms of a reference spectrum, and their conversion to other quantities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from astropy import units as u
from astropy.table import Table
from numpy.typing import NDArray
from scipy.stats import norm as normal

from gmdask.attributes import KnownAttributes
from gmdask.errors import InputError, check_kind
from gmdask.models import PowerLawSpectralModel, SpectralModel, TemplateSpectralModel

__all__ = ["SED_UNITS", "FluxData", "reference_fluxes", "reference_of", "ul_confidence"]

Array = NDArray[np.float64]

SED_UNITS = {
    "dnde": "cm-2 s-1 TeV-1", "e2dnde": "erg cm-2 s-1", "flux": "cm-2 s-1", "eflux": "erg cm-2 s-1",
}  # fmt: skip
NORMS = ("norm", "norm_err", "norm_errn", "norm_errp", "norm_ul")
PER_ENERGY = ("e_ref", "e_min", "e_max", "ref_dnde", "ref_flux", "ref_eflux")
PRINTED = ("time_min", "e_ref", "e_min", "e_max", "dnde", "dnde_err", "dnde_ul", "sqrt_ts")
PLAIN = ("ts", "sqrt_ts", "npred", "npred_excess", "stat", "stat_null")


def reference_fluxes(model: SpectralModel, low: Array, high: Array) -> dict[str, xr.Variable]:
    """Return the energies, and the fluxes of a spectrum, in energy ranges.

    Parameters
    ----------
    model : `SpectralModel`
    low, high : array of shape (energy,)
        Ranges in TeV; the reference energy is their geometric mean, as in Gammapy.
    """
    lower, upper = u.Quantity(low, "TeV"), u.Quantity(high, "TeV")
    energy = np.sqrt(lower * upper)
    found = {
        "e_ref": energy,
        "e_min": lower,
        "e_max": upper,
        "ref_dnde": model(energy).to(SED_UNITS["dnde"]),
        "ref_flux": model.integral(lower, upper).to(SED_UNITS["flux"]),
        "ref_eflux": model.energy_flux(lower, upper).to(SED_UNITS["eflux"]),
    }
    return {
        key: xr.Variable(("energy",), value.value, {"units": value.unit.to_string()})
        for key, value in found.items()
    }


def ul_confidence(n_sigma: float) -> float:
    """Confidence level of an upper limit at a number of standard deviations, as stored in files."""
    return float(np.round(1 - 2 * normal.sf(n_sigma), 7))


class FluxData(KnownAttributes):
    """Norms of a reference spectrum in energy bins, with all estimated quantities.

    Parameters
    ----------
    data : `xarray.Dataset`
        ``norm`` and the other estimated quantities, along ``energy`` (and dimensions before it); ``e_ref``, ``e_min``,
        ``e_max``, ``ref_dnde``, ``ref_flux``, ``ref_eflux`` along ``energy``. Units are attributes.
    reference_model : `SpectralModel`, optional
        The spectrum that the norms refer to; by default interpolated from ``ref_dnde``.

    Attributes
    ----------
    data : `xarray.Dataset`
    """

    def __init__(self, data: xr.Dataset, reference_model: SpectralModel | None = None) -> None:
        check_kind(data, xr.Dataset, "an xarray.Dataset of fluxes (read takes them from a file)")
        missing = {"norm", "e_ref", "ref_dnde"} - set(map(str, data.variables))
        if missing:
            msg = f"fluxes without {', '.join(sorted(missing))}"
            raise InputError(msg)
        self.data = data
        self._reference = reference_model

    @property
    def reference_model(self) -> SpectralModel:
        """The spectrum that the norms refer to."""
        if self._reference is None:
            energy, dnde = self.quantity("e_ref"), self.quantity("ref_dnde")
            self._reference = TemplateSpectralModel(energy, dnde)
        return self._reference

    @property
    def energy_edges(self) -> u.Quantity:
        """Edges (energy + 1,) of the energy bins, in TeV."""
        low, high = (self.quantity(key).to_value("TeV") for key in ("e_min", "e_max"))
        return u.Quantity([*low, high[-1]], "TeV")

    @property
    def n_sigma_ul(self) -> float:
        """Number of standard deviations of the upper limits."""
        return float(self.data.attrs.get("n_sigma_ul", 2.0))

    @property
    def is_ul(self) -> NDArray[np.bool_]:
        """Where the source is not significant (√ts < 2), so that its upper limit is shown."""
        return np.asarray(~(self.data["sqrt_ts"].values >= 2.0))

    def quantity(self, name: str) -> u.Quantity:
        """Return values with their unit: an array of ``data``, or a flux such as "e2dnde" or "dnde_err".

        Parameters
        ----------
        name : str
            Name of an array of ``data``; or "dnde", "e2dnde", "flux" or "eflux", alone or with
            "_err", "_errn", "_errp" or "_ul".

        Raises
        ------
        InputError
            If the quantity was not estimated.
        """
        if name in self.data.variables:
            array = self.data[name]
            return u.Quantity(array.values, array.attrs.get("units", ""))
        kind, _, part = name.partition("_")
        own = f"norm_{part}" if part else "norm"
        if kind not in SED_UNITS or own not in self.data:
            msg = (
                f"{name!r} was not estimated: there are {', '.join(map(str, self.data.data_vars))}"
            )
            raise InputError(msg)
        reference = reference_of(self.data.variables, kind)
        return (self.data[own].values * reference).to(SED_UNITS[kind])

    def columns(self, sed_type: str) -> dict[str, u.Quantity | NDArray[Any]]:
        """Return the columns of a table of an SED type, in Gammapy's order.

        Parameters
        ----------
        sed_type : {"likelihood", "dnde", "e2dnde", "flux", "eflux"}

        Raises
        ------
        InputError
            If the SED type is unknown.
        """
        if sed_type != "likelihood" and sed_type not in SED_UNITS:
            msg = f"sed_type is {sed_type!r}, expected one of likelihood, {', '.join(SED_UNITS)}"
            raise InputError(msg)
        found: dict[str, Any] = {key: self.quantity(key) for key in ("e_ref", "e_min", "e_max")}
        if sed_type == "likelihood":
            for kind in ("dnde", "flux", "eflux"):
                found[f"ref_{kind}"] = self.quantity(f"ref_{kind}")
        kept = [key for key in NORMS if key in self.data]
        for key in kept:
            name = key if sed_type == "likelihood" else key.replace("norm", sed_type)
            found[name] = self.quantity(name)
        found |= {key: self._last(key) for key in PLAIN if key in self.data}
        if "norm_ul" in kept and "sqrt_ts" in self.data:
            found["is_ul"] = self.is_ul
        found |= {key: self._last(key) for key in ("counts", "success") if key in self.data}
        if "stat_scan" in self.data:
            shape = self.data["norm"].shape
            scan = self.data["norm_scan"].values
            found["norm_scan"] = np.broadcast_to(scan, (*shape, scan.shape[-1])).copy()
            found["stat_scan"] = self.data["stat_scan"].values
        return found

    def table(self, sed_type: str) -> Table:
        """Return a table of an SED type; quantities per energy are repeated in every element.

        Parameters
        ----------
        sed_type : str
            See `columns`.
        """
        columns, shape = self.columns(sed_type), self.data["norm"].shape
        for key in PER_ENERGY:
            if key in columns:
                columns[key] = np.broadcast_to(columns[key], shape, subok=True).copy()
        table = Table(columns, meta={"SED_TYPE": sed_type})
        if "response" in self.data.attrs:
            table.meta["RESPONSE"] = self.data.attrs["response"]
        if "norm_ul" in self.data:
            table.meta["UL_CONF"] = ul_confidence(self.n_sigma_ul)
        return table

    def _last(self, key: str) -> NDArray[Any]:
        """Return values with the dataset, if there is one, as the last dimension."""
        dims = self.data["norm"].dims
        array = self.data[key]
        return np.asarray(array.transpose(*dims, ...).values)

    def __repr__(self) -> str:
        sizes = " × ".join(f"{self.data.sizes[d]} {d}" for d in self.data["norm"].dims)
        edges = self.energy_edges
        source = self.data.attrs.get("source")
        of = f" of {source!r}" if source else ""
        return f"<{type(self).__name__}{of}: {sizes}, {edges[0].value:.4g} to {edges[-1].value:.4g} TeV>"

    def __str__(self) -> str:
        table = self.table("dnde")
        kept = [name for name in PRINTED if name in table.colnames]
        return "\n".join([repr(self), *table[kept].pformat(max_lines=40, max_width=-1)])

    def _repr_html_(self) -> str:
        return str(self.data._repr_html_())


def reference_of(variables: Mapping[Any, xr.Variable], kind: str) -> u.Quantity:
    """Return the flux (energy,) of an SED type at a norm of 1.

    Parameters
    ----------
    variables : mapping
        ``e_ref``, ``ref_dnde``, ``ref_flux`` and ``ref_eflux``, as returned by `reference_fluxes`.
    kind : {"dnde", "e2dnde", "flux", "eflux"}
    """

    def quantity(key: str) -> u.Quantity:
        return u.Quantity(variables[key].values, variables[key].attrs.get("units", ""))

    if kind == "e2dnde":
        return quantity("ref_dnde") * quantity("e_ref") ** 2
    return quantity(f"ref_{kind}")


def from_columns(
    table: Mapping[str, Any], sed_type: str, dims: tuple[str, ...], model: SpectralModel | None
) -> tuple[dict[str, xr.Variable], SpectralModel | None]:
    """Convert the columns of a table to the arrays of `FluxData`.

    Parameters
    ----------
    table : mapping
        Quantities and arrays, of shape (..., energy) or (..., energy, dataset).
    sed_type : str
        See `FluxData.columns`.
    dims : tuple of str
        Dimensions of a norm.
    model : `SpectralModel`, optional
        Reference spectrum; by default a power law of index 2, unless the table contains one.
    """
    energy = {
        key: u.Quantity(table[key]).reshape(-1, np.shape(table[key])[-1])[0]
        for key in PER_ENERGY
        if key in table
    }
    if "e_min" not in energy:
        energy["e_min"] = energy["e_max"] = energy["e_ref"]
    found = {
        key: xr.Variable(("energy",), value.value, {"units": value.unit.to_string()})
        for key, value in energy.items()
    }
    if sed_type != "likelihood":
        model = PowerLawSpectralModel() if model is None else model
        low, high = (energy[key].to_value("TeV") for key in ("e_min", "e_max"))
        computed = reference_fluxes(model, low, high)
        if "e_ref" in energy:
            computed["ref_dnde"].values[:] = model(energy["e_ref"]).to_value(SED_UNITS["dnde"])
        found = {**computed, **found}
    scale = 1.0 if sed_type == "likelihood" else reference_of(found, sed_type)
    for key in NORMS:
        name = key if sed_type == "likelihood" else key.replace("norm", sed_type)
        if name in table:
            value = u.Quantity(u.Quantity(table[name]) / scale).to_value("")
            found[key] = xr.Variable(dims, value, {"units": ""})
    for key in (*PLAIN, "counts", "success"):
        if key in table:
            values = np.asarray(u.Quantity(table[key]).value if key != "success" else table[key])
            own = (*dims, "dataset") if values.ndim > len(dims) else dims
            found[key] = xr.Variable(own, values, {} if key == "success" else {"units": ""})
    if "stat_scan" in table:
        found["stat_scan"] = xr.Variable((*dims, "scan"), np.asarray(table["stat_scan"]), {"units": ""})  # fmt: skip
        found["norm_scan"] = xr.Variable((*dims, "scan"), np.asarray(table["norm_scan"]), {"units": ""})  # fmt: skip
    return found, model
