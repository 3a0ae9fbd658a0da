"""Commands that write: whatever they are given, no file of the user changes or goes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import gmdask as gm
from gmdask.cli.main import main
from tests.cli.in_process import files_up_to, run
from tests.datasets.synthetic import models

pytestmark = pytest.mark.slow

Tree = dict[str, bytes | str | None]
USERS = ("job.sh", "paper/draft.tex", ".git/HEAD", "residuals.txt", "data/.new/x", "a link")


def tree(folder: Path) -> Tree:
    """Everything below a folder: content of files, targets of links, None for folders."""
    found: Tree = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = str(path.readlink())
        else:
            found[name] = path.read_bytes() if path.is_file() else None
    return found


def put(folder: Path, *names: str) -> None:
    """Files of the user."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("link"):
            path.symlink_to("residuals.txt")
        else:
            path.write_text(f"mine: {name}\n")


def assert_kept(before: Tree, folder: Path) -> None:
    after = tree(folder)
    assert {name: after.get(name, "is gone") for name in before} == before


@pytest.fixture(scope="module")
def start(survey_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "start.yaml"
    models(gm.Datasets.read(survey_store).names).write(path)
    return path


@pytest.fixture(scope="module")
def fitted(survey_store: Path, start: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a store, models, and the outputs of a fit that ended and one that was stopped."""
    folder = tmp_path_factory.mktemp("fitted")
    shutil.copytree(survey_store, folder / "s.zarr")
    shutil.copy(start, folder / "m.yaml")
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert call("fit", "s.zarr", "m.yaml", "-o", "out") == 0
        assert call("fit", "s.zarr", "m.yaml", "-o", "half", "--max-passes", "2") == 3
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def folder(fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "work"
    shutil.copytree(fitted, place, symlinks=True)
    text = (place / "half" / "checkpoint.json").read_text()
    monkeypatch.chdir(place)
    assert str(fitted) in text  # so that the checkpoint is of the folder it was made in
    return place


def call(*arguments: object) -> int:
    """Run the command in this process; its exit code."""
    before = sys.argv
    sys.argv = ["gmdask", *map(str, arguments)]
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    finally:
        sys.argv = before
    raise AssertionError


# --- the output of a fit ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "users", "word"),
    [
        ("fit s.zarr m.yaml -o . --overwrite", USERS, ".git"),
        ("fit s.zarr m.yaml -o s.zarr --overwrite", (), "blocks"),
        ("fit s.zarr m.yaml -o m.yaml --overwrite", (), "not a folder"),
        ("fit s.zarr m.yaml -o out", ("out/notes.txt",), "--overwrite"),
        ("fit s.zarr m.yaml -o out --overwrite", ("out/notes.txt", "out/paper/a"), "notes.txt"),
        ("fit s.zarr m.yaml -o out --overwrite", ("out/result.json",), "result.json"),
        ("fit s.zarr m.yaml -o out --overwrite", ("out/logs/day1.log",), "logs"),
        ("fit s.zarr m.yaml -o mine --overwrite", ("mine/events.jsonl",), "events.jsonl"),
        ("fit s.zarr m.yaml -o mine --overwrite", ("mine/.gmdask.json",), ".gmdask.json"),
        ("fit s.zarr m.yaml -o mine --overwrite", ("mine/checkpoint.json",), "checkpoint.json"),
        ("fit s.zarr out/models.yaml -o out --overwrite", (), "is an input"),
        ("fit --resume half", ("half/residuals.png",), "residuals.png"),
        ("fit --resume half", ("half/models.yaml",), "models.yaml"),
        ("fit --resume mine", ("mine/checkpoint.json", "mine/events.jsonl"), "not a checkpoint"),
        ("batch fit s.zarr m.yaml -o out", ("out/job.sh",), "already exists"),
        ("demo -o out", ("out/notes.txt",), "already exists"),
    ],
)
def test_refused(
    arguments: str,
    users: tuple[str, ...],
    word: str,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Before anything is read: the store and the models need not even be there."""
    put(folder, *users)
    before = tree(folder)
    assert call(*arguments.split()) == 1
    told = capsys.readouterr().err
    assert word in told
    assert "Traceback" not in told
    assert tree(folder) == before


def test_resumed_beside_files_of_the_user(folder: Path, fitted: Path) -> None:
    put(folder, *(f"half/{name}" for name in USERS))
    put(folder, "half/report.txt", "half/models.yaml.bak", "half/.new/mine")
    users = {name: content for name, content in tree(folder).items() if name.startswith("half/")}
    listed = json.loads((folder / "half" / ".gmdask.json").read_text())["files"]
    ours = {f"half/{name}" for name in (".gmdask.json", *listed)}
    assert call("fit", "--resume", "half") == 0
    assert_kept({name: content for name, content in users.items() if name not in ours}, folder)
    assert {path.name for path in (folder / "half").glob("m*")} == {
        "models.yaml", "models_covariance.dat", "models.yaml.bak"
    }  # fmt: skip
    whole = json.loads((folder / "out" / "result.json").read_text())
    assert json.loads((folder / "half" / "result.json").read_text())["stat"] == whole["stat"]


def test_overwritten_fit_leaves_nothing_of_the_first(folder: Path) -> None:
    assert call("fit", "s.zarr", "m.yaml", "-o", "out", "--overwrite", "--max-passes", "2") == 3
    assert {path.name for path in (folder / "out").iterdir()} == {
        "models.yaml", "models_covariance.dat", "result.json", "events.jsonl", "checkpoint.json",
        ".gmdask.json",
    }  # fmt: skip


def test_refused_after_the_list_was_lost(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for content in ("", "[]", '{"schema": "gmdask files 1.0", "files": 3}', None):
        if content is None:
            (folder / "out" / ".gmdask.json").unlink()
        else:
            (folder / "out" / ".gmdask.json").write_text(content)
        before = tree(folder)
        assert call("fit", "s.zarr", "m.yaml", "-o", "out", "--overwrite") == 1
        assert "gmdask did not write" in capsys.readouterr().err
        assert tree(folder) == before


# --- while a fit runs -------------------------------------------------------------------------

WAITS = """
import sys
from pathlib import Path
from gmdask.cli import fit_command
class Waiting(fit_command.Progress):
    def __call__(self, event):
        super().__call__(event)
        if getattr(event, "number", 0) == 2 and type(event).__name__ == "FitPass":
            print("second pass", flush=True)
            sys.stdin.readline()
fit_command.Progress = Waiting
from gmdask.cli.main import main
main()
"""


@pytest.fixture
def running(folder: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Function that starts a command, and returns when its fit waits after the second pass."""
    begun = []

    def start_one(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", WAITS, *arguments],
            cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        begun.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "second pass\n"
        return process

    yield start_one
    for process in begun:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate("\n", timeout=120)
    return process.returncode, out, err


def test_two_at_once(folder: Path, running: Any, capsys: pytest.CaptureFixture[str]) -> None:
    process = running("fit", "s.zarr", "m.yaml", "-o", "new")
    assert call("status", "new") == 0
    assert "state       running\n" in capsys.readouterr().out
    before = tree(folder)
    for arguments in (
        "fit s.zarr m.yaml -o new", "fit s.zarr m.yaml -o new --overwrite", "fit --resume new"
    ):  # fmt: skip
        assert call(*arguments.split()) == 1
        told = capsys.readouterr().err
        assert "new: another fit is running here (host " in told
        assert f"process {process.pid})" in told
    assert tree(folder) == before
    code, _, err = ended(process)
    assert code == 0, err
    names = {path.name for path in (folder / "new").iterdir()}
    assert names == {path.name for path in (folder / "out").iterdir()}


def test_a_lock_of_a_process_that_is_gone(
    folder: Path, running: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    process = running("fit", "s.zarr", "m.yaml", "-o", "new")
    put(folder, "new/notes.txt")
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    assert call("status", "new") == 0
    assert "state       stopped: resume with" in capsys.readouterr().out
    put(folder, "new/.tmp-mine")
    (folder / "new" / f".tmp-{'0' * 32}-result").mkdir()  # as if it had been killed later
    assert call("fit", "--resume", "new") == 0
    assert f"took over from a fit that no longer runs (host {os.uname().nodename}, process {process.pid})" in (
        capsys.readouterr().err
    )  # fmt: skip
    assert {path.name for path in (folder / "new").iterdir()} == {
        *(path.name for path in (folder / "out").iterdir()), "notes.txt", ".tmp-mine"
    }  # fmt: skip


@pytest.mark.parametrize("instead", ["nothing", "a file", "a folder", "the same name in it"])
def test_removed_while_a_fit_runs(instead: str, folder: Path, running: Any) -> None:
    process = running("fit", "s.zarr", "m.yaml", "-o", "new")
    if instead == "the same name in it":
        put(folder, "new/result.json")
    else:
        shutil.rmtree(folder / "new")
        if instead != "nothing":
            put(folder, {"a file": "new", "a folder": "new/events.jsonl"}[instead])
    before = tree(folder)
    kept = {
        name: text for name, text in before.items() if "new/" not in name or "mine" in str(text)
    }
    code, out, err = ended(process)
    assert code == 0, err
    assert "Traceback" not in err
    assert "new was removed or changed while the fit ran" in err
    if instead != "the same name in it":
        assert "new/checkpoint.json: the checkpoint cannot be written" in err
    made = "new" if instead == "nothing" else "new-2"
    assert f"written to {made}\n" in out
    whole = json.loads((folder / "out" / "result.json").read_text())
    assert json.loads((folder / made / "result.json").read_text())["stat"] == whole["stat"]
    assert_kept(kept, folder)


def test_everything_is_removed_while_a_fit_runs(folder: Path, running: Any) -> None:
    (folder / "deep").mkdir()
    process = running("fit", "s.zarr", "m.yaml", "-o", "deep/new")
    shutil.rmtree(folder / "deep")
    code, out, err = ended(process)
    assert code == 1
    assert "Traceback" not in err, err
    assert "no other folder can be created beside it" in err
    assert "source.spatial.lon_0" in out  # the result, printed


# --- other commands that write ----------------------------------------------------------------

SURVEY = """
seed: 1
models: sky.yaml
geometry: {frame: icrs, projection: TAN, center: {lon: 83.6 deg, lat: 22 deg}, pixel: 0.2 deg, npix: 8}
energy: {min: 1 TeV, max: 10 TeV, bins: 2}
energy_true: {min: 0.5 TeV, max: 20 TeV, bins: 4}
pointings: {list: [{lon: 83.6 deg, lat: 22 deg}]}
livetime: 600 s
zenith: 20 deg
background: {rate: 10 s-1 sr-1 TeV-1}
"""


@pytest.mark.parametrize(
    ("arguments", "users", "word"),
    [
        ("report half", ("half/report.html",), "report.html: already exists"),
        ("report out -o thesis.html", ("thesis.html",), "thesis.html: already exists"),
        ("export s.zarr mine", ("mine/notes.txt",), "mine: already exists"),
        ("export s.zarr m.yaml", (), "m.yaml: already exists"),
        ("simulate survey.yaml mine", ("mine/notes.txt",), "mine: "),
        ("simulate survey.yaml new.zarr", ("new-truth.yaml",), "new-truth.yaml"),
        ("simulate survey.yaml empty.zarr", ("empty-truth.yaml",), "empty-truth.yaml"),
        ("simulate survey.yaml s.zarr", (), "s.zarr: a store"),
        ("import data/datasets.yaml mine --overwrite", ("mine/notes.txt",), "mine: "),
        ("import data/datasets.yaml s.zarr", (), "s.zarr: a store"),
        ("append s.zarr s.zarr", (), "a dataset named"),
        ("stack s.zarr s.zarr --overwrite", (), "s.zarr: is the input"),
        ("cutout s.zarr out/../s.zarr --lon 83.6 --lat 22 --width 1 --overwrite", (), "is the input"),
        ("simulate survey.yaml .", ("mine/notes.txt",), "neither empty"),
        ("simulate survey.yaml /", (), "/: a store cannot be created here"),
        ("stack s.zarr mine --overwrite", ("mine/notes.txt",), "mine: "),
        ("cutout s.zarr mine --lon 83.6 --lat 22 --width 1 --overwrite", ("mine/a",), "mine: "),
        ("report out -o m.yaml --overwrite", (), "m.yaml: expected a name that ends with .html"),
        ("flux-points s.zarr m.yaml --source source --energy-edges 1,10,TeV -o m.yaml --overwrite",
         (), "m.yaml"),
        ("flux-points s.zarr m.yaml --source source --energy-edges 1,10,TeV -o f.fits",
         ("f.fits",), "f.fits: already exists"),
    ],
)  # fmt: skip
def test_other_commands_refuse(
    arguments: str,
    users: tuple[str, ...],
    word: str,
    folder: Path,
    survey: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    put(folder, *users)
    (folder / "survey.yaml").write_text(SURVEY)
    (folder / "sky.yaml").write_text("components: []\n")
    (folder / "empty.zarr").mkdir()
    shutil.copytree(survey.parent, folder / "data")
    before = tree(folder)
    assert call(*arguments.split()) == 1
    told = capsys.readouterr().err
    assert word in told
    assert "Traceback" not in told
    assert tree(folder) == before


def test_files_within_a_store_are_kept(folder: Path) -> None:
    put(
        folder,
        "s.zarr/README",
        "s.zarr/blocks/notes",
        "s.zarr/commits/why.txt",
        "s.zarr/manifests/a.json",
    )
    users = {name: text for name, text in tree(folder).items() if "mine" in str(text)}
    assert call("append", "s.zarr", "m.yaml") == 1
    assert call("cutout", "s.zarr", "c.zarr", "--lon", 83.6, "--lat", 22, "--width", 1) == 0
    assert call("cutout", "c.zarr", "s.zarr", "--lon", 83.6, "--lat", 22, "--width", 1, "--overwrite") == 0  # fmt: skip
    assert call("compact", "s.zarr", "--remove-old") == 0
    assert len(users) == 4
    assert_kept(users, folder)


def test_reports_again_and_again(folder: Path) -> None:
    """Its own report is replaced, and a fit that starts anew takes it away."""
    assert call("report", "out") == 0
    assert call("report", "out") == 0
    shutil.copy(folder / "out" / "report.html", folder / "r.html")
    assert call("report", "out", "-o", "r.html", "--overwrite") == 0
    assert call("fit", "s.zarr", "m.yaml", "-o", "out", "--overwrite") == 0
    assert not (folder / "out" / "report.html").exists()
    assert (folder / "r.html").stat().st_size > 1000


def test_no_space_for_a_report(folder: Path) -> None:
    """The error names the file, which system errors of writing do not."""
    with files_up_to(1000):
        done = run("report", "out", "-o", "r.html", cwd=folder)
    assert done.returncode == 1
    assert "gmdask: error: [Errno 27] File too large: 'r.html'" in done.stderr
    assert not (folder / "r.html").exists()


def test_simulation_that_was_killed_goes_on(folder: Path) -> None:
    """Its true models are there already: as long as they are its own."""
    (folder / "survey.yaml").write_text(SURVEY)
    (folder / "sky.yaml").write_text("components: []\n")
    assert call("simulate", "survey.yaml", "new.zarr") == 0
    truth = (folder / "new-truth.yaml").read_bytes()
    for path in (folder / "new.zarr" / "commits").glob("00000002.*"):
        path.unlink()
    assert call("simulate", "survey.yaml", "new.zarr") == 0
    assert (folder / "new-truth.yaml").read_bytes() == truth
    assert gm.Datasets.read("new.zarr").names


def test_other_writers_at_work_are_left_alone(folder: Path) -> None:
    """Blocks that another process has finished, and not committed yet."""
    store = gm.Store.open("s.zarr")
    record = store.write_block([gm.Datasets.read("s.zarr")[0].copy("new").cube.load()], "a" * 64)
    assert call("compact", "s.zarr", "--remove-old") == 0
    store.commit([record])
    assert gm.Datasets.read("s.zarr").names[-1] == "new"
