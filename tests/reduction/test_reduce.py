"""Event lists reduced into a store: the datasets that are there as real observations."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import gmdask as gm
from gmdask import reduction
from gmdask.store.formats.gadf import read_map_dataset
from tests.reduction.configs import read_reduced, write_config
from tests.reduction.dl3 import CRAB_RUNS, PKS_RUNS

pytestmark = [pytest.mark.slow, pytest.mark.gammapy_response]

RUNS = {"crab": CRAB_RUNS, "pks2155": PKS_RUNS}


@pytest.fixture(scope="module", params=RUNS)
def analysis(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def reduced(
    analysis: str, shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> reduction.Reduction:
    folder = tmp_path_factory.mktemp(analysis)
    config = reduction.read_config(write_config(folder, shared / "data/dl3", analysis))
    observations = reduction.select_observations(config)
    return reduction.reduce(observations, config, folder / "reduced.zarr")


def test_the_real_datasets(analysis: str, reduced: reduction.Reduction, shared: Path) -> None:
    """Counts and masks are equal to those that Gammapy made, exposure, background and responses to 1e-6."""
    assert reduced.failures == []
    assert reduced.reduced == list(RUNS[analysis])
    cubes = read_reduced(reduced.store)
    assert list(cubes) == [f"hess-{run}" for run in RUNS[analysis]]
    for name, cube in cubes.items():
        expected = read_map_dataset(shared / f"data/{analysis}/{name}.fits.gz", name)
        assert set(cube.data_vars) == set(expected.data_vars)
        for key in ("counts", "mask_safe", "gti_start", "gti_stop"):
            assert np.array_equal(cube[key].values, expected[key].values), key
        for key in ("exposure", "background", "psf", "psf_exposure", "edisp", "edisp_exposure"):
            scale = np.abs(expected[key].values).max()
            found, there = cube[key].values / scale, expected[key].values / scale
            np.testing.assert_allclose(found, there, rtol=0, atol=1e-6)
            assert cube[key].attrs == expected[key].attrs
        assert cube.attrs["wcs"] == expected.attrs["wcs"]
        assert cube.attrs["meta_table"] == expected.attrs["meta_table"]


def test_the_fit_ends_at_the_reference(
    analysis: str, reduced: reduction.Reduction, shared: Path
) -> None:
    reference = json.loads((shared / f"data/{analysis}/reference.json").read_text())
    models = gm.Models.read(shared / f"data/{analysis}/models_start.yaml")
    models = gm.Models(models.select(tag="SkyModel"))
    models.extend(reduced.models)
    result = gm.Fit(gm.Datasets.from_store(reduced.store)).run(models)
    assert result.success
    assert result.total_stat == pytest.approx(reference["stat"]["best"]["total"], abs=0.5)
    best = {par["name"]: par for par in reference["parameters"] if not par["frozen"]}
    assert len(best) > 3
    for name, par in models.named_parameters():
        if name in best:
            assert par.value == pytest.approx(best[name]["best"], abs=0.1 * par.error), name


def test_what_a_dataset_says_of_its_making(reduced: reduction.Reduction) -> None:
    for cube in read_reduced(reduced.store).values():
        made = cube.attrs["reduction"]
        assert made["obs_id"] == int(cube.attrs["name"].split("-")[1])
        assert [len(digest) for digest in made["inputs"].values()] == [64]
        assert made["versions"]["gammapy"] == "2.1"
        assert made["configuration"]["datasets"]["background"] == {"method": "irf"}
