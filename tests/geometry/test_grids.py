"""What every grid of pixels promises to the likelihood; see `gmdask.geometry.Grid`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from gmdask.errors import InputError
from gmdask.geometry import Grid, WcsGrid, grid_from, separation, wcs_of
from tests.geometry.healpix_face import HealpixFace
from tests.likelihood.cubes import cards

GRIDS: dict[str, Callable[[], Grid]] = {
    "car": lambda: WcsGrid(cards(), (30, 34)),
    "tan": lambda: WcsGrid(cards("galactic", (20, 25), (0.1, 0.05), "TAN"), (20, 25)),
    "one pixel": lambda: WcsGrid(cards(shape=(1, 1)), (1, 1)),
    "healpix, equator": lambda: face(5, 300, 250),
    "healpix, pole": lambda: face(2, 900, 930),
    "healpix, south": lambda: face(9, 30, 10),
}


def face(number: int, x: int, y: int) -> HealpixFace:
    return HealpixFace({"nside": 1024, "face": number, "x": x, "y": y, "frame": "icrs"}, (24, 30))


@pytest.fixture(params=GRIDS)
def grid(request) -> Grid:
    return GRIDS[request.param]()


def test_positions_go_both_ways(grid):
    rows, columns = grid.shape
    random = np.random.default_rng(1)
    y, x = random.uniform(-0.5, rows - 0.5, 50), random.uniform(-0.5, columns - 0.5, 50)
    lon, lat = grid.to_sky(x, y)
    assert (np.abs(lat) <= 90).all()
    np.testing.assert_allclose(grid.to_pixel(lon, lat), (x, y), atol=1e-7)
    np.testing.assert_allclose(grid.to_pixel(lon + 360, lat), (x, y), atol=1e-7)


def test_centres_are_those_of_whole_numbers(grid):
    lon, lat = grid.pixel_centers
    assert lon.shape == lat.shape == grid.shape
    y, x = np.indices(grid.shape, dtype=float)
    np.testing.assert_array_equal(grid.to_sky(x, y), (lon, lat))
    middle = (grid.shape[1] - 1) / 2, (grid.shape[0] - 1) / 2
    np.testing.assert_allclose(grid.to_pixel(*grid.center), middle, atol=1e-7)
    assert grid.frame in ("icrs", "galactic")


def test_one_pixel_beyond_the_grid_is_on_the_sky(grid):
    rows, columns = grid.shape
    y, x = np.array([-1.0, rows]), np.array([-1.0, columns])
    assert np.isfinite(grid.to_sky(x, y)).all()


def test_no_pixel_is_wider_than_the_scale(grid):
    y, x = np.indices(grid.shape, dtype=float)
    here = grid.to_sky(x, y)
    for dx, dy in ((1, 0), (0, 1)):
        apart = separation(*here, *grid.to_sky(x + dx, y + dy))
        assert apart.max() < 1.05 * grid.max_pixel_scale
        assert apart.min() > 0.3 * min(grid.pixel_scales)


def test_solid_angles_are_those_of_small_quadrangles(grid):
    rows, columns = grid.shape
    part = slice(0, min(rows, 3)), slice(0, min(columns, 4))
    found, n = grid.solid_angles(*part), 40
    assert found.shape == (part[0].stop, part[1].stop)
    at = (np.arange(n * found.shape[0] + 1) / n - 0.5, np.arange(n * found.shape[1] + 1) / n - 0.5)
    y, x = np.meshgrid(*at, indexing="ij")
    lon, lat = (np.radians(a) for a in grid.to_sky(x, y))
    corners = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    first = corners[:, 1:, 1:] - corners[:, :-1, :-1]
    second = corners[:, 1:, :-1] - corners[:, :-1, 1:]
    areas = 0.5 * np.sqrt((np.cross(first, second, axis=0) ** 2).sum(axis=0))
    expected = areas.reshape(found.shape[0], n, found.shape[1], n).sum(axis=(1, 3))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_pixels_of_a_cube_are_described_by_it():
    grid = grid_from({"wcs": cards()}, (30, 34))
    assert wcs_of(grid, "a test") is grid
    with pytest.raises(InputError, match="'x': its pixels are not described, expected"):
        grid_from({"name": "x"}, (30, 34))
    with pytest.raises(InputError, match="a cutout needs pixels of a WCS projection"):
        wcs_of(face(5, 0, 0), "a cutout")
