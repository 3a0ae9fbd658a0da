"""Flux points and light curves against Gammapy's, and by themselves."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.time import Time
from regions import CircleSkyRegion

import gmdask as gm
from gmdask.errors import InputError, ModelError, UnknownNameError
from gmdask.estimators.estimation import bins_of
from gmdask.evaluation.partition import own_models
from gmdask.events import DatasetsProgress
from gmdask.likelihood.norms import NormGroupSpec, NormSpec, compile_norms, evaluate_norms
from gmdask.optimize.convex_1d import crossings, minimise
from tests.estimators.pks2155 import SELECTION, SOURCE

pytestmark = pytest.mark.gammapy_response


def check_against(data, table):
    """Compare with a table of Gammapy's.

    What differs: MINUIT stops within 1e-4 of the minimum in the statistic, so that Gammapy's norms lie
    up to 1e-2 of the error beside it, most where the statistic is flattest; and its errors
    come from differences. Values that do not depend on where it stopped agree to rounding of its
    float32 maps.
    """

    def theirs(name):
        values = [float(v) for v in table[name]["values"]]
        return np.array(values).reshape(table[name]["shape"])

    error = theirs("norm_err")
    assert np.abs(data["norm"] - theirs("norm")).values.max() < 0.02 * error.min()
    for name in ("norm_err", "norm_errn", "norm_errp", "norm_ul"):
        np.testing.assert_allclose(data[name], theirs(name), rtol=0.003)
    ts = theirs("ts")
    assert (np.abs(data["ts"] - ts).values < 1e-3 + 1e-4 * ts).all()
    np.testing.assert_allclose(data["sqrt_ts"], theirs("sqrt_ts"), rtol=1e-3)
    for name in ("stat", "stat_null"):
        np.testing.assert_allclose(data[name], theirs(name), rtol=1e-7)
    np.testing.assert_allclose(data["npred"], theirs("npred"), rtol=1e-4)
    np.testing.assert_allclose(data["npred_excess"], theirs("npred_excess"), rtol=0.005)
    np.testing.assert_array_equal(data["counts"], theirs("counts"))
    for name in ("e_ref", "e_min", "e_max", "ref_dnde", "ref_flux", "ref_eflux"):
        np.testing.assert_allclose(
            np.broadcast_to(data[name], data["norm"].shape), theirs(name), rtol=1e-6
        )
    assert data["success"].values.all()


def test_flux_points_against_gammapy(points, points_reference):
    check_against(points.data, points_reference["table_likelihood"])


def test_light_curve_against_gammapy(curve, curve_reference):
    table = curve_reference["table_likelihood"]
    check_against(curve.data, table)
    for name in ("time_min", "time_max"):
        np.testing.assert_allclose(curve.data[name], table[name]["values"], rtol=1e-13)


def test_joint_statistic_is_the_sum_of_the_datasets(points):
    alone = points.per_dataset.data
    total = points.data["stat_scan"].values
    np.testing.assert_allclose(alone["stat_scan"].sum("dataset").values, total, rtol=1e-12)
    assert (alone["stat"].sum("dataset").values <= points.data["stat"].values + 1e-9).all()


def test_light_curve_of_groups_is_that_of_intervals(runs, models, curve):
    edges = curve.energy_edges
    low, high = Time([t.mjd for t in curve.time_min], format="mjd", scale="tt"), curve.time_max
    nights = [(low[0], high[2]), (low[3], high[5])]
    by_time = gm.LightCurveEstimator(SOURCE, edges, time_intervals=nights).run(runs, models)
    names = runs.names
    by_name = gm.LightCurveEstimator(SOURCE, edges, groups=[names[:3], names[3:]]).run(runs, models)
    np.testing.assert_array_equal(by_time.data["norm"], by_name.data["norm"])
    np.testing.assert_allclose(by_time.data["time_max"], by_name.data["time_max"], rtol=1e-13)


def test_models_stay_as_they_are(runs, models):
    before = models.to_dict()
    gm.FluxPointsEstimator(SOURCE, [1, 10] * u.TeV).run(runs, models)
    assert models.to_dict() == before
    models[SOURCE].spectral_model.amplitude.value *= -1
    before = models.to_dict()
    with pytest.raises(ModelError, match="negative counts"):
        gm.FluxPointsEstimator(SOURCE, [1, 10] * u.TeV).run(runs, models)
    assert models.to_dict() == before


def test_bits_do_not_depend_on_workers(survey_store, two_workers):
    datasets, models = gm.Datasets.read(survey_store), source_models()
    estimator = gm.FluxPointsEstimator(
        "source", [0.5, 2, 10] * u.TeV, selection_optional="all", per_dataset=True
    )
    told: list[list[Any]] = [[], []]
    here = estimator.run(datasets, models, on_event=told[0].append)
    there = estimator.run(datasets, models, two_workers, on_event=told[1].append)
    for events in told:
        compiled = [event for event in events if isinstance(event, DatasetsProgress)]
        assert compiled[-1] == DatasetsProgress("compile", len(datasets), len(datasets))
    assert here.data.identical(there.data)
    assert here.per_dataset.data.identical(there.per_dataset.data)


def source_models():
    return gm.Models([
        gm.SkyModel(
            gm.PowerLawSpectralModel(index=2.3, amplitude="2e-12 cm-2 s-1 TeV-1"),
            gm.PointSpatialModel(lon_0="83.63 deg", lat_0="22.01 deg", frame="icrs"),
            name=name,
        )
        for name in ("source", "other")
    ])  # fmt: skip


def test_a_group_is_sent_as_its_description(datasets, tmp_path):
    """As that of a fit: Dask moves it where it takes one worker for overloaded."""
    models, names = source_models(), ("source", "other")
    specs = [
        NormSpec(d.name, d.stored, tuple(models.positions_for(d.name)), names, ((0, 2), (2, 3)))
        for d in datasets
    ]
    group = compile_norms(NormGroupSpec(*own_models(models, specs), budget=0), str(tmp_path))
    sent = pickle.loads(pickle.dumps(group))
    norms = [np.ones((4, 1))] * len(datasets)
    for here, there in zip(evaluate_norms(group, norms), evaluate_norms(sent, norms), strict=True):
        np.testing.assert_array_equal(here, there)
    assert group.memory.in_file == sent.memory.in_file > 0


def test_several_sources_at_once(datasets):
    models, edges = source_models(), [0.5, 2, 10] * u.TeV
    both = gm.FluxPointsEstimator(["source", "other"], edges).run(datasets, models)
    alone = gm.FluxPointsEstimator("source", edges).run(datasets, models)
    assert list(both) == ["source", "other"]
    np.testing.assert_array_equal(both["source"].data["norm"], alone.data["norm"])


def test_a_source_out_of_sight_has_no_flux(datasets):
    models = source_models()
    models["other"].spatial_model.lat_0.value = -60.0
    found = gm.FluxPointsEstimator("other", [1, 10] * u.TeV, selection_optional="all").run(
        datasets, models
    )
    assert np.isnan(found.data["norm"]).all()
    assert np.isnan(found.data["norm_ul"]).all()
    assert not found.data["success"].any()


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"source": "nobody"}, UnknownNameError, "nobody"),
        ({"source": "hess-47802-bkg"}, InputError, "expected a SkyModel"),
        ({"energy_edges": [10, 1] * u.TeV}, InputError, "increasing"),
        ({"energy_edges": [1, 2] * u.s}, InputError, "energies"),
        ({"energy_edges": [1e3, 2e3] * u.TeV}, InputError, "no dataset has an energy bin"),
        ({"selection_optional": ["uls"]}, InputError, "uls"),
        ({"n_sigma": 0}, InputError, "positive"),
    ],
)
def test_what_is_refused(runs, models, options, error, text):
    with pytest.raises(error, match=text):
        gm.FluxPointsEstimator(**{"source": SOURCE, **options}).run(runs, models)


@pytest.mark.parametrize("counts", [1.0, 5.0, 400.0])
def test_poisson_problem_with_a_known_solution(counts):
    """n log(b + x s): the minimum is at (n - b) / s, the wall at -b / s."""
    background, signal = 2.0, 4.0

    def function(x):
        npred = background + x * signal
        stat = 2 * (npred - counts * np.log(npred))
        return stat, 2 * signal * (1 - counts / npred), 2 * counts * (signal / npred) ** 2

    wall = np.array([-background / signal])
    found = minimise(function, wall, np.array([1.0]), np.array([True]))
    assert found.x[0] == pytest.approx((counts - background) / signal, abs=1e-6)
    levels, sides = np.array([1.0, 1.0, 4.0]), np.array([-1, 1, 1])
    x = crossings(function, found, np.zeros(1), levels, sides, wall)
    np.testing.assert_allclose(function(x)[0][0] - found.stat, levels, rtol=1e-6)
    assert wall[0] < x[0, 0] < found.x[0] < x[0, 1] < x[0, 2]


def test_selection_decides_what_there_is(curve):
    assert {"norm_errn", "norm_errp", "norm_ul"} <= set(curve.data.data_vars)
    assert "stat_scan" not in curve.data
    assert len(SELECTION) == 2


def spectrum(name, edges):
    n = len(edges) - 1
    return gm.SpectrumDataset.from_arrays(
        name, region=CircleSkyRegion(SkyCoord(0, 0, unit="deg"), 1 * u.deg), energy=edges * u.TeV,
        energy_true=[0.5, 2, 50] * u.TeV, counts=np.full(n, 10.0), exposure=np.full(2, 1e13),
    )  # fmt: skip


A = np.array([1.0, 2, 4, 8])


@pytest.mark.parametrize(
    ("its", "edges", "words"),
    [
        ([2, 4, 8, 16, 32], [1, 4, 16], None),  # the same edges where both have some
        (A * (1 + 1e-7), [1, 2, 8], None),  # of single precision
        ([10, 20, 40], [1, 4, 40], None),  # nothing in common
        ([0.5, 1.5, 3, 6, 12], [1, 4, 8], r"1 to 4 TeV in dataset 'a' and 1.5 to 3 TeV in dataset 'b'"),
        ([0.5, 1.5, 3, 6, 12], [0.5, 12], r"no edge at 1 TeV: they share none"),
        ([0.5, 1.5, 8, 12], [1, 8, 12], r"no edge at 1 TeV: expected energy_edges among 8 TeV"),
    ],
)  # fmt: skip
def test_datasets_of_unlike_axes_share_the_edges_of_the_bins(its, edges, words):
    """As Gammapy, which wants the axes aligned; bins of unlike edges would overlap."""
    datasets = gm.Datasets([spectrum("a", A), spectrum("b", np.array(its, dtype=float))])
    if words:
        models = gm.Models([gm.SkyModel(gm.PowerLawSpectralModel(), name="s")])
        with pytest.raises(InputError, match=words):
            gm.FluxPointsEstimator("s", edges * u.TeV).run(datasets, models)
        return
    bins = bins_of(datasets, edges * u.TeV)
    np.testing.assert_allclose([*bins.low, bins.high[-1]], edges, rtol=1e-6)
    np.testing.assert_allclose(bins.low[1:], bins.high[:-1], rtol=1e-6)
