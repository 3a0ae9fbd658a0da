"""A real SLURM on this machine, and what its tests share."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import psutil
import pytest


def said(*command: object) -> str:
    """Output of a command."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=60)
    return done.stdout.strip()


def until(condition, timeout=180.0):
    """Wait for something, and give it."""
    end = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come in time"
        time.sleep(0.1)
    return found


def is_up() -> bool:
    """Whether SLURM answers, with two cores."""
    return shutil.which("sinfo") is not None and bool(said("sinfo", "--noheader"))


@pytest.fixture(scope="session")
def slurm(shared):
    """SLURM on this machine: started where it is not up, and then ended."""
    if is_up():
        yield
        return
    if os.geteuid():
        pytest.skip("SLURM is not up, and only root can start it")
    script = shared / "tools" / "slurm-single-node.sh"
    # Dask sets this one for its workers; cores would be counted by it
    environ = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [script, "start"], capture_output=True, text=True, timeout=300, env=environ, check=False
    )
    if done.returncode:
        pytest.skip(f"SLURM cannot be started: {(done.stderr or done.stdout).strip()[-500:]}")
    yield
    subprocess.run([script, "stop"], check=True, timeout=60)


def listening(pid: int) -> set[tuple[str, int]]:
    """Addresses at which a process accepts connections."""
    return {
        (connection.laddr.ip, connection.laddr.port)
        for connection in psutil.Process(pid).net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }


def process_tree(pid: int) -> list[int]:
    """A process on a worker, and its nanny."""
    return [pid, psutil.Process(pid).ppid()]


def numbers(result, models) -> dict[str, bytes]:
    """What has to be the same to the last bit."""
    return {
        "stat": repr((result.total_stat, result.stat, result.passes)).encode(),
        "values": models.parameters.value.tobytes(),
        "errors": models.parameters.error.tobytes(),
        "covariance": result.covariance.data.tobytes(),
    }


HANGS = """
import os, time
from gmdask.cli import fit_command
class Slow(fit_command.Progress):
    def __call__(self, event):
        super().__call__(event)
        if getattr(event, "number", 0) == 3 and "SLURM_RESTART_COUNT" not in os.environ:
            time.sleep(100)
fit_command.Progress = Slow
from gmdask.cli.main import main
main()
"""


def made_slow(script: Path) -> None:
    """Have the first run of a job stop in its third pass until it gets a signal."""
    slow = script.with_name("logs") / "slow.py"
    slow.write_text(HANGS)
    text = script.read_text()
    assert "-m gmdask fit" in text
    script.write_text(text.replace("-m gmdask fit", f"{slow} fit"))
