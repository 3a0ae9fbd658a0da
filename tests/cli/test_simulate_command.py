"""The command ``gmdask simulate``, run as a user runs it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

import gmdask as gm
from gmdask.datasets.simulation.observation import simulate_observation
from gmdask.datasets.simulation.survey_file import read_survey
from gmdask.store import Store
from tests.cli.in_process import Done, run
from tests.datasets.simulated import write_config

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    """Folder with a small survey, simulated by two workers."""
    folder = tmp_path_factory.mktemp("survey")
    cluster = ["--cluster", "local", "--workers", "2", "--memory-limit", "1GB"]
    return folder, run("simulate", write_config(folder), "survey.zarr", *cluster, cwd=folder)


def test_simulate(made: tuple[Path, Done]) -> None:
    folder, done = made
    assert done.returncode == 0, done.stderr
    assert "8 datasets" in done.stdout
    assert "survey-truth.yaml" in done.stdout
    assert "simulate: 8 of 8 datasets" in done.stderr
    files = {"config.yaml", "sky.yaml", "cloud.fits", "survey.zarr", "survey-truth.yaml"}
    assert {path.name for path in folder.iterdir()} == files
    assert gm.Models.read(folder / "survey-truth.yaml").names[-1] == "obs-0008-bkg"
    assert run("verify", "survey.zarr", cwd=folder).returncode == 0


def test_it_is_not_made_twice(made: tuple[Path, Done]) -> None:
    before = (made[0] / "survey-truth.yaml").read_bytes()
    again = run("simulate", "config.yaml", "survey.zarr", cwd=made[0])
    assert again.returncode == 1
    assert "a store with 8 datasets" in again.stderr
    assert (made[0] / "survey-truth.yaml").read_bytes() == before


def test_events(made: tuple[Path, Done], tmp_path: Path) -> None:
    done = run("simulate", write_config(tmp_path), "events.zarr", "--events", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    events, binned = (
        sum(row.counts or 0.0 for row in Store.open(path).rows)
        for path in (tmp_path / "events.zarr", made[0] / "survey.zarr")
    )
    assert events != binned
    assert abs(events - binned) < 4 * (events + binned) ** 0.5
    dry = run("simulate", "config.yaml", "dry.zarr", "--events", "--dry-run", cwd=tmp_path)
    assert dry.returncode == 0, dry.stderr
    assert "8 datasets" in dry.stdout


def test_dry_run(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    there = sorted(tmp_path.iterdir())
    done = run("simulate", config, "new.zarr", "--dry-run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for word in ("8 datasets", "GB", "min", "new-truth.yaml", "nothing was written"):
        assert word in done.stdout
    assert sorted(tmp_path.iterdir()) == there


def test_response(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    done = run("simulate", config, "survey.zarr", "--response", "gammapy", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    survey = read_survey(config)
    row = gm.Datasets.read(tmp_path / "survey.zarr")[0]
    counts = {
        response: simulate_observation(replace(survey, sources=response), survey.observations[0])
        for response in ("exact", "gammapy")
    }
    np.testing.assert_array_equal(row.counts, counts["gammapy"]["counts"])
    assert (counts["exact"]["counts"] != counts["gammapy"]["counts"]).any()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["missing.yaml", "x.zarr"], 1, ["missing.yaml", "does not exist"]),
        (["bad.yaml", "x.zarr"], 1, ["bad.yaml", "geometry", "pixel"]),
        (["bad.yaml"], 2, ["STORE"]),
        (["bad.yaml", "x.zarr", "--workers", "2"], 2, ["--cluster local"]),
        (["bad.yaml", "x.zarr", "--events", "--response", "exact"], 2, ["--events and --response"]),
        (["bad.yaml", "x.zarr", "--workers", "2", "--dry-run"], 2, ["--cluster local"]),
    ],
)
def test_mistakes_are_told(
    tmp_path: Path, arguments: list[str], code: int, words: list[str]
) -> None:
    config = yaml.safe_load(write_config(tmp_path).read_text())
    config["geometry"]["pixel"] = 0.04
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(config))
    done = run("simulate", *arguments, cwd=tmp_path)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr
    assert not list(tmp_path.glob("x*"))


def test_the_configuration_that_the_readme_names() -> None:
    survey = read_survey(Path(__file__).parents[2] / "notebooks" / "survey.yaml")
    assert len(survey.observations) == 8
    assert survey.models.names == ["pulsar-wind", "binary"]
