"""Simulated event lists: read by Gammapy, equal to the binned simulation, and reduced and fitted to the truth."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from click.testing import CliRunner
from regions import PointSkyRegion
from scipy.stats import kstest

import gmdask as gm
from gmdask.cli.main import cli
from gmdask.datasets.simulation.iact import IactResponse, background_shape
from gmdask.datasets.simulation.irf_tables import GADF, table_hdu
from gmdask.datasets.simulation.survey_file import read_survey
from gmdask.errors import ModelError, StoreExistsError
from gmdask.schemas import schema_problems

pytest.importorskip("gammapy")

from gammapy.data import DataStore
from gammapy.datasets import SpectrumDataset
from gammapy.makers import (
    ReflectedRegionsBackgroundMaker,
    SpectrumDatasetMaker,
    WobbleRegionsFinder,
)
from gammapy.maps import Map, MapAxis, RegionGeom

SKY = gm.Models(
    [
        gm.SkyModel(
            gm.PowerLawSpectralModel(index=2.3, amplitude="3e-11 cm-2 s-1 TeV-1"),
            gm.PointSpatialModel(lon_0=83.6, lat_0=22.0, frame="icrs"),
            name="point",
        ),
        gm.SkyModel(
            gm.PowerLawSpectralModel(index=2.6, amplitude="4e-10 cm-2 s-1 TeV-1"),
            gm.GaussianSpatialModel(lon_0=83.1, lat_0=22.5, sigma=0.15, frame="icrs"),
            name="decaying",
            temporal_model=gm.models.ExpDecayTemporalModel(t0="600 s", t_ref="60000 d"),
        ),
    ]
)
SKY[
    "decaying"
].temporal_model.t0.frozen = True  # degenerate with the amplitude in a single observation
SURVEY = {
    "seed": 3,
    "models": "sky.yaml",
    "geometry": {
        "frame": "icrs", "projection": "TAN", "center": {"lon": "83.6 deg", "lat": "22 deg"},
        "pixel": "0.05 deg", "npix": 50,
    },
    "energy": {"min": "0.5 TeV", "max": "20 TeV", "bins": 6},
    "energy_true": {"min": "0.3 TeV", "max": "40 TeV", "bins": 30},
    "pointings": {"list": [
        {"lon": "83.6 deg", "lat": "22.5 deg"},
        {"lon": "84.1 deg", "lat": "22 deg", "zenith": "40 deg"},
    ]},
    "livetime": "1800 s",
    "zenith": "20 deg",
    "background": {"rate": "300 s-1 TeV-1 sr-1", "norm_spread": 0.2, "tilt_spread": 0.1},
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a survey, and its event lists in ``dl3``."""
    folder = tmp_path_factory.mktemp("event-lists")
    SKY.write(folder / "sky.yaml")
    (folder / "survey.yaml").write_text(yaml.safe_dump(SURVEY))
    gm.simulate_event_lists(folder / "survey.yaml", folder / "dl3")
    return folder


def test_gammapy_reads_the_response(place):
    response = IactResponse(background=300.0)
    for observation, zenith in zip(
        DataStore.from_dir(place / "dl3").get_observations(), (20.0, 40.0), strict=True
    ):
        assert observation.observation_live_time_duration.to_value("s") == pytest.approx(1800)
        energy, offset = np.geomspace(0.5, 20, 7)[:, None], np.array([0.0, 0.33, 1.07])
        at = {"energy_true": energy * u.TeV, "offset": offset * u.deg}
        area = observation.aeff.evaluate(**at).to_value("m2")
        expected = response.effective_area(energy[..., None], offset, zenith)[:, 0]
        np.testing.assert_allclose(area, expected, rtol=1e-3)

        rate = observation.bkg.evaluate(energy=at["energy_true"], offset=at["offset"])
        expected = response.background_spectrum(energy, zenith) * background_shape(offset)
        np.testing.assert_allclose(rate.to_value("s-1 sr-1 TeV-1"), expected, rtol=1e-3)

        random = np.random.default_rng(0)
        drawn = response.draw_distances(np.full(40_000, 2.0), np.full(40_000, 0.5), zenith, random)
        inside = observation.psf.containment(
            energy_true=2 * u.TeV, offset=0.5 * u.deg,
            rad=np.array([0.05, 0.1, 0.3]) * u.deg,
        )  # fmt: skip
        shares = [(drawn < rad).mean() for rad in (0.05, 0.1, 0.3)]
        np.testing.assert_allclose(inside.value, shares, atol=0.01)


def test_photons_are_those_of_the_binned_simulation(place, tmp_path):
    """Without background, the events in the pixels of the datasets are their counts, to the last one."""
    dark = read_survey(place / "survey.yaml")
    dark = replace(dark, response=replace(dark.response, background=1e-12))
    store = gm.simulate(dark, tmp_path / "binned.zarr", events=True)
    gm.simulate_event_lists(dark, tmp_path / "dl3")
    datasets = gm.Datasets.read(store.url)
    observations = DataStore.from_dir(tmp_path / "dl3").get_observations()
    for row, observation in zip(store.rows, observations, strict=True):
        theirs = gm.to_gammapy(datasets[row.name])
        counts = Map.from_geom(theirs.counts.geom)
        counts.fill_events(observation.events)
        np.testing.assert_array_equal(counts.data, theirs.counts.data)
        assert counts.data.sum() > 300


def test_times_follow_the_temporal_model(place):
    events = Table.read(place / "dl3/data/obs-000001.fits", "EVENTS")
    seconds = np.asarray(events["TIME"])
    assert (np.diff(seconds) >= 0).all()
    # the decaying source, far above the background
    distance = np.hypot((events["RA"] - 83.1) * np.cos(np.radians(22.5)), events["DEC"] - 22.5)
    bright = seconds[(distance < 0.2) & (events["ENERGY"] > 2)]
    decay = (1 - np.exp(-bright / 600)) / (1 - np.exp(-1800 / 600))
    assert len(bright) > 50
    assert kstest(decay, "uniform").pvalue > 1e-3
    assert kstest(bright / 1800, "uniform").pvalue < 1e-3
    assert kstest(seconds[distance > 0.8] / 1800, "uniform").pvalue > 1e-3


@pytest.fixture(scope="module")
def reduced(place: Path) -> gm.Store:
    """The datasets of the event lists."""
    config = {
        "observations": {"datastore": str(place / "dl3")},
        "datasets": {
            "type": "3d", "name": "obs-{obs_id:04d}",
            "geom": {
                "wcs": {
                    "skydir": {"frame": "icrs", "lon": "83.6 deg", "lat": "22 deg"}, "binsize": "0.05 deg",
                    "width": {"width": "3 deg", "height": "3 deg"}, "binsize_irf": "0.3 deg",
                },
                "axes": {
                    "energy": {"min": "0.8 TeV", "max": "20 TeV", "nbins": 6},
                    "energy_true": {"min": "0.3 TeV", "max": "40 TeV", "nbins": 30},
                },
            },
            "safe_mask": {"methods": ["offset-max"], "parameters": {"offset_max": "1.2 deg"}},
            "background": {"method": "irf"},
        },
    }  # fmt: skip
    (place / "config.yaml").write_text(yaml.safe_dump(config))
    observations = gm.reduction.select_observations(gm.reduction.read_config(place / "config.yaml"))
    return gm.reduction.reduce(observations, place / "config.yaml", place / "reduced.zarr").store


def test_reduced_and_fitted_to_the_truth(place, reduced):
    """From a global model to events, datasets, and back."""
    truth = gm.Models.read(f"{place / 'dl3'}-truth.yaml")
    datasets = gm.Datasets.read(reduced.url)
    assert {f"{name}-bkg" for name in datasets.names} <= set(truth.names)
    truth["decaying"].temporal_model.t0.frozen = False
    models = truth.copy()
    result = gm.Fit(datasets).run(models)
    assert result.success
    free = zip(models.parameters.free_parameters, truth.parameters.free_parameters, strict=True)
    pulls = np.array([(found.value - true.value) / found.error for found, true in free])
    assert len(pulls) == 14
    assert np.abs(pulls).max() < 3.5


def test_the_result_names_what_was_reduced(place, reduced, tmp_path):
    sky, out = str(place / "sky.yaml"), tmp_path / "out"
    arguments = ["--where", "name == 'obs-0001'", "--cluster", "none", "-o", str(out)]
    assert CliRunner().invoke(cli, ["fit", reduced.url, sky, *arguments]).exit_code == 0
    result = json.loads((out / "result.json").read_text())
    assert schema_problems(result, "result.json") == []
    assert list(result["reduction"]["datasets"]) == ["obs-0001"]
    made = result["reduction"]["datasets"]["obs-0001"]
    events = place / "dl3/data/obs-000001.fits"
    assert made["obs_id"] == 1
    assert made["inputs"] == {events.name: hashlib.sha256(events.read_bytes()).hexdigest()}
    configuration = result["reduction"]["configurations"][made["configuration"]]
    assert configuration["datasets"]["background"] == {"method": "irf"}
    assert configuration["versions"]["gammapy"] == version("gammapy")
    assert CliRunner().invoke(cli, ["report", str(out)]).exit_code == 0
    assert made["configuration"] in (out / "report.html").read_text()


def test_refused_and_repeated(place, tmp_path):
    survey = read_survey(place / "survey.yaml")
    with pytest.raises(StoreExistsError, match="already exists"):
        gm.simulate_event_lists(survey, place / "dl3")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(StoreExistsError, match=r"already contains notes\.txt"):
        gm.simulate_event_lists(survey, tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").rglob("*")] == ["notes.txt"]

    # what an interrupted run left is done again, to the same bits
    (tmp_path / "again" / "data").mkdir(parents=True)
    shutil.copy(place / "dl3/data/obs-000001.fits", tmp_path / "again/data")
    (tmp_path / "again/data/obs-000001.fits").write_bytes(b"half")
    gm.simulate_event_lists(survey, tmp_path / "again")
    for name in ("obs-000001.fits", "obs-000002.fits"):
        first, second = (folder / "data" / name for folder in (place / "dl3", tmp_path / "again"))
        assert first.read_bytes() == second.read_bytes()


def test_a_model_of_bins_is_refused(place, tmp_path):
    survey = read_survey(place / "survey.yaml")
    background = gm.BackgroundIRFModel(dataset_name="obs-0001")
    with pytest.raises(ModelError, match="no events can be drawn"):
        gm.simulate_event_lists(replace(survey, models=gm.Models([background])), tmp_path / "dl3")
    assert not (tmp_path / "dl3").exists()


def test_command(place, tmp_path):
    folder, survey = tmp_path / "dl3", str(place / "survey.yaml")

    def run(*options):
        return CliRunner().invoke(cli, ["simulate", survey, str(folder), "--dl3", *options])

    done = run("--cluster", "none")
    assert done.exit_code == 0
    assert "2 observations (event lists and responses)" in done.output
    first, second = (where / "dl3/data/obs-000002.fits" for where in (place, tmp_path))
    assert first.read_bytes() == second.read_bytes()
    assert run("--dry-run").exit_code == 2


def test_a_file_without_a_response_of_the_index(place, reduced, tmp_path):
    shutil.copytree(place / "dl3", tmp_path / "dl3")
    path = tmp_path / "dl3/data/obs-000002.fits"
    with fits.open(place / "dl3/data/obs-000002.fits") as hdus:
        fits.HDUList([hdu for hdu in hdus if hdu.name != "EDISP"]).writeto(path, overwrite=True)
    config = yaml.safe_load((place / "config.yaml").read_text())
    config["observations"]["datastore"] = str(tmp_path / "dl3")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    observations = gm.reduction.select_observations(
        gm.reduction.read_config(tmp_path / "config.yaml")
    )
    (failure,) = gm.reduction.reduce(
        observations[1:], tmp_path / "config.yaml", tmp_path / "r.zarr"
    ).failures
    assert failure.reason == "obs-000002.fits: no EDISP (responses: edisp)"


def test_point_like_responses_with_a_table_of_radii(place, tmp_path):
    """As MAGIC and LST publish them: energy-dependent on regions, off regions of the same radius."""
    shutil.copytree(place / "dl3", tmp_path / "dl3")
    for path in (tmp_path / "dl3/data").iterdir():
        with fits.open(path) as hdus:
            area = hdus["AEFF"].data
            for name in ("AEFF", "EDISP"):
                hdus[name].header["HDUCLAS3"] = "POINT-LIKE"
            energy = np.geomspace(0.3, 40, 6)
            radii = np.tile(np.linspace(0.2, 0.1, 5), (len(area["THETA_LO"][0]), 1))
            columns = [
                ("ENERG_LO", "TeV", energy[:-1]), ("ENERG_HI", "TeV", energy[1:]),
                ("THETA_LO", "deg", area["THETA_LO"][0]), ("THETA_HI", "deg", area["THETA_HI"][0]),
                ("RAD_MAX", "deg", radii),
            ]  # fmt: skip
            cards = GADF | {
                "HDUCLAS1": "RESPONSE", "HDUCLAS2": "RAD_MAX", "HDUCLAS3": "POINT-LIKE", "HDUCLAS4": "RAD_MAX_2D",
            }  # fmt: skip
            table = table_hdu(
                "RAD_MAX", [(name, unit, values[None]) for name, unit, values in columns], cards
            )
            kept = [hdus[name] for name in ("PRIMARY", "EVENTS", "GTI", "AEFF", "EDISP")]
            fits.HDUList([*kept, table]).writeto(path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)
    index = Table.read(tmp_path / "dl3/hdu-index.fits.gz")
    index = index[[kind not in ("psf", "bkg") for kind in index["HDU_TYPE"]]]
    for obs_id in (1, 2):
        row = {
            "OBS_ID": obs_id,
            "HDU_TYPE": "rad_max",
            "HDU_CLASS": "rad_max_2d",
            "FILE_DIR": "data",
        }
        index.add_row(row | {"FILE_NAME": f"obs-{obs_id:06d}.fits", "HDU_NAME": "RAD_MAX"})
    index.write(tmp_path / "dl3/hdu-index.fits.gz", overwrite=True)
    config = {
        "observations": {"datastore": str(tmp_path / "dl3")},
        "datasets": {
            "type": "1d",
            "geom": {"axes": {
                "energy": {"min": "0.5 TeV", "max": "20 TeV", "nbins": 6},
                "energy_true": {"min": "0.3 TeV", "max": "40 TeV", "nbins": 20},
            }},
            "on_region": {"frame": "icrs", "lon": "83.6 deg", "lat": "22 deg"},
            "safe_mask": {"methods": ["aeff-default"]},
            "background": {"method": "reflected", "parameters": {"n_off_regions": 3}},
        },
    }  # fmt: skip
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    observations = gm.reduction.select_observations(
        gm.reduction.read_config(tmp_path / "config.yaml")
    )
    done = gm.reduction.reduce(observations, tmp_path / "config.yaml", tmp_path / "spectra.zarr")
    assert not done.failures

    axes = [MapAxis.from_energy_bounds(0.5, 20, nbin=6, unit="TeV")]
    true = MapAxis.from_energy_bounds(0.3, 40, nbin=20, unit="TeV", name="energy_true")
    geom = RegionGeom.create(PointSkyRegion(SkyCoord(83.6, 22, unit="deg")), axes=axes)
    maker = SpectrumDatasetMaker(selection=["counts", "exposure", "edisp"])
    off = ReflectedRegionsBackgroundMaker(region_finder=WobbleRegionsFinder(n_off_regions=3))
    for row, observation in zip(
        done.store.rows,
        DataStore.from_dir(tmp_path / "dl3").get_observations(required_irf="point-like"),
        strict=True,
    ):
        empty = SpectrumDataset.create(geom, energy_axis_true=true, name=row.name)
        expected = off.run(maker.run(empty, observation), observation)
        cube = done.store.open_row(row).load()
        for key in ("counts", "counts_off"):
            np.testing.assert_array_equal(cube[key].values, getattr(expected, key).data)
        for key in ("exposure", "acceptance", "acceptance_off"):
            np.testing.assert_allclose(cube[key].values, getattr(expected, key).data, rtol=1e-6)
        np.testing.assert_allclose(cube["edisp"].values, expected.edisp.edisp_map.data, atol=1e-6)
        assert cube["counts"].values.sum() > 100
        assert cube["counts_off"].values.sum() > 10
