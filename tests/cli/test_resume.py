"""gmdask fit: stopped, killed, interrupted, and gone on with."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import gmdask as gm
from gmdask.cli.main import main
from gmdask.store.checksums import decode_sealed, encode_sealed
from tests.datasets.synthetic import models, write_survey

pytestmark = pytest.mark.slow

RUNNING = {"checkpoint.json", "events.jsonl", ".gmdask.json"}
LOCK = ".checkpoint.json.lock"
HANGS = """
import sys, time
from gmdask.cli import fit_command
class Slow(fit_command.Progress):
    def __call__(self, event):
        super().__call__(event)
        if getattr(event, "number", 0) == 3:
            sys.stderr.write("third pass\\n")
            sys.stderr.flush()
            time.sleep(100)
fit_command.Progress = Slow
from gmdask.cli.main import main
main()
"""


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run the command in this process."""
    monkeypatch.chdir(folder)

    def call(*arguments: object) -> Done:
        capsys.readouterr()
        monkeypatch.setattr("sys.argv", ["gmdask", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        return Done(int(ended.value.code or 0), *capsys.readouterr())

    return call


@pytest.fixture
def folder(survey_store: Path, tmp_path: Path) -> Path:
    shutil.copytree(survey_store, tmp_path / "survey.zarr")
    own = models(gm.Datasets.read(survey_store).names)
    own["source"].spatial_model.lon_0.value += 0.07
    own.write(tmp_path / "start.yaml")
    return tmp_path


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def stopped(folder: Path, number: int, *options: str, group: bool = False) -> int:
    """Send a signal once the third pass is over; the exit code."""
    command = [sys.executable, "-c", HANGS, "fit", "survey.zarr", "start.yaml", *options]
    with subprocess.Popen(
        command, cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        for line in process.stderr:
            if "third pass" in line:
                break
        (os.killpg if group else os.kill)(process.pid, number)
        process.stderr.read()
        return process.wait(timeout=120)


def numbers(folder: Path) -> tuple[object, ...]:
    result = json.loads((folder / "result.json").read_text())
    covariance = (folder / "models_covariance.dat").read_text()
    return result["total_stat"], result["stat"], result["parameters"], result["passes"], covariance


def test_killed_and_interrupted(folder: Path, run: Any) -> None:
    assert run("fit", "survey.zarr", "start.yaml", "-o", "whole").returncode == 0
    assert stopped(folder, signal.SIGKILL) == -signal.SIGKILL
    assert files(folder / "out") == {*RUNNING, LOCK}
    refused = run("fit", "survey.zarr", "start.yaml")
    assert refused.returncode == 1
    assert "gmdask fit --resume out" in refused.stderr
    done = run("fit", "--resume", "out")
    assert done.returncode == 0, done.stderr
    assert numbers(folder / "out") == numbers(folder / "whole")
    assert files(folder / "out") == files(folder / "whole")
    assert "checkpoint.json" not in files(folder / "out")
    ended = run("fit", "--resume", "out")
    assert ended.returncode == 0
    assert "had already finished" in ended.stdout
    assert ended.stdout.split("\n\nthe fit of")[0] == done.stdout.split("\n\nwritten to")[0]
    assert numbers(folder / "out") == numbers(folder / "whole")
    for number in (signal.SIGINT, signal.SIGTERM):  # results that are there are replaced
        assert stopped(folder, number, "--overwrite") == 3
        assert files(folder / "out") == {*RUNNING, "models.yaml", "result.json"}
        result = json.loads((folder / "out" / "result.json").read_text())
        assert not result["success"]
        assert "interrupted" in result["message"]
    limited = run("fit", "--resume", "out", "--time-limit", "1 us")
    assert limited.returncode == 3
    assert "time limit" in limited.stderr
    assert run("fit", "--resume", "out").returncode == 0
    assert numbers(folder / "out") == numbers(folder / "whole")
    assert files(folder) == {"survey.zarr", "start.yaml", "whole", "out"}


def test_interrupted_with_all_its_processes(folder: Path, run: Any) -> None:
    """As a terminal does on Ctrl-C, workers included."""
    cluster = ("--cluster", "local", "--workers", "2", "--memory-limit", "2GB")
    assert stopped(folder, signal.SIGINT, *cluster, group=True) == 3
    assert files(folder / "out") == {*RUNNING, "models.yaml", "result.json"}
    done = run("fit", "--resume", "out", "--cluster", "none")
    assert done.returncode == 0, done.stderr


def test_changed_inputs_are_refused(folder: Path, run: Any) -> None:
    assert stopped(folder, signal.SIGKILL) == -signal.SIGKILL
    kept = (folder / "out" / "checkpoint.json").read_bytes()
    start = (folder / "start.yaml").read_text()
    (folder / "start.yaml").write_text(start + "\n")
    refused = run("fit", "--resume", "out")
    assert refused.returncode == 1
    assert "start.yaml: the models changed" in refused.stderr
    refused = run("fit", "--resume", "out", "--response", "gammapy")
    assert refused.returncode == 1
    assert "fit with response 'exact', and cannot be resumed with 'gammapy'" in refused.stderr
    (folder / "start.yaml").write_text(start)
    gm.import_datasets(
        write_survey(folder / "more", 1, prefix="more"), folder / "survey.zarr", append=True
    )
    refused = run("fit", "--resume", "out")
    assert refused.returncode == 1
    assert "survey.zarr: the store changed" in refused.stderr
    assert (folder / "out" / "checkpoint.json").read_bytes() == kept


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (
            {"models": "other.yaml"},
            "other.yaml: the models changed since the fit was started, or",
        ),
        ({"models": "/dev/zero"}, "/dev/zero"),
        ({"models": "gone.yaml"}, "gone.yaml"),
        ({"store": "gone.zarr"}, "gone.zarr"),
        ({"models": "other.yaml", "models_digest": None}, "is not the checkpoint of a fit"),
    ],
)
def test_a_checkpoint_that_names_other_inputs_is_refused(
    change: dict[str, str | None], word: str, folder: Path, run: Any
) -> None:
    """One that was changed and sealed again: the message says which file is at fault."""
    assert run("fit", "survey.zarr", "start.yaml", "--max-passes", "2").returncode == 3
    (folder / "other.yaml").write_text((folder / "start.yaml").read_text() + "\n")
    path = folder / "out" / "checkpoint.json"
    document = decode_sealed(path.read_bytes(), str(path))
    asked = {**document["asked"], **change}
    gone = {key for key, value in change.items() if value is None}
    document["asked"] = {key: value for key, value in asked.items() if key not in gone}
    path.write_bytes(encode_sealed(document, allow_nan=True))
    before = path.read_bytes()
    refused = run("fit", "--resume", "out")
    assert refused.returncode == 1
    assert "out/checkpoint.json: " in refused.stderr
    assert word in refused.stderr
    assert path.read_bytes() == before


@pytest.mark.parametrize("again", [(), ("--response", "gammapy")])
def test_the_response_is_kept(again: tuple[str, ...], folder: Path, run: Any) -> None:
    part = run("fit", "survey.zarr", "start.yaml", "--response", "gammapy", "--max-passes", "2")
    assert part.returncode == 3
    assert run("fit", "--resume", "out", *again).returncode == 0
    result = json.loads((folder / "out" / "result.json").read_text())
    assert result["response"] == "gammapy"
    datasets = gm.Datasets.read(folder / "survey.zarr", response="gammapy")
    expected = gm.Fit(datasets).run(gm.Models.read(folder / "start.yaml"))
    assert result["total_stat"] == expected.total_stat
    assert run("report", "out").returncode == 0
    assert "response gammapy" in (folder / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["fit", "--resume", "nothing"], 1, "nothing/checkpoint.json"),
        (["fit", "a.zarr", "--resume", "out"], 2, "STORE cannot be given"),
        (["fit", "--resume", "out", "--backend", "minuit"], 2, "backend cannot be given"),
        (["fit"], 2, "STORE and MODELS"),
        (["fit", "survey.zarr", "start.yaml", "--time-limit", "soon"], 1, "time_limit"),
    ],
)
def test_mistakes(arguments: list[str], code: int, word: str, folder: Path, run: Any) -> None:
    done = run(*arguments)
    assert done.returncode == code, done.stderr
    assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert files(folder) & {"out", "nothing"} == set()
