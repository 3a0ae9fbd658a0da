"""The commands, run as a user runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import gmdask as gm
from gmdask.events import read_events
from gmdask.schemas import read_schema
from tests.cli.in_process import assert_told, run

pytestmark = pytest.mark.slow

Demo = tuple[Path, subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """Folder of the demo, and how the demo ended, in a process of its own as a user has it."""
    folder = tmp_path_factory.mktemp("demo")
    command = Path(sys.executable).with_name("gmdask")
    return folder, subprocess.run(
        [command, "demo"], cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )


def test_version(tmp_path: Path) -> None:
    done = run("--version", cwd=tmp_path)
    assert done.returncode == 0
    assert gm.__version__ in done.stdout


def test_import_is_light() -> None:
    code = "import gmdask, sys; print(sorted({m.split('.')[0] for m in sys.modules} & {'numpy', 'dask', 'zarr'}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_are_there() -> None:
    for name in gm.__all__:
        assert getattr(gm, name) is not None
    assert set(gm.__all__) <= set(dir(gm))


def test_modules_are_there_right_after_the_import() -> None:
    code = """
import sys, types, gmdask as gm
offered = dir(gm)
assert not {"import_module", "TYPE_CHECKING", "annotations"} & set(offered), offered
modules = [n for n in offered if isinstance(getattr(gm, n), types.ModuleType)]
assert {"models", "plot", "estimators", "datasets"} <= set(modules), modules
assert gm.plot.plot_sed and gm.models.Models is gm.Models
assert offered == dir(gm)
assert "matplotlib.pyplot" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_demo(demo: Demo) -> None:
    folder, done = demo
    assert done.returncode == 0, done.stderr
    made = folder / "gmdask-demo"
    assert {p.name for p in made.iterdir()} == {
        "survey.zarr", "survey-truth.yaml", "models_start.yaml", "fit"
    }  # fmt: skip
    assert {p.name for p in (made / "fit").iterdir()} == {
        "models.yaml", "models_covariance.dat", "result.json", "residuals.png", "events.jsonl",
        ".gmdask.json",
    }  # fmt: skip
    result = json.loads((made / "fit" / "result.json").read_text())
    assert result["success"]
    assert result["passes"] <= 15
    assert "pull" in done.stdout
    # a second run takes another name
    assert not (folder / "gmdask-demo-2").exists()
    events, _ = read_events(made / "fit" / "events.jsonl")  # for the live view
    assert events[-1]["event"] == "FitEnd"


def test_result_fits_its_schema(demo: Demo) -> None:
    schema = read_schema("result.json")
    result = json.loads((demo[0] / "gmdask-demo" / "fit" / "result.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(result, schema)
    assert result["total_stat"] == pytest.approx(sum(result["stat"].values()), rel=1e-12)
    assert (
        result["store"]["digest"] == gm.Store.open(demo[0] / "gmdask-demo" / "survey.zarr").digest
    )


def test_fit_again_in_this_process(demo: Demo) -> None:
    made = demo[0] / "gmdask-demo"
    done = run("fit", made / "survey.zarr", made / "models_start.yaml", "-o", "again", cwd=demo[0])
    assert done.returncode == 0, done.stderr
    first, second = (
        json.loads((f / "result.json").read_text()) for f in (made / "fit", demo[0] / "again")
    )
    assert first["total_stat"] == second["total_stat"]
    assert first["parameters"] == second["parameters"]
    assert "pass" in done.stderr
    refused = run(
        "fit", made / "survey.zarr", made / "models_start.yaml", "-o", "again", cwd=demo[0]
    )
    assert_told(refused, 1, "again", "--overwrite")
    before = (demo[0] / "again" / "result.json").stat().st_mtime_ns
    replaced = run(
        "fit",
        made / "survey.zarr",
        made / "models_start.yaml",
        "-o",
        "again",
        "--overwrite",
        "--max-passes",
        2,
        cwd=demo[0],
    )
    assert_told(replaced, 3, "did not converge")  # files are written all the same
    assert (demo[0] / "again" / "result.json").stat().st_mtime_ns > before
    assert not json.loads((demo[0] / "again" / "result.json").read_text())["success"]
    assert not [p for p in demo[0].iterdir() if p.name.startswith(".")]


def test_info_and_verify(demo: Demo) -> None:
    store = demo[0] / "gmdask-demo" / "survey.zarr"
    shown = run("info", store, cwd=demo[0])
    assert shown.returncode == 0
    assert "24 datasets" in shown.stdout
    assert "obs-01" in shown.stdout
    good = run("verify", store, cwd=demo[0])
    assert good.returncode == 0
    assert good.stderr == ""


def test_verify_tells_what_is_damaged(demo: Demo, tmp_path: Path) -> None:
    import shutil

    store = tmp_path / "damaged.zarr"
    shutil.copytree(demo[0] / "gmdask-demo" / "survey.zarr", store)
    victim = max(
        (store / "blocks").rglob("counts/c/**/*"),
        key=lambda p: p.stat().st_size if p.is_file() else 0,
    )
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    done = run("verify", store, cwd=tmp_path)
    assert_told(done, 1, "counts", "obs-")
    models = demo[0] / "gmdask-demo" / "models_start.yaml"
    refused = run("fit", store, models, "-o", "out", cwd=tmp_path)
    assert_told(refused, 1, "counts", "obs-")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["frobnicate"], 2, ["frobnicate"]),
        (["import", "missing.yaml", "x.zarr"], 1, ["missing.yaml"]),
        (["import", "notes.txt", "x.zarr"], 1, ["notes.txt"]),
        (["import", "notes.txt", "x.zarr", "--append", "--overwrite"], 2, ["exclude"]),
        (["import", "notes.txt", "x.zarr", "--workers", "2"], 2, ["--cluster local"]),
        (["info", "missing.zarr"], 1, ["missing.zarr"]),
        (["verify", "missing.zarr"], 1, ["missing.zarr"]),
        (["fit", "missing.zarr", "models.yaml"], 1, ["missing.zarr"]),
        (["fit", "missing.zarr"], 2, ["MODELS"]),
        (["demo", "-o", "notes.txt"], 1, ["notes.txt"]),
        (
            ["import", "notes.txt", "x.zarr", "--cluster", "local", "--memory-limit", "much"],
            1,
            ["much"],
        ),
    ],
)
def test_mistakes_are_told(
    tmp_path: Path, arguments: list[str], code: int, words: list[str]
) -> None:
    (tmp_path / "notes.txt").write_text("no: datasets\n")
    assert_told(run(*arguments, cwd=tmp_path), code, *words)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_models_of_a_fit_are_read_by_gammapy(
    demo: Demo,
) -> None:
    from gammapy.modeling.models import Models

    path = demo[0] / "gmdask-demo" / "fit" / "models.yaml"
    theirs, ours = Models.read(path), gm.Models.read(path)
    np.testing.assert_array_equal(theirs.parameters.value, ours.parameters.value)
    np.testing.assert_allclose(theirs.covariance.data, ours.covariance.data, rtol=1e-12)


def test_real_data_on_a_cluster(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data" / "crab"
    assert run("import", folder / "datasets.yaml", "crab.zarr", cwd=tmp_path).returncode == 0
    taken = run("import", folder / "datasets.yaml", "crab.zarr", cwd=tmp_path)
    assert_told(taken, 1, "crab.zarr")
    again = run("import", folder / "datasets.yaml", "crab.zarr", "--append", cwd=tmp_path)
    assert_told(again, 1, "hess-23523")
    cluster = ["--cluster", "local", "--workers", "2", "--memory-limit", "2GB"]
    done = run(
        "fit", "crab.zarr", folder / "models_start.yaml", "-o", "out", "--response", "gammapy", *cluster,
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["response"] == "gammapy"
    reference = json.loads((folder / "reference.json").read_text())
    assert result["total_stat"] <= reference["stat"]["best"]["total"] + 0.05
