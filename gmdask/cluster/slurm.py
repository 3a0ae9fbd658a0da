"""Workers as jobs of SLURM, with TLS between all that takes part."""

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
from gmdask.cluster.settings import cluster_settings, setting, size_of
from gmdask.errors import ClusterLostError, InputError

_ctrl_c = signal.getsignal(signal.SIGINT)
from dask_jobqueue import SLURMCluster  # noqa: E402

signal.signal(
    signal.SIGINT, _ctrl_c
)  # dask-jobqueue gives Ctrl-C another meaning as it is imported

__all__ = ["slurm_client"]

OPTIONS = ("jobs", "cores", "memory", "walltime", "queue", "account", "interface")
SETTLE_S = 10.0  # after a worker is gone, until SLURM knows what became of its job
DEATH_S = 60  # after which a worker without its scheduler ends
LOOK_S = 2.0  # between looks for workers that arrive
AGAIN_S = 20.0  # between looks for jobs that ended before
NO_PORT = "127.0.0.1:0"  # where Dask's server of pages listens that has none
# as `scratch_folder`, on the machine of a job
SCRATCH = """scratch=${TMPDIR:-/tmp}/gmdask-$(id -u)
mkdir -m 700 "$scratch" 2>/dev/null
[ -O "$scratch" ] && [ ! -L "$scratch" ] && chmod 700 "$scratch" || scratch=$(mktemp -d)"""


class Jobs(SLURMCluster):  # type: ignore[misc]
    """Jobs with workers; one that ended before its time is submitted again."""

    def _update_worker_status(self, op: str, msg: Any) -> None:
        # not SpecCluster's: it knows nothing of the queue, and cancels what still waits there
        super(SpecCluster, self)._update_worker_status(op, msg)
        if op == "remove" and self.status is Status.running:
            loop = asyncio.get_running_loop()
            loop.call_later(SETTLE_S, lambda: asyncio.ensure_future(self.replace()))

    async def replace(self) -> None:
        """Submit those again that are in the queue no more."""
        known = {name: job.job_id for name, job in self.workers.items()}  # before it is asked
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
            async with self._lock:  # what was interrupted may be about to submit jobs
                pass
        for job in self._created:  # nobody else says so, and it is asked for in the end
            job.status = Status.closing
        await super()._close()


def queued() -> set[str] | None:
    """Jobs that wait or run, None where SLURM does not say."""
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
        By default the certificates of Dask's configuration, or a new one.
    **options
        Settings in place of those of ``gmdask.slurm``: jobs, cores, memory, walltime, queue,
        account, interface.

    Raises
    ------
    InputError
        If there is no SLURM here, or a setting is not valid.
    ClusterLostError
        If SLURM does not take the jobs, or they end before a worker is there.
    """
    unknown = sorted(options.keys() - set(OPTIONS))
    if unknown:
        msg = f"{unknown[0]!r} is no option of a cluster on SLURM, expected some of {OPTIONS}"
        raise InputError(msg)
    if shutil.which("sbatch") is None:
        msg = "there is no SLURM on this machine (no command sbatch)"
        raise InputError(msg)
    chosen = {key: setting(f"slurm.{key}") for key in OPTIONS} | options
    for key in ("jobs", "cores"):
        if not isinstance(chosen[key], int) or chosen[key] < 1:
            msg = f"{key} is {chosen[key]!r}, expected at least 1"
            raise InputError(msg)
    folder = Path(setting("slurm.folder")).expanduser().absolute()
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
    """Shell commands that give workers the modules and settings of this process."""
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
    except RuntimeError as error:  # with the whole output of sbatch
        words = [line for line in str(error).splitlines() if line.startswith("sbatch:")]
        msg = f"SLURM does not take the jobs: {'; '.join(words) or error}"
        raise ClusterLostError(msg) from error


def _wait(client: Client, jobs: Jobs, workers: int) -> None:
    """Wait for the first worker as long as jobs are in the queue, for the others some time.

    Once there is one, the others that ended before theirs was there are submitted again.
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
            msg = f"all jobs ended before a worker was there: see the logs in {jobs._dummy_job.log_directory}"
            raise ClusterLostError(msg)
        time.sleep(LOOK_S)
