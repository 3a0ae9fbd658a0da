"""Small synthetic cubes of the contract: every kind of response, and no files.

Kept small (5 reconstructed and 8 true energies, 30 x 34 pixels) so that a dense reference is
affordable, and awkward on purpose: the IRF maps lie on another frame than the counts, the
PSF has other energy nodes than the exposure, and every IRF depends on position and energy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from scipy.special import ndtr

CENTRE = SkyCoord(83.63, 22.01, unit="deg")
N_RECO, N_TRUE, N_LAT, N_LON = 5, 8, 30, 34
SCALE = {"true": (17, "energy_true"), "reco": (6, "energy")}


def cards(
    frame: str = "icrs",
    shape: tuple[int, int] = (N_LAT, N_LON),
    scale: tuple[float, float] = (0.05, 0.05),
    projection: str = "CAR",
    centre: SkyCoord = CENTRE,
) -> dict[str, Any]:
    """WCS cards of a grid around a centre."""
    position = centre.transform_to(frame)
    names = ("GLON", "GLAT") if frame == "galactic" else ("RA--", "DEC-")
    return {
        "WCSAXES": 2, "CTYPE1": f"{names[0]}-{projection}", "CTYPE2": f"{names[1]}-{projection}",
        "CRPIX1": (shape[1] + 1) / 2, "CRPIX2": (shape[0] + 1) / 2,
        "CRVAL1": float(position.data.lon.deg), "CRVAL2": float(position.data.lat.deg),
        "CDELT1": -scale[0], "CDELT2": scale[1], "CUNIT1": "deg", "CUNIT2": "deg",
    }  # fmt: skip


def offsets(header: dict[str, Any], shape: tuple[int, int]) -> np.ndarray:
    """Separation (lat, lon) of pixel centres from the centre of the field, in deg."""
    wcs = WCS(fits.Header(list(header.items())))
    y, x = np.indices(shape, dtype=float)
    lon, lat = wcs.wcs_pix2world(x, y, 0)
    frame = "galactic" if header["CTYPE1"].startswith("GLON") else "icrs"
    return SkyCoord(lon, lat, unit="deg", frame=frame).separation(CENTRE).deg


def axis(
    dim: str, nodes: np.ndarray, unit: str, interp: str, node_type: str
) -> dict[str, xr.Variable]:
    """Coordinates of one axis."""
    attrs = {"unit": unit, "interp": interp, "node_type": node_type}
    if node_type == "center":
        return {dim: xr.Variable((dim,), nodes, attrs)}
    low, high = nodes[:-1], nodes[1:]
    centres = np.sqrt(low * high) if interp == "log" else 0.5 * (low + high)
    edges = xr.Variable((f"{dim}_edge",), nodes, {"unit": unit})
    return {dim: xr.Variable((dim,), centres, attrs), f"{dim}_edges": edges}


def energy_edges(true: bool) -> np.ndarray:
    """Edges of the energy bins in TeV."""
    return np.geomspace(0.6, 40, N_TRUE + 1) if true else np.geomspace(1.0, 30, N_RECO + 1)


def put(dims: str, values: np.ndarray, unit: str = "") -> xr.Variable:
    return xr.Variable(tuple(dims.split()), values, {"unit": unit})


def add_psf(
    coords: dict, variables: dict, attrs: dict, kind: str, frame: str, width: float
) -> None:
    """PSF: two Gaussians, wider with offset and at low energies; nodes in GeV, values in sr-1."""
    n_energy, name = SCALE[kind]
    shape = (7, 8)
    header = cards(frame, shape, (0.3, 0.3))
    energy = np.geomspace(0.4, 55, n_energy)
    rad = np.linspace(0, 0.6, 61)
    centre = 0.5 * (rad[:-1] + rad[1:])[:, None, None]
    scale = 1 + 0.25 * offsets(header, shape)
    values = np.zeros((n_energy, 60, *shape))
    for k, e in enumerate(energy):
        for share, factor in ((0.8, 1.0), (0.2, 2.2)):
            sigma = width * factor * e**-0.25 * scale
            values[k] += share * np.exp(-0.5 * (centre / sigma) ** 2) / (2 * np.pi * sigma**2)
    coords |= axis(f"psf_{name}", energy * 1e3, "GeV", "log", "center") | axis(
        "rad", rad, "deg", "lin", "edges"
    )
    variables["psf"] = put(f"psf_{name} rad psf_lat psf_lon", values * np.degrees(1) ** 2, "sr-1")
    attrs["psf_wcs"] = header


def add_edisp(coords: dict, variables: dict, attrs: dict, kind: str, frame: str) -> None:
    """Energy dispersion: log-normal, biased and wider with offset; in TeV."""
    shape = (8, 9)
    header = cards(frame, shape, (0.25, 0.25))
    true, reco = energy_edges(true=True), energy_edges(true=False)
    centre = np.sqrt(true[:-1] * true[1:])
    off = offsets(header, shape)
    bias, width = -0.05 + 0.1 * off, 0.15 + 0.1 * off
    coords |= axis("edisp_energy_true", true, "TeV", "log", "edges")
    if kind == "migra":
        migra = np.linspace(0.2, 3.0, 57)
        at, dims, step = (
            np.log(migra)[None, :, None, None],
            "migra",
            np.diff(migra)[None, :, None, None],
        )
        width = width * centre[:, None, None, None] ** -0.1
        coords |= axis("migra", migra, "", "lin", "edges")
    else:
        at, dims = np.log(reco[:, None] / centre).T[..., None, None], "energy"
        step = np.ones(1)
    values = np.diff(ndtr((at - bias) / width), axis=1) / step
    variables["edisp"] = put(f"edisp_energy_true {dims} edisp_lat edisp_lon", values)
    attrs["edisp_wcs"] = header


def make_cube(
    name: str = "cube",
    *,
    seed: int = 1,
    frame: str = "icrs",
    irf_frame: str = "galactic",
    psf: str | None = "true",
    edisp: str | None = "migra",
    background: bool = True,
    masks: bool = True,
    projection: str = "CAR",
    scale: tuple[float, float] = (0.05, 0.05),
    width: float = 0.06,
) -> xr.Dataset:
    """One observation.

    Parameters
    ----------
    name, seed
        Name, and seed of the counts.
    frame, irf_frame : {"icrs", "galactic"}
        Frames of counts and of the IRF maps.
    psf : {"true", "reco"} or None
        On which energies the PSF is given.
    edisp : {"migra", "kernel"} or None
        Kind of energy dispersion map.
    background, masks : bool
        Whether there are any.
    projection, scale, width
        Projection and pixel size (lon, lat) of counts; width of the PSF at 1 TeV, in deg.
    """
    rng = np.random.default_rng(seed)
    shape = (N_LAT, N_LON)
    header = cards(frame, shape, scale, projection)
    off = offsets(header, shape)
    true, reco = energy_edges(true=True), energy_edges(true=False)
    coords = axis("energy", reco, "TeV", "log", "edges") | axis(
        "energy_true", true * 1e3, "GeV", "log", "edges"
    )
    attrs: dict[str, Any] = {"name": name, "kind": "MapDataset", "wcs": header}
    centre = np.sqrt(true[:-1] * true[1:])[:, None, None]
    exposure = 6e8 * centre**0.4 * np.exp(-0.5 * (off / 1.2) ** 2)
    level = np.array([0.5, 0.25, 0.12, 0.06, 0.03])[:, None, None] * (1 + 0.3 * np.cos(2 * off))
    bright = 8 * level * np.exp(-0.5 * (off / 0.15) ** 2)
    counts = rng.poisson(level + bright).astype(np.float64)
    variables = {
        "counts": put("energy lat lon", counts),
        "exposure": put("energy_true lat lon", exposure, "m2 s"),
    }
    if background:
        variables["background"] = put("energy lat lon", level)
    if masks:
        safe = np.ones((N_RECO, *shape), dtype=bool)
        safe[0] &= off < 0.75
        safe[:, :2, :] = False
        fit = np.broadcast_to(off < 0.8, safe.shape).copy()
        fit[:, 5:8, 25:28] = False
        variables |= {
            "mask_safe": put("energy lat lon", safe),
            "mask_fit": put("energy lat lon", fit),
        }
    if psf:
        add_psf(coords, variables, attrs, psf, irf_frame, width)
    if edisp:
        add_edisp(coords, variables, attrs, edisp, irf_frame)
    return xr.Dataset(variables, coords=coords, attrs=attrs)
