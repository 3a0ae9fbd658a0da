"""Workers as jobs of SLURM, with TLS between all that takes part."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import dask
from distributed import Client, Security
from distributed.core import Status
from distributed.deploy import SpecCluster

from gmdask.cluster.settings import SCHEDULER, setting, size_of
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


class JobsClient(Client):  # type: ignore[misc]
    """Client whose jobs end with it, as does what is to be closed besides."""

    def __init__(self, jobs: Jobs, with_it: ExitStack) -> None:
        self._with_it = with_it
        super().__init__(jobs)

    def close(self, *args: Any, **kwargs: Any) -> Any:
        """Close the client, and cancel the jobs."""
        with self._with_it:
            return super().close(*args, **kwargs)


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
            security = stack.enter_context(_certificates(folder))
        with dask.config.set(SCHEDULER):
            jobs = stack.enter_context(_start(chosen, folder, security))
        client = JobsClient(jobs, stack.pop_all())
    try:
        _submit(jobs, chosen["jobs"])
        _wait(client, jobs, chosen["jobs"] * chosen["cores"])
    except BaseException:
        client.close()
        raise
    return client


@contextmanager
def _certificates(folder: Path) -> Iterator[Security]:
    """Those of Dask's configuration, or a new one in files that last as long as the cluster."""
    if dask.config.get("distributed.comm.tls.ca-file"):
        yield Security(require_encryption=True)
        return
    made = Security.temporary().get_tls_config_for_role("worker")  # the same for all
    with tempfile.TemporaryDirectory(prefix=".tls-", dir=folder) as place:
        for name in ("cert", "key"):
            (Path(place) / name).touch(mode=0o600)
            (Path(place) / name).write_text(made[name], encoding="ascii")
        files = {"cert": f"{place}/cert", "key": f"{place}/key"}
        roles = ("client", "scheduler", "worker")
        own = {f"tls_{role}_{name}": file for role in roles for name, file in files.items()}
        yield Security(require_encryption=True, tls_ca_file=files["cert"], **own)


def _start(chosen: dict[str, Any], folder: Path, security: Security) -> Jobs:
    pages = setting("dashboard-address")
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
        job_script_prologue=[*setting("slurm.prologue"), *_environment()],
        death_timeout=DEATH_S,
        local_directory="${TMPDIR:-/tmp}",
        worker_extra_args=["--dashboard-address", pages],
        scheduler_options={"dashboard_address": pages},
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
        for key, value in SCHEDULER.items()
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
