"""Response maps: which pixels are read, and corners of kernels and matrices."""

import numpy as np
import pytest
from scipy.special import ndtr

from gmdask.errors import InputError
from gmdask.geometry import Axis, WcsGrid
from gmdask.irf import EDispMap, PSFMap, TiledMap, overlap_matrix
from gmdask.irf.position import nearest_valid_pixel

SHAPE = (11, 13)
RAD = Axis("rad", np.linspace(0, 0.6, 61), "lin")
ENERGY = Axis("energy_true", np.geomspace(0.5, 30, 9), "log", "center")


def grid(shape=SHAPE, scale=0.3, lon=83.6, lat=22.0):
    header = {
        "CTYPE1": "RA---CAR", "CTYPE2": "DEC--CAR", "CRPIX1": (shape[1] + 1) / 2,
        "CRPIX2": (shape[0] + 1) / 2, "CRVAL1": lon, "CRVAL2": lat, "CDELT1": -scale,
        "CDELT2": scale, "CUNIT1": "deg", "CUNIT2": "deg",
    }  # fmt: skip
    return WcsGrid(header, shape)


def profiles(shape=SHAPE):
    scale = 1 + 0.05 * np.indices(shape).sum(axis=0)
    sigma = 0.05 * ENERGY.center[:, None, None, None] ** -0.2 * scale
    return np.exp(-0.5 * (RAD.center[:, None, None] / sigma) ** 2) / (2 * np.pi * sigma**2)


class Counted:
    """An array that says what was read of it."""

    def __init__(self, values):
        self.values, self.shape, self.read = values, values.shape, []

    def __getitem__(self, key):
        self.read.append(key[1:])
        return self.values[key]


def test_tiles_are_read_once_and_only_where_needed():
    values = np.random.default_rng(0).normal(size=(3, 2, *SHAPE))
    values[0, 0, 4, 4], values[1, 1, 5, 5] = np.nan, np.inf
    source = Counted(values)
    tiled = TiledMap(source, tile=4)
    assert tiled.nbytes == 0
    clean = np.where(np.isfinite(values), values, 0.0)
    for y0, y1, x0, x1 in (
        (4, 6, 4, 6),
        (5, 7, 6, 8),
        (7, 9, 4, 5),
        (10, 11, 12, 13),
        (0, 11, 0, 13),
    ):
        np.testing.assert_array_equal(tiled.window(y0, y1, x0, x1), clean[..., y0:y1, x0:x1])
    assert source.read == [
        (slice(4, 8), slice(4, 8)),
        (slice(4, 11), slice(4, 8)),
        (slice(8, 11), slice(12, 13)),
        (slice(0, 11), slice(0, 13)),
    ]
    np.testing.assert_array_equal(tiled.window(0, 11, 0, 13), clean)
    assert len(source.read) == 4


def test_the_nearest_valid_pixel():
    wcs, values = grid(), np.zeros((2, 3, *SHAPE))
    lon, lat = (float(v) for v in wcs.to_sky(6.2, 5.3))
    assert nearest_valid_pixel(TiledMap(values), wcs, lon, lat) == pytest.approx((6.2, 5.3))
    values[1, 2, 5, 6] = 1e-30
    assert nearest_valid_pixel(TiledMap(values), wcs, lon, lat) == pytest.approx((6.2, 5.3))
    values[1, 2, 5, 6] = -1.0
    values[0, 1, 2, 3] = values[0, 1, 9, 9] = 1.0
    assert nearest_valid_pixel(TiledMap(values), wcs, lon, lat) == (3.0, 2.0)
    far = (float(v) for v in wcs.to_sky(40.0, 9.0))
    assert nearest_valid_pixel(TiledMap(values), wcs, *far) == (9.0, 9.0)


def test_kernels_do_not_depend_on_what_was_read_before():
    target = grid((40, 40), 0.05)
    positions = [(83.61, 22.03), (84.5, 22.9), (83.61, 22.03), (82.2, 21.0), (95.0, 10.0)]
    used = PSFMap(TiledMap(profiles()), 1.0, ENERGY, RAD, grid())
    for lon, lat in positions:
        fresh = PSFMap(TiledMap(profiles()), 1.0, ENERGY, RAD, grid())
        one = used.kernel(lon, lat, ENERGY.center, target)
        two = fresh.kernel(lon, lat, ENERGY.center, target)
        assert one.width == two.width
        assert np.array_equal(one.values, two.values)


def test_kernels_are_symmetric_centred_and_normalised():
    psf = PSFMap(TiledMap(profiles()), 1.0, ENERGY, RAD, grid())
    kernel, width = psf.kernel(83.5, 22.2, ENERGY.center[:6], grid((40, 40), 0.05))
    assert kernel.shape[1] == kernel.shape[2]
    assert kernel.shape[1] % 2 == 1
    assert width == pytest.approx(0.05 * kernel.shape[1])
    np.testing.assert_allclose(kernel.sum(axis=(1, 2)), 1.0, rtol=1e-13)
    for flipped in (kernel[:, ::-1], kernel[:, :, ::-1]):
        np.testing.assert_allclose(kernel, flipped, rtol=0, atol=1e-13)
    half = kernel.shape[1] // 2
    assert (kernel.max(axis=(1, 2)) == kernel[:, half, half]).all()
    # 68 % of a Gaussian lie within 1.51 sigma
    y, x = np.indices(kernel.shape[1:]) - half
    for plane, e in zip(kernel, ENERGY.center, strict=False):
        rms = np.sqrt(np.sum(plane * (x**2 + y**2)) / 2) * 0.05
        assert rms == pytest.approx(0.05 * e**-0.2 * 1.55, rel=0.1)


@pytest.mark.parametrize(("long", "short"), [(0.05, 0.02), (0.045, 0.03)])
def test_kernels_for_pixels_that_are_not_square(long, short):
    """They are as wide on the sky in both directions; Gammapy refuses such pixels."""
    header = grid(scale=long).header
    flat = WcsGrid({**header, "CDELT2": short}, SHAPE)
    upright = WcsGrid({**header, "CDELT1": -short}, SHAPE)
    psf = PSFMap(TiledMap(profiles()), 1.0, ENERGY, RAD, grid())
    kernel, turned, square = (
        psf.kernel(83.6, 22.0, ENERGY.center, target).values
        for target in (flat, upright, grid(scale=0.01))
    )
    assert kernel.shape[1] == kernel.shape[2]
    np.testing.assert_allclose(kernel.sum(axis=(1, 2)), 1.0)
    np.testing.assert_allclose(turned, kernel.swapaxes(1, 2), atol=1e-4 * kernel.max())

    def width(values, side, axis):
        places = side * (np.arange(values.shape[axis]) - values.shape[axis] // 2)
        others = tuple(a for a in (1, 2) if a != axis)
        return np.sqrt((values.sum(axis=others) * places**2).sum(axis=1))

    right = np.sqrt(width(square, 0.01, 1) ** 2 - 0.01**2 / 12)
    for axis, side in ((1, short), (2, long)):
        found = np.sqrt(width(kernel, side, axis) ** 2 - side**2 / 12)
        np.testing.assert_allclose(found, right, rtol=0.02)


def test_pixels_larger_than_the_psf_take_it_all():
    psf = PSFMap(TiledMap(profiles()), 1.0, ENERGY, RAD, grid())
    kernel, _ = psf.kernel(83.6, 22.0, ENERGY.center, grid((5, 5), 2.0))
    assert kernel.shape == (9, 1, 1)
    assert (kernel == 1).all()


def test_more_planes_than_nodes_are_refused():
    psf = PSFMap(TiledMap(profiles()), 1.0, ENERGY, RAD, grid())
    with pytest.raises(InputError, match="9 energies"):
        psf.kernel(83.6, 22.0, np.geomspace(1, 20, 10), grid((40, 40), 0.05))


def test_migration_kernels_of_a_gaussian():
    """Fine bins in migration: the matrix is that of the distribution itself."""
    migra = Axis("migra", np.linspace(0.2, 3.0, 2001), "lin")
    true, reco = np.geomspace(1, 20, 7), np.geomspace(0.8, 30, 11)
    width = 0.1
    density = np.exp(-0.5 * ((migra.center - 1) / width) ** 2) / (width * np.sqrt(2 * np.pi))
    values = np.broadcast_to(density[None, :, None, None], (7, 2000, *SHAPE))
    edisp = EDispMap(TiledMap(values), grid(), true, reco, migra)
    matrix = edisp.matrix(*edisp.pixel(83.6, 22.0))
    exact = np.diff(ndtr((reco / true[:, None] - 1) / width), axis=1)
    # linear interpolation of the cumulative: step² / 8 times the largest slope, 6e-6
    np.testing.assert_allclose(matrix, exact, rtol=0, atol=6e-6)
    assert ((matrix == 0) | (matrix >= 1e-8)).all()


def test_the_pixel_that_serves_a_position():
    values = np.ones((7, 10, *SHAPE))
    edisp = EDispMap(TiledMap(values), grid(), np.geomspace(1, 20, 7), np.geomspace(1, 9, 11), None)
    wcs = grid()
    for x, y in ((3.4, 2.6), (3.6, 2.4), (-0.4, 10.4), (12.49, -0.49)):
        lon, lat = (float(v) for v in wcs.to_sky(x, y))
        assert edisp.pixel(lon, lat) == (round(y), round(x))
    assert edisp.pixel(*(float(v) for v in wcs.to_sky(60.0, 5.0))) == (5, 12)


def test_overlap():
    true, reco = np.array([1.0, 2.0, 4.0, 8.0]), np.array([1.5, 3.0, 16.0])
    expected = [[0.5, 0.0], [0.5, 0.5], [0.0, 1.0]]
    np.testing.assert_allclose(overlap_matrix(true, reco), expected, rtol=1e-15)
