"""Starts and surveys that a minimiser may stumble over."""

from __future__ import annotations

import numpy as np
import pytest

import gmdask as gm
from gmdask.datasets.simulation.iact import IactResponse
from gmdask.datasets.simulation.observation import simulate_observation
from gmdask.datasets.simulation.survey import Observed, SkyPixels, Survey
from tests.datasets.synthetic import AMPLITUDE, models

PSF = 0.12  # deg, of the runs


@pytest.fixture
def best(datasets):
    return gm.Fit(datasets).optimize(models(datasets.names)).total_stat


@pytest.mark.parametrize("angle", [0.5, 2.2, 4.0])
def test_a_psf_width_away(angle, datasets, best):
    own = models(datasets.names)
    shape = own["source"].spatial_model
    shape.lon_0.value += 2.35 * PSF * np.cos(angle)
    shape.lat_0.value += 2.35 * PSF * np.sin(angle)
    result = gm.Fit(datasets).optimize(own)
    assert result.success
    assert result.total_stat == pytest.approx(best, abs=0.05)  # minima at kinks are several
    assert result.passes <= 20


@pytest.mark.parametrize("what", ["amplitude", "norms", "both"])
def test_from_zero(what, datasets, best):
    own = models(datasets.names)
    if what != "norms":
        own["source"].spectral_model.amplitude.value = 0.0
    if what != "amplitude":
        for name in datasets.names:
            own[f"{name}-bkg"].spectral_model.norm.value = 0.0
    result = gm.Fit(datasets).optimize(own)
    assert result.success
    assert result.total_stat == pytest.approx(best, abs=0.05)


def test_hardly_any_counts(datasets):
    """Three counts, in two of three runs."""
    cubes = [dataset.cube.load().copy(deep=True) for dataset in datasets]
    for cube, places in zip(cubes, ([(0, 12, 12), (1, 3, 4)], [], [(0, 7, 9)]), strict=True):
        cube["counts"][:] = 0
        for place in places:
            cube["counts"][place] = 1
    own = models(datasets.names)
    own["source"].spatial_model.freeze()
    own["source"].spectral_model.amplitude.min = 0.0
    own["source"].spectral_model.index.frozen = True
    few = gm.Datasets([gm.MapDataset(cube) for cube in cubes])
    result = gm.Fit(few).run(own)
    assert result.success, result.message
    assert 0 <= own["source"].spectral_model.amplitude.value < 0.1 * AMPLITUDE
    assert np.isfinite(own.parameters.value).all()
    assert np.isfinite(own.parameters.error).all()
    assert result.total_stat == few.stat_sum()
    # the amplitude is at its minimum, which is not where bins with counts have no prediction
    best = own["source"].spectral_model.amplitude.value
    for factor in (0.0, 1e-6, 0.5, 2.0):
        other = own.copy()
        amplitude = other["source"].spectral_model.amplitude
        amplitude.value, amplitude.frozen = factor * best, True
        assert result.total_stat < gm.Fit(few).run(other).total_stat < result.total_stat + 50

    few.set_models(own)
    own["source"].spectral_model.index.frozen = False  # which so few counts do not fix
    free = gm.Fit(few).run(own)
    assert free.total_stat < result.total_stat
    assert free.total_stat == few.stat_sum()
    assert not free.success
    assert "source.spectral.index" in free.message
    assert np.isfinite(own.parameters.value).all()


def test_many_shared_parameters():
    """Sixty sources, some seventy shared parameters, some of them at their limit."""
    rng = np.random.default_rng(5)
    centre = np.array([83.6, 22.0])
    sources = []
    for i in range(60):
        lon, lat = centre + rng.uniform(-1.0, 1.0, size=2)
        spectrum = gm.PowerLawSpectralModel(
            index=2.4, amplitude=10 ** rng.uniform(-13.5, -11.5) if i % 3 else 0.0
        )
        spectrum.amplitude.min = 0.0
        spectrum.index.frozen = spectrum.amplitude.value < 2e-12  # which nothing would fix
        shape = gm.PointSpatialModel(lon_0=lon, lat_0=lat, frame="icrs")
        shape.freeze()
        sources.append(gm.SkyModel(spectrum, shape, name=f"s{i}"))
    backgrounds = [gm.BackgroundIRFModel(dataset_name=name) for name in ("a", "b")]
    true = gm.Models([*sources, *backgrounds])
    runs = tuple(Observed(i, name, *centre, 0.0, 1800.0, 0.0) for i, name in enumerate("ab"))
    survey = Survey(
        1, SkyPixels("icrs", "TAN", (83.6, 22.0), 0.05), 60, np.geomspace(0.5, 20, 4),
        np.geomspace(0.3, 30, 6), runs, gm.Models(sources), IactResponse(background=250.0),
    )  # fmt: skip
    datasets = gm.Datasets(gm.MapDataset(simulate_observation(survey, run)) for run in runs)
    own = true.copy()
    for source in list(own)[:60]:
        source.spectral_model.amplitude.value = 1e-12
    result = gm.Fit(datasets).run(own)
    assert result.success, result.message
    assert result.passes <= 40
    amplitude = np.array([own[f"s{i}"].spectral_model.amplitude.value for i in range(60)])
    error = np.array([own[f"s{i}"].spectral_model.amplitude.error for i in range(60)])
    truth = np.array([true[f"s{i}"].spectral_model.amplitude.value for i in range(60)])
    assert (amplitude >= 0).all()
    assert (amplitude == 0).sum() > 3
    inside = (amplitude > 0) & (error > 0)
    pulls = (amplitude - truth)[inside] / error[inside]
    assert np.abs(pulls).max() < 5
    assert 0.6 < np.sqrt(np.mean(pulls**2)) < 1.4
