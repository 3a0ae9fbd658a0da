"""A simulated survey: the same bytes however it was made, and counts as the models say."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

import gmdask as gm
from gmdask.datasets.simulation import survey_simulation
from gmdask.datasets.simulation.observation import simulate_observation
from gmdask.datasets.simulation.survey_file import read_survey
from gmdask.datasets.simulation.survey_simulation import plan_simulation, simulate, truth_path
from gmdask.errors import InputError, StoreExistsError
from gmdask.store import Store
from tests.datasets.simulated import CONFIG, write_config

N = 8
TWO = 600_000  # bytes, so two observations

KILLED = """
import os, signal, sys
import gmdask as gm
from gmdask.datasets.simulation import survey_simulation

told = []

def on_event(event):
    told.append(event.done)
    if told.count(int(sys.argv[3])) == 2:  # of datasets that are made, then of a block that is written
        os.kill(os.getpid(), signal.SIGKILL)

survey_simulation.BLOCK_BYTES = int(sys.argv[4])
gm.simulate(sys.argv[1], sys.argv[2], on_event=on_event)
"""


def content(store: Store) -> list[tuple[str, dict[str, str]]]:
    """Digest of the input, and of every file, of each block."""
    blocks = dict.fromkeys(row.block for row in store.rows)
    manifests = [store.open_block(block).manifest for block in blocks]
    return [(m.source_digest, {path: f.sha256 for path, f in m.files.items()}) for m in manifests]


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return write_config(tmp_path_factory.mktemp("survey"))


@pytest.fixture(scope="module")
def store(config, tmp_path_factory):
    """Simulated in this process, in four blocks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(survey_simulation, "BLOCK_BYTES", TWO)
        return simulate(config, tmp_path_factory.mktemp("store") / "survey.zarr")


@pytest.mark.parametrize("workers", ["one_worker", "two_workers"])
def test_same_bytes_on_workers(workers, config, store, tmp_path, monkeypatch, request):
    monkeypatch.setattr(survey_simulation, "BLOCK_BYTES", TWO)
    events = []
    url = tmp_path / "survey.zarr"
    again = simulate(config, url, request.getfixturevalue(workers), on_event=events.append)
    assert content(again) == content(store)
    assert len(content(store)) == 4
    assert [event.done for event in events] == [2, 4, 6, 8]
    assert (
        truth_path(url).read_text().split("metadata:")[0]
        == (truth_path(store.url).read_text().split("metadata:")[0])
    )


def test_same_datasets_in_other_blocks(config, store, tmp_path):
    whole = simulate(config, tmp_path / "whole.zarr")
    assert len(content(whole)) == 1
    for one, other in zip(whole.rows, store.rows, strict=True):
        xr.testing.assert_identical(whole.open_row(one).load(), store.open_row(other).load())


@pytest.mark.parametrize("blocks", [1, 4])
def test_killed_and_run_again(blocks, config, store, tmp_path, monkeypatch):
    url = tmp_path / "survey.zarr"
    command = [sys.executable, "-c", KILLED, config, url, 2 * blocks, TWO]
    done = subprocess.run(list(map(str, command)), check=False, timeout=120)
    assert done.returncode == -9
    assert not Store.open(url).rows
    monkeypatch.setattr(survey_simulation, "BLOCK_BYTES", TWO)
    events = []
    again = simulate(config, url, on_event=events.append)
    assert len(events) == 3 * (4 - blocks)  # those that were finished are taken up
    assert content(again) == content(store)
    assert again.verify() == []


def test_another_map_is_another_input(config, store, tmp_path):
    """A block of the old map of a template is not taken up."""
    for path in config.parent.iterdir():
        shutil.copy(path, tmp_path)
    same = simulate(tmp_path / "config.yaml", tmp_path / "same.zarr")
    image = np.full((40, 60), 1.0)
    old = read_survey(config).models["cloud"].spatial_model.map
    gm.models.SkyMap(image, old.grid.header, unit="sr-1").write(tmp_path / "cloud.fits", True)
    other = simulate(tmp_path / "config.yaml", tmp_path / "other.zarr")
    assert content(same)[0][0] != content(other)[0][0]


def test_counts_are_as_predicted(store):
    """Pearson's chi2 in quarters of every image, and in single bins, against the true models."""
    datasets = gm.Datasets.read(store.url)
    datasets.set_models(gm.Models.read(truth_path(store.url)))
    quarters, bins, total = [], [], np.zeros(2)
    for dataset in datasets:
        npred, counts = dataset.npred().values, dataset.counts.values
        assert np.array_equal(counts, np.round(counts))
        for y in (slice(0, 22), slice(22, 44)):
            for x in (slice(0, 22), slice(22, 44)):
                mu, n = npred[:, y, x].sum(axis=(1, 2)), counts[:, y, x].sum(axis=(1, 2))
                quarters.append((n - mu) / np.sqrt(mu))
        bins.append(((counts - npred) ** 2 / npred)[npred > 0.2])
        total += counts.sum(), npred.sum()
    assert abs(total[0] - total[1]) < 3 * np.sqrt(total[1])
    z = np.concatenate(quarters)
    assert len(z) == N * 4 * 4
    assert abs(z.mean()) < 4 / np.sqrt(len(z))
    assert abs((z**2).sum() - len(z)) < 4 * np.sqrt(2 * len(z))
    pearson = np.concatenate(bins)  # of variance 2 + 1/mu, so below 7
    assert abs(pearson.mean() - 1) < 4 * np.sqrt(7 / len(pearson))


def test_equal_observations_have_other_counts(tmp_path):
    place = {"lon": "20.4 deg", "lat": "0 deg", "livetime": "20 min", "zenith": "20 deg"}
    rate = {"rate": CONFIG["background"]["rate"]}
    survey = read_survey(write_config(tmp_path, pointings={"list": [place] * 2}, background=rate))
    one, two = (simulate_observation(survey, observed) for observed in survey.observations)
    xr.testing.assert_identical(one["background"], two["background"])
    counts = [cube["counts"].values for cube in (one, two)]
    assert abs(np.corrcoef([c[0].ravel() for c in counts])[0, 1]) < 0.1
    again = simulate_observation(survey, survey.observations[1])
    np.testing.assert_array_equal(again["counts"], counts[1])
    other = simulate_observation(dataclasses.replace(survey, seed=8), survey.observations[1])
    assert (other["counts"].values != counts[1]).any()


def test_observations_are_as_the_configuration_says(config, store):
    survey = read_survey(config)
    assert [row.name for row in store.rows] == [f"obs-{i:04d}" for i in range(1, N + 1)]
    counts = [store.open_row(row)["counts"].values for row in store.rows]
    assert all((counts[0] != other).any() for other in counts[1:])
    truth = gm.Models.read(truth_path(store.url))
    for row, observed in zip(store.rows, survey.observations, strict=True):
        cube = store.open_row(row)
        place = 20 + (observed.number >= 4), (-0.3, 0.3)[observed.number // 2 % 2]
        assert np.hypot(observed.lon - place[0], observed.lat - place[1]) <= 0.2 + 1e-9
        assert 1500 <= row.livetime <= 1800
        assert float((cube["gti_stop"] - cube["gti_start"]).sum()) == pytest.approx(row.livetime)
        assert 5 <= cube.attrs["zenith"] <= 50
        norm = truth[f"{row.name}-bkg"].spectral_model
        assert norm.norm.value == observed.norm
        assert norm.tilt.value == observed.tilt
        assert not norm.parameter("tilt").frozen
    starts = [float(store.open_row(row)["gti_start"].values[0]) for row in store.rows]
    assert (np.diff(starts) > 1500).all()
    spread = np.std([np.log(o.norm) for o in survey.observations])
    assert 0.03 < spread < 0.3


def test_what_is_drawn_does_not_depend_on_the_others(config, tmp_path):
    grid = CONFIG["pointings"]["grid"]
    fewer = {"grid": {**grid, "lon": {**grid["lon"], "n": 1}}}
    shorter = read_survey(write_config(tmp_path, pointings=fewer))
    assert shorter.observations == read_survey(config).observations[: N // 2]


def test_plan(config, tmp_path):
    plan = plan_simulation(config)
    whole = simulate(config, tmp_path / "whole.zarr")
    cubes = [whole.open_row(row) for row in whole.rows]
    assert (plan.datasets, plan.blocks) == (N, 1)
    assert plan.nbytes == sum(array.nbytes for cube in cubes for array in cube.data_vars.values())
    real = sum(
        path.stat().st_size
        for path in (tmp_path / "whole.zarr/blocks").rglob("c/**/*")
        if path.is_file()
    )
    assert plan.stored == pytest.approx(real, rel=0.1)
    assert plan.seconds > 0


def test_a_list_of_pointings(tmp_path):
    places = [
        {"lon": "20 deg", "lat": "0 deg"},
        {"lon": "1230 arcmin", "lat": "0.1 deg", "livetime": "10 min", "zenith": "30 deg"},
    ]
    config = write_config(tmp_path, pointings={"list": places}, zenith="20 deg")
    one, two = read_survey(config).observations
    assert (one.lon, one.lat, one.zenith) == (20.0, 0.0, 20.0)
    assert (two.lon, two.lat, two.livetime, two.zenith) == (20.5, 0.1, 600.0, 30.0)


def test_a_file_of_true_models_is_not_written_over(config, tmp_path):
    url = tmp_path / "survey.zarr"
    truth_path(url).write_text("mine")
    with pytest.raises(StoreExistsError, match=r"survey-truth\.yaml already exists"):
        simulate(config, url)
    assert [path.name for path in tmp_path.iterdir()] == ["survey-truth.yaml"]
    assert truth_path(url).read_text() == "mine"


def test_a_store_is_not_written_over(config, store):
    with pytest.raises(StoreExistsError, match="a store with 8 datasets"):
        simulate(config, store.url)


def test_negative_counts(tmp_path):
    config = write_config(tmp_path)
    models = gm.Models.read(tmp_path / "sky.yaml")
    models["gauss"].spectral_model.amplitude.value = -1e-9
    models.write(tmp_path / "sky.yaml", overwrite=True)
    with pytest.raises(InputError, match="'obs-0001': the models predict counts"):
        simulate(config, tmp_path / "survey.zarr")
    assert not (tmp_path / "survey.zarr").exists()


BAD = [
    ({"seed": -1}, ["seed", "minimum"]),
    ({"sead": 1}, ["sead"]),
    ({"livetime": 1800}, ["livetime", "expected string or object"]),
    ({"livetime": "1800"}, ["livetime", "'1800'", "a number with a unit"]),
    ({"livetime": "3 deg"}, ["livetime", "'3 deg'", "'s'"]),
    ({"livetime": "0 s"}, ["livetime", "positive"]),
    ({"zenith": "89 deg"}, ["zenith", "0 to 75 deg"]),
    ({"zenith": {"min": "30 deg"}}, ["zenith", "'max' is missing"]),
    ({"zenith": {"min": "30 deg", "max": "20 deg"}}, ["zenith max", "at least min"]),
    ({"energy": {"min": "1 TeV", "max": "1 TeV", "bins": 3}}, ["energy max", "more than min"]),
    ({"energy": {"min": "1 TeV", "max": "2 TeV", "bins": 0}}, ["energy bins", "minimum"]),
    ({"geometry": {**CONFIG["geometry"], "pixel": "0 deg"}}, ["geometry pixel", "more than 0"]),
    ({"geometry": {**CONFIG["geometry"], "projection": "AIT"}}, ["geometry projection", "CAR, TAN"]),
    ({"pointings": {}}, ["pointings", "a grid or a list"]),
    ({"pointings": {"list": [], **CONFIG["pointings"]}}, ["pointings", "a grid or a list"]),
    ({"pointings": {"list": [{"lon": "1 deg"}]}}, ["pointings list 0", "'lat' is missing"]),
    ({"pointings": {"list": [{"lon": "1 deg", "lat": "88 deg"}]}}, ["pointings list 0 lat", "85"]),
    ({"background": {"rate": "3 s-1"}}, ["background rate", "s-1 TeV-1 sr-1"]),
    ({"background": {"rate": "3 s-1 TeV-1 sr-1", "tilt_spread": float("nan")}}, ["tilt_spread", "finite"]),
    ({"irfs": {"psf": "nan deg"}}, ["irfs psf"]),
    ({"irfs": {"edisp": 0}}, ["irfs edisp"]),
    ({"geometry": {**CONFIG["geometry"], "npix": 10**6}}, ["geometry npix", "bins"]),
    ({"energy": {"min": "1 TeV", "max": "2 TeV", "bins": 10**9}}, ["geometry npix", "1000000000"]),
    ({"irfs": {"pixel": "1e-9 deg"}}, ["geometry npix"]),
    ({"pointings": {"grid": {**CONFIG["pointings"]["grid"], "repeat": 2_000_000}}}, ["pointings grid", "100000"]),
    ({"models": "none.yaml"}, ["none.yaml", "does not exist"]),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "words"), BAD)
def test_bad_configurations(changes, words, tmp_path):
    path = write_config(tmp_path, **changes)
    with pytest.raises(InputError) as error:
        simulate(path, tmp_path / "survey.zarr")
    assert str(tmp_path) in str(error.value)
    for word in words:
        assert word in str(error.value)
    assert not (tmp_path / "survey.zarr").exists()


@pytest.mark.parametrize("text", ["seed: [", "- 1", "seed: !!python/object:os.system {}"])
def test_not_a_configuration(text, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"config\.yaml"):
        simulate(path, tmp_path / "survey.zarr")


def test_models_of_the_true_sky_only(tmp_path):
    path = write_config(tmp_path)
    models = gm.Models.read(tmp_path / "sky.yaml")
    background = gm.BackgroundIRFModel(dataset_name="obs-0001")
    gm.Models([*models, background]).write(tmp_path / "sky.yaml", overwrite=True)
    with pytest.raises(InputError, match="'obs-0001-bkg' is a background"):
        read_survey(path)
    models["point"].datasets_names = ["obs-9999"]
    models.write(tmp_path / "sky.yaml", overwrite=True)
    with pytest.raises(InputError, match="'obs-9999'"):
        read_survey(path)
