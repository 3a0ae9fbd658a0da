"""Every kind of background, bins of time and Gammapy's own configurations, beside Gammapy in a plain loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.io import fits
from astropy.table import Table
from gammapy import makers as theirs
from gammapy.analysis import Analysis, AnalysisConfig
from gammapy.data import DataStore
from gammapy.datasets import Datasets, MapDataset, SpectrumDataset
from gammapy.maps import RegionGeom, WcsGeom
from gammapy.modeling import Fit
from gammapy.modeling.models import PowerLawSpectralModel, SkyModel
from regions import CircleSkyRegion

import gmdask as gm
from gmdask import reduction
from gmdask.quiet import no_warnings
from tests.reduction.configs import config, read_reduced, small, write
from tests.reduction.dl3 import (
    CRAB,
    CRAB_RUNS,
    ENERGY_TRUE,
    PKS_RUNS,
    assert_close,
    energy,
    store,
    write_folder,
)

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

RUN = CRAB_RUNS[0]
CIRCLE = {"lon": "83.633 deg", "lat": "22.014 deg", "radius": "0.35 deg"}


def reduce(folder: Path, content: dict[str, Any]) -> reduction.Reduction:
    made_from = reduction.read_config(write(folder, content))
    observations = reduction.select_observations(made_from)
    done = reduction.reduce(observations, made_from, folder / "a.zarr")
    assert done.failures == []
    return done


def only(done: reduction.Reduction) -> xr.Dataset:
    (cube,) = read_reduced(done.store).values()
    return cube


def small_map(observation: Any, nbin: int = 3) -> MapDataset:
    """Gammapy's dataset of the configuration ``small``."""
    axis = energy(nbin)
    geom = WcsGeom.create(skydir=CRAB, width=4, binsz=0.25, axes=[axis], frame="icrs")
    true = ENERGY_TRUE.from_energy_bounds("0.3 TeV", "60 TeV", nbin=4, name="energy_true")
    empty = MapDataset.create(geom, energy_axis_true=true, binsz_irf=1, name=f"hess-{RUN}")
    mask = theirs.SafeMaskMaker(methods=["aeff-default", "offset-max"], offset_max="2.5 deg")
    return mask.run(theirs.MapDatasetMaker().run(empty, observation), observation)


def excluded(geom: WcsGeom) -> Any:
    flat = geom.to_image().to_cube([geom.axes["energy"].squash()])
    return flat.region_mask([CircleSkyRegion(CRAB, 0.35 * u.deg)], inside=False)


def assert_equal_maps(cube: xr.Dataset, expected: MapDataset) -> None:
    assert np.array_equal(cube["counts"].values, expected.counts.data)
    assert np.array_equal(cube["mask_safe"].values, expected.mask_safe.data)
    for key in ("exposure", "background"):
        assert_close(cube[key].values, getattr(expected, key).data)
    assert_close(cube["psf"].values, expected.psf.psf_map.data)
    assert_close(cube["edisp"].values, expected.edisp.edisp_map.data)


@pytest.mark.parametrize("method", ["scale", "fit"])
def test_field_of_view(method: str, shared: Path, tmp_path: Path) -> None:
    content = small(shared / "data/dl3")
    content["observations"]["obs_ids"] = [RUN]
    content["datasets"]["background"] = {
        "method": "fov_background", "exclusion": [CIRCLE], "parameters": {"method": method}
    }  # fmt: skip
    done = reduce(tmp_path, content)
    obs = store(shared).obs(RUN)
    expected = small_map(obs)
    maker = theirs.FoVBackgroundMaker(method, exclusion_mask=excluded(expected.counts.geom))
    expected = maker.run(expected, obs)
    assert_equal_maps(only(done), expected)
    norm = done.models[f"hess-{RUN}-bkg"].spectral_model.norm
    there = expected.background_model.spectral_model.norm
    assert norm.value == pytest.approx(there.value, rel=1e-9)
    assert norm.error == pytest.approx(there.error, rel=1e-9)
    assert norm.value != 1


def test_ring_with_a_mask_in_a_file(shared: Path, tmp_path: Path) -> None:
    content = small(shared / "data/dl3")
    content["observations"]["obs_ids"] = [RUN]
    obs = store(shared).obs(RUN)
    expected = small_map(obs)
    mask = excluded(expected.counts.geom)
    flat = mask.sum_over_axes(keepdims=False)
    flat.data = flat.data.astype(int)
    flat.write(tmp_path / "mask.fits")
    content["datasets"]["background"] = {
        "method": "ring", "exclusion": "mask.fits", "parameters": {"r_in": "0.7 deg", "width": "0.7 deg"}
    }  # fmt: skip
    done = reduce(tmp_path, content)
    maker = theirs.RingBackgroundMaker("0.7 deg", "0.7 deg", mask)
    assert_equal_maps(only(done), maker.run(expected, obs).to_map_dataset(name="a"))
    assert done.models[f"hess-{RUN}-bkg"].spectral_model.norm.frozen


def spectrum_config(datastore: Path, runs: tuple[int, ...], background: dict[str, Any]) -> Any:
    content = config(datastore)
    content["observations"]["obs_ids"] = list(runs)
    content["datasets"] |= {
        "type": "1d",
        "on_region": {"lon": "83.633 deg", "lat": "22.014 deg", "radius": "0.11 deg"},
        "background": background,
        "safe_mask": {"methods": ["aeff-default"]},
    }
    del content["datasets"]["geom"]["wcs"], content["datasets"]["geom"]["axes"]["migra"]
    return content


def spectrum(obs: Any, maker: Any, name: str) -> Any:
    """Gammapy's on/off spectrum, as its Analysis makes it."""
    region = RegionGeom.create(CircleSkyRegion(CRAB, 0.11 * u.deg), axes=[energy()])
    empty = SpectrumDataset.create(region, energy_axis_true=ENERGY_TRUE, name=name)
    makes = theirs.SpectrumDatasetMaker(
        ["counts", "exposure", "edisp"], containment_correction=True
    )
    made = maker.run(makes.run(empty, obs), obs)
    return theirs.SafeMaskMaker(["aeff-default"]).run(made.copy(name=name), obs)


def assert_equal_spectra(cube: xr.Dataset, expected: Any) -> None:
    assert cube.attrs["kind"] == "SpectrumDatasetOnOff"
    for key in ("counts", "counts_off", "mask_safe"):
        assert np.array_equal(cube[key].values, getattr(expected, key).data)
    for key in ("exposure", "acceptance", "acceptance_off"):
        assert_close(cube[key].values, getattr(expected, key).data)
    assert_close(cube["edisp"].values, expected.edisp.edisp_map.data)


def test_reflected_regions_and_their_fit(shared: Path, tmp_path: Path) -> None:
    runs = CRAB_RUNS[:2]
    done = reduce(
        tmp_path, spectrum_config(shared / "data/dl3", runs, {"method": "reflected"})
    )  # fmt: skip
    maker = theirs.ReflectedRegionsBackgroundMaker()
    expected = Datasets([spectrum(store(shared).obs(run), maker, f"hess-{run}") for run in runs])
    for cube, there in zip(read_reduced(done.store).values(), expected, strict=True):
        assert_equal_spectra(cube, there)
    assert len(done.models) == 0

    expected.models = [
        SkyModel(PowerLawSpectralModel(amplitude="4e-11 cm-2 s-1 TeV-1"), name="crab")
    ]
    result = Fit().run(expected)
    models = gm.from_gammapy(
        SkyModel(PowerLawSpectralModel(amplitude="4e-11 cm-2 s-1 TeV-1"), name="crab")
    )
    models = gm.Models([models])
    found = gm.Fit(gm.Datasets.from_store(done.store)).run(models)
    assert found.success
    assert found.total_stat == pytest.approx(result.total_stat, abs=1e-3)
    for name in ("index", "amplitude"):
        there = expected.models.parameters[name]
        assert models.parameters[name].value == pytest.approx(there.value, abs=1e-2 * there.error)


def test_phases(shared: Path, tmp_path: Path) -> None:
    write_folder(shared, tmp_path / "dl3", [RUN])
    path = tmp_path / f"dl3/data/run-{RUN}.fits.gz"
    with fits.open(path) as hdus:
        table = Table.read(hdus["EVENTS"])
        table["PHASE"] = np.random.default_rng(1).random(len(table))
        hdus["EVENTS"] = fits.BinTableHDU(table, header=hdus["EVENTS"].header, name="EVENTS")
        path.unlink()
        hdus.writeto(path)
    phases = {"on_phase": [0.9, 1.1], "off_phase": [[0.2, 0.4], [0.5, 0.8]]}
    background = {"method": "phase", "parameters": phases}
    done = reduce(tmp_path, spectrum_config(tmp_path / "dl3", (RUN,), background))
    maker = theirs.PhaseBackgroundMaker((0.9, 1.1), [(0.2, 0.4), (0.5, 0.8)])
    obs = DataStore.from_dir(tmp_path / "dl3").obs(RUN)
    expected = spectrum(obs, maker, f"hess-{RUN}")
    assert_equal_spectra(only(done), expected)
    assert only(done)["counts_off"].values.sum() > 10


def test_bins_of_time(shared: Path, tmp_path: Path) -> None:
    content = small(shared / "data/dl3")
    content["observations"]["obs_ids"] = [RUN]
    content["datasets"]["time_bins"] = "10 min"
    done = reduce(tmp_path, content)
    obs = store(shared).obs(RUN)
    assert [row.name for row in done.store.rows] == [f"hess-{RUN}-{k:03d}" for k in range(3)]
    assert done.models.names == [f"hess-{RUN}-{k:03d}-bkg" for k in range(3)]
    cubes = list(read_reduced(done.store).values())
    with no_warnings():
        for number, cube in enumerate(cubes):
            begin = obs.tstart + number * 10 * u.min
            part = obs.select_time([begin, begin + 10 * u.min])
            assert_equal_maps(cube, small_map(part))
    times = [float((cube["gti_stop"] - cube["gti_start"]).sum()) for cube in cubes]
    assert times == pytest.approx([600, 600, obs.gti.time_sum.value - 1200])
    counts = [cube["counts"].values.sum() for cube in cubes]
    assert sum(counts) == small_map(obs).counts.data.sum()


def test_within_a_time(shared: Path, tmp_path: Path) -> None:
    content = small(shared / "data/dl3")
    content["observations"] = {
        "datastore": str(shared / "data/dl3"),
        "obs_time": {"start": "2004-12-04 22:10:00", "stop": "2004-12-04 22:20:00"},
    }
    done = reduce(tmp_path, content)
    assert done.reduced == [RUN]
    cube = only(done)
    assert float((cube["gti_stop"] - cube["gti_start"]).sum()) == pytest.approx(600)


def test_files_without_an_index(shared: Path, tmp_path: Path) -> None:
    content = small(shared / "data/dl3")
    (tmp_path / "by_index").mkdir()
    content["observations"]["obs_ids"] = [RUN]
    by_index = only(reduce(tmp_path / "by_index", content))
    content["observations"] = {"files": [str(shared / "data/dl3/data/*_023523.fits.gz")]}
    cube = only(reduce(tmp_path, content))
    for key in by_index.data_vars:
        assert cube[key].equals(by_index[key])


def test_each_around_its_pointing(shared: Path, tmp_path: Path) -> None:
    content = small(shared / "data/dl3")
    content["observations"] = {"datastore": str(shared / "data/dl3"), "obs_ids": [RUN, PKS_RUNS[0]]}
    del content["datasets"]["geom"]["wcs"]["skydir"]
    content["datasets"]["background"] = {"method": "fov_background", "exclusion": [CIRCLE]}
    done = reduce(tmp_path, content)
    for row in done.store.rows:
        pointing = store(shared).obs(int(row.name[5:])).get_pointing_icrs(None)
        assert row.pointing.lon == pytest.approx(pointing.ra.deg)
        assert row.pointing.lat == pytest.approx(pointing.dec.deg)
    assert len(done.models) == 2


def test_a_configuration_of_gammapy(shared: Path, tmp_path: Path) -> None:
    """Written by AnalysisConfig, and reduced by Gammapy's Analysis from the same file."""
    content = small(shared / "data/dl3")
    content["observations"] = {
        "datastore": str(shared / "data/dl3"),
        "obs_ids": list(CRAB_RUNS[:2]),
    }
    datasets = content["datasets"] | {"stack": False, "background": {"method": "fov_background"}}
    del datasets["name"]
    datasets["geom"]["selection"] = {"offset_max": "1 deg"}
    analysis = Analysis(AnalysisConfig(observations=content["observations"], datasets=datasets))
    analysis.config.write(tmp_path / "gammapy.yaml")
    analysis.get_observations()
    analysis.get_datasets()

    made_from = reduction.read_config(tmp_path / "gammapy.yaml")
    observations = reduction.select_observations(made_from)
    done = reduction.reduce(observations, made_from, tmp_path / "a.zarr")
    cubes = read_reduced(done.store)
    assert list(cubes) == [f"obs-{run}" for run in CRAB_RUNS[:2]]
    for cube, expected in zip(cubes.values(), analysis.datasets, strict=True):
        assert_equal_maps(cube, expected)
        norm = done.models[f"{cube.attrs['name']}-bkg"].spectral_model.norm
        there = expected.background_model.spectral_model.norm.value
        assert norm.value == pytest.approx(there, rel=1e-9)
    assert cubes["obs-23523"].sizes["lon"] < 16
