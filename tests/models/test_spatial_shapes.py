"""Analytic shapes at random parameters: against mpmath, Gammapy and differences."""

import gammapy.modeling.models as gammapy_models
import mpmath as mp
import numpy as np
import pytest
from astropy import units as u
from gammapy.maps import WcsGeom

from gmdask.models import (
    ConstantFluxSpatialModel,
    ConstantSpatialModel,
    DiskSpatialModel,
    GeneralizedGaussianSpatialModel,
    Shell2SpatialModel,
    ShellSpatialModel,
    SkyGrid,
    SpatialModel,
    first_derivatives,
)
from tests.models.spatial_cases import CLASSES, distance_to_rim, near, random_sets, theirs_of


@pytest.fixture(autouse=True)
def precision():
    with mp.workdps(30):
        yield


@pytest.mark.slow
@pytest.mark.parametrize("cls", CLASSES)
def test_values(cls):
    """Within 1e-12 of mpmath; from Gammapy by no more than it is from mpmath, or 1e-10."""
    exact = CLASSES[cls][0]
    for model, values, points, grid in random_sets(cls, 71):
        peak = model.evaluate(SkyGrid(*grid), *values).max()
        ours = model.evaluate(SkyGrid(*points), *values)
        truth = np.array([float(exact(*at, *values)) for at in zip(*points, strict=True)])
        np.testing.assert_allclose(ours, truth, rtol=1e-12, atol=1e-12 * peak)
        theirs = theirs_of(model, values)(*(x * u.deg for x in points)).to_value("sr-1")
        allowed = np.maximum(np.abs(theirs - truth) + 1e-12 * peak, 1e-10 * peak)
        assert (np.abs(ours - theirs) <= allowed).all()


@pytest.mark.parametrize("cls", CLASSES)
def test_evaluation_radius_and_bin_size(cls):
    for model, values, _, _ in random_sets(cls, 72):
        theirs, at = theirs_of(model, values), np.array(values)
        radius, size = theirs.evaluation_radius, theirs.evaluation_bin_size_min
        assert model.evaluation_radius(at) == pytest.approx(radius.to_value("deg"), rel=1e-15)
        assert model.evaluation_bin_size_min(at) == pytest.approx(size.to_value("deg"), rel=1e-15)
        for name, par in model.named_parameters():
            other = theirs.parameters[name]
            default = type(theirs).default_parameters[name]
            assert par.frozen == other.frozen
            np.testing.assert_equal([par.min, par.max], [other.min, other.max])
            assert par.value == default.value
            assert str(par.unit) == str(default.unit)


@pytest.mark.slow
@pytest.mark.parametrize("cls", CLASSES)
def test_derivatives(cls):
    """Within 1e-6 of the maximum over the grid; shells away from their rims."""
    exact = CLASSES[cls][0]
    is_shell = issubclass(cls, ShellSpatialModel | Shell2SpatialModel)
    for model, values, points, grid in random_sets(cls, 73):
        largest = np.abs(model.gradient(SkyGrid(*grid), *values)[1])
        largest = (np.median(largest, axis=1) if is_shell else largest.max(axis=1))[:, None]
        lon, lat = points
        if is_shell:
            keep = distance_to_rim(model, values, lon, lat) > 1e-3
            lon, lat = lon[keep], lat[keep]
        if not len(lon):
            continue
        s, ds = model.gradient(SkyGrid(lon, lat), *values)
        np.testing.assert_allclose(s, model.evaluate(SkyGrid(lon, lat), *values), rtol=1e-14)
        if cls is DiskSpatialModel:  # its norm is an integral: differences of double precision
            truth = differences(model, SkyGrid(lon, lat), np.array(values))
        else:
            truth = np.array(
                [derivatives(exact, at, values) for at in zip(lon, lat, strict=True)]
            ).T
        if "e" in model.parameter_names and values[model.parameter_names.index("e")] == 0:
            keep = [k for k, name in enumerate(model.parameter_names) if name not in ("e", "phi")]
            largest, ds, truth = largest[keep], ds[keep], truth[keep]
        scale = np.maximum(largest, np.abs(truth).max(axis=1, keepdims=True))
        assert (np.abs(ds - truth) / np.where(scale > 0, scale, 1.0)).max() < 1e-6


def differences(model, grid, values):
    limits = np.full(len(values), np.nan)
    return first_derivatives(
        lambda v: model.evaluate(grid, *v.tolist()),
        values, model.step_scales(values), limits, limits,
    )  # fmt: skip


def derivatives(exact, at, values):
    step = mp.mpf(10) ** -10
    rows = []
    for k, value in enumerate(values):
        low, high = (exact(*at, *values[:k], value + h, *values[k + 1 :]) for h in (-step, step))
        rows.append(float((high - low) / (2 * step)))
    return rows


@pytest.mark.parametrize("cls", [GeneralizedGaussianSpatialModel, DiskSpatialModel])
def test_second_derivatives(cls):
    """Differences of the gradient, against differences of another step."""
    values = (83.6, 22.0, 0.4, *((0.6, 0.5, 20.0) if "Gen" in cls.__name__ else (0.5, 20.0, 0.4)))
    lon, lat = near(np.random.default_rng(4), 83.6, 22.0, 0.7, 60)
    model, grid = cls(), SkyGrid(lon, lat)
    hessian = model.hessian(grid, *values)
    np.testing.assert_array_equal(hessian, hessian.swapaxes(0, 1))
    for k in range(6):
        h = 1e-4 * model.step_scales(np.array(values))[k]
        low, high = (
            model.gradient(grid, *values[:k], values[k] + sign * h, *values[k + 1 :])[1]
            for sign in (-1, 1)
        )
        truth = (high - low) / (2 * h)
        np.testing.assert_allclose(hessian[k], truth, atol=2e-6 * np.abs(truth).max())


@pytest.mark.parametrize("cls", CLASSES)
def test_finite_everywhere(cls):
    """At the centre, its antipode, the poles, and for extreme parameters."""
    lon, lat = [83.63, 83.63, 263.63, 83.63, 0.0, 84.63], [22.01, 22.0101, -22.01, 90, -90, 22.01]
    rng = np.random.default_rng(2)
    grid, model = SkyGrid(lon, lat), cls()
    for _ in range(20):
        values = (83.63, 22.01, *CLASSES[cls][1](rng))
        s, ds = model.gradient(grid, *values)
        assert np.isfinite(s).all()
        assert np.isfinite(ds).all()
        np.testing.assert_array_equal(ds[:2, 0], 0)
    if cls in (GeneralizedGaussianSpatialModel, DiskSpatialModel):
        tiny = (83.63, 22.01, 0.0, *values[3:])
        assert np.isfinite(model.gradient(grid, *tiny)[1]).all()


# --- Gammapy's own reference values -------------------------------------------------------------


def on_sky(model, lon, lat):
    return model(lon * u.deg, lat * u.deg).to_value("sr-1")


def test_reference_values_of_the_disk():
    model = DiskSpatialModel(lon_0="1 deg", lat_0="45 deg", r_0="2 deg")
    values = on_sky(model, np.array([1, 5, 359]), 46)
    np.testing.assert_allclose(values, [261.263956, 0, 261.263956], atol=1e-12)
    turned = DiskSpatialModel(e=np.sqrt(0.75), phi="90 deg", r_0="2 deg")
    assert on_sky(turned, 0, 1.5) == pytest.approx(0, abs=1e-12)
    edge = DiskSpatialModel(r_0="2 deg", e=0.5)
    at = on_sky(edge, np.zeros(4), np.array([0, 2, 2.01, 1.99]))
    np.testing.assert_allclose(at[1:] / at[0], [0.5, 0.05, 0.95], rtol=1e-7)
    pole = DiskSpatialModel(lat_0="90 deg", r_0="5 deg")
    cap = 2 * np.pi * (1 - np.cos(np.deg2rad(5)))
    assert on_sky(pole, 0, 90) * cap == pytest.approx(1)
    geom = WcsGeom.create(skydir=(20, 17), npix=(10, 10), binsz=0.3, frame="galactic")
    coords = geom.get_coord()
    wide = DiskSpatialModel(lon_0="20 deg", lat_0="17 deg", r_0="1 deg", frame="galactic")
    theirs = gammapy_models.DiskSpatialModel(
        lon_0="20 deg", lat_0="17 deg", r_0="1 deg", frame="galactic"
    )
    ours = wide(coords.lon, coords.lat).value
    np.testing.assert_allclose(ours, theirs.evaluate_geom(geom).value, atol=1e-10 * ours.max())


def test_reference_values_of_the_shells():
    model = ShellSpatialModel(lon_0="1 deg", lat_0="45 deg", radius="2 deg", width="2 deg")
    other = Shell2SpatialModel(lon_0="1 deg", lat_0="45 deg", r_0="4 deg", eta=0.5)
    for shape in (model, other):
        values = on_sky(shape, np.array([1, 2, 4]), 45)
        np.testing.assert_allclose(values, [55.979449, 57.831651, 94.919895], rtol=1e-7)
    assert other.r_in == pytest.approx(2)


def test_normalisation_of_an_elongated_disk():
    geom = WcsGeom.create(binsz=0.03, width=(20, 20), skydir=(2, 2), frame="galactic", proj="AIT")
    coords, area = geom.get_coord(), geom.solid_angle().value
    model = DiskSpatialModel(lon_0="2 deg", lat_0="2 deg", r_0="10 deg", e=0.4, phi="30 deg")
    assert (on_sky(model, coords.lon.value, coords.lat.value) * area).sum() == pytest.approx(
        1, rel=1e-3
    )


@pytest.mark.parametrize("eta", [0.1, 0.4, 0.7, 1.0])
@pytest.mark.parametrize("e", [0.0, 0.4, 0.8])
def test_normalisation_of_the_generalized_gaussian(eta, e):
    x = np.linspace(-1, 1, 801) * 6 * (1 + 8 * eta) / 5
    lon, lat = np.meshgrid(x, x)
    s = GeneralizedGaussianSpatialModel().evaluate(SkyGrid(lon, lat), 0, 0, 1.0, eta, e, 20.0)
    area = np.deg2rad(x[1] - x[0]) ** 2 * np.cos(np.deg2rad(lat))
    assert (s * area).sum() == pytest.approx(1, abs=6e-3)


def test_constant():
    model = ConstantSpatialModel(value="42 sr-1")
    np.testing.assert_array_equal(on_sky(model, np.array([1, 2]), 45), 42)
    assert model.evaluation_radius(model.internal_values) is None
    assert model.position is None
    assert model.value.frozen
    s, ds = model.gradient(SkyGrid([1.0, 2.0], [3.0, 4.0]), 42.0)
    np.testing.assert_array_equal(s, 42)
    np.testing.assert_array_equal(ds, [[1, 1]])
    flux = ConstantFluxSpatialModel()
    assert flux.per_pixel
    assert flux.gradient(SkyGrid([1.0], [2.0]))[1].shape == (0, 1)


def test_a_subclass_that_only_evaluates():
    class Parabola(SpatialModel):
        defaults = DiskSpatialModel.defaults[:3]

        def evaluate(self, grid, *values):
            lon_0, lat_0, r_0 = values
            z = np.hypot((grid.lon - lon_0) * grid.cos_lat, grid.lat - lat_0) / r_0
            return np.clip(1 - z**2, 0, None)

    model, grid = Parabola(), SkyGrid([0.1, 0.2, -0.3], [0.2, 0.1, 0.1])
    s, ds = model.gradient(grid, 0.0, 0.0, 1.0)
    np.testing.assert_array_equal(s, model.evaluate(grid, 0.0, 0.0, 1.0))
    truth = 2 * np.array([grid.lon * grid.cos_lat**2, grid.lat, 1 - s])
    np.testing.assert_allclose(ds, truth, atol=1e-10)
    np.testing.assert_allclose(
        model.hessian(grid, 0.0, 0.0, 1.0)[0, 0], -2 * grid.cos_lat**2, atol=1e-6
    )
    at_limit = model.gradient(grid, 0.0, 90.0, 1.0)[1]
    assert np.isfinite(at_limit).all()
    assert model.evaluation_radius(np.zeros(3)) is None
    assert model.center(np.array([1.0, 2.0, 3.0])) == (1.0, 2.0)
