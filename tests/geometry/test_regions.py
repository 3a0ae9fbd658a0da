"""Regions on the sky: text of DS9, centres, pixels, against Gammapy's ``RegionGeom``."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from regions import (
    CircleAnnulusSkyRegion,
    CircleSkyRegion,
    EllipseSkyRegion,
    PointSkyRegion,
    PolygonSkyRegion,
    RectangleSkyRegion,
    Regions,
)

from gmdask.errors import InputError, InputNotFoundError
from gmdask.geometry import WcsGrid
from gmdask.geometry.regions import Region, read_region

AT = SkyCoord(83.6, 22.0, unit="deg")
GALACTIC = SkyCoord(359.95, -0.3, unit="deg", frame="galactic")
CARDS = {
    "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": 40.5, "CRPIX2": 30.5, "CRVAL1": 83.5,
    "CRVAL2": 22.1, "CDELT1": -0.05, "CDELT2": 0.05, "CUNIT1": "deg", "CUNIT2": "deg", "RADESYS": "ICRS",
}  # fmt: skip
SHAPES = {
    "circle": CircleSkyRegion(AT, 0.31 * u.deg),
    "ellipse": EllipseSkyRegion(AT, 0.9 * u.deg, 0.4 * u.deg, 30 * u.deg),
    "annulus": CircleAnnulusSkyRegion(AT, 0.2 * u.deg, 0.5 * u.deg),
    "rectangle": RectangleSkyRegion(AT, 0.6 * u.deg, 0.3 * u.deg, 20 * u.deg),
    "point": PointSkyRegion(AT),
    "polygon": PolygonSkyRegion(SkyCoord([83.2, 84.0, 83.7], [21.8, 21.9, 22.5], unit="deg")),
    "circle on the plane": CircleSkyRegion(GALACTIC, 0.23 * u.deg),
}
UNION = SHAPES["circle"] | CircleSkyRegion(SkyCoord(84.3, 22.2, unit="deg"), 0.2 * u.deg)


@pytest.fixture(params=[*SHAPES, "union"])
def shape(request):
    return UNION if request.param == "union" else SHAPES[request.param]


def gammapy_geom(shape, **keywords):
    from gammapy.maps import RegionGeom

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return RegionGeom.from_regions([shape] if shape is not UNION else shape, **keywords)


def test_plain_data_and_back(shape):
    region = Region(shape)
    again = Region.from_dict(region.to_dict())
    np.testing.assert_allclose(again.center, region.center, rtol=0, atol=1e-10)
    grid = region.grid(1.5)
    np.testing.assert_array_equal(again.mask(grid), region.mask(grid))
    assert again.pixel() == pytest.approx(region.pixel())


def test_pixels_are_gammapys(shape):
    """Which pixels of a map are inside, and the share of those at the border."""
    from gammapy.maps import WcsGeom

    if shape is SHAPES["circle on the plane"]:
        pytest.skip("elsewhere")
    grid = WcsGrid(CARDS, (60, 80))
    geom = WcsGeom(grid.wcs, npix=(80, 60))
    region = Region(shape, CARDS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mask, weights = geom.region_mask([shape]).data, geom.region_weights([shape]).data
    np.testing.assert_array_equal(region.mask(grid), mask)
    np.testing.assert_allclose(region.weights(grid), weights, rtol=0, atol=1e-12)


def test_solid_angle_and_box(shape):
    if isinstance(shape, PolygonSkyRegion):
        region = Region(shape, CARDS)  # Gammapy knows no centre of it
        assert region.solid_angle > 0
        return
    region, geom = Region(shape), gammapy_geom(shape)
    if shape is UNION:  # from pixels: two circles that do not overlap
        parts = sum(Region(part).solid_angle for part in region.shapes)
        assert region.solid_angle == pytest.approx(parts, rel=5e-3)
        return
    assert region.solid_angle == pytest.approx(geom.solid_angle().to_value("sr"), rel=1e-9)
    grid = region.grid()
    assert grid.shape == geom.to_wcs_geom().data_shape[-2:]


def test_center_of_a_union():
    """The place from which the distances to the parts add up to the least."""
    region = Region(UNION)
    lon, lat = region.center
    at = SkyCoord(lon, lat, unit="deg")
    one, other = (
        SkyCoord(c.ra, c.dec) for c in (SHAPES["circle"].center, SkyCoord(84.3, 22.2, unit="deg"))
    )
    total = at.separation(one) + at.separation(other)
    assert total.deg == pytest.approx(one.separation(other).deg, abs=1e-4)


def test_center_of_a_polygon():
    square = PolygonSkyRegion(SkyCoord([0.5, 359.5, 359.5, 0.5], [1, 1, 2, 2], unit="deg"))
    lon, lat = Region(square).center
    assert (lon + 180) % 360 - 180 == pytest.approx(0, abs=1e-9)
    assert lat == pytest.approx(1.5)


def test_solid_angle_of_a_circle():
    exact = 2 * np.pi * (1 - np.cos(np.radians(0.31)))
    assert Region(SHAPES["circle"]).solid_angle == pytest.approx(exact, rel=1e-4)


def test_text_and_files_of_ds9(tmp_path):
    text = "icrs\ncircle(83.6,22.0,0.31)\ncircle(84.3,22.2,0.2)\n"
    path = tmp_path / "two.reg"
    path.write_text(text)
    for given in (text, path, str(path), Regions.parse(text, format="ds9"), UNION):
        region = Region(given)
        assert len(region.shapes) == 2
        assert region.radius is None
    assert Region("icrs; circle(83.6, 22.0, 0.31)").radius == pytest.approx(0.31)
    assert Region(AT).is_point


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("icrs; foo(1,2)", "not a region in DS9 format"),
        ("icrs; circle(a,b,c)", "not a region in DS9 format"),
        ("", "contains no shape"),
        ("image; circle(1,2,3)", "not a region on the sky"),
        (SHAPES["circle"] & SHAPES["annulus"], "compound by 'and_', expected only unions"),
        ([], "has no shape"),
        (None, "not a region on the sky"),
    ],
)
def test_what_is_no_region(given, message):
    with pytest.raises(InputError, match=message):
        read_region(given)


def test_no_file(tmp_path):
    with pytest.raises(InputNotFoundError, match=r"none\.reg does not exist"):
        read_region(tmp_path / "none.reg")
