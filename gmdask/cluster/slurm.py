"""Workers as SLURM jobs, with TLS on all connections."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import dask
from distributed import Client, Security
from distributed.core import Status
from distributed.deploy import SpecCluster

from gmdask.cluster.security import OwnClient, certificate_files
from gmdask.cluster.settings import check_walltime, cluster_settings, setting, size_of
from gmdask.errors import ClusterLostError, InputError
from gmdask.paths import expanded

_ctrl_c = signal.getsignal(signal.SIGINT)
from dask_jobqueue import SLURMCluster  # noqa: E402

signal.signal(signal.SIGINT, _ctrl_c)  # importing dask-jobqueue changes the handling of Ctrl-C

__all__ = ["slurm_client"]

OPTIONS = ("jobs", "cores", "memory", "walltime", "queue", "account", "interface")
SETTLE_S = 10.0  # wait after a worker is lost, until SLURM knows what became of its job
DEATH_S = 60  # a worker that has lost its scheduler ends after this time
LOOK_S = 2.0  # interval of checks for arriving workers
AGAIN_S = 20.0  # interval of checks for jobs that ended early
NO_PORT = "127.0.0.1:0"  # where Dask's HTTP server listens if the dashboard is off
# the equivalent of `scratch_folder` on the machine of a job
SCRATCH = """scratch=${TMPDIR:-/tmp}/gmdask-$(id -u)
mkdir -m 700 "$scratch" 2>/dev/null
[ -O "$scratch" ] && [ ! -L "$scratch" ] && chmod 700 "$scratch" || scratch=$(mktemp -d)"""


class Jobs(SLURMCluster):  # type: ignore[misc]
    """Jobs that run workers; a job that ends early is submitted again."""

    def _update_worker_status(self, op: str, msg: Any) -> None:
        # replaces SpecCluster's method, which does not know the queue and cancels jobs that still wait in it
        super(SpecCluster, self)._update_worker_status(op, msg)
        if op == "remove" and self.status is Status.running:
            loop = asyncio.get_running_loop()
            loop.call_later(SETTLE_S, lambda: asyncio.ensure_future(self.replace()))

    async def replace(self) -> None:
        """Submit jobs again that are no longer in the queue."""
        known = {name: job.job_id for name, job in self.workers.items()}  # before the queue is read
        there = await asyncio.to_thread(queued)
        if there is None or self.status is not Status.running:
            return
        gone = [name for name, job_id in known.items() if job_id not in there]
        for name in gone:
            self.workers.pop(name, None)
        if gone:
            await self._correct_state()

    async def _close(self) -> None:
        if self.status is Status.running:
            async with self._lock:  # an interrupted call may be about to submit jobs
                pass
        for job in self._created:  # their status is checked at the end, and nothing else sets it
            job.status = Status.closing
        await super()._close()


def queued() -> set[str] | None:
    """Return the jobs that wait or run, None if SLURM does not answer."""
    try:
        found = subprocess.run(
            ["squeue", "--noheader", "--me", "--format=%A"],  # noqa: S607
            capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return set(found.stdout.split())


def slurm_client(security: Security | None = None, **options: Any) -> Client:
    """Start workers as jobs, and wait for them.

    Parameters
    ----------
    security : `distributed.Security`, optional
        By default the certificates of Dask's configuration, or else a new one.
    **options
        Settings that replace those of ``gmdask.slurm``: jobs, cores, memory, walltime, queue,
        account, interface.

    Raises
    ------
    InputError
        If SLURM is not available, or a setting is invalid.
    ClusterLostError
        If SLURM rejects the jobs, or they end before a worker has started.
    """
    unknown = sorted(options.keys() - set(OPTIONS))
    if unknown:
        msg = f"{unknown[0]!r} is not an option of a SLURM cluster, expected some of {OPTIONS}"
        raise InputError(msg)
    if shutil.which("sbatch") is None:
        msg = "SLURM was not found on this machine (no command sbatch)"
        raise InputError(msg)
    chosen = {key: setting(f"slurm.{key}") for key in OPTIONS} | options
    for key in ("jobs", "cores"):
        if not isinstance(chosen[key], int) or chosen[key] < 1:
            msg = f"{key} is {chosen[key]!r}, expected at least 1"
            raise InputError(msg)
    check_walltime(chosen["walltime"])
    folder = expanded(setting("slurm.folder")).absolute()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with ExitStack() as stack:
        if security is None:
            security = stack.enter_context(certificate_files(folder))
        with dask.config.set(cluster_settings()):
            jobs = stack.enter_context(_start(chosen, folder, security))
        client = OwnClient(jobs, stack.pop_all())
    try:
        _submit(jobs, chosen["jobs"])
        _wait(client, jobs, chosen["jobs"] * chosen["cores"])
    except BaseException:
        client.close()
        raise
    return client


def _start(chosen: dict[str, Any], folder: Path, security: Security) -> Jobs:
    pages = setting("dashboard-address")
    address = ["--dashboard-address", pages or NO_PORT]
    return Jobs(
        cores=chosen["cores"],
        processes=chosen["cores"],
        memory=str(size_of(chosen["memory"], "memory")),
        queue=chosen["queue"],
        account=chosen["account"],
        walltime=str(chosen["walltime"]),
        interface=chosen["interface"],
        job_name="gmdask-worker",
        job_extra_directives=list(setting("slurm.directives")),
        job_script_prologue=[*setting("slurm.prologue"), *_environment(), SCRATCH],
        death_timeout=DEATH_S,
        local_directory='"$scratch"',
        worker_extra_args=[*address, *([] if pages else ["--no-dashboard"])],
        scheduler_options={"dashboard": bool(pages), "dashboard_address": pages or NO_PORT},
        security=security,
        protocol="tls://",
        log_directory=str(folder),
    )


def _environment() -> list[str]:
    """Return shell commands that give workers the modules and settings of this process."""
    found = {
        key.rpartition(".")[2]
        if "environ" in key
        else "DASK_" + key.upper().replace(".", "__").replace("-", "_"): value
        for key, value in cluster_settings().items()
    }
    if "PYTHONPATH" in os.environ:
        found["PYTHONPATH"] = os.environ["PYTHONPATH"]
    return [f"export {key}={shlex.quote(str(value))}" for key, value in found.items()]


def _submit(jobs: Jobs, number: int) -> None:
    for _ in range(number):
        jobs.worker_spec.update(jobs.new_worker_spec())
    try:
        jobs.sync(jobs._correct_state)
    except RuntimeError as error:  # its text is the whole output of sbatch
        words = [line for line in str(error).splitlines() if line.startswith("sbatch:")]
        msg = f"SLURM rejected the jobs: {'; '.join(words) or error}"
        raise ClusterLostError(msg) from error


def _wait(client: Client, jobs: Jobs, workers: int) -> None:
    """Wait for the first worker as long as jobs are in the queue, and for the others a limited time.

    Once the first worker has started, jobs that ended before theirs did are submitted again.
    """
    end, again = float("inf"), 0.0
    wait = dask.utils.parse_timedelta(setting("slurm.wait"))
    while (n := len(client.nthreads())) < workers and (now := time.monotonic()) < end:
        if n and end == float("inf"):
            end = now + wait
        if n and now >= again:
            jobs.sync(jobs.replace)
            again = now + AGAIN_S
        ids = {job.job_id for job in jobs.workers.values()}
        if not n and (there := queued()) is not None and not ids & there:
            msg = f"all jobs ended before a worker started: see the logs in {jobs._dummy_job.log_directory}"
            raise ClusterLostError(msg)
        time.sleep(LOOK_S)
