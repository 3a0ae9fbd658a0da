"""A fit as a job of SLURM, on a real one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from slurm_node import made_slow, said, slurm, until  # noqa: F401
from synthetic import with_models

import gmdask as gm
from gmdask.events import read_events


@pytest.fixture
def gmdask(tmp_path, survey_store):
    """Run the command beside the store, with SLURM's network that of one machine."""
    own = with_models(gm.Datasets.read(survey_store))
    own["source"].spatial_model.lon_0.value += 0.07
    own.write(tmp_path / "start.yaml")
    told = {"DASK_GMDASK__SLURM__INTERFACE": "lo"}

    def call(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "gmdask", *map(str, arguments)],
            cwd=tmp_path, capture_output=True, text=True, env=os.environ | told, timeout=120,
        )  # fmt: skip

    return call


def content(folder: Path):
    result = json.loads((folder / "result.json").read_text())
    covariance = (folder / "models_covariance.dat").read_text()
    return result["total_stat"], result["stat"], result["parameters"], covariance


def test_a_fit_that_meets_its_walltime(slurm, gmdask, tmp_path, survey_store):  # noqa: F811
    done = gmdask("batch", "fit", survey_store, "start.yaml", "--jobs", 1, "--memory", "1GB")
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    made_slow(out / "job.sh")
    job = said("sbatch", "--parsable", out / "job.sh")
    until(
        lambda: any(e["event"] == "CheckpointWritten" for e in read_events(out / "events.jsonl")[0])
    )
    until(lambda: any(e.get("number") == 3 for e in read_events(out / "events.jsonl")[0]))
    assert f"job         {job} (RUNNING)" in gmdask("status", "out").stdout
    said("scancel", "--batch", "--signal=USR1", job)  # as SLURM does before the walltime ends
    until(lambda: said("squeue", "-h", "-j", job, "-o", "%T") == "PENDING")
    assert "waits in the queue, to go on" in gmdask("status", "out").stdout
    said("scontrol", "update", f"JobId={job}", "StartTime=now")
    until(lambda: not said("squeue", "-h", "-j", job))
    told = gmdask("status", "out").stdout
    assert "done: converged" in told, (told, *(f.read_text() for f in out.glob("logs/fit*")))
    whole = gmdask("fit", survey_store, "start.yaml", "-o", "whole")
    assert whole.returncode == 0, whole.stderr
    assert content(out) == content(tmp_path / "whole")
    starts = [e for e in read_events(out / "events.jsonl")[0] if e["event"] == "FitStart"]
    assert [start["passes"] > 0 for start in starts] == [False, True]
    assert {file.name for file in out.iterdir()} - {file.name for file in (tmp_path / "whole").iterdir()} == {
        "job.sh", "job.json", "logs",
    }  # fmt: skip
