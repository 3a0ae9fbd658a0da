"""Spatial models against mpmath, Gammapy and each other."""

import astropy.units as u
import mpmath as mp
import numpy as np
import pytest
from gammapy.modeling.models import GaussianSpatialModel as GammapyGaussian

from gmdask.errors import InputError, ModelError
from gmdask.models import GaussianSpatialModel, PointSpatialModel, SkyGrid, SpatialModel
from tests.models.spatial_cases import gaussian

mp.mp.dps = 40
RNG_SEED = 20231
CENTRES = [(0.003, 0.0), (83.63, 22.01), (359.999, -60.2), (266.4, -89.9)]


def around(values, count, widths):
    rng = np.random.default_rng(RNG_SEED)
    lon_0, lat_0, sigma = values[:3]
    radius = widths * sigma
    lon = lon_0 + rng.normal(size=count) * radius / np.cos(np.deg2rad(lat_0))
    return lon % 360, np.clip(lat_0 + rng.normal(size=count) * radius, -90, 90)


@pytest.mark.parametrize("centre", CENTRES)
@pytest.mark.parametrize("e", [0.0, 1e-3, 0.6, 0.99])
@pytest.mark.parametrize("sigma", [1e-3, 0.2, 30.0])
def test_gaussian_is_exact(sigma, e, centre):
    values = (*centre, sigma, e, 33.0)
    lon, lat = around(values, 25, 4)
    truth = [gaussian(a, b, *values) for a, b in zip(lon, lat, strict=True)]
    peak = gaussian(*centre, *values)
    bright = np.array([t > 1e-30 * peak for t in truth])
    model, grid = GaussianSpatialModel(), SkyGrid(lon, lat)
    y = model.evaluate(grid, *values)
    truth = np.array([float(t) for t in truth])
    np.testing.assert_allclose(y[bright], truth[bright], rtol=1e-12)
    np.testing.assert_allclose(model.gradient(grid, *values)[0], y, rtol=1e-14)


@pytest.mark.parametrize("centre", CENTRES[:3])
@pytest.mark.parametrize("e", [0.0, 0.01, 0.6, 0.99])
@pytest.mark.parametrize("sigma", [1e-3, 0.2, 3.0])
def test_gradient_and_hessian_of_the_gaussian(sigma, e, centre):
    values = [*centre, sigma, e, 33.0]
    lon, lat = around(values, 6, 1.5)
    model, grid = GaussianSpatialModel(), SkyGrid(lon, lat)
    s, ds = model.gradient(grid, *values)
    hessian = model.hessian(grid, *values)
    assert s.shape == (6,)
    assert ds.shape == (5, 6)
    assert hessian.shape == (5, 5, 6)
    np.testing.assert_array_equal(hessian, hessian.swapaxes(0, 1))
    step = mp.mpf(10) ** -12

    def slopes(k, order=1):
        def along(x, lon, lat):
            return gaussian(lon, lat, *(x if i == k else v for i, v in enumerate(values)))

        return np.array(
            [
                float(mp.diff(lambda x, a=a, b=b: along(x, a, b), values[k], order, h=step))
                for a, b in zip(lon, lat, strict=True)
            ]
        )

    for k in (0, 1, 2) if e == 0 else range(5):
        truth = slopes(k)
        np.testing.assert_allclose(ds[k], truth, atol=1e-10 * np.abs(truth).max())
        truth = slopes(k, 2)
        np.testing.assert_allclose(hessian[k, k], truth, atol=1e-6 * np.abs(truth).max())


def test_derivatives_by_shape_at_zero_eccentricity():
    lon, lat = around((83.0, 22.0, 0.2), 50, 2)
    grid, model = SkyGrid(lon, lat), GaussianSpatialModel()
    values = (83.0, 22.0, 0.2, 0.0, 10.0)
    _, ds = model.gradient(grid, *values)
    np.testing.assert_array_equal(ds[3:], 0)
    hessian = model.hessian(grid, *values)
    assert np.isfinite(hessian).all()
    near = model.gradient(grid, 83.0, 22.0, 0.2, 1e-3, 10.0)[1]
    np.testing.assert_allclose(near[3], 1e-3 * hessian[3, 3], atol=1e-5 * np.abs(near[3]).max())


@pytest.mark.parametrize("e", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("sigma", [0.0, 1e-12, 1e-4, 2.0, 179.0])
def test_gaussian_is_finite_everywhere(sigma, e):
    lon = [83.63, 83.63, 83.63 + 1e-13, 263.63, 83.63, 0.0, 180.0, 83.64]
    lat = [22.01, 22.01 + 1e-13, 22.01, -22.01, 90.0, -90.0, 0.0, 22.01]
    grid, model = SkyGrid(lon, lat), GaussianSpatialModel()
    values = (83.63, 22.01, sigma, e, 12.0)
    s, ds = model.gradient(grid, *values)
    assert np.isfinite(s).all()
    assert np.isfinite(ds).all()
    assert np.isfinite(model.evaluate(grid, *values)).all()
    assert s[0] == s.max() > 0
    np.testing.assert_array_equal(ds[:2, 0], 0)
    np.testing.assert_array_equal(ds[4, 0], 0)


@pytest.mark.parametrize("e", [0.0, 0.7])
def test_gaussian_equals_gammapy(e):
    lon, lat = np.meshgrid(np.linspace(82, 85, 40), np.linspace(21, 23, 40))
    pars = {"lon_0": 83.6 * u.deg, "lat_0": 22 * u.deg, "sigma": 0.3 * u.deg, "e": e}
    pars["phi"] = 200 * u.deg
    ours, theirs = GaussianSpatialModel(**pars), GammapyGaussian(**pars)
    expected = theirs(lon * u.deg, lat * u.deg)
    value = ours(lon * u.deg, lat * u.deg)
    assert value.unit == u.Unit("sr-1")
    np.testing.assert_allclose(value.value, expected.to_value("sr-1"), rtol=1e-8)
    at = ours.internal_values
    assert ours.evaluation_radius(at) == theirs.evaluation_radius.to_value("deg")
    assert ours.evaluation_bin_size_min(at) == theirs.evaluation_bin_size_min.to_value("deg")
    assert ours.position.separation(theirs.position) < 1e-12 * u.deg


def test_gaussian_integrates_to_one():
    """A round one over the sphere; an elongated one where the sky is nearly flat."""
    rings = 2000
    lat = np.rad2deg(np.arcsin(np.linspace(-1, 1, 2 * rings + 1)[1::2]))
    grid = SkyGrid(np.zeros_like(lat), lat)
    s = GaussianSpatialModel().evaluate(grid, 0.0, 90.0, 20.0, 0.0, 0.0)
    assert s.sum() * 4 * np.pi / rings == pytest.approx(1, rel=1e-5)
    x = np.linspace(-2, 2, 401)
    lon, lat = np.meshgrid(x, x)
    s = GaussianSpatialModel().evaluate(SkyGrid(lon, lat), 0.0, 0.0, 0.3, 0.8, 40.0)
    pixels = np.deg2rad(0.01) ** 2 * np.cos(np.deg2rad(lat))
    assert (s * pixels).sum() == pytest.approx(1, rel=1e-4)


def test_point():
    model = PointSpatialModel(lon_0="83.6 deg", lat_0="22 deg", frame="galactic")
    assert model.parameters.names == ["lon_0", "lat_0"]
    assert model.evaluation_radius(model.internal_values) == 0
    assert model.position.frame.name == "galactic"
    assert model.position.l.deg == pytest.approx(83.6)
    assert model.lat_0.min == -90


def test_refused():
    with pytest.raises(ModelError, match="frame: 'fk5', expected one of"):
        PointSpatialModel(frame="fk5")
    with pytest.raises(InputError, match="differ in shape"):
        SkyGrid([1.0], [1.0, 2.0])
    assert SpatialModel().position is None
    assert SkyGrid([[1.0]], [[2.0]]).shape == (1, 1)
