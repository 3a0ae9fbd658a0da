"""Counts of the exact response against sums that know nothing of its transforms, splines and loops.

The reference takes the shape apart into points at true positions on the sky, the pixels into
sub-pixels, and adds up the PSF, a formula, at the separations between them.
"""

from __future__ import annotations

import math
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
import xarray as xr
from scipy.special import erf

import gmdask as gm
from gmdask.geometry import WcsGrid, rotate, separation
from gmdask.likelihood.dataset_likelihood import CompiledDataset
from gmdask.likelihood.exact.radial import RadialGrid
from gmdask.models import (
    DatasetModels,
    DiskSpatialModel,
    GaussianSpatialModel,
    GeneralizedGaussianSpatialModel,
    PointSpatialModel,
    PowerLawSpectralModel,
    Shell2SpatialModel,
    ShellSpatialModel,
    SkyModel,
    SpatialModel,
)

RAD = np.pi / 180
AREA = 1e10  # cm2 s


def cards(shape, scale, centre=(83.63, 22.01), projection="CAR"):
    return {
        "WCSAXES": 2, "CTYPE1": f"RA---{projection}", "CTYPE2": f"DEC--{projection}",
        "CRPIX1": (shape[1] + 1) / 2, "CRPIX2": (shape[0] + 1) / 2,
        "CRVAL1": centre[0], "CRVAL2": centre[1], "CDELT1": -scale[0], "CDELT2": scale[1],
        "CUNIT1": "deg", "CUNIT2": "deg",
    }  # fmt: skip


def axis(name, edges, unit, interp="lin", edge_name=None):
    attrs = {"unit": unit, "interp": interp, "node_type": "edges"}
    centres = np.sqrt(edges[1:] * edges[:-1]) if interp == "log" else (edges[1:] + edges[:-1]) / 2
    return {
        name: xr.Variable((name,), centres, attrs),
        f"{name}_edges": xr.Variable((f"{name}_edge",), edges, {"unit": unit}),
    }


def cube(shape=(40, 44), scale=(0.05, 0.05), core=0.06, king=False, **keywords):
    """One energy, flat exposure, no background; the PSF is a Gaussian or a King function."""
    edges, rad = np.array([1.0, 10.0]), np.linspace(0, 10 * core if not king else 0.9, 301)
    theta = (rad[1:] + rad[:-1]) / 2
    psf = np.exp(-((theta / core) ** 2) / 2) if not king else king_profile(theta, core)
    header = cards(shape, scale, **keywords)
    coords = {
        **axis("energy", edges, "TeV", "log"), **axis("energy_true", edges, "TeV", "log"),
        **axis("rad", rad, "deg"), **axis("psf_energy_true", edges, "TeV", "log"),
    }  # fmt: skip
    variables = {
        "counts": (("energy", "lat", "lon"), np.zeros((1, *shape)), {"unit": ""}),
        "exposure": (("energy_true", "lat", "lon"), np.full((1, *shape), AREA), {"unit": "cm2 s"}),
        "psf": (
            ("psf_energy_true", "rad", "psf_lat", "psf_lon"), psf[None, :, None, None], {"unit": "sr-1"},
        ),
    }  # fmt: skip
    attrs = {"name": "field", "wcs": header, "psf_wcs": cards((1, 1), (1.0, 1.0))}
    return xr.Dataset(variables, coords, attrs)


def king_profile(theta, core, gamma=2.5):
    return (1 + theta**2 / (2 * gamma * core**2)) ** -gamma


def npred(data: xr.Dataset, spatial: SpatialModel) -> np.ndarray:
    """Counts of a source of flux 1 / AREA."""
    spectrum = PowerLawSpectralModel(index=0, amplitude=f"{1 / 9 / AREA} cm-2 s-1 TeV-1")
    models = DatasetModels([SkyModel(spectral_model=spectrum, spatial_model=spatial, name="s")])
    compiled = CompiledDataset(data, models, bins="all")
    return compiled.npred(models.parameters.value).reshape(data["counts"].shape)[0]


def sky_points(spatial: SpatialModel, n_r: int, n_phi: int):
    """A shape as points (lon, lat, share) on the sky."""
    at = dict(zip(spatial.parameter_names, spatial.internal_values.tolist(), strict=True))
    lon, lat = at["lon_0"], at["lat_0"]
    if isinstance(spatial, PointSpatialModel):
        return np.array([lon]), np.array([lat]), np.ones(1)
    x, w = np.polynomial.legendre.leggauss(n_r)
    reach, breaks, density = _density(spatial, at)
    edges = np.array([0.0, *breaks, reach])
    r, ring = (
        np.concatenate(parts)
        for parts in zip(
            *[
                # nodes crowd at both ends, where shells have roots
                (a + (b - a) * (1 - np.cos(np.pi * (x + 1) / 2)) / 2,
                 w * (b - a) * np.sin(np.pi * (x + 1) / 2) * np.pi / 4)
                for a, b in pairwise(edges)
            ],
            strict=True,
        )
    )  # fmt: skip
    bearing = (np.arange(n_phi) + 0.5) * 2 * np.pi / n_phi
    rr, bb = np.meshgrid(r, bearing, indexing="ij")
    share = density(rr, bb) * np.sin(rr * RAD) * ring[:, None]
    a, b = rr * RAD, lat * RAD
    sin_lat = np.sin(b) * np.cos(a) + np.cos(b) * np.sin(a) * np.cos(bb)
    d_lon = np.arctan2(np.sin(bb) * np.sin(a) * np.cos(b), np.cos(a) - np.sin(b) * sin_lat)
    return (
        (lon + d_lon / RAD).ravel(),
        (np.arcsin(sin_lat) / RAD).ravel(),
        (share / share.sum()).ravel(),
    )


def _density(spatial, at):
    """Reach, radii with edges, and density (r, bearing) of a shape, all in deg."""
    if isinstance(spatial, ShellSpatialModel | Shell2SpatialModel):
        outer = at["r_0"] if "r_0" in at else at["radius"] + at["width"]
        inner = at["r_0"] * (1 - at["eta"]) if "eta" in at else at["radius"]

        def shell(r, bearing):
            far, near = (np.sqrt(np.maximum(R * R - r * r, 0)) for R in (outer, inner))
            return far - near

        return outer, [inner], shell
    size = at.get("sigma", at.get("r_0"))
    e, phi = at["e"], at["phi"] * RAD

    def z(r, bearing):
        return (
            r
            / size
            * np.sqrt(np.cos(bearing - phi) ** 2 + np.sin(bearing - phi) ** 2 / (1 - e * e))
        )

    if isinstance(spatial, GaussianSpatialModel):
        return 7 * size, [2 * size], lambda r, b: np.exp(-(z(r, b) ** 2) / 2)
    if isinstance(spatial, DiskSpatialModel):
        width, minor = at["edge_width"], size * math.sqrt(1 - e * e)
        edge = min(2.2 * width, 0.9)  # erfc(5) of the density is left beyond
        breaks = [minor * (1 - edge), minor * (1 + edge), size * (1 - edge)] if e else []
        breaks = sorted({min(b, size) for b in [*breaks, size * (1 - edge), size]})
        return (
            size * (1 + edge),
            breaks,
            lambda r, b: 0.5 * (1 - erf(2.326174307353347 * (z(r, b) - 1) / width)),
        )
    eta = at["eta"]
    return size * 28**eta, [size / 4, size, 3 * size], lambda r, b: np.exp(-(z(r, b) ** (1 / eta)))


def reference(
    data, spatial, psf, rows, columns, n_r=40, n_phi=96, sub=8, exposure=None
) -> np.ndarray:
    """Counts of some pixels by brute force; an exposure of the position comes before the PSF."""
    grid = WcsGrid(data.attrs["wcs"], data["counts"].shape[1:])
    lon, lat, share = sky_points(spatial, n_r, n_phi)
    share = share if exposure is None else share * exposure(lon, lat)
    lon, lat = rotate(lon, lat, spatial.frame, grid.frame)
    x, w = np.polynomial.legendre.leggauss(sub)
    out = np.zeros(len(rows))
    for k, (row, column) in enumerate(zip(rows, columns, strict=True)):
        yy, xx = np.meshgrid(row + x / 2, column + x / 2, indexing="ij")
        step = 1e-4
        p_lon, p_lat = grid.to_sky(xx, yy)
        (ax, ay), (bx, by) = (
            [np.subtract(*(grid.to_sky(xx + s * dx, yy + s * dy)[i] for s in (1, -1))) / (2 * step) for i in (0, 1)]
            for dx, dy in ((step, 0), (0, step))
        )  # fmt: skip
        solid = np.abs(ax * by - ay * bx) * np.cos(p_lat * RAD) * np.outer(w, w) / 4
        for lo, la, weight in zip(p_lon.ravel(), p_lat.ravel(), solid.ravel(), strict=True):
            out[k] += weight * float(psf(separation(lon, lat, lo, la)) @ share)
    return out


def gaussian(core):
    norm = 2 * np.pi * core**2
    return lambda r: np.exp(-((r / core) ** 2) / 2) / norm


POSITION = {"lon_0": "83.6471 deg", "lat_0": "22.0273 deg"}
SHAPES = {
    "point": PointSpatialModel(**POSITION),
    "gauss": GaussianSpatialModel(**POSITION, sigma="0.13 deg"),
    "tiny gauss": GaussianSpatialModel(**POSITION, sigma="0.002 deg"),
    "long gauss": GaussianSpatialModel(**POSITION, sigma="0.15 deg", e=0.85, phi="35 deg"),
    "disk": DiskSpatialModel(**POSITION, r_0="0.2 deg"),
    "tiny disk": DiskSpatialModel(**POSITION, r_0="0.03 deg"),
    "soft disk": DiskSpatialModel(**POSITION, r_0="0.2 deg", edge_width=0.4),
    "long disk": DiskSpatialModel(**POSITION, r_0="0.2 deg", e=0.7, phi="-50 deg", edge_width=0.2),
    "shell": ShellSpatialModel(**POSITION, radius="0.15 deg", width="0.08 deg"),
    "thin shell": ShellSpatialModel(**POSITION, radius="0.15 deg", width="0.004 deg"),
    "shell2": Shell2SpatialModel(**POSITION, r_0="0.2 deg", eta=0.4),
    "general": GeneralizedGaussianSpatialModel(**POSITION, r_0="0.08 deg", eta=0.6),
}


def check(data, spatial, core, tolerance, flux=1.0):
    found = npred(data, spatial)
    peak = np.unravel_index(found.argmax(), found.shape)
    rows = np.clip(peak[0] + np.array([0, 1, -2, 4]), 0, found.shape[0] - 1)
    columns = np.clip(peak[1] + np.array([0, -1, 2, -3]), 0, found.shape[1] - 1)
    expected = flux * reference(data, spatial, gaussian(core), rows, columns)
    np.testing.assert_allclose(found[rows, columns], expected, atol=tolerance * found.max(), rtol=0)
    return found


def flux_of(spatial):
    """Flux: the norm of a disk is that of a sharp one, and a soft edge adds more than it takes."""
    edge = spatial.edge_width.value if isinstance(spatial, DiskSpatialModel) else 0.0
    return 1 + (edge / 2.326174307353347) ** 2 / 2


@pytest.mark.parametrize("name", SHAPES)
def test_counts_of_every_shape(name):
    flux = flux_of(SHAPES[name])
    found = check(cube(), SHAPES[name], 0.06, 1e-5, flux)
    assert found.sum() == pytest.approx(flux, abs=1e-5)
    assert found.min() > -1e-9 * found.max()


def test_a_gaussian_through_a_gaussian_is_one():
    """The widths add up in squares: counts against integrals of the formula over pixels of 0.1 deg.

    Gammapy, which draws the source and the PSF on pixel centres, is off by 1e-2 of the maximum.
    """
    data = cube((30, 30), (0.1, 0.1), 0.12)
    found = npred(data, GaussianSpatialModel(**POSITION, sigma="0.2 deg"))
    grid, (x, w) = WcsGrid(data.attrs["wcs"], (30, 30)), np.polynomial.legendre.leggauss(10)
    centre, squares = np.array([83.6471, 22.0273]), 0.12**2 + 0.2**2
    expected = np.zeros((30, 30))
    for a, wa in zip(x, w, strict=True):
        for b, wb in zip(x, w, strict=True):
            lon, lat = grid.to_sky(
                *(np.indices((30, 30))[::-1] + np.array([a, b])[:, None, None] / 2)
            )
            apart = 2 * np.sin(separation(*centre, lon, lat) * RAD / 2) / RAD
            # plate carree around its own centre: pixels shrink with the latitude there
            native = 0.1 * (np.arange(30) - 14.5 + b / 2)[:, None]
            area = 0.01 * np.cos(native * RAD) * wa * wb / 4
            expected += area * np.exp(-(apart**2) / (2 * squares)) / (2 * np.pi * squares)
    assert expected.sum() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * expected.max())


def after_the_psf(data, exposure):
    """A cube with the PSF in reconstructed energy, and an exposure of the position."""
    psf, axes = data["psf"], axis("psf_energy", np.array([1.0, 10.0]), "TeV", "log")
    data = data.drop_vars(["psf", "psf_energy_true", "psf_energy_true_edges"]).assign_coords(axes)
    data["psf"] = (("psf_energy", "rad", "psf_lat", "psf_lon"), psf.values, psf.attrs)
    grid = WcsGrid(data.attrs["wcs"], data["counts"].shape[1:])
    data["exposure"].values[...] = AREA * exposure(*grid.pixel_centers)
    return data


@pytest.mark.parametrize(
    "name", ["gauss", "tiny gauss", "long gauss", "disk", "soft disk", "shell", "general"]
)
@pytest.mark.parametrize("scale", [math.inf, 6.0])
def test_counts_with_the_psf_in_reconstructed_energy(name, scale):
    """The exposure falls by 1/e over 1.4 times a scale in deg; that of HAWC over some 13 deg."""

    def exposure(lon, lat):
        return np.exp(-((separation(84.2, 22.5, lon, lat) / scale) ** 2) / 2)

    data, spatial = after_the_psf(cube(), exposure), SHAPES[name]
    found = npred(data, spatial)
    if math.isinf(scale):
        before = npred(cube(), spatial)
        np.testing.assert_allclose(found, before, rtol=0, atol=1e-12 * before.max())
    peak = np.unravel_index(found.argmax(), found.shape)
    rows, columns = peak[0] + np.array([0, 1, -2, 4]), peak[1] + np.array([0, -1, 2, -3])
    expected = reference(data, spatial, gaussian(0.06), rows, columns, exposure=exposure)
    np.testing.assert_allclose(
        found[rows, columns], flux_of(spatial) * expected, rtol=0, atol=5e-6 * found.max()
    )


@pytest.mark.parametrize("pixel", [0.012, 0.03, 0.06, 0.12])
def test_pixels_of_any_size(pixel):
    """From a fifth of the PSF to two of it."""
    n = math.ceil(0.9 / pixel)
    found = check(cube((n, n), (pixel, pixel)), SHAPES["point"], 0.06, 1e-5)
    assert found.sum() == pytest.approx(1, abs=1e-5)


def test_pixels_that_are_not_square():
    found = check(cube((120, 20), (0.08, 0.01)), SHAPES["gauss"], 0.06, 1e-5)
    assert found.sum() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("projection", ["CAR", "TAN"])
def test_a_source_at_the_pole(projection):
    spatial = GaussianSpatialModel(lon_0="20 deg", lat_0="89.83 deg", sigma="0.1 deg")
    shape, scale = ((60, 60), (0.05, 0.05)) if projection == "TAN" else ((40, 720), (0.5, 0.05))
    centre = (0.0, 90.0) if projection == "TAN" else (0.0, 0.0)
    data = cube(shape, scale, centre=centre, projection=projection)
    if projection == "CAR":  # the rows below the pole, all longitudes
        data.attrs["wcs"]["CRPIX2"] = 40.5 - 90.0 / 0.05
    found = check(data, spatial, 0.06, 2e-5)
    assert found.sum() == pytest.approx(1, abs=1e-4)


def test_a_source_beyond_the_edge_leaks_in():
    data = cube()
    grid = WcsGrid(data.attrs["wcs"], data["counts"].shape[1:])
    lon, lat = (float(v) for v in grid.to_sky(-2.9, 17.2))  # 0.12 deg beyond
    outside = PointSpatialModel(lon_0=f"{lon} deg", lat_0=f"{lat} deg")
    found = npred(data, outside)
    rows, columns = [17, 18, 16, 20], [0, 0, 1, 2]
    expected = reference(data, outside, gaussian(0.06), rows, columns)
    np.testing.assert_allclose(found[rows, columns], expected, rtol=1e-5, atol=1e-6 * 0.13)
    assert found.sum() == pytest.approx(0.02275, rel=0.3)


def test_galactic_models_on_equatorial_pixels():
    lon, lat = (float(v) for v in rotate(83.6471, 22.0273, "icrs", "galactic"))
    position = {"lon_0": f"{lon} deg", "lat_0": f"{lat} deg"}
    there = GaussianSpatialModel(**position, sigma="0.13 deg", frame="galactic")
    np.testing.assert_allclose(
        npred(cube(), there), npred(cube(), SHAPES["gauss"]), rtol=1e-9, atol=1e-15
    )


def test_a_size_of_zero_is_a_point():
    point = npred(cube(), SHAPES["point"])
    for spatial in (
        GaussianSpatialModel(**POSITION, sigma="0 deg"),
        GaussianSpatialModel(**POSITION, sigma="1e-7 deg"),
        DiskSpatialModel(**POSITION, r_0="1e-6 deg"),
        ShellSpatialModel(**POSITION, radius="1e-7 deg", width="1e-7 deg"),
    ):
        np.testing.assert_allclose(npred(cube(), spatial), point, atol=1e-5 * point.max())


def test_a_king_function_keeps_its_flux():
    data = cube((80, 80), (0.025, 0.025), core=0.03, king=True)
    found = npred(data, SHAPES["point"])
    assert found.sum() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("factor", [5, 15])
@pytest.mark.parametrize("name", ["point", "gauss"])
def test_pixels_far_larger_than_the_psf(name, factor):
    """They hold what fine pixels hold together."""
    core, fine = 0.02, 0.02
    spatial = {
        "point": PointSpatialModel(**POSITION),
        "gauss": GaussianSpatialModel(**POSITION, sigma="0.03 deg"),
    }[name]
    coarse = npred(cube((4, 6), (fine * factor, fine * factor), core=core), spatial)
    parts = npred(cube((4 * factor, 6 * factor), (fine, fine), core=core), spatial)
    expected = parts.reshape(4, factor, 6, factor).sum(axis=(1, 3))
    np.testing.assert_allclose(coarse, expected, rtol=0, atol=2e-5)
    assert coarse.sum() == pytest.approx(1, abs=5e-5)


def test_a_large_elongated_disk_needs_little_memory():
    """Its many harmonics are not all held at once."""
    spatial = DiskSpatialModel(**POSITION, r_0="0.6 deg", e=0.9, phi="30 deg")
    data = cube((50, 50), (0.05, 0.05), core=0.025)
    npred(data, SHAPES["point"])
    tracemalloc.start()
    found = npred(data, spatial)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.sum() == pytest.approx(1, abs=2e-5)
    assert peak < 300e6


@pytest.mark.parametrize(
    ("step", "inner", "reach"), [(0.0039, 0, 10.2), (0.01, 0, 1), (0.1, 2, 3), (0.002, 1, 30)]
)
def test_knots_end_where_the_table_ends(step, inner, reach):
    """A fine PSF with a long table: the last knots are neither before its end nor far beyond it."""
    grid = RadialGrid.reaching(step, inner, reach)
    assert (np.diff(grid.radii) > 0).all()
    assert grid.radii[-2] < reach <= grid.radii[-1]
    assert grid.end < 1.2 * reach


def test_a_source_beyond_the_psf_is_not_seen(shared):
    """Of the Fermi-LAT Crab, whose PSF ends at 9.9 deg: no counts of a point on another side of the sky."""
    folder = shared / "data" / "fermi_crab"
    dataset = gm.Datasets.read(folder / "datasets.yaml")[0]
    models = gm.Models.read(folder / "models_start.yaml")
    latitude = models["Crab Nebula"].spatial_model.lat_0
    seen = []
    for offset in (0.0, 7.0, -60.0):
        latitude.value += offset
        dataset.set_models(models)
        seen.append(float(dataset.npred_signal().sum()))
    assert seen[0] > 1900
    assert 1e-3 < seen[1] < 1
    assert seen[2] == 0
