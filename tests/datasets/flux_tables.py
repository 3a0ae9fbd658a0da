"""Tables of flux points of every type, and data of three kinds."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import Table

import gmdask as gm

ENERGY = np.geomspace(0.3, 30, 9)
WIDTH = 10 ** (1 / 8)


def table(sed_type: str = "dnde", seed: int = 1) -> Table:
    """Flux points with errors, limits, and a mask, of some type."""
    rng = np.random.default_rng(seed)
    true = 3e-12 * ENERGY**-2.6
    dnde = true * (1 + 0.2 * rng.standard_normal(9))
    limit = np.where(np.arange(9) > 6, dnde + 0.4 * true, np.nan)
    low, high = ENERGY / WIDTH, ENERGY * WIDTH
    factor: Any = {
        "dnde": 1.0, "e2dnde": ENERGY**2, "flux": ENERGY**2 * (1 / low - 1 / high),
        "eflux": ENERGY**2 * np.log(high / low), "likelihood": 1e12 * ENERGY**2.2 / 3,
    }[sed_type]  # fmt: skip
    unit = {
        "dnde": "cm-2 s-1 TeV-1", "e2dnde": "TeV cm-2 s-1", "flux": "cm-2 s-1", "eflux": "TeV cm-2 s-1",
        "likelihood": "",
    }[sed_type]  # fmt: skip
    name = {"likelihood": "norm"}.get(sed_type, sed_type)
    found = Table({"e_ref": ENERGY * u.TeV, "e_min": low * u.TeV, "e_max": high * u.TeV})
    if sed_type == "likelihood":
        found["ref_dnde"] = u.Quantity(3e-12 * ENERGY**-2.2, "cm-2 s-1 TeV-1")
    for part, values in (
        ("", dnde),
        ("_err", 0.2 * true),
        ("_errn", 0.19 * true),
        ("_errp", 0.22 * true),
        ("_ul", limit),
    ):
        found[f"{name}{part}"] = u.Quantity(values * factor, unit)
    found["is_ul"] = np.arange(9) > 6
    found["sqrt_ts"] = np.where(found["is_ul"], 1.0, 7.0)
    found.meta["SED_TYPE"] = sed_type
    return found


def models(index: float = 2.4) -> gm.Models:
    spectrum = gm.PowerLawSpectralModel(index=index, amplitude="2.7e-12 cm-2 s-1 TeV-1")
    return gm.Models(gm.SkyModel(spectrum, name="source"))


def dataset(name: str = "points", **kwargs) -> gm.FluxPointsDataset:
    return gm.FluxPointsDataset.from_table(table(**kwargs), name)


def mixed(shared) -> tuple[gm.Datasets, gm.Models]:
    """A map, an on/off spectrum and flux points of one source."""
    folder = shared / "data" / "mwl"
    datasets = gm.Datasets.read(folder / "datasets.yaml", response="gammapy")
    return datasets, gm.Models.read(folder / "models_start.yaml")
