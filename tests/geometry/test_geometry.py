"""Axes, cutouts, frames and grids against Gammapy and astropy."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.nddata import NoOverlapError, overlap_slices
from gammapy.maps import MapAxis, WcsGeom
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gmdask.errors import InputError
from gmdask.geometry import Axis, WcsGrid, Window, cutout_window, rotate, round_up_to_odd

SETTINGS = settings(max_examples=200, deadline=None, derandomize=True)
# centre, frame, projection, pixel size in deg, pixels
GEOMS = {
    "icrs car": ((83.63, 22.01), "icrs", "CAR", 0.05, (34, 30)),
    "icrs tan": ((83.63, 22.01), "icrs", "TAN", 0.02, (41, 40)),
    "galactic car": ((0.0, 0.0), "galactic", "CAR", 0.1, (60, 31)),
    "galactic tan": ((184.56, -5.78), "galactic", "TAN", 0.05, (50, 50)),
    "oblong": ((329.7, -30.2), "icrs", "TAN", (0.05, 0.03), (20, 44)),
    "near a pole": ((120.0, 88.0), "icrs", "TAN", 0.1, (30, 30)),
    "wide car": ((266.4, -29.0), "icrs", "CAR", 1.0, (61, 41)),
}


def both(key):
    centre, frame, projection, binsz, npix = GEOMS[key]
    skydir = SkyCoord(*centre, unit="deg", frame=frame)
    geom = WcsGeom.create(skydir=skydir, frame=frame, proj=projection, binsz=binsz, npix=npix)
    header = {k: v for k, v in dict(geom.wcs.to_header()).items() if k != "COMMENT"}
    return WcsGrid(header, geom.data_shape), geom


# --- grids -----------------------------------------------------------------------------


@pytest.mark.parametrize("key", GEOMS)
def test_grid(key):
    ours, theirs = both(key)
    assert ours.frame == theirs.frame
    assert ours.projection == theirs.projection
    assert ours.shape == theirs.data_shape
    np.testing.assert_allclose(ours.pixel_scales, theirs.pixel_scales.to_value("deg"), rtol=1e-15)
    centre = theirs.center_skydir.data
    np.testing.assert_allclose(
        ours.center, (centre.lon.deg, centre.lat.deg), rtol=1e-12, atol=1e-12
    )
    coord = theirs.get_coord().skycoord.data
    lon, lat = ours.pixel_centers
    apart = SkyCoord(lon, lat, unit="deg").separation(SkyCoord(coord.lon, coord.lat))
    assert apart.deg.max() < 1e-11
    x, y = ours.to_pixel(lon, lat)
    rows, columns = np.indices(ours.shape)
    np.testing.assert_allclose(x, columns, atol=1e-9)
    np.testing.assert_allclose(y, rows, atol=1e-9)


@pytest.mark.parametrize("key", GEOMS)
def test_solid_angle(key):
    ours, theirs = both(key)
    expected = theirs.solid_angle().to_value("sr")
    np.testing.assert_allclose(ours.solid_angle, expected, rtol=1e-9)
    lon_scale, lat_scale = np.radians(ours.pixel_scales)
    middle = ours.solid_angle[ours.shape[0] // 2, ours.shape[1] // 2]
    # a CAR grid of Gammapy is aligned with its own equator: flat at its centre
    assert middle == pytest.approx(lon_scale * lat_scale, rel=2e-3)


@pytest.mark.parametrize("factor", [1, 2, 5])
@pytest.mark.parametrize("key", GEOMS)
def test_upsampled_centres(key, factor):
    ours, theirs = both(key)
    rows, columns = slice(3, 9), slice(11, 18)
    lon, lat = ours.upsampled_centers(rows, columns, factor)
    coord = theirs.upsample(factor).get_coord().skycoord.data
    fine = np.s_[
        rows.start * factor : rows.stop * factor, columns.start * factor : columns.stop * factor
    ]
    expected = SkyCoord(coord.lon[fine], coord.lat[fine])
    assert lon.shape == expected.shape
    assert SkyCoord(lon, lat, unit="deg").separation(expected).deg.max() < 1e-10


def test_unknown_frames_are_refused():
    header = {"CTYPE1": "ELON-CAR", "CTYPE2": "ELAT-CAR", "CUNIT1": "deg", "CUNIT2": "deg"}
    with pytest.raises(InputError, match="ELON"):
        _ = WcsGrid(header, (3, 3)).frame
    with pytest.raises(InputError, match="ecliptic"):
        rotate(0.0, 0.0, "ecliptic", "icrs")


# --- cutouts ---------------------------------------------------------------------------

SIZES = st.integers(1, 60)
CENTRES = st.one_of(
    st.floats(-80, 130),
    st.integers(-160, 260).map(lambda n: n / 2),
    st.integers(-40, 70).map(lambda n: n - 1e-12),
)


@SETTINGS
@given(st.tuples(SIZES, SIZES), st.tuples(CENTRES, CENTRES), st.tuples(SIZES, SIZES))
@example((10, 12), (4.5, 5.5), (3, 4))
@example((10, 12), (-2.0, 5.5), (4, 4))
@example((10, 12), (-0.5, 13.5), (1, 4))
def test_cutouts_follow_astropy(shape, centre, npix):
    window = cutout_window(shape, centre, npix)
    try:
        expected, _ = overlap_slices(shape, npix, centre, mode="trim")
    except NoOverlapError:
        assert window is None
        return
    assert window is not None
    assert window.slices == expected
    assert window.shape == np.zeros(shape)[expected].shape


def test_a_cutout_nowhere():
    assert cutout_window((10, 10), (np.nan, 3.0), (3, 3)) is None
    assert cutout_window((10, 10), (3.0, np.inf), (3, 3)) is None
    assert Window(1, 4, 2, 3).shape == (3, 1)


@pytest.mark.parametrize("key", GEOMS)
def test_cutouts_follow_gammapy(key):
    ours, theirs = both(key)
    rng = np.random.default_rng(4)
    for _ in range(20):
        y, x = (rng.uniform(-0.4, 1.4) * n for n in ours.shape)
        lon, lat = ours.to_sky(x, y)
        width = float(rng.uniform(0.5, 25) * ours.max_pixel_scale)
        position = SkyCoord(lon, lat, unit="deg", frame=ours.frame)
        for odd in (True, False):
            sizes = [max(width / scale, 1.0) for scale in ours.pixel_scales[::-1]]
            npix = tuple(round_up_to_odd(s) if odd else round(s) for s in sizes)
            at = ours.to_pixel(lon, lat)
            window = cutout_window(ours.shape, (float(at[1]), float(at[0])), npix)
            try:
                cut = theirs.cutout(position, width * u.deg, odd_npix=odd)
            except NoOverlapError:
                assert window is None
                continue
            assert window is not None
            assert window.shape == cut.data_shape
            inside = SkyCoord(*ours.to_sky(window.x0, window.y0), unit="deg", frame=ours.frame)
            first = cut.pix_to_coord((0, 0))
            assert inside.separation(SkyCoord(*first, frame=ours.frame)).deg < 1e-9


@SETTINGS
@given(st.floats(0.01, 1e4))
@example(3.0)
@example(4.0)
@example(4.000000001)
def test_round_up_to_odd(value):
    n = round_up_to_odd(value)
    assert n % 2 == 1
    assert n >= value or n == np.ceil(value)
    assert n - 2 < value


# --- frames ----------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["icrs", "galactic"])
@pytest.mark.parametrize("target", ["icrs", "galactic"])
def test_rotation_follows_astropy(source, target):
    rng = np.random.default_rng(2)
    lon = np.concatenate([rng.uniform(-180, 720, 300), [0.0, 360.0, 0.0, 0.0, 266.4]])
    lat = np.concatenate(
        [np.degrees(np.arcsin(rng.uniform(-1, 1, 300))), [0.0, 0.0, 90.0, -90.0, -28.9]]
    )
    got = SkyCoord(*rotate(lon, lat, source, target), unit="deg", frame=target)
    expected = SkyCoord(lon, lat, unit="deg", frame=source).transform_to(target)
    assert got.separation(expected).deg.max() < 1e-10
    if source != target:
        back = SkyCoord(
            *rotate(got.data.lon.deg, got.data.lat.deg, target, source), unit="deg", frame=source
        )
        assert back.separation(SkyCoord(lon, lat, unit="deg", frame=source)).deg.max() < 1e-10
    scalar = rotate(83.63, 22.01, source, target)
    assert [np.ndim(v) for v in scalar] == [0, 0]


# --- axes ------------------------------------------------------------------------------


@pytest.mark.parametrize("interp", ["log", "lin"])
@pytest.mark.parametrize("node_type", ["edges", "center"])
@pytest.mark.parametrize("n", [2, 3, 9])
def test_axis_follows_gammapy(n, node_type, interp):
    rng = np.random.default_rng(n)
    nodes = np.cumsum(rng.uniform(0.2, 2, n)) * 0.3
    ours = Axis("energy", nodes, interp, node_type)
    theirs = MapAxis(nodes, interp=interp, name="energy", node_type=node_type)
    assert ours.nbin == theirs.nbin
    np.testing.assert_allclose(ours.edges, theirs.edges.value, rtol=1e-13)
    np.testing.assert_allclose(ours.center, theirs.center.value, rtol=1e-13)
    values = np.concatenate([nodes, rng.uniform(0.05, 2 * nodes[-1], 50)])
    pix = ours.to_pix(values)
    np.testing.assert_allclose(pix, theirs.coord_to_pix(values), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(ours.from_pix(pix), values, rtol=1e-12)
    np.testing.assert_allclose(ours.from_pix(pix), theirs.pix_to_coord(pix), rtol=1e-12)


def test_an_axis_of_one_node():
    axis = Axis("energy", np.array([2.0]), "log", "center")
    assert axis.nbin == 1
    np.testing.assert_array_equal(axis.center, [2.0])
    np.testing.assert_array_equal(axis.to_pix(np.array([1.0, 5.0])), 0.0)
    np.testing.assert_array_equal(axis.from_pix(np.array([0.0, 3.0])), 2.0)
