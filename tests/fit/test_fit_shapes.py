"""Fits of shapes that are hardly resolved, hardly elongated, or not seen at all."""

from __future__ import annotations

import numpy as np
import pytest

import gmdask as gm
from gmdask.datasets.simulation.iact import IactResponse
from gmdask.datasets.simulation.observation import simulate_observation
from gmdask.datasets.simulation.survey import Observed, SkyPixels, Survey
from gmdask.errors import ModelError
from gmdask.models import ShellSpatialModel
from gmdask.optimize.status import Status

CENTER = {"lon_0": "83.6 deg", "lat_0": "22 deg", "frame": "icrs"}


def source(shape, name="s"):
    spectrum = gm.PowerLawSpectralModel(index=2.3, amplitude="2e-11 cm-2 s-1 TeV-1")
    return gm.SkyModel(spectrum, shape, name=name)


def gauss(sigma, e=0.0, phi=0.0, *, free=False):
    shape = gm.GaussianSpatialModel(sigma=f"{sigma} deg", e=e, phi=f"{phi} deg", **CENTER)
    shape.e.frozen = shape.phi.frozen = not free
    return shape


def shell(radius, width):
    return ShellSpatialModel(radius=f"{radius} deg", width=f"{width} deg", **CENTER)


def observed(shape, seed=1):
    run = Observed(0, "run", 83.6, 22.0, 0.0, 1800.0, 0.0)
    survey = Survey(
        seed, SkyPixels("icrs", "TAN", (83.6, 22.0), 0.05), 50, np.geomspace(0.5, 20, 5),
        np.geomspace(0.3, 30, 8), (run,), gm.Models([source(shape)]), IactResponse(background=250.0),
    )  # fmt: skip
    return gm.Datasets([gm.MapDataset(simulate_observation(survey, run))])


def fitted(datasets, *shapes):
    names = "s", "other"
    own = gm.Models([source(shape, name) for shape, name in zip(shapes, names, strict=False)])
    own = gm.Models([*own, gm.BackgroundIRFModel(dataset_name="run")])
    return gm.Fit(datasets).run(own), own


@pytest.fixture(scope="module")
def point():
    return observed(gm.PointSpatialModel(**CENTER))


def far(**more):
    return {"lon_0": "120 deg", "lat_0": "-20 deg", "frame": "icrs", **more}


@pytest.mark.parametrize(
    "shape", [gm.PointSpatialModel(**far()), gm.GaussianSpatialModel(**far(sigma="0.1 deg"))]
)
def test_a_source_outside_of_all_maps_is_named(shape, point):
    result, own = fitted(point, gm.PointSpatialModel(**CENTER), shape)
    assert result.status is Status.UNCONSTRAINED
    assert {name.split(".")[0] for name in result.concerned} == {"other"}
    assert own.parameters["s.spectral.amplitude"].error > 0
    assert own.parameters["other.spectral.amplitude"].error == 0
    alone, _ = fitted(point, gm.PointSpatialModel(**CENTER))
    assert alone.success
    assert result.total_stat == pytest.approx(alone.total_stat, abs=1e-3)


@pytest.mark.parametrize("free", [False, True])
def test_nothing_but_masked_bins(free, point):
    cube = point[0].cube.load().copy(deep=True)
    cube["mask_safe"][:] = False
    result, _ = fitted(gm.Datasets([gm.MapDataset(cube)]), gauss(0.1, free=free))
    assert result.status is Status.UNCONSTRAINED
    assert not result.upper_limits


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("truth", [gauss(0.1), gauss(0.15, 0.8, 30), gauss(0.05)])
def test_one_ellipse_from_any_start(truth, seed):
    """No start ends at a round shape, which is a saddle point."""
    datasets, stats = observed(truth, seed), []
    nested, _ = fitted(datasets, gauss(0.1))
    for start in ((0.1, 0, 0), (0.1, 0.5, 90), (0.1, 0.9, 45), (0, 0, 0), (0.3, 0.5, -60)):
        result, own = fitted(datasets, gauss(*start, free=True))
        assert result.success, result.message
        assert result.passes <= 12
        assert (own.parameters.error[~own.parameters.frozen] > 0).sum() >= 7
        stats.append(result.total_stat)
    assert max(stats) - min(stats) < 1e-3
    assert max(stats) <= nested.total_stat + 1e-3


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_shell_of_any_start_ends_in_one_way(seed):
    """Its radius is not negative, and unresolved where there may be no hole."""
    datasets, found = observed(gauss(0.1), seed), []
    for start in ((0.1, 0.1), (0.3, 0.05), (0.02, 0.2)):
        result, own = fitted(datasets, shell(*start))
        assert own.parameters["radius"].value >= 0
        assert result.upper_limits["s.spatial.radius"] > own.parameters["radius"].value
        found.append((result.status, result.concerned, result.total_stat))
    assert {status for status, *_ in found} == {Status.UNRESOLVED}
    assert len({concerned for _, concerned, _ in found}) == 1
    assert np.ptp([stat for *_, stat in found]) < 0.01


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_size_that_is_hardly_resolved(seed):
    """Its error and limit are those of the profile."""
    datasets = observed(gauss(0.02), seed)
    result, own = fitted(datasets, gauss(0.05))
    size = own.parameters["sigma"]
    one, two = (
        gm.Fit(datasets).confidence(own, "s.spatial.sigma", sigma=sigma)["errp"] for sigma in (1, 2)
    )
    assert result.status is Status.UNRESOLVED
    assert size.error == pytest.approx(one, rel=0.15)
    assert result.upper_limits["s.spatial.sigma"] == pytest.approx(size.value + two, rel=0.05)


@pytest.mark.parametrize(("name", "value"), [("e", 1.2), ("e", -0.1), ("sigma", -0.1)])
def test_values_that_mean_nothing_are_refused(name, value, point):
    own = gm.Models([source(gauss(0.1))])
    own.parameters[name].value = value
    datasets = gm.Datasets([point[0].copy("run")])
    datasets.set_models(own)
    for call in (datasets[0].stat_sum, datasets[0].npred, lambda: gm.Fit(datasets).run(own)):
        with pytest.raises(ModelError, match=rf"s\.spatial\.{name} is {value:g}.*expected"):
            call()
