"""Gradient and observed Hessian of the exact response against differences of fresh values."""

from __future__ import annotations

import numpy as np
import pytest

from gmdask.geometry import WcsGrid, rotate
from gmdask.likelihood.dataset_likelihood import CompiledDataset
from gmdask.likelihood.exact.nodes import BLEND, node_scratch, zone_of
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
)
from tests.likelihood import cubes

AT = {"lon_0": "83.71 deg", "lat_0": "22.05 deg"}


def shapes():
    long_gauss = GaussianSpatialModel(**AT, sigma="0.15 deg", e=0.7, phi="35 deg")
    long_disk = DiskSpatialModel(**AT, r_0="0.1 deg", e=0.5, phi="20 deg", edge_width=0.3)
    for spatial in (long_gauss, long_disk):
        spatial.e.frozen = spatial.phi.frozen = False
    soft_disk = DiskSpatialModel(**AT, r_0="0.2 deg", edge_width=0.3)
    soft_disk.edge_width.frozen = False
    return {
        "point": PointSpatialModel(**AT),
        "gauss": GaussianSpatialModel(**AT, sigma="0.12 deg"),
        "small gauss": GaussianSpatialModel(**AT, sigma="0.01 deg"),
        "long gauss": long_gauss,
        "disk": DiskSpatialModel(**AT, r_0="0.2 deg"),
        "soft disk": soft_disk,
        "long disk": long_disk,
        "shell": ShellSpatialModel(**AT, radius="0.15 deg", width="0.06 deg"),
        "shell2": Shell2SpatialModel(**AT, r_0="0.2 deg", eta=0.3),
        "general": GeneralizedGaussianSpatialModel(**AT, r_0="0.1 deg", eta=0.6),
    }


def source(spatial) -> DatasetModels:
    spectrum = PowerLawSpectralModel(amplitude="3e-11 cm-2 s-1 TeV-1")
    return DatasetModels([SkyModel(spectral_model=spectrum, spatial_model=spatial, name="s")])


def place(models, name) -> int:
    """Position of a parameter of the shape."""
    return [p.name for p in models.parameters].index(name)


def fresh(cube, models, values, order):
    return CompiledDataset(cube, models).evaluate(values, order=order)


def differences(cube, models, values, free, steps, function):
    """Fourth-order central differences by the free parameters."""
    found = []
    for k, step in zip(free, steps, strict=True):
        at = []
        for i in (-2, -1, 1, 2):
            moved = values.copy()
            moved[k] += i * step
            at.append(function(moved))
        found.append((8 * (at[2] - at[1]) - (at[3] - at[0])) / (12 * step))
    return np.array(found)


def check(cube, models, step=0.02):
    values = models.parameters.value
    compiled = CompiledDataset(cube, models)
    here, free = compiled.evaluate(values, order=2), np.flatnonzero(compiled.free)
    error = 1 / np.sqrt(np.abs(np.diag(here.gauss_newton)) / 2)
    slopes = differences(
        cube, models, values, free, step * error, lambda v: fresh(cube, models, v, 0).stat
    )
    assert np.abs((slopes - here.gradient) * error).max() < 1e-6
    curves = differences(
        cube, models, values, free, step * error, lambda v: fresh(cube, models, v, 1).gradient
    )
    assert np.abs((curves - here.observed) * np.outer(error, error)).max() < 1e-5
    unit = np.outer(error, error)
    np.testing.assert_allclose(here.observed * unit, here.observed.T * unit, atol=1e-12)
    assert here.stat == fresh(cube, models, values, 0).stat == fresh(cube, models, values, 1).stat


@pytest.mark.slow
@pytest.mark.parametrize("name", shapes())
def test_derivatives_of_every_shape(name):
    check(cubes.make_cube(psf="true"), source(shapes()[name]))


@pytest.mark.parametrize(
    "name",
    [
        "point", "gauss", "disk",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("long gauss", "shell", "shell2", "general")),
    ],
)  # fmt: skip
def test_derivatives_with_the_psf_in_reconstructed_energy(name):
    check(cubes.make_cube(psf="reco"), source(shapes()[name]))


@pytest.mark.parametrize("psf", ["true", "reco"])
@pytest.mark.parametrize("name", ["pixel", "corner", "psf pixel", "edisp pixel"])
def test_nothing_happens_where_pixels_are_crossed(psf, name):
    cube = cubes.make_cube(psf=psf)
    grid = WcsGrid(cube.attrs["wcs"], cube["counts"].shape[1:])
    if name in ("pixel", "corner"):
        offset = 0.5 * (name == "corner")
        at, frame = grid.to_sky(15.0 + offset, 16.0 + offset), grid.frame
    else:
        key = name.split()[0]
        other = WcsGrid(cube.attrs[f"{key}_wcs"], cube[key].shape[-2:])
        at, frame = other.to_sky(3.0, 3.0), other.frame
    lon, lat = (float(v) for v in rotate(*at, frame, "icrs"))
    # third derivatives jump at the nodes of the maps, which differences over long steps would see
    check(cube, source(PointSpatialModel(lon_0=f"{lon} deg", lat_0=f"{lat} deg")), step=0.002)


def test_outside_the_map():
    cube = cubes.make_cube(psf="true")
    lon, lat = (float(v) for v in WcsGrid(cube.attrs["wcs"], (30, 34)).to_sky(-2.5, 10.3))
    # errors are as large as the PSF there: differences over shorter steps
    check(cube, source(PointSpatialModel(lon_0=f"{lon} deg", lat_0=f"{lat} deg")), step=0.0002)


def test_a_gaussian_of_no_size_is_at_an_extremum():
    cube, models = cubes.make_cube(psf="true"), source(shapes()["small gauss"])
    values = models.parameters.value
    values[place(models, "sigma")] = 0.0
    here = CompiledDataset(cube, models).evaluate(values, order=2)
    column = np.count_nonzero([not p.frozen for p in models.parameters][: place(models, "sigma")])
    assert here.gradient[column] == pytest.approx(0, abs=1e-6 * np.sqrt(here.gauss_newton[0, 0]))


@pytest.mark.parametrize(
    ("name", "pixel"),
    [
        ("point", 0.3), ("point", 1.0), ("point", 2.0), ("gauss", 0.5), ("gauss", 2.0),
        ("long gauss", 1.0), ("disk", 0.6), ("disk", 2.0), ("shell", 1.0), ("shell", 2.0),
    ],
)  # fmt: skip
def test_one_minimum_along_position_and_size(name, pixel):
    one_minimum(sampled(pixel), shapes()[name], pixel)


def one_minimum(cube, spatial, pixel):
    """Asimov counts: second differences in steps of a fiftieth of a pixel stay positive."""
    for steps, stats in along_each(cube, spatial, pixel):
        assert np.diff(stats, 2).min() > 0
        assert abs(steps[stats.argmin()]) <= pixel * CORE / 50 + 1e-12


def along_each(cube, spatial, pixel):
    """Steps of a fiftieth of a pixel along position and size, and the statistic of Asimov counts there."""
    models = source(spatial)
    true = models.parameters.value
    compiled = CompiledDataset(cube, models, bins="masked")
    counts = compiled.npred(true)
    cube["counts"].values[...] = 0
    cube["counts"].values[compiled.bins.r, compiled.bins.y, compiled.bins.x] = counts
    compiled = CompiledDataset(cube, models)
    scale = pixel * CORE
    sizes = [n for n in ("sigma", "r_0", "radius") if n in spatial.parameter_names]
    for parameter in ["lon_0", "lat_0", *sizes]:
        k = place(models, parameter)
        steps = scale * np.arange(-40, 41) / 50  # the edges of pixels are at half a pixel
        steps = steps[np.abs(steps) < 0.4 * true[k]]
        values = np.tile(true, (len(steps), 1))
        values[:, k] += steps
        yield steps, np.array([compiled.evaluate(v).stat for v in values])


CORE = 0.06


def sampled(pixel: float):
    """A cube with a Gaussian PSF and pixels of some share of its width."""
    from tests.likelihood.test_exact_accuracy import AREA, cube

    n = int(1.1 / (pixel * CORE)) // 2 * 2 + 1
    data = cube((n, n), (pixel * CORE, pixel * CORE), CORE, centre=(83.71, 22.05))
    background = np.full((1, n, n), 1e-3 * pixel**2)
    data["exposure"].values[...] = AREA * 1e3
    return data.assign(background=(("energy", "lat", "lon"), background, {"unit": ""}))


def test_the_last_of_a_rule_is_left_out():
    """A share that rounding may turn to zero or below is none: it is divided by."""
    rules = np.array([[0.0, 4.0, 0.0], [4.0, 5.0, 0.01]])
    grid, out = np.array([1e-4, 1e-2, 100, 0.0, 1.0, 1.0]), np.empty(6)
    found = set()
    for apart in np.concatenate([[0.0], np.geomspace(1e-16, 0.2, 2000)]):
        r = rules[1, 2] * (1 + BLEND) * (1 - apart)
        offset = np.array([r * np.sqrt(1 - r * r / 4), 0.0, -r * r / 2])
        zone = zone_of(offset, rules, grid, node_scratch(2), out)
        assert np.isfinite(out).all()
        assert out[0] == 1.0 or 1e-14 <= out[0] < 1.0
        found.add((int(zone), out[0] < 1.0))
    assert found == {(0, False), (0, True), (1, False)}


@pytest.mark.parametrize("name", ["point", "gauss", "long gauss", "disk"])
def test_what_was_read_before_leaves_no_trace(name):
    """A source that moved and grew has the bits of one that was there from the beginning."""
    from tests.likelihood.test_exact_accuracy import cube

    data = cube((151, 161), (0.02, 0.02), 0.02, king=True, centre=(83.71, 22.05))
    data["counts"].values[...] = np.random.default_rng(1).poisson(0.05, data["counts"].shape)
    models = source(shapes()[name])
    start = models.parameters.value
    used = CompiledDataset(data, models)
    walk = []
    for lon, lat, size in ((0.3, -0.2, 1.0), (-0.5, 0.4, 1.3), (0.02, 0.0, 0.4), (0.0, 0.0, 1.0)):
        values = start.copy()
        values[place(models, "lon_0")] += lon
        values[place(models, "lat_0")] += lat
        for size_name in ("sigma", "r_0"):
            if size_name in [p.name for p in models.parameters]:
                values[place(models, size_name)] *= size
        walk.append(values)
    for values in walk:
        for order in (1, 2):
            here, anew = used.evaluate(values, order=order), fresh(data, models, values, order)
            assert here.stat == anew.stat
            np.testing.assert_array_equal(here.gradient, anew.gradient)
            np.testing.assert_array_equal(here.gauss_newton, anew.gauss_newton)
            if order == 2:
                np.testing.assert_array_equal(here.observed, anew.observed)
