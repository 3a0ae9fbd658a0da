"""The commands ``gmdask batch`` and ``gmdask status``."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from gmdask.atomic_files import write_atomically
from gmdask.cli.batch_script import Job
from gmdask.cli.choosing import response_option, where_option
from gmdask.cli.output import OutputFolder
from gmdask.cli.store_commands import json_option
from gmdask.cli.terminal import echo, echo_json
from gmdask.errors import InputError, InputNotFoundError
from gmdask.events import read_events
from gmdask.paths import expanded

__all__ = ["batch", "status"]

SETTINGS = (
    "jobs", "cores", "memory", "walltime", "queue", "account", "interface", "directives", "prologue",
    "driver-memory", "before-end",
)  # fmt: skip
SILENT_S = 600.0  # a fit without a batch job and without events for this long is taken as stopped


@click.group()
def batch() -> None:
    """Write and submit jobs for a batch system (SLURM)."""


@batch.command("fit")
@click.argument("store", type=click.Path())
@click.argument("models", type=click.Path())
@click.option(
    "-o",
    "--output",
    default="out",
    show_default=True,
    type=click.Path(),
    metavar="FOLDER",
    help="Output folder.",
)
@click.option("--jobs", type=click.IntRange(min=1), help="Number of worker jobs.")
@click.option("--cores", type=click.IntRange(min=1), help="Workers per job, one per core.")
@click.option("--memory", metavar="SIZE", help="Memory per job, such as 4GB.")
@click.option("--walltime", metavar="TIME", help="Walltime per job, such as 02:00:00.")
@click.option("--queue", metavar="NAME", help="Partition.")
@click.option("--account", metavar="NAME", help="Account that the jobs are charged to.")
@click.option(
    "--backend", type=click.Choice(["newton", "minuit"]), default="newton", show_default=True
)
@click.option("--max-passes", type=click.IntRange(min=1), default=100, show_default=True)
@where_option
@response_option
@click.option("--submit", is_flag=True, help="Also submit the job.")
def batch_fit(
    store: str, models: str, output: str, backend: str, max_passes: int, where: tuple[str, ...],
    response: str | None, submit: bool, **slurm: Any,
) -> None:  # fmt: skip
    """Fit MODELS to the datasets of a STORE in SLURM jobs.

    Writes FOLDER/job.sh, an sbatch script that can be read and edited. The job starts the worker
    jobs, runs the fit, and queues itself again if its walltime ends before the fit does. Options that
    are not given are taken from the settings gmdask.slurm. See gmdask status FOLDER.
    """
    from gmdask.cluster.settings import setting, size_of
    from gmdask.datasets.base import chosen_response
    from gmdask.store import Store

    folder = OutputFolder(output)
    if not expanded(models).is_file():
        msg = f"{models}: no such file"
        raise InputNotFoundError(msg)
    defaults = {key: setting(f"slurm.{key}") for key in SETTINGS}
    chosen = defaults | {key: value for key, value in slurm.items() if value is not None}
    size_of(chosen["memory"], "memory")
    options = ["--backend", backend, "--max-passes", str(max_passes)]
    options += ["--response", chosen_response(response)]
    for condition in where:
        options += ["--where", condition]
    path = folder.path.absolute()
    job = Job(Store.open(store).url, str(expanded(models).absolute()), path, tuple(options), chosen)
    script = folder.write_job(job.script())
    echo(f"written {script}")
    if not submit:
        echo(f"submit it with: sbatch {script}")
        return
    number = _sbatch(script)
    write_atomically(path / "job.json", (json.dumps({"job": number}) + "\n").encode())
    echo(f"submitted as job {number}: gmdask status {output}")


def _sbatch(script: Path) -> str:
    answer = _said("sbatch", "--parsable", str(script))
    return answer.split(";")[0]


def _said(*command: str) -> str:
    """Run a SLURM command and return its output.

    Raises
    ------
    InputError
        If the command does not exist, or rejects its arguments.
    """
    try:
        done = subprocess.run(  # noqa: S603  (commands of SLURM)
            command, capture_output=True, text=True, timeout=60, check=True
        )
    except FileNotFoundError:
        msg = f"SLURM was not found on this machine (no command {command[0]})"
        raise InputError(msg) from None
    except subprocess.CalledProcessError as error:
        raise InputError(error.stderr.strip()) from None
    return done.stdout.strip()


@click.command()
@click.argument("folder", type=click.Path(), metavar="FOLDER", default="out")
@json_option
def status(folder: str, as_json: bool) -> None:
    """Show the progress of the fit in the output FOLDER."""
    out = OutputFolder(folder, resume=True)
    if not out.path.is_dir():
        msg = f"{folder}: no such folder"
        raise InputNotFoundError(msg)
    events, _ = read_events(out.events)
    job = _job(out.path)
    if not events and job is None and not (out.path / "result.json").is_file():
        msg = f"{folder}: contains no fit (no events.jsonl, no result.json)"
        raise InputError(msg)
    try:
        found = _found(out, events, job)
    except (KeyError, TypeError, ValueError) as error:
        msg = f"{out.events}: contains an incomplete event ({error!r})"
        raise InputError(msg) from error
    if as_json:
        echo_json(found)
    else:
        _echo_status(found)


def _found(
    out: OutputFolder, events: list[dict[str, Any]], job: tuple[str, str] | None
) -> dict[str, Any]:
    """Collect what is known about a fit."""
    state, _, message = _state(out, events, job).partition(": ")
    found = {"state": state, "message": message, **_progress(events)}
    if job is not None:
        found |= {"job": job[0], "job_state": job[1]}
    if events:
        found |= {"last_event": events[-1]["event"], "age_s": _age(events[-1])}
    return found


def _echo_status(found: dict[str, Any]) -> None:
    forms = {
        "statistic": "{statistic:.4f}", "edm": "{edm:.1e}", "job": "{job} ({job_state})",
        "compiled": "{compiled} of {datasets} datasets", "last_event": "{last_event}, {age_s:.0f} s ago",
    }  # fmt: skip
    echo(f"{'state':<12}{': '.join(filter(None, (found['state'], found['message'])))}")
    for key in (
        "response",
        "compiled",
        "passes",
        "statistic",
        "edm",
        "workers",
        "job",
        "last_event",
    ):
        if found.get(key) is not None:
            echo(f"{key.replace('_', ' '):<12}{forms.get(key, f'{{{key}}}').format(**found)}")


def _job(folder: Path) -> tuple[str, str] | None:
    """Number of the batch job of a fit, and its state in the queue."""
    if not (folder / "job.json").is_file():
        return None
    from gmdask.inputs import load_json, read_bytes

    path = folder / "job.json"
    content = load_json(read_bytes(path), str(path))
    if not isinstance(content, dict) or "job" not in content:
        msg = f"{path}: does not contain the number of a job"
        raise InputError(msg)
    number = str(content["job"])
    try:
        found = _said("squeue", "--noheader", f"--jobs={number}", "--format=%T")
    except InputError:  # SLURM forgets a job some time after its end
        found = ""
    return number, found or "not in the queue"


def _state(out: OutputFolder, events: list[dict[str, Any]], job: tuple[str, str] | None) -> str:
    kinds = ("RunStart", "FitStart", "FitEnd", "FitFailed")
    last = next((e for e in reversed(events) if e["event"] in kinds), None)
    waits = job is not None and job[1] in ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD")
    runs = job is not None and job[1] in ("RUNNING", "COMPLETING")
    if waits:
        return "waiting in the queue" + (", to resume" if out.checkpoint.is_file() else "")
    if last is not None and last["event"] == "FitFailed":
        return f"failed: {last['error']}"
    if last is not None and last["event"] == "FitEnd" and not out.checkpoint.is_file():
        return f"{'done' if last['success'] else 'ended without success'}: {last['message']}"
    if runs or _runs(out, last, events, job):
        is_fitting = last is not None and last["event"] != "RunStart"
        return "running" if is_fitting else "running: waiting for workers"
    if out.checkpoint.is_file():
        return f"stopped: resume with gmdask fit --resume {out.path}"
    return (
        "done"
        if (out.path / "result.json").is_file()
        else "not started, or stopped before its first point"
    )


def _runs(
    out: OutputFolder, last: dict[str, Any] | None, events: list[dict[str, Any]], job: Any
) -> bool:
    """Whether a process holds the folder; if that is unknown, judge by the age of the last event."""
    holder = out.lock.holder()
    runs = None if holder is None else holder.runs()
    if runs is None and job is None and last is not None:
        return last["event"] in ("RunStart", "FitStart") and _age(events[-1]) < SILENT_S
    return bool(runs)


def _progress(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Passes, statistic and workers, from the last event of each kind."""
    last = {event["event"]: event for event in events}
    found: dict[str, Any] = {}
    if response := last.get("FitStart", {}).get("response"):
        found["response"] = response
    if "FitPass" in last:
        best = last["FitPass"]
        found |= {"passes": best["number"], "statistic": best["best"], "edm": best["edm"]}
    elif "DatasetsProgress" in last:
        progress = last["DatasetsProgress"]
        found |= {"compiled": progress["done"], "datasets": progress["total"]}
    if "Workers" in last:
        found["workers"] = len(last["Workers"]["addresses"])
    return found


def _age(event: dict[str, Any]) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(event["time"])).total_seconds()
