"""A local cluster, and the other users of the machine."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import dask
import psutil
import pytest
from distributed import Client, LocalCluster

from gmdask.cluster.security import certificate_files, scratch_folder
from tests.datasets.clusters import pids

INTRUDER = Path(__file__).parent / "intruder.py"
NOBODY = 65534

another_user = pytest.mark.skipif(os.getuid() != 0, reason="only root can act as another user")


def ports_of(*processes: int) -> list[int]:
    """Ports at which processes listen."""
    return sorted(
        connection.laddr.port
        for pid in processes
        for connection in psutil.Process(pid).net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    )


def tried(mark: Path, *ports: int) -> dict[str, object]:
    """What another user achieves at some ports."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", INTRUDER, str(NOBODY), mark, *map(str, ports)],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["user"] == NOBODY
    return answer["found"]


@pytest.fixture
def mark(tmp_path):
    """File that anybody can write to."""
    path = tmp_path / "mark"
    path.touch()
    path.chmod(0o666)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    return path


@another_user
@pytest.mark.slow
def test_nobody_else_runs_code_or_reads_pages(two_workers, mark):
    workers = pids(two_workers)
    before = set(ports_of(os.getpid()))
    scheduler = int(two_workers.scheduler.address.rpartition(":")[2])
    before.remove(scheduler)
    ports = [scheduler, *sorted(before | set(ports_of(*workers.values())))]
    assert len(ports) >= 2 + 2 + 2  # scheduler, nannies and workers, and their servers of pages
    found = tried(mark, *ports)
    assert mark.read_text() == ""
    refused = {key: value for key, value in found.items() if not key.startswith("pages")}
    assert len(refused) == 2 * len(ports) + 2
    assert all(isinstance(value, str) for value in refused.values()), refused
    assert [value for key, value in found.items() if key.startswith("pages") and value] == []
    assert two_workers.submit(sum, [1, 2, 3]).result() == 6


@another_user
@pytest.mark.slow
def test_the_intruder_succeeds_where_nothing_is_private(mark):
    with (
        LocalCluster(
            1, processes=False, protocol="tcp://", host="127.0.0.1", dashboard_address=None
        ) as plain,
        Client(plain, set_as_default=False),
    ):
        addresses = (plain.scheduler_address, plain.workers[0].address)
        found = tried(mark, *(int(address.rpartition(":")[2]) for address in addresses))
    there, of_worker = addresses
    # as root: by the scheduler, by a task, and by the worker
    assert (
        found[f"run {there}"]
        == found[f"submit {there}"]
        == found[f"run {of_worker}"]
        == os.getuid()
    )
    assert mark.read_text() == "0\n0\n0\n"


def test_scratch_is_for_its_owner(two_workers, tmp_path):
    def folder(dask_worker):
        return dask_worker.local_directory

    for place in two_workers.run(folder).values():
        own = Path(place).parents[1]
        assert own == scratch_folder()
        assert stat.S_IMODE(own.lstat().st_mode) == 0o700
    with dask.config.set({"temporary-directory": str(tmp_path)}):
        made = scratch_folder()
        assert (made, stat.S_IMODE(made.stat().st_mode)) == (
            tmp_path / f"gmdask-{os.getuid()}",
            0o700,
        )
        assert scratch_folder() == made
        made.chmod(0o777)  # as one that somebody else made would be
        other = scratch_folder()
        assert (other.parent, stat.S_IMODE(other.stat().st_mode)) == (tmp_path, 0o700)
        assert other != made
        made.rmdir()
        made.symlink_to(tmp_path)
        assert scratch_folder() not in (made, other, tmp_path)


HELD = """
import os, sys, pathlib
from gmdask.cluster.security import certificate_files
with certificate_files(pathlib.Path(sys.argv[1])):
    print("there", flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow
def test_certificates_of_a_killed_client_are_swept(tmp_path):
    (tmp_path / ".tls-of-the-user").mkdir()
    others = [
        subprocess.Popen([sys.executable, "-c", HELD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(2)
    ]  # fmt: skip
    try:
        for other in others:
            assert other.stdout.readline() == b"there\n"
        both = set(tmp_path.glob(".tls-*/cert"))
        others[0].kill()
        others[0].wait()
        assert len(both) == 2
        with certificate_files(tmp_path):
            now = set(tmp_path.glob(".tls-*/cert"))
            assert len(now) == 2  # the new one and that of the other that runs
            assert len(now & both) == 1
    finally:
        for other in others:
            other.kill()
            other.communicate()
    with certificate_files(tmp_path):
        assert len(set(tmp_path.glob(".tls-*/cert"))) == 1
    assert [path.name for path in tmp_path.iterdir()] == [".tls-of-the-user"]
