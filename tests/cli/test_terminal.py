"""What commands print, for people and programs, and what a terminal gets of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from astropy import units as u

import gmdask as gm
from gmdask.cli.main import main
from gmdask.cli.terminal import one_line, printable
from gmdask.events import counted
from tests.datasets.synthetic import models as true_models


@pytest.fixture
def gmdask(monkeypatch, capsys):
    """Run a command in this process: its code, and what it wrote on both streams."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["gmdask", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        written = capsys.readouterr()
        return end.value.code, written.out, written.err

    return run


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Crab, 5.6°, √ts, ×", "Crab, 5.6°, √ts, ×"),
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("a\x9bb\x7f", "a\\x9bb\\x7f"),
        ("left\u202eright", "left\\u202eright"),
        ("one\u2028two", "one\\u2028two"),
        ("half\udc80", "half\\udc80"),
    ],
)
def test_control_characters_are_escaped(text, shown) -> None:
    assert printable(text) == shown
    assert printable(text, keep="\n").count("\n") == text.count("\n")


def test_an_error_is_one_line() -> None:
    assert one_line("while parsing\n  a block:\n\x1b[31m x") == "while parsing a block: \\x1b[31m x"


@pytest.mark.parametrize("names", [("dataset", "datasets"), ("pass", "passes")])
def test_one_is_singular(names) -> None:
    one, many = names
    assert [counted(n, one) for n in (0, 1, 2)] == [f"0 {many}", f"1 {one}", f"2 {many}"]


def test_path_with_control_characters_in_an_error(gmdask, tmp_path) -> None:
    code, _, err = gmdask("info", tmp_path / "a\nb\x1b]0;title\x07.zarr")
    assert code == 1
    assert err.count("\n") == 1
    assert "\x1b" not in err
    code, _, err = gmdask("ls", "a", "b\x1b[2J")
    assert code == 2
    assert "\x1b" not in err
    assert err.splitlines()[0].startswith("Usage: gmdask ls")


def test_progress_is_not_said_twice(gmdask, survey, tmp_path) -> None:
    """A block is made, and then written: the last of its datasets counts twice."""
    code, _, err = gmdask("import", survey, tmp_path / "s.zarr")
    assert code == 0
    ends = [line.split("] ")[1] for line in err.splitlines() if "3 of 3" in line]
    assert ends == ["check: 3 of 3 datasets", "import: 3 of 3 datasets"]


def test_json_of_a_store(gmdask, survey_store) -> None:
    code, out, _ = gmdask("ls", survey_store, "--json", "--where", "name ~ *-1")
    rows = gm.Store.open(survey_store).rows
    assert code == 0
    assert [row["name"] for row in json.loads(out)] == [
        r.name for r in rows if r.name.endswith("-1")
    ]
    code, out, _ = gmdask("info", survey_store, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["datasets"] == len(found["rows"]) == len(rows)
    assert found["digest"] == gm.Store.open(survey_store).digest
    assert found["rows"][0]["counts"] == rows[0].counts
    assert (
        found["arrays"]["exposure"]["unit"]
        == gm.Store.open(survey_store).open_row(rows[0])["exposure"].attrs["unit"]
    )
    assert set(found["arrays"]["counts"]["shape"]) == {"energy", "lat", "lon"}


def test_where_leaves_out_datasets_and_their_models(gmdask, survey_store, tmp_path) -> None:
    datasets = gm.Datasets.read(survey_store)
    first, last = datasets.names[0], datasets.names[-1]
    models = true_models(datasets.names)
    models.write(tmp_path / "models.yaml")
    code, _, err = gmdask(
        "fit", survey_store, tmp_path / "models.yaml", "-o", tmp_path / "out", "-q",
        "--where", f"name != {last}",
    )  # fmt: skip
    assert (code, err) == (0, "")
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert set(result["stat"]) == set(datasets.names) - {last}
    fitted = gm.Models.read(tmp_path / "out" / "models.yaml")
    assert len(fitted) == len(models) - 1
    chosen = datasets[[name for name in datasets.names if name != last]]
    expected = gm.Fit(chosen).run(gm.Models([m for m in models if m.datasets_names != [last]]))
    assert result["total_stat"] == expected.total_stat
    code, _, err = gmdask(
        "fit",
        survey_store,
        tmp_path / "models.yaml",
        "-o",
        tmp_path / "two",
        "--where",
        "counts < 0",
    )
    assert code == 1
    assert "no dataset fulfils 'counts < 0'" in err
    code, out, err = gmdask(
        "flux-points", survey_store, tmp_path / "models.yaml", "--source", "source",
        "--energy-edges", "1 10 TeV", "-o", tmp_path / "points.fits", "--where", f"name = {first}",
    )  # fmt: skip
    assert code == 0, err
    afresh = gm.Models.read(tmp_path / "models.yaml")
    alone = gm.FluxPointsEstimator("source", [1, 10] * u.TeV).run(
        datasets[[first]], gm.Models([m for m in afresh if m.datasets_names in (None, [first])])
    )
    assert f"{float(alone.data['norm'].values[0]):.3g}" in out


def test_verbose_tells_every_event(gmdask, survey_store, tmp_path) -> None:
    true_models(gm.Datasets.read(survey_store).names).write(tmp_path / "models.yaml")
    code, _, err = gmdask(
        "-v", "fit", survey_store, tmp_path / "models.yaml", "-o", tmp_path / "out"
    )
    assert code == 0
    assert "fit: checkpoint after pass" in err
    code, out, _ = gmdask("status", tmp_path / "out", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["state"] == "done"
    assert found["last_event"] == "FitEnd"
    assert found["passes"] >= 1
    assert isinstance(found["statistic"], float)
    code, out, _ = gmdask("status", tmp_path / "out")
    assert out.startswith("state       done: converged")
    assert f"statistic   {found['statistic']:.4f}\n" in out


@pytest.mark.parametrize("command", ["ls STORE", "--help"])
def test_output_closed_early_is_no_error(command, survey_store, tmp_path) -> None:
    program = f"{sys.executable} -m gmdask {command.replace('STORE', str(survey_store))}"
    # the reader is gone before anything is written
    script = f"{{ sleep 0.1; {program} 2>err; echo $? >code; }} | true; cat code err"
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "0\n"


INTERRUPTED = """
import threading, time
from gmdask.cli import main as module
class Callback:
    def __del__(self):
        raise KeyboardInterrupt
def work(**_):
    threading.Thread(target=threading.Event().wait).start()  # for ever
    Callback()  # an exception in it is dropped by Python
    time.sleep(1000)
module.cli.main, module.GRACE = work, 0.2
module.program()
"""


def test_an_interruption_ends_the_program() -> None:
    """Even one that comes in a callback, while another thread waits for ever."""
    command = [sys.executable, "-c", INTERRUPTED]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (130, "gmdask: interrupted\n")


def test_completion_of_commands() -> None:
    env = {
        **os.environ,
        "_GMDASK_COMPLETE": "bash_complete",
        "COMP_WORDS": "gmdask li",
        "COMP_CWORD": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "gmdask"], env=env, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "plain,light-curve\n"


def test_help_tells_of_completion(gmdask) -> None:
    _, out, _ = gmdask("--help")
    assert 'eval "$(_GMDASK_COMPLETE=bash_source gmdask)"' in out


def test_versions(gmdask, capsys) -> None:
    code, out, _ = gmdask("versions", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["versions"]["gmdask"] == gm.__version__
    assert found["versions"]["gammapy"] == "2.1"
    assert found["blas"]
    assert found["settings"]["gmdask"]["cluster"]
    gm.show_versions()
    shown = capsys.readouterr().out
    for topic, entries in found.items():
        assert topic in shown.splitlines()
        assert all(key in shown for key in entries)


def test_job_script_carries_no_line_of_others(gmdask, survey_store, tmp_path, monkeypatch) -> None:
    folder = tmp_path / "a\ntouch pwned #"
    folder.mkdir()
    true_models(gm.Datasets.read(survey_store).names).write(folder / "models.yaml")
    shutil.copy(folder / "models.yaml", tmp_path)
    for models, output, cwd in (
        (folder / "models.yaml", tmp_path / "out", tmp_path),
        (tmp_path / "models.yaml", folder / "out", tmp_path),
        (tmp_path / "models.yaml", tmp_path / "out", folder),
    ):
        monkeypatch.chdir(cwd)
        code, _, err = gmdask("batch", "fit", survey_store, models, "-o", output)
        assert code == 1
        assert "control characters" in err
        assert not list(tmp_path.rglob("job.sh"))
    monkeypatch.chdir(tmp_path)
    code, _, err = gmdask(
        "batch", "fit", survey_store, "models.yaml", "--queue", "a\ntouch pwned"
    )  # of a directive
    assert code == 1
    code, _, _ = gmdask("batch", "fit", survey_store, "models.yaml", "--where", "name ~ a'b*")
    assert code == 0
    assert """--where 'name ~ a'"'"'b*'""" in (Path("out") / "job.sh").read_text()
