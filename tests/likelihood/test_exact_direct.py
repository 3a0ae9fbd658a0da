"""Counts without a PSF, where shapes are integrated over pixels along their edges.

The reference adds the density, a formula of the offset from the centre, over many nodes in each pixel.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from gmdask.geometry import WcsGrid, separation
from gmdask.likelihood.dataset_likelihood import CompiledDataset
from gmdask.models import (
    DiskSpatialModel,
    GaussianSpatialModel,
    GeneralizedGaussianSpatialModel,
    PointSpatialModel,
    Shell2SpatialModel,
    ShellSpatialModel,
)
from tests.likelihood import cubes
from tests.likelihood import test_exact_derivatives as derivatives
from tests.likelihood.test_exact_accuracy import POSITION, RAD, SHAPES, _density, flux_of, npred
from tests.likelihood.test_exact_accuracy import cube as cube_with_psf

EXTENDED = [name for name in SHAPES if name != "point"]


def cube(*args, **keywords):
    return cube_with_psf(*args, **keywords).drop_vars("psf")


def reference(data, spatial, rows, columns, cells=96, nodes=6):
    """Counts of some pixels by brute force: a density over many nodes, and the same for its norm."""
    grid = WcsGrid(data.attrs["wcs"], data["counts"].shape[1:])
    at = in_chords(spatial)
    _, _, density = _density(spatial, at)
    x, w = np.polynomial.legendre.leggauss(nodes)
    x = ((np.arange(cells)[:, None] + (x + 1) / 2) / cells - 0.5).ravel()
    w = np.tile(w / 2 / cells, cells)
    out = []
    for row, column in zip(rows, columns, strict=True):
        lon, lat = grid.to_sky(column + x, (row + x)[:, None])
        r = chord(separation(at["lon_0"], at["lat_0"], lon, lat))
        east = np.sin((lon - at["lon_0"]) * RAD) * np.cos(lat * RAD)
        north = np.sin(lat * RAD) * np.cos(at["lat_0"] * RAD) - np.cos(lat * RAD) * np.sin(
            at["lat_0"] * RAD
        ) * np.cos((lon - at["lon_0"]) * RAD)
        values = density(r, np.arctan2(east, north)) * _areas(grid, row, column, x)
        out.append(float(w @ values @ w))
    return np.array(out)


def chord(r):
    """Shapes are functions of the chord, as Gammapy's Gaussian is; all in deg."""
    return 2 * np.sin(r * RAD / 2) / RAD


def in_chords(spatial):
    """Parameters of a shape, with radii as chords."""
    at = dict(zip(spatial.parameter_names, spatial.internal_values.tolist(), strict=True))
    if isinstance(spatial, ShellSpatialModel):
        at["width"] = chord(at["radius"] + at["width"]) - chord(at["radius"])
    if isinstance(spatial, Shell2SpatialModel):
        at["eta"] = 1 - chord(at["r_0"] * (1 - at["eta"])) / chord(at["r_0"])
    return at | {name: chord(at[name]) for name in ("sigma", "r_0", "radius") if name in at}


def _areas(grid, row, column, x, step=1e-3):
    """Solid angle in deg2 per pixel at nodes of a pixel, a polynomial (to 1e-13) through those at few."""
    few = np.polynomial.legendre.leggauss(4)[0] / 2
    through = np.polynomial.legendre.legvander(2 * x, 3) @ np.linalg.inv(
        np.polynomial.legendre.legvander(2 * few, 3)
    )
    return through @ _areas_at(grid, row, column, few, step) @ through.T


def _areas_at(grid, row, column, x, step):
    def toward(dx, dy):
        lon, lat = (a * RAD for a in grid.to_sky(column + x + dx, (row + x)[:, None] + dy))
        return np.stack(
            [np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1
        )

    by_x, by_y = toward(step, 0) - toward(-step, 0), toward(0, step) - toward(0, -step)
    return np.linalg.norm(np.cross(by_x, by_y), axis=-1) / (2 * step * RAD) ** 2


def norm_of(spatial):
    """Integral of the density of a shape in deg2."""
    at = in_chords(spatial)
    reach, breaks, density = _density(spatial, at)
    edges = np.array([0.0, *breaks, reach])
    x, w = np.polynomial.legendre.leggauss(400)
    x, w = (1 - np.cos(np.pi * (x + 1) / 2)) / 2, w * np.sin(np.pi * (x + 1) / 2) * np.pi / 4
    bearing, total = (np.arange(720) + 0.5) * np.pi / 360, 0.0
    for a, b in pairwise(edges):
        r = (a + (b - a) * x)[:, None]  # the area of the sphere is that of the plane of chords
        total += float((density(r, bearing) * r * w[:, None] * np.ones(720)).sum()) * (b - a)
    return total * np.pi / 360


def check(data, spatial, tolerance):
    found = npred(data, spatial)
    order = np.argsort(found.ravel())[::-1]
    chosen = order[: np.count_nonzero(found > 1e-4 * found.max())][:: max(len(order) // 60, 1)][:8]
    rows, columns = np.unravel_index(chosen, found.shape)
    expected = flux_of(spatial) / norm_of(spatial) * reference(data, spatial, rows, columns)
    np.testing.assert_allclose(found[rows, columns], expected, rtol=0, atol=tolerance * found.max())
    return found


@pytest.mark.parametrize("name", EXTENDED)
def test_counts_of_every_shape(name):
    found = check(cube(), SHAPES[name], 1e-6)
    assert found.sum() == pytest.approx(flux_of(SHAPES[name]), abs=1e-9)
    assert found.min() > -1e-12


@pytest.mark.parametrize("name", ["gauss", "disk", "shell", "general"])
def test_pixels_that_are_not_square(name):
    found = check(cube((120, 20), (0.08, 0.01)), SHAPES[name], 1e-6)
    assert found.sum() == pytest.approx(1, abs=1e-5)


SIZES = (0.1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-8, 0.0)


@pytest.mark.parametrize("size", SIZES)
def test_of_a_small_shape_nothing_is_lost(size):
    point = npred(cube(), PointSpatialModel(**POSITION))
    assert point.max() == pytest.approx(1)
    assert np.count_nonzero(point) == 1
    width = f"{size} deg"
    for spatial in (
        GaussianSpatialModel(**POSITION, sigma=width),
        GaussianSpatialModel(**POSITION, sigma=width, e=0.95, phi="20 deg"),
        DiskSpatialModel(**POSITION, r_0=width, edge_width=0.0),
        GeneralizedGaussianSpatialModel(**POSITION, r_0=width, eta=0.6),
        ShellSpatialModel(**POSITION, radius=width, width=width),
        Shell2SpatialModel(**POSITION, r_0=width, eta=0.1),
    ):
        found = npred(cube((60, 60)), spatial)
        assert found.sum() == pytest.approx(1, abs=1e-9)
        if size <= 1e-3:
            np.testing.assert_allclose(npred(cube(), spatial), point, atol=1e-9)


@pytest.mark.parametrize("offset", [0.0, 0.4999, 0.5001])
def test_a_point_is_in_the_pixel_that_holds_it(offset):
    data = cube()
    grid = WcsGrid(data.attrs["wcs"], data["counts"].shape[1:])
    lon, lat = (float(v) for v in grid.to_sky(17.0 + offset, 12.0 - offset))
    found = npred(data, PointSpatialModel(lon_0=f"{lon} deg", lat_0=f"{lat} deg"))
    expected = np.zeros_like(found)
    expected[12 if offset < 0.5 else 11, 17 if offset < 0.5 else 18] = 1
    np.testing.assert_allclose(found, expected)


def test_a_source_beyond_the_edge_is_seen_where_it_reaches():
    data, whole = cube(), cube((80, 88))
    grid = WcsGrid(data.attrs["wcs"], data["counts"].shape[1:])
    lon, lat = (float(v) for v in grid.to_sky(-2.9, 17.2))
    position = {"lon_0": f"{lon} deg", "lat_0": f"{lat} deg"}
    for spatial in (
        GaussianSpatialModel(**position, sigma="0.1 deg"),
        DiskSpatialModel(**position, r_0="0.2 deg"),
        ShellSpatialModel(**position, radius="0.15 deg", width="0.1 deg"),
    ):
        inside = npred(whole, spatial)[20:60, 22:66]
        assert 0.01 < inside.sum() < 0.4
        np.testing.assert_allclose(npred(data, spatial), inside, rtol=0, atol=1e-12)
    assert not npred(data, PointSpatialModel(**position)).any()


def test_the_psf_may_be_switched_off():
    """A model with ``apply_irf["psf"] = False`` is seen as in a dataset without one."""
    spatial = SHAPES["long gauss"]
    models = derivatives.source(spatial)
    with_psf, without = cubes.make_cube(psf="true"), cubes.make_cube(psf=None)
    expected = CompiledDataset(without, models).evaluate(models.parameters.value, order=0).stat
    models[0].apply_irf["psf"] = False
    found = CompiledDataset(with_psf, models).evaluate(models.parameters.value, order=0).stat
    assert found == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in derivatives.shapes() if n != "point"])
def test_derivatives(name):
    """Second ones of shells jump where an edge of a pixel touches the shell: differences over short steps."""
    step = 2e-4 if name.startswith("shell") else 0.02
    derivatives.check(
        cubes.make_cube(psf=None), derivatives.source(derivatives.shapes()[name]), step
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gauss", "long gauss", "general"])
@pytest.mark.parametrize("pixel", [0.5, 2.0])
def test_one_minimum_along_position_and_size(name, pixel):
    data = derivatives.sampled(pixel).drop_vars("psf")
    derivatives.one_minimum(data, derivatives.shapes()[name], pixel)


@pytest.mark.parametrize("name", ["disk", "shell"])
@pytest.mark.parametrize("pixel", [0.5, 2.0])
def test_one_minimum_where_edges_are_sharp(name, pixel):
    """Second differences may be negative where the edge enters pixels that hold background alone."""
    data = derivatives.sampled(pixel).drop_vars("psf")
    for _, stats in derivatives.along_each(data, derivatives.shapes()[name], pixel):
        lowest = stats.argmin()
        assert (np.diff(stats[: lowest + 1]) < 0).all()
        assert (np.diff(stats[lowest:]) > 0).all()
