"""gmdask batch and gmdask status where no SLURM is needed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

import gmdask as gm
from gmdask.cli.main import main
from gmdask.cluster.settings import check_walltime
from gmdask.events import EventFile, FitEnd, FitFailed, FitPass, FitStart, RunStart, Workers
from gmdask.lock import Lock
from tests.datasets.synthetic import models

START = FitStart(("source.spectral.index",), ("",), "survey.zarr", ("run-0",), 0, "exact")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run the command in this process; its code, and all it says."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str]:
        capsys.readouterr()
        monkeypatch.setattr("sys.argv", ["gmdask", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out + said.err

    return call


@pytest.mark.slow
def test_the_script(run: Any, survey_store: Path, tmp_path: Path) -> None:
    models(gm.Datasets.read(survey_store).names).write(tmp_path / "a model.yaml")
    options = (
        "--jobs",
        3,
        "--cores",
        4,
        "--memory",
        "16GB",
        "--walltime",
        "12:00:00",
        "--queue",
        "long",
    )
    code, said = run("batch", "fit", survey_store, "a model.yaml", "-o", "my out", *options)
    assert code == 0, said
    script = tmp_path / "my out" / "job.sh"
    assert f"sbatch {script}" in said
    text = script.read_text()
    subprocess.run(["bash", "-n", script], check=True)
    for line in (
        "#SBATCH --time=12:00:00",
        "#SBATCH --partition=long",
        "#SBATCH --signal=B:USR1@120",
        "export DASK_GMDASK__SLURM__JOBS=3",
        "export DASK_GMDASK__SLURM__CORES=4",
        "export DASK_GMDASK__SLURM__MEMORY=16GB",
        f"output='{tmp_path}/my out'",
    ):
        assert line in text.splitlines()
    assert f"set -- {survey_store} '{tmp_path}/a model.yaml' --output" in text
    assert "--account" not in text
    assert "--response exact" in text  # whatever the setting is where it runs
    code, said = run("status", "my out")
    assert code == 1
    assert "contains no fit" in said
    assert run("batch", "fit", survey_store, "a model.yaml", "-o", "my out")[0] == 0  # once more
    script.write_text(script.read_text() + "# mine\n")
    code, said = run("batch", "fit", survey_store, "a model.yaml", "-o", "my out")
    assert code == 1
    assert "contains job.sh, which gmdask did not write, or which changed since" in said
    lost = run("fit", survey_store, "a model.yaml", "-o", "my out", "--cluster", "gone.json")
    assert lost[0] == 1, lost  # as a job that ends before its first point, and is queued again
    assert "state       failed: " in run("status", "my out")[1]
    fitted = run("fit", survey_store, "a model.yaml", "-o", "my out")
    assert fitted[0] == 0, fitted
    (tmp_path / "my out" / ".gmdask.json").rename(tmp_path / "list")  # looking needs no list
    assert run("status", "my out")[1].startswith("state       done: converged\n")
    (tmp_path / "list").rename(tmp_path / "my out" / ".gmdask.json")
    assert script.read_text().endswith("# mine\n")
    code, said = run("status", "my out")
    assert said.startswith("state       done: converged\n"), said
    code, said = run("batch", "fit", survey_store, "a model.yaml", "-o", "my out")
    assert code == 1
    assert "already exists" in said


def test_no_slurm(
    run: Any, survey_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models(gm.Datasets.read(survey_store).names).write(tmp_path / "start.yaml")
    monkeypatch.setenv("PATH", str(tmp_path))
    code, said = run("batch", "fit", survey_store, "start.yaml", "--submit")
    assert code == 1
    assert "SLURM was not found on this machine" in said
    (tmp_path / "out" / "job.json").write_text('{"job": "7"}')
    assert "7 (not in the queue)" in run("status")[1]


def test_before_there_are_workers(run: Any, tmp_path: Path) -> None:
    """A fit has a state from its first second, as long as its process is there."""
    out = tmp_path / "out"
    out.mkdir()
    with Lock(out / ".checkpoint.json.lock") as lock:
        EventFile(out / "events.jsonl")(RunStart("here", 7))
        assert "state       running: waiting for workers\n" in run("status")[1]
        left = lock.path.read_bytes()
    lock.path.write_bytes(left.replace(b'"started": 1', b'"started": 2'))  # a process of before
    assert "state       not started, or stopped before its first point" in run("status")[1]
    EventFile(out / "events.jsonl")(FitFailed("no workers came"))
    assert "state       failed: no workers came\n" in run("status")[1]


def test_states(run: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    tell = EventFile(out / "events.jsonl")
    (out / "checkpoint.json").write_text("{}")
    for event in (START, Workers(("a", "b"), (1, 2), (3, 3)), FitPass(4, 17.5, 17.25, 1e-3, False)):
        tell(event)
    said = run("status")[1]
    assert "state       running\n" in said
    assert "passes      4\nstatistic   17.2500\nedm         1.0e-03\nworkers     2\n" in said
    assert "last event  FitPass" in said
    tell(FitEnd(False, "interrupted: best point kept", 4))
    assert "stopped: resume with gmdask fit --resume out" in run("status")[1]
    tell(FitFailed("the connection to the scheduler of the cluster is lost"))
    assert "state       failed: the connection" in run("status")[1]
    old = json.loads((out / "events.jsonl").read_text().splitlines()[0])
    (out / "events.jsonl").write_text(
        json.dumps(old | {"time": "2020-01-01T00:00:00+00:00"}) + "\n"
    )
    assert "state       stopped" in run("status")[1]  # no sign of life


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("status", "nothing"), "no such folder"),
        (("status", "."), "contains no fit"),
        (("batch", "fit", "nothing.zarr", "start.yaml"), "start.yaml: no such file"),
    ],
)
def test_mistakes(arguments: tuple[str, ...], words: str, run: Any, tmp_path: Path) -> None:
    code, said = run(*arguments)
    assert code == 1
    assert words in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("walltime", ["soon", "", "2 h", "1:2:3:4", "-5"])
def test_a_walltime_that_slurm_does_not_read(
    walltime: str, run: Any, survey_store: Path, tmp_path: Path
) -> None:
    (tmp_path / "start.yaml").write_text("components: []\n")
    files = (str(survey_store), str(tmp_path / "start.yaml"), "-o", str(tmp_path / "out"))
    code, said = run("batch", "fit", *files, f"--walltime={walltime}")
    assert code == 1
    assert f"walltime is {walltime!r}, expected a time such as '02:00:00'" in said
    for time in ("90", "90:00", "02:00:00", "2-0", "1-12:00:00", 14400):
        check_walltime(time)
