"""How sources become counts: chosen in one place, the same everywhere, and written down."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import warnings

import dask
import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.coordinates import SkyCoord

import gmdask as gm
from gmdask.datasets.simulation.observation import simulate_observation
from gmdask.datasets.simulation.survey import Survey
from gmdask.datasets.simulation.survey_file import read_survey
from gmdask.errors import InputError
from tests.datasets.simulated import write_config
from tests.datasets.synthetic import gammapy_models, models
from tests.fit.problems import bits
from tests.fit.test_checkpoint import CrashError, Watch
from tests.likelihood.test_shapes_derivatives import Bump

RESPONSES = ("exact", "gammapy")
EDGES = [0.5, 3.2, 20.0] * u.TeV
BOTH = pytest.mark.parametrize("response", RESPONSES)


def moved(names: list[str]) -> gm.Models:
    """Models with a source off the pixel centres."""
    own = models(names)
    own["source"].spatial_model.lon_0.value += 0.03
    return own


def timed(datasets: gm.Datasets) -> gm.Datasets:
    """Datasets with good time intervals, in memory."""
    reference = {"mjdrefi": 51544, "mjdreff": 0.0, "timesys": "tt"}
    times = {
        f"gti_{key}": xr.Variable(("gti",), [second], {"unit": "s"})
        for key, second in (("start", 0.0), ("stop", 1800.0))
    }
    return gm.Datasets(
        gm.MapDataset(dataset.open().assign(times).assign_attrs(gti=reference))
        for dataset in datasets
    )


def stat_of(datasets: gm.Datasets) -> float:
    datasets.set_models(moved(datasets.names))
    return float(datasets.stat_sum())


def test_it_makes_a_difference_and_gammapy_is_gammapy(survey):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gammapy's own
        from gammapy.datasets import Datasets

        theirs = Datasets.read(survey)
        theirs.models = gammapy_models(moved(theirs.names))
        expected = theirs.stat_sum()
    found = {
        response: stat_of(gm.Datasets.read(survey, response=response)) for response in RESPONSES
    }
    assert found["gammapy"] == pytest.approx(expected, abs=1e-4)
    assert abs(found["exact"] - expected) > 0.01


@BOTH
def test_where_it_is_chosen(response, survey, survey_store, datasets):
    single = survey.parent / "run-0.fits"
    expected = stat_of(gm.Datasets.read(survey_store, response=response))
    assert stat_of(gm.Datasets(datasets, response=response)) == expected
    opened = gm.Datasets.read(survey_store)
    opened.set_response(response)
    assert stat_of(opened) == expected
    assert opened.response == response
    with dask.config.set({"gmdask.response": response}):
        assert stat_of(gm.Datasets.read(survey_store)) == expected
        assert gm.Datasets().response == response
        assert Survey(0, None, 1, EDGES, EDGES, ()).sources == response
    assert gm.MapDataset.read(single, response=response).response == response
    energy, center = [1, 2, 3] * u.TeV, SkyCoord("0d", "0d")
    empty = gm.MapDataset.create("empty", center, 1.0, 0.5, energy, response=response)
    assert empty.response == response
    arrays = {key: np.ones((2, 2, 2)) for key in ("counts", "exposure")}
    wcs = empty.cube.attrs["wcs"]
    made = gm.MapDataset.from_arrays(
        "made", wcs=wcs, energy=energy, energy_true=energy, response=response, **arrays
    )
    assert made.response == response


@BOTH
def test_what_is_made_of_a_dataset_keeps_it(response, survey_store):
    other = next(name for name in RESPONSES if name != response)
    with dask.config.set({"gmdask.response": other}):
        runs = gm.Datasets.read(survey_store, response=response)
        run = runs[0]
        made = [
            run.copy(name="copy"), run.compute(), run.slice_by_energy("1 TeV", "10 TeV"), run.to_image(),
            run.cutout(SkyCoord("83.6d", "22d"), 1.0), *runs[:2],
            gm.Datasets([run, run.copy(name="more")]).stack_reduce("sum"), *runs.slice_by_energy("1 TeV"),
        ]  # fmt: skip
        assert {one.response for one in made} == {response}


def test_the_environment(survey_store):
    told = subprocess.run(
        [
            sys.executable, "-c",
            "import sys, gmdask as gm; print(gm.Datasets.read(sys.argv[1])[0].response)", survey_store,
        ],
        env=os.environ | {"DASK_GMDASK__RESPONSE": "gammapy"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert told.stdout.strip() == "gammapy"


def test_others_are_refused(survey_store, datasets):
    message = r"^response is 'best', expected one of 'exact', 'gammapy'$"
    for choose in (
        lambda: gm.Datasets.read(survey_store, response="best"),
        lambda: datasets.set_response("best"),
        lambda: gm.Fit(datasets, response="best"),
        lambda: gm.FluxPointsEstimator("source", response="best"),
        lambda: gm.LightCurveEstimator("source", response="best"),
        lambda: Survey(0, None, 1, EDGES, EDGES, (), sources="best"),
    ):
        with pytest.raises(InputError, match=message):
            choose()
    with (
        dask.config.set({"gmdask.response": "best"}),
        pytest.raises(InputError, match=r"setting gmdask\.response is 'best'"),
    ):
        datasets.stat_sum()


@BOTH
def test_the_same_bits_on_workers_and_once_more(response, datasets, two_workers):
    found = []
    for client in (None, two_workers, None):
        own = moved(datasets.names)
        result = gm.Fit(datasets, client, response=response).run(own)
        assert result.success
        assert result.response == result.to_dict()["response"] == response
        assert f"response       {response}" in str(result)
        found.append(bits(result, own))
    assert found[0] == found[1] == found[2]
    fluxes = []
    for client in (None, two_workers):
        estimator = gm.FluxPointsEstimator("source", EDGES, response=response)
        fluxes.append(estimator.run(datasets, own, client).data["norm"].values.tobytes())
    assert fluxes[0] == fluxes[1]


def test_fluxes(datasets, tmp_path):
    datasets, own, norms = timed(datasets), moved(datasets.names), {}
    for response in RESPONSES:
        options = {"reoptimize": True, "response": response}
        points = gm.FluxPointsEstimator("source", EDGES, **options).run(datasets, own)
        assert datasets.response == response  # as after a fit
        groups = [[datasets.names[0]]]
        curve = gm.LightCurveEstimator("source", EDGES, groups=groups, response=response).run(
            datasets, own
        )
        for found in (points, curve):
            assert found.data.attrs["response"] == response
            for name in ("points.fits", "points.ecsv"):
                found.write(tmp_path / name, overwrite=True)
                assert type(found).read(tmp_path / name).data.attrs["response"] == response
        # without one of its own an estimator leaves what the datasets were told
        assert (
            gm.FluxPointsEstimator("source", EDGES).run(datasets, own).data.attrs["response"]
            == response
        )
        norms[response] = np.stack([points.data["norm"].values, curve.data["norm"].values[0]])
    assert (abs(norms["exact"] / norms["gammapy"] - 1) > 1e-4).all()


def test_datasets_that_differ(datasets):
    datasets[1].set_response("gammapy")
    assert datasets.response == "mixed"
    own = moved(datasets.names)
    result = gm.Fit(datasets).run(own)
    assert result.response == "mixed"
    for dataset in datasets:
        assert dataset.stat_sum() == pytest.approx(result.stat[dataset.name], rel=1e-12)
    before = dict(result.stat)
    datasets.set_response("exact")
    differs = [abs(d.stat_sum() - before[d.name]) > 0.01 for d in datasets]
    assert differs == [False, True, False]


def test_a_checkpoint_goes_on_with_its_own(datasets, tmp_path):
    path = tmp_path / "fit.json"
    with pytest.raises(CrashError):
        gm.Fit(datasets, checkpoint=path, on_event=Watch(2)).run(moved(datasets.names))
    assert json.loads(path.read_text())["fit"]["response"] == "exact"
    kept = path.read_bytes()
    with pytest.raises(
        InputError, match=r"fit with response 'exact', and cannot be resumed with 'gammapy'"
    ):
        gm.Fit(datasets, response="gammapy", checkpoint=path, resume=True).run(
            moved(datasets.names)
        )
    assert path.read_bytes() == kept
    own = moved(datasets.names)
    result = gm.Fit(datasets, response="exact", checkpoint=path, resume=True).run(own)
    whole = moved(datasets.names)
    assert bits(result, own) == bits(gm.Fit(datasets).run(whole), whole)


def test_a_simulation_follows_it(tmp_path):
    survey = read_survey(write_config(tmp_path))
    other = dataclasses.replace(survey, sources="gammapy")
    exact, theirs = (simulate_observation(one, survey.observations[0]) for one in (survey, other))
    with dask.config.set({"gmdask.response": "gammapy"}):
        same = simulate_observation(read_survey(tmp_path / "config.yaml"), survey.observations[0])
    np.testing.assert_array_equal(same["counts"], theirs["counts"])
    assert (exact["counts"] != theirs["counts"]).any()


def test_what_the_exact_response_does_not_apply_to_is_named(datasets):
    """A spatial model of one's own is drawn on the pixels, and the result says so."""
    own = moved(datasets.names)
    place = own["source"].spatial_model
    bump = Bump(lon_0=place.lon_0, lat_0=place.lat_0, r_0="0.3 deg", frame="icrs")
    for parameter in bump.parameters:
        parameter.frozen = True
    more = gm.SkyModel(gm.PowerLawSpectralModel(amplitude=1e-12), bump, name="bump")
    both = gm.Models([*own, more])
    result = gm.Fit(datasets, response="exact").optimize(both)
    assert result.gridded == ("bump",)
    assert "exact; on the pixel grid: bump" in str(result)
    assert result.to_dict()["gridded"] == ["bump"]
    assert gm.Fit(datasets, response="exact").optimize(own).gridded == ()
    assert gm.Fit(datasets, response="gammapy").optimize(own).gridded == ()
