"""What comes from outside is told in one line, within 10 s and 1 GB, whatever it is."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import chdir
from pathlib import Path

import pytest
import yaml
from astropy.io import fits
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import gmdask as gm
from tests.cli.fuzz_cases import KINDS, Bench, sealed
from tests.cli.fuzzing import problem, run

EXAMPLES = 8  # of each kind; more with pytest --hypothesis-profile random


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("fuzz") / "bench")


@pytest.mark.parametrize("kind", KINDS)
def test_spoilt_input(kind: str, bench: Bench) -> None:
    """Only exit 0, 1, 2 or 3, one line that names the thing, nothing touched but the output."""
    examples = EXAMPLES if settings.default.derandomize else settings.default.max_examples
    work = bench.folder.parent / "spoilt"

    @settings(
        max_examples=examples, deadline=None, database=None,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.data())
    def check(data: st.DataObject) -> None:
        case = data.draw(KINDS[kind](bench))
        found = problem(case, bench.folder, work)
        assert not found, f"{' '.join(case.arguments)}: {found}"

    check()


def run_here(work: Path, *arguments: str) -> tuple[int, str]:
    """Run a command in a folder; its exit code and what it says of errors."""
    with chdir(work):
        done = run(*arguments)
    assert not done.trace
    return done.code, done.err


@pytest.fixture
def work(bench: Bench, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bench.folder, tmp_path / "work"))


def test_power_law_of_reference_zero(work: Path) -> None:
    text = (work / "models.yaml").read_text()
    at = text.index("name: reference")
    spoilt = text[:at] + text[at:].replace("value: 1.0", "value: 0.0", 1)
    assert spoilt != text
    (work / "models.yaml").write_text(spoilt)
    code, err = run_here(work, "fit", "sky.zarr", "models.yaml", "-o", "new")
    assert code == 1
    assert "source.spectral.reference is 0 TeV, expected a value at least" in err


def test_models_that_are_none(work: Path) -> None:
    (work / "models.yaml").write_text("components: []\n")
    code, err = run_here(work, "fit", "sky.zarr", "models.yaml", "-o", "new")
    assert (code, (work / "new").exists()) == (1, False)
    assert "models.yaml: there are no models to fit" in err


def test_a_kind_that_is_no_text(work: Path) -> None:
    path = work / "export" / "datasets.yaml"
    content = yaml.safe_load(path.read_text())
    content["datasets"][0]["type"] = {"name": "MapDataset"}
    path.write_text(yaml.safe_dump(content))
    code, err = run_here(work, "import", "export/datasets.yaml", "new")
    assert code == 1
    assert "datasets.yaml: datasets[0]: key 'type'" in err


def test_home_of_nobody(work: Path) -> None:
    for arguments in (("info", "~nobody-here"), ("fit", "sky.zarr", "~nobody-here/m.yaml", "-o", "new")):  # fmt: skip
        code, err = run_here(work, *arguments)
        assert code == 1
        assert "~nobody-here" in err


def test_a_number_too_large_for_a_parameter(work: Path) -> None:
    text = (work / "models.yaml").read_text()
    spoilt = text.replace("value: 2.0", f"value: {10**400}", 1)
    assert spoilt != text
    (work / "models.yaml").write_text(spoilt)
    code, err = run_here(work, "fit", "sky.zarr", "models.yaml", "-o", "new")
    assert code == 1
    assert "models.yaml: component 'source': spectral: index: value is 1000" in err
    assert len(err) < 2000  # the middle of a long line is left out


def test_conditions_and_times_that_are_none(work: Path) -> None:
    code, err = run_here(work, "ls", "sky.zarr", "--where", "livetime < nan")
    assert (code, "'nan'" in err) == (1, True)
    code, err = run_here(
        work, "light-curve", "sky.zarr", "models.yaml", "--source", "source", "-o", "new.fits",
        "--energy-edges", "1 10 TeV", "--interval", "yesterday", "today",
    )  # fmt: skip
    assert code == 1
    assert "expected pairs of times" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("out/events.jsonl", ["status", "out"]),
        ("out/checkpoint.json", ["fit", "--resume", "out"]),
        ("done/result.json", ["report", "done"]),
        ("models.yaml", ["fit", "sky.zarr", "models.yaml", "-o", "new"]),
        ("export/datasets.yaml", ["import", "export/datasets.yaml", "new"]),
        ("survey.yaml", ["simulate", "survey.yaml", "new", "--dry-run"]),
        (
            "cluster.json",
            ["fit", "sky.zarr", "models.yaml", "-o", "new", "--cluster", "cluster.json"],
        ),
    ],
)
def test_pipes_in_place_of_files(name: str, arguments: list[str], work: Path) -> None:
    (work / name).unlink(missing_ok=True)
    os.mkfifo(work / name)
    code, err = run_here(work, *arguments)
    assert code == 1
    assert err.count("gmdask: error: ") == 1


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("backend", True), ("store", None), ("where", 5), ("where", [1]), ("response", "x"),
        ("cluster", ["local"]), ("workers", "2"), ("memory_limit", 3),
    ],
)  # fmt: skip
def test_checkpoints_that_ask_for_what_cannot_be(key: str, value: object, work: Path) -> None:
    """Their checksum fits, and the error names the file and the key."""
    path = work / "out" / "checkpoint.json"
    content = json.loads(path.read_bytes())
    del content["sha256"]
    content["asked"][key] = value
    path.write_bytes(sealed(content))
    code, err = run_here(work, "fit", "--resume", "out")
    assert code == 1
    assert f"out/checkpoint.json: is not a checkpoint: asked {key}" in err


def test_a_checkpoint_of_no_cluster(work: Path) -> None:
    path = work / "out" / "checkpoint.json"
    content = json.loads(path.read_bytes())
    del content["sha256"]
    content["asked"]["cluster"] = ""
    path.write_bytes(sealed(content))
    code, err = run_here(work, "fit", "--resume", "out")
    assert code == 1
    assert "out/checkpoint.json: the fit cannot be resumed: there is no cluster ''" in err


def test_values_that_no_fit_comes_to(work: Path) -> None:
    path = work / "out" / "checkpoint.json"
    whole = json.loads(path.read_bytes())
    del whole["sha256"]
    names = gm.Models.read(work / "models.yaml").parameters.names
    for name, value, expected in (
        ("source.spectral.reference", -1e-308, "1.0, frozen"),
        ("source.spatial.lat_0", 91.0, "-90.0 to 90.0"),
    ):
        content = json.loads(json.dumps(whole))
        content["state"]["search"]["point"]["values"][names.index(name)] = value
        path.write_bytes(sealed(content))
        code, err = run_here(work, "fit", "--resume", "out")
        assert code == 1
        assert f"{name} is {value}, expected {expected}" in err


def test_numbers_that_are_none(work: Path) -> None:
    code, err = run_here(
        work, "cutout", "sky.zarr", "new", "--lon", "nan", "--lat", "0", "--width", "0.3"
    )
    assert code == 1
    assert "expected finite numbers" in err
    arguments = ["cutout", "sky.zarr", "new", "--lon", "0", "--frame", "galactic"]
    assert run_here(work, *arguments, "--lat", "inf", "--width", "0.3")[0] == 2
    assert run_here(work, *arguments, "--lat", "0", "--width", "1e308")[0] == 0  # the whole of it
    cut, whole = (gm.Datasets.read(work / name)[0].cube for name in ("new", "sky.zarr"))
    assert cut.sizes == whole.sizes
    result = work / "done" / "result.json"
    result.write_text(result.read_text().replace('"total_stat":', '"total": 1, "total_stat":', 1))
    code, err = run_here(work, "report", "done")
    assert code == 1
    assert "done/result.json: Additional properties" in err


def test_the_time_of_a_light_curve(bench: Bench, work: Path) -> None:
    flare = next(entry for entry in bench.templates if entry["name"] == "flare")
    (work / "models.yaml").write_text(yaml.safe_dump({"components": [flare]}))
    with fits.open(work / "curve.fits", mode="update") as hdus:
        hdus[1].header["TIMESYS"] = "lunar"
    code, err = run_here(work, "fit", "sky.zarr", "models.yaml", "-o", "new")
    assert code == 1
    assert "'flare': temporal: scale: 'lunar', expected one of" in err
    with fits.open(work / "curve.fits", mode="update") as hdus:
        hdus[1].header["MJDREFI"] = "then"
    code, err = run_here(work, "fit", "sky.zarr", "models.yaml", "-o", "new")
    assert code == 1
    assert "curve.fits: the reference time MJDREFI, MJDREFF is missing, or not a number" in err
    content = bytearray(bench.read("curve.fits"))
    at = content.index(b"TUNIT1  =")
    content[at : at + 8] = b"TIMEUNIT"  # twice, then
    (work / "curve.fits").write_bytes(content)
    code, err = run_here(work, "fit", "sky.zarr", "models.yaml", "-o", "new")
    assert code == 1
    assert "'flare': temporal: \"['d', 'd']\" is not a unit" in err


def test_a_result_with_a_unit_that_is_none(work: Path) -> None:
    result = work / "done" / "result.json"
    result.write_text(result.read_text().replace('"unit": "TeV"', '"unit": "../../up"', 1))
    code, err = run_here(work, "report", "done")
    assert code == 1
    assert (
        "done/result.json: parameter 'source.spectral.reference': '../../up' is not a unit" in err
    )
