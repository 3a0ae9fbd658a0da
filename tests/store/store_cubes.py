"""Small cubes with everything a real one has."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

SIZES = {"energy": 3, "energy_true": 4, "lat": 12, "lon": 14, "irf": 5, "rad": 6, "migra": 7}


def wcs_cards(lon: float = 83.633, lat: float = 22.014, n: tuple[int, int] = (14, 12)) -> dict:
    return {
        "WCSAXES": 2,
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CRPIX1": (n[0] + 1) / 2,
        "CRPIX2": (n[1] + 1) / 2,
        "CRVAL1": lon,
        "CRVAL2": lat,
        "CDELT1": -0.1,
        "CDELT2": 0.1,
        "CUNIT1": "deg",
        "CUNIT2": "deg",
        "LONPOLE": 180.0,
        "LATPOLE": lat,
        "RADESYS": "ICRS",
    }


def axis(dim: str, n: int, unit: str = "TeV", interp: str = "log") -> dict[str, xr.Variable]:
    if interp == "log":
        edges = np.geomspace(0.5, 20, n + 1)
        centers = np.sqrt(edges[:-1] * edges[1:])
    else:
        edges = np.linspace(0, 0.66, n + 1)
        centers = 0.5 * (edges[:-1] + edges[1:])
    attrs = {"unit": unit, "interp": interp, "node_type": "edges"}
    return {
        dim: xr.Variable((dim,), centers, attrs),
        f"{dim}_edges": xr.Variable((f"{dim}_edge",), edges, {"unit": unit}),
    }


def make_cube(name: str = "a", seed: int = 0, n_gti: int = 2, **sizes: int) -> xr.Dataset:
    size = {**SIZES, **sizes}
    rng = np.random.default_rng(seed)
    sky, irf = (size["lat"], size["lon"]), (size["irf"], size["irf"])
    et = size["energy_true"]

    def put(dims: str, values: Any, unit: str = "", **attrs: Any) -> xr.Variable:
        return xr.Variable(tuple(dims.split()), values, {"unit": unit, **attrs})

    coords: dict[str, xr.Variable] = {}
    for dim in ("energy", "energy_true", "psf_energy_true", "edisp_energy_true"):
        coords |= axis(dim, size["energy" if dim == "energy" else "energy_true"])
    coords |= axis("rad", size["rad"], "deg", "lin") | axis("migra", size["migra"], "", "lin")
    counts = rng.poisson(0.7, (size["energy"], *sky)).astype(np.float32)
    livetime = {"livetime": f"{1000.5 + seed} s"}
    gti = np.arange(n_gti) * 100.0 + seed
    start = np.array([0.0, -0.0])[rng.integers(0, 2, (size["energy"], *sky))]
    variables = {
        "counts": put("energy lat lon", counts),
        "background": put("energy lat lon", start + rng.random((size["energy"], *sky)).round(1)),
        "mask_safe": put("energy lat lon", rng.random((size["energy"], *sky)) > 0.3),
        "exposure": put("energy_true lat lon", rng.random((et, *sky)), "m**2.s", meta=livetime),
        "psf": put(
            "psf_energy_true rad psf_lat psf_lon", rng.random((et, size["rad"], *irf)), "sr**-1"
        ),
        "psf_exposure": put("psf_energy_true psf_lat psf_lon", rng.random((et, *irf)), "m**2.s"),
        "edisp": put(
            "edisp_energy_true migra edisp_lat edisp_lon",
            rng.random((et, size["migra"], *irf)).astype(np.float32),
        ),
        "edisp_exposure": put("edisp_energy_true edisp_lat edisp_lon", np.zeros((et, *irf))),
        "gti_start": put("gti", gti, "s"),
        "gti_stop": put("gti", gti + 50.0, "s"),
    }
    variables["exposure"].values[0, 0, 0] = np.nan
    variables["mask_safe"].values[:, 0, 0] = False  # NaN is fine outside the mask
    rad, migra = np.radians(coords["rad_edges"].values), coords["migra_edges"].values
    for key, weights in (("psf", np.pi * np.diff(rad**2)), ("edisp", np.diff(migra))):
        values = variables[key].values
        values /= np.tensordot(weights, values, axes=(0, 1))[:, None]
    attrs = {
        "name": name,
        "kind": "MapDataset",
        "wcs": wcs_cards(83 + 0.1 * seed, n=sky[::-1]),
        "psf_wcs": wcs_cards(n=irf),
        "edisp_wcs": wcs_cards(n=irf),
        "gti": {"mjdrefi": 51910, "mjdreff": 0.000742870368412695, "timesys": "tt"},
        "primary": {"CREATOR": "tests", "NUMBER": seed},
    }
    if seed == 0:
        attrs["meta_table"] = {"columns": {"OBS_ID": {"unit": "", "values": [23523]}}}
    return xr.Dataset(variables, coords, attrs)


def assert_same(one: xr.Dataset, other: xr.Dataset) -> None:
    """Bit for bit, attributes and dtypes included."""
    assert dict(one.attrs) == dict(other.attrs)
    assert set(one.data_vars) == set(other.data_vars)
    assert set(one.coords) == set(other.coords)
    for key in one.variables:
        a, b = one[key], other[key]
        assert a.dims == b.dims, key
        assert a.dtype == b.dtype, key
        assert a.shape == b.shape, key
        assert a.attrs == b.attrs, key
        assert a.values.tobytes() == b.values.tobytes(), key
