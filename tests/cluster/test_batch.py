"""A fit as a job of SLURM, on a real one."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import dask
import pytest

import gmdask as gm
from gmdask.cli.main import main
from gmdask.events import read_events
from tests.cluster.slurm_node import made_slow, said, slurm, until  # noqa: F401
from tests.datasets.synthetic import with_models

pytestmark = pytest.mark.slow


@pytest.fixture
def run(tmp_path, survey_store, monkeypatch, capsys):
    """Run the command in this process, beside the store, and give what it says."""
    own = with_models(gm.Datasets.read(survey_store))
    own["source"].spatial_model.lon_0.value += 0.07
    own.write(tmp_path / "start.yaml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))

    def call(*arguments):
        capsys.readouterr()
        monkeypatch.setattr("sys.argv", ["gmdask", *map(str, arguments)])
        with dask.config.set({"gmdask.slurm.interface": "lo"}), pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        assert not ended.value.code, said.err
        return said.out

    return call


def content(folder: Path):
    result = json.loads((folder / "result.json").read_text())
    covariance = (folder / "models_covariance.dat").read_text()
    return result["total_stat"], result["stat"], result["parameters"], covariance


def test_a_fit_that_meets_its_walltime(slurm, run, tmp_path, survey_store):  # noqa: F811
    run("batch", "fit", survey_store, "start.yaml", "--jobs", 1, "--memory", "1GB")
    out = tmp_path / "out"
    made_slow(out / "job.sh")
    job = said("sbatch", "--parsable", out / "job.sh")
    until(
        lambda: any(e["event"] == "CheckpointWritten" for e in read_events(out / "events.jsonl")[0])
    )
    until(lambda: any(e.get("number") == 3 for e in read_events(out / "events.jsonl")[0]))
    assert f"job         {job} (RUNNING)" in run("status", "out")
    said("scancel", "--batch", "--signal=USR1", job)  # as SLURM does before the walltime ends
    until(lambda: said("squeue", "-h", "-j", job, "-o", "%T") == "PENDING")
    assert "waiting in the queue, to resume" in run("status", "out")
    said("scontrol", "update", f"JobId={job}", "StartTime=now")
    until(lambda: not said("squeue", "-h", "-j", job))
    told = run("status", "out")
    assert "done: converged" in told, (told, *(f.read_text() for f in out.glob("logs/fit*")))
    run("fit", survey_store, "start.yaml", "-o", "whole")
    assert content(out) == content(tmp_path / "whole")
    starts = [e for e in read_events(out / "events.jsonl")[0] if e["event"] == "FitStart"]
    assert [start["passes"] > 0 for start in starts] == [False, True]
    assert {file.name for file in out.iterdir()} - {file.name for file in (tmp_path / "whole").iterdir()} == {
        "job.sh", "job.json", "logs",
    }  # fmt: skip
