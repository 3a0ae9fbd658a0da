"""Fits of flux points, alone and with maps and on/off spectra."""

from __future__ import annotations

import json

import numpy as np
import pytest
from astropy.io import fits

import gmdask as gm
from gmdask.errors import ModelError
from tests.datasets.clusters import local_client
from tests.datasets.flux_tables import dataset, mixed, models
from tests.datasets.real_pairs import quiet


def test_derivatives_against_differences():
    """Gradient and observed Hessian of a dataset, by all parameters, of fresh values."""
    own = dataset()
    own.stat_type = "distrib"
    sources = gm.Models([
        gm.SkyModel(gm.PowerLawSpectralModel(index=2.3, amplitude="1e-12 cm-2 s-1 TeV-1"), name="a"),
        gm.SkyModel(gm.LogParabolaSpectralModel(
            amplitude="1.4e-12 cm-2 s-1 TeV-1", reference="1 TeV", alpha=2.5, beta=0.1), name="b"),
    ])  # fmt: skip
    own.set_models(sources)
    compiled = own.compile(own.open(), own.models)
    values = own.models.parameters.value
    free = np.flatnonzero([not p.frozen for p in own.models.parameters])
    found = compiled.evaluate(values, order=2)
    steps = 1e-4 * np.abs(values)
    for i, k in enumerate(free):
        up, down = values.copy(), values.copy()
        up[k], down[k] = up[k] + steps[k], down[k] - steps[k]
        slope = (compiled.evaluate(up).stat - compiled.evaluate(down).stat) / (2 * steps[k])
        assert found.gradient[i] == pytest.approx(slope, rel=1e-5, abs=1e-5 / abs(values[k]))
        row = compiled.evaluate(up, order=1).gradient - compiled.evaluate(down, order=1).gradient
        scale = 1e-5 * np.sqrt(np.diag(found.gauss_newton) * found.gauss_newton[i, i])
        assert (np.abs(row / (2 * steps[k]) - found.observed[i]) < scale).all()


@pytest.mark.parametrize("stat_type", ["chi2", "distrib"])
def test_fit_of_gammapy(stat_type):
    from gammapy.modeling import Fit

    own = dataset()
    own.stat_type = stat_type
    start = models()
    result = gm.Fit(own).run(start)
    assert result.success
    with quiet():
        other = gm.to_gammapy(own)
        other.models = [gm.to_gammapy(models()[0])]
        expected = Fit().run([other])
    assert result.total_stat < expected.total_stat + 1e-6
    for name in ("index", "amplitude"):
        par, theirs = start[0].spectral_model.parameter(name), other.models.parameters[name]
        assert abs(par.value - theirs.value) < 0.01 * par.error
        assert par.error == pytest.approx(theirs.error, rel=0.03)


@pytest.fixture(scope="module")
def reference(shared):
    return json.loads((shared / "data" / "mwl" / "reference.json").read_text())


def test_statistic_of_three_kinds(shared, reference):
    datasets, start = mixed(shared)
    datasets.set_models(start)
    assert [type(d).__name__ for d in datasets] == [
        "MapDataset",
        "SpectrumDatasetOnOff",
        "FluxPointsDataset",
    ]
    for vector, expected in reference["stat"].items():
        for name, value in reference["vectors"][vector].items():
            start.parameters[name].value = value
        datasets.set_models_parameters(start.parameters)
        for name, tolerance in (("Fermi-LAT", 0.01), ("HESS", 1e-6), ("HAWC", 1e-6)):
            assert datasets[name].stat_sum() == pytest.approx(
                expected["per_dataset"][name], abs=tolerance
            )


def test_fit_of_three_kinds(shared, reference):
    """Minimum and values of Gammapy's fit; errors by differences of Gammapy's own statistic."""
    datasets, start = mixed(shared)
    result = gm.Fit(datasets).run(start)
    assert result.success
    assert result.total_stat < reference["fit"]["total_stat"] + 0.01
    names = [p.name for p in result.parameters if not p.frozen]
    assert len(names) == reference["n_free"]
    for name, parameter in zip(start.parameters.names, start.parameters, strict=True):
        if not parameter.frozen:
            away = abs(parameter.value - reference["fit"]["values"][name])
            assert away < 0.05 * parameter.error
    assert_curvature_is_gammapys(shared / "data" / "mwl", start)


def assert_curvature_is_gammapys(folder, fitted):
    """The covariance turns Gammapy's statistic, in second differences along its axes, into a unit sphere."""
    from gammapy.datasets import Datasets
    from gammapy.modeling.models import Models

    free = [
        name
        for name, p in zip(fitted.parameters.names, fitted.parameters, strict=True)
        if not p.frozen
    ]
    covariance = fitted.covariance.get_subcovariance([fitted.parameters[n] for n in free]).data
    scale = np.sqrt(np.diag(covariance))
    variance, axes = np.linalg.eigh(covariance / np.outer(scale, scale))
    axes = scale[:, None] * axes * np.sqrt(variance)  # each of 1 sigma
    with quiet():
        theirs = Datasets.read(folder / "datasets.yaml")
        theirs.models = Models.read(folder / "models_start.yaml")

        def stat(x):
            for name, value in zip(free, x, strict=True):
                model, part, par = name.split(".")
                getattr(theirs.models[model], f"{part}_model").parameters[par].value = value
            return float(theirs.stat_sum())

        best, step, n = np.array([fitted.parameters[name].value for name in free]), 0.03, len(free)
        here, curvature = stat(best), np.zeros((n, n))
        for i in range(n):
            for j in range(i + 1):
                one, other = step * axes[:, i], step * axes[:, j]
                ends = (
                    stat(best + one + other) + stat(best - one - other)
                    - stat(best + one - other) - stat(best - one + other)
                )  # fmt: skip
                curvature[i, j] = curvature[j, i] = ends / (4 * step**2)
    assert np.isfinite(here)
    found = axes @ np.linalg.inv(curvature / 2) @ axes.T
    np.testing.assert_allclose(np.sqrt(np.diag(found)), scale, rtol=0.005)


@pytest.mark.parametrize("workers", [1, 2])
def test_same_bits_on_workers(shared, tmp_path, workers):
    datasets, start = mixed(shared)
    datasets.write(tmp_path / "mwl.zarr")
    fits = []
    for client in (None, local_client(workers)):
        stored = gm.Datasets.read(tmp_path / "mwl.zarr", response="gammapy")
        chosen = start.copy()
        result = gm.Fit(stored, client).run(chosen)
        fits.append(
            (
                result.total_stat,
                chosen.parameters.value.tolist(),
                [p.error for p in chosen.parameters],
            )
        )
    assert fits[0] == fits[1]


def test_light_curve_of_a_source_over_the_times_of_the_points(tmp_path):
    """The mean of a temporal model multiplies the flux, and has derivatives."""
    start = models()
    own = dataset()
    cube = own.open().load().copy()
    cube["gti_start"], cube["gti_stop"] = (
        ("gti", np.array(v), {"unit": "s"}) for v in ([0.0, 5e4], [1e4, 9e4])
    )
    cube.attrs["gti"] = {"mjdrefi": 55000, "mjdreff": 0.0, "timesys": "utc"}
    timed = gm.FluxPointsDataset(cube)
    decay = gm.models.ExpDecayTemporalModel(t0="0.4 d", t_ref="55000 d")
    source = gm.SkyModel(start[0].spectral_model, temporal_model=decay, name="source")
    own.set_models([source])
    with pytest.raises(ModelError, match="has no good time intervals"):
        own.stat_sum()
    timed.set_models([source])
    with quiet():
        other = gm.to_gammapy(timed)
        other.models = [gm.to_gammapy(source)]
        np.testing.assert_allclose(timed.flux_pred(), other.flux_pred().ravel(), rtol=1e-9)
        assert timed.stat_sum() == pytest.approx(float(other.stat_sum()), rel=1e-9)
    with fits.open(_written(timed, tmp_path)) as hdus:
        assert "GTI" in hdus


def _written(dataset, folder):
    path = folder / "timed.fits"
    dataset.write(path)
    back = gm.FluxPointsDataset.read(path)
    np.testing.assert_array_equal(back.cube["gti_stop"], dataset.cube["gti_stop"])
    return path
