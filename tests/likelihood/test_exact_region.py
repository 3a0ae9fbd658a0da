"""Shares of sources in regions, against formulae, sums over points and masks; their derivatives."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from regions import (
    CircleAnnulusSkyRegion,
    CircleSkyRegion,
    EllipseAnnulusSkyRegion,
    EllipseSkyRegion,
    PointSkyRegion,
    PolygonSkyRegion,
    RectangleAnnulusSkyRegion,
    RectangleSkyRegion,
)
from scipy.special import erf
from scipy.stats import ncx2

import gmdask as gm
from gmdask.geometry import WcsGrid, rotate, separation
from gmdask.geometry.aligned import downsampled_cards
from gmdask.geometry.regions import Region
from gmdask.likelihood.dataset_likelihood import CompiledDataset
from gmdask.likelihood.exact.region_nodes import region_nodes
from gmdask.models import GaussianSpatialModel, PointSpatialModel
from tests.likelihood import cubes
from tests.likelihood.test_exact_accuracy import SHAPES, cards, cube, flux_of, npred, sky_points
from tests.likelihood.test_exact_derivatives import differences, fresh, shapes, source

CORE = 0.06
CENTRE = SkyCoord(83.63, 22.01, unit="deg")
RADIUS = 0.2


def aside(bearing: float, distance: float) -> SkyCoord:
    return CENTRE.directional_offset_by(bearing * u.deg, distance * u.deg)


def spectrum(region, core=CORE):
    """A dataset of one region and one energy, with a Gaussian PSF."""
    found = Region(region)
    data = cube((1, 1), (0.1, 0.1), core)
    data.attrs["wcs"], data.attrs["region"] = found.pixel(), found.to_dict()
    return data


def share(region, spatial, core=CORE) -> float:
    return float(npred(spectrum(region, core), spatial)[0, 0])


def in_circle(distance, radius, sigma):
    """Share of a Gaussian in a circle some distance away from its centre (Marcum's Q).

    The circle is one of the tangential plane.
    """
    radius = np.degrees(np.arctan(np.radians(radius)))
    return ncx2.cdf((radius / sigma) ** 2, 2, np.maximum(np.asarray(distance) / sigma, 1e-9) ** 2)


def point(position: SkyCoord) -> PointSpatialModel:
    return PointSpatialModel(lon_0=position.icrs.ra, lat_0=position.icrs.dec)


@pytest.mark.parametrize("distance", [0.0, 0.03, 0.13, 0.2, 0.29, 0.5])
@pytest.mark.parametrize("radius", [0.01, 0.11, 0.4])
def test_a_point_in_a_circle(radius, distance):
    found = share(CircleSkyRegion(CENTRE, radius * u.deg), point(aside(40, distance)))
    assert found == pytest.approx(in_circle(distance, radius, CORE), abs=5e-6)
    if distance == 0:
        assert found == pytest.approx(1 - np.exp(-0.5 * (radius / CORE) ** 2), abs=5e-6)


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_in_a_circle(name):
    """Its points one by one, each with the share of a Gaussian."""
    spatial = SHAPES[name]
    lon, lat, weight = sky_points(spatial, 48, 96)
    circle = CircleSkyRegion(aside(60, 0.15), RADIUS * u.deg)
    centre = circle.center.icrs
    distance = separation(lon, lat, centre.ra.deg, centre.dec.deg)
    expected = flux_of(spatial) * float(in_circle(distance, RADIUS, CORE) @ weight)
    assert 0.1 < expected < 0.9
    assert share(circle, spatial) == pytest.approx(expected, abs=1e-5)


def in_rectangle(position, width, height, angle):
    """Share of a Gaussian at a position from the centre (east, north) in a rectangle."""
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    # angles of regions run from the west to the north where longitudes grow to the left
    along, across = -c * position[0] + s * position[1], s * position[0] + c * position[1]
    parts = [
        0.5 * (erf((half - x) / CORE / np.sqrt(2)) + erf((half + x) / CORE / np.sqrt(2)))
        for x, half in ((along, width / 2), (across, height / 2))
    ]
    return float(np.prod(parts))


RECTANGLE = RectangleSkyRegion(CENTRE, 0.4 * u.deg, 0.2 * u.deg, 0 * u.deg)
AT = aside(30, 0.12)
CORNERS = [(-0.2, -0.1), (0.2, -0.1), (0.2, 0.1), (-0.2, 0.1)]


def polygon(corners):
    """Polygon of corners (east, north) of the centre."""
    frame = CENTRE.skyoffset_frame()
    return PolygonSkyRegion(
        SkyCoord([SkyCoord(a * u.deg, b * u.deg, frame=frame).icrs for a, b in corners])
    )


def test_a_rectangle_and_the_polygon_of_its_corners():
    east, north = 0.12 * np.sin(np.radians(30)), 0.12 * np.cos(np.radians(30))
    expected = in_rectangle((east, north), 0.4, 0.2, 0.0)
    assert share(RECTANGLE, point(AT)) == pytest.approx(expected, abs=1e-5)
    for corners in (CORNERS, CORNERS[::-1]):
        assert share(polygon(corners), point(AT)) == pytest.approx(expected, abs=1e-5)


def test_an_annulus_is_a_circle_without_another():
    annulus = CircleAnnulusSkyRegion(CENTRE, 0.1 * u.deg, 0.3 * u.deg)
    expected = in_circle(0.12, 0.3, CORE) - in_circle(0.12, 0.1, CORE)
    assert share(annulus, point(AT)) == pytest.approx(expected, abs=5e-6)


def ring(kind, *sizes, angle=0.0):
    return kind(CENTRE, *(size * u.deg for size in sizes), angle * u.deg)


OTHERS = {
    "ellipse": EllipseSkyRegion(CENTRE, 0.5 * u.deg, 0.2 * u.deg, 30 * u.deg),
    "rectangle": RectangleSkyRegion(CENTRE, 0.5 * u.deg, 0.2 * u.deg, 30 * u.deg),
    "ellipses": ring(EllipseAnnulusSkyRegion, 0.1, 0.3, 0.2, 0.6, angle=20),
    "rectangles": ring(RectangleAnnulusSkyRegion, 0.1, 0.3, 0.2, 0.6, angle=20),
    "polygon": PolygonSkyRegion(
        SkyCoord([83.4, 83.8, 83.65, 83.9, 83.5], [21.8, 21.9, 22.0, 22.3, 22.2], unit="deg")
    ),
    "two apart": [
        CircleSkyRegion(CENTRE, 0.1 * u.deg), CircleSkyRegion(aside(40, 0.3), 0.15 * u.deg)
    ],
    "two that overlap": [
        CircleSkyRegion(CENTRE, 0.2 * u.deg), CircleSkyRegion(aside(40, 0.25), 0.15 * u.deg)
    ],
    "three that overlap": [
        CircleSkyRegion(CENTRE, 0.2 * u.deg),
        RectangleSkyRegion(aside(40, 0.25), 0.3 * u.deg, 0.2 * u.deg, 10 * u.deg),
        EllipseSkyRegion(aside(100, 0.2), 0.5 * u.deg, 0.2 * u.deg, 30 * u.deg),
    ],
    "one over the hole of another": [
        CircleAnnulusSkyRegion(CENTRE, 0.1 * u.deg, 0.25 * u.deg),
        RectangleSkyRegion(aside(40, 0.2), 0.5 * u.deg, 0.2 * u.deg, 10 * u.deg),
    ],
    "twice the same": [CircleSkyRegion(CENTRE, 0.2 * u.deg)] * 2,
    "one in the other": [CircleSkyRegion(CENTRE, r * u.deg) for r in (0.1, 0.2)],
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_regions_against_fine_masks(name):
    region, n = Region(OTHERS[name]), 64
    grid = region.grid()
    fine = WcsGrid(downsampled_cards(grid.header, 1 / n), (grid.shape[0] * n, grid.shape[1] * n))
    y, x = (a.astype(float) for a in np.nonzero(region.mask(fine)))
    lon, lat = rotate(*fine.to_sky(x, y), fine.frame, "icrs")
    for position in (AT, aside(200, 0.2)):
        r = separation(lon, lat, position.ra.deg, position.dec.deg)
        density = np.exp(-((r / CORE) ** 2) / 2) / (2 * np.pi * CORE**2)
        # areas of pixels are those of the centre to 1e-5
        expected = density.sum() * (0.1 / n) ** 2
        assert share(OTHERS[name], point(position)) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("name", OTHERS)
def test_more_nodes_change_nothing(name):
    region = Region(OTHERS[name])
    found = []
    for core in (CORE, CORE / 3):
        nodes = region_nodes(region, core)
        lon, lat = np.radians([AT.ra.deg, AT.dec.deg])
        at = np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
        square = ((nodes[:, :3] - at) ** 2).sum(axis=1) / np.radians(CORE) ** 2
        found.append(float((np.exp(-square / 2) / (2 * np.pi * CORE**2)) @ nodes[:, 3]))
    assert found[0] == pytest.approx(found[1], abs=1e-7)


def test_parts_make_the_whole():
    """Two rectangles side by side, and a part of it laid over the whole."""
    whole = share(polygon(CORNERS), point(AT))
    left, right = (
        polygon([(a, -0.1), (b, -0.1), (b, 0.1), (a, 0.1)]) for a, b in ((-0.2, 0.05), (0.05, 0.2))
    )
    for parts in ([left, right], [polygon(CORNERS), left], [right, polygon(CORNERS)]):
        assert share(parts, point(AT)) == pytest.approx(whole, abs=5e-6)


def test_regions_that_keep_the_older_rules():
    """A polygon whose edges cross, and a point."""
    crossed = PolygonSkyRegion(SkyCoord([83.5, 83.7, 83.5, 83.8], [22, 22, 22.1, 22.1], unit="deg"))
    assert region_nodes(Region(crossed), CORE) is None
    assert share(crossed, point(CENTRE)) == pytest.approx(0.2, abs=0.15)
    assert share(PointSkyRegion(CENTRE), point(CENTRE)) > 0


def test_no_nodes_where_there_is_no_sky_or_too_many():
    there = SkyCoord(50, 70, unit="deg")
    beyond = Region(
        CircleSkyRegion(there, 30 * u.deg), cards((100, 100), (1.0, 1.0), (0.0, 0.0), "SIN")
    )
    assert region_nodes(beyond, 1.0) is None
    wide = Region(CircleSkyRegion(CENTRE, 20 * u.deg))
    assert region_nodes(wide, 0.001) is None
    nodes = region_nodes(wide, 1.0)
    plane = np.radians(20)  # what is a circle in the tangential plane
    angle = np.arctan(plane)
    assert nodes[:, 3].sum() == pytest.approx(
        2 * np.pi * (1 - np.cos(angle)) * np.degrees(1) ** 2, rel=1e-6
    )


def test_out_of_reach():
    assert share(CircleSkyRegion(CENTRE, 0.1 * u.deg), point(aside(40, 1.5))) == 0


def test_frames_agree():
    galactic = CircleSkyRegion(CENTRE.galactic, 0.2 * u.deg)
    there = aside(40, 0.13).galactic
    spatial = GaussianSpatialModel(
        lon_0=there.l, lat_0=there.b, sigma="0.1 deg", e=0.5, phi="0 deg", frame="galactic"
    )
    found = [share(circle, spatial) for circle in (galactic, CircleSkyRegion(CENTRE, 0.2 * u.deg))]
    assert found[0] == pytest.approx(found[1], abs=1e-7)


def real(region):
    """A region of a dataset whose PSF and energy dispersion vary over the field."""
    whole = gm.MapDataset(cubes.make_cube(psf="true", masks=False))
    return whole.to_region_map_dataset(region).compute().cube


def check(cube, models, step=0.002):
    """Gradient and Hessian, in steps that are short beside the PSF."""
    values = models.parameters.value
    compiled = CompiledDataset(cube, models)
    here, free = compiled.evaluate(values, order=2), np.flatnonzero(compiled.free)
    most = np.array([2.0 if p.name == "phi" else 0.05 for p in models.parameters])[free]
    unit = np.minimum(1 / np.sqrt(np.diag(here.gauss_newton) / 2), most)
    slopes = differences(
        cube, models, values, free, step * unit, lambda v: fresh(cube, models, v, 0).stat
    )
    np.testing.assert_allclose(slopes * unit, here.gradient * unit, rtol=0, atol=1e-6)
    curves = differences(
        cube, models, values, free, step * unit, lambda v: fresh(cube, models, v, 1).gradient
    )
    outer = np.outer(unit, unit)
    np.testing.assert_allclose(curves * outer, here.observed * outer, rtol=0, atol=1e-5)
    assert (np.abs(np.diag(here.observed) * unit**2) > 1e-4).all()
    assert here.stat == fresh(cube, models, values, 0).stat == fresh(cube, models, values, 1).stat


@pytest.mark.parametrize("name", ["point", "gauss", "long gauss", "disk", "shell2"])
def test_derivatives(name):
    region = CircleSkyRegion(aside(40, 0.1), 0.2 * u.deg)
    # third derivatives of a point jump where its nodes cross knots of the PSF
    check(real(region), source(shapes()[name]), step=1e-4 if name == "point" else 0.002)


@pytest.mark.parametrize("name", ["ellipse", "two that overlap", "polygon"])
def test_derivatives_in_other_regions(name):
    models = source(GaussianSpatialModel(lon_0="83.71 deg", lat_0="22.05 deg", sigma="0.1 deg"))
    check(real(OTHERS[name]), models)
