"""Connections: what listens, how workers are set up, what is refused."""

from __future__ import annotations

import json
import os

import dask
import psutil
import pytest

import gmdask as gm
from gmdask.errors import InputError, InputNotFoundError
from tests.datasets.clusters import pids


def listening(pid):
    """Addresses at which a process and its children accept connections."""
    process = psutil.Process(pid)
    found = set()
    for one in [process, *process.children(recursive=True)]:
        for connection in one.net_connections(kind="inet"):
            if connection.status == psutil.CONN_LISTEN or not connection.raddr:
                found.add(connection.laddr.ip)
    return found


def test_nothing_listens_beyond_loopback(two_workers):
    for pid in [os.getpid(), *pids(two_workers).values()]:
        assert listening(pid) == {"127.0.0.1"}
    addresses = [two_workers.scheduler.address, *two_workers.scheduler_info()["workers"]]
    assert all(address.startswith("tls://127.0.0.1:") for address in addresses)


def test_workers_are_as_asked_for(two_workers):
    workers = two_workers.scheduler_info()["workers"].values()
    assert len(workers) == 2
    for worker in workers:
        assert worker["nthreads"] == 1
        assert worker["memory_limit"] == 2_000_000_000
    assert os.getpid() not in pids(two_workers).values()
    extensions = two_workers.run_on_scheduler(lambda dask_scheduler: [*dask_scheduler.extensions])
    assert "stealing" not in extensions


def fractions(dask_worker):
    memory = dask_worker.memory_manager
    return memory.memory_target_fraction, memory.memory_spill_fraction, memory.memory_pause_fraction


def test_a_worker_is_never_paused(two_workers):
    """It would free nothing, and a fit would wait for it for ever."""
    assert set(two_workers.run(fractions).values()) == {(False, False, False)}


def test_address_of_a_cluster(two_workers):
    with gm.connect(two_workers.scheduler.address, security=two_workers.security) as client:
        assert set(client.nthreads()) == set(two_workers.nthreads())
        assert client.submit(sum, [1, 2]).result() == 3
    assert two_workers.submit(sum, [1, 2, 4]).result() == 7  # the cluster goes on


def test_without_the_certificate(two_workers):
    with pytest.raises(InputError, match=r"security=.*distributed\.comm\.tls"):
        gm.connect(two_workers.scheduler.address)


def test_scheduler_file(two_workers, tmp_path):
    path = tmp_path / "scheduler.json"
    path.write_text(json.dumps({"address": two_workers.scheduler.address}))
    with gm.connect(str(path), security=two_workers.security) as client:
        assert set(client.nthreads()) == set(two_workers.nthreads())


@pytest.mark.parametrize(
    ("address", "options", "words"),
    [
        ("local", {"workers": 0}, "workers is 0"),
        ("local", {"workers": -2}, "workers is -2"),
        ("local", {"memory_limit": "much"}, "'much'"),
        ("local", {"memory_limit": 0}, "not positive"),
        ("local", {"memory_limit": "-1GB"}, "not"),
        ("tcp://127.0.0.1:1", {"workers": 2}, r"tcp://127\.0\.0\.1:1"),
        ("tcp://127.0.0.1:1", {"memory_limit": "2GB"}, r"tcp://127\.0\.0\.1:1"),
        ("scheduler.json", {"workers": 2}, "scheduler.json"),
        (
            "loacl",
            {"workers": 2},
            r"no cluster 'loacl' \(did you mean 'local'\?\): expected 'local' or",
        ),
        ("Slurm", {}, r"did you mean 'slurm'"),
        ("somewhere", {}, r"no cluster 'somewhere': expected"),
    ],
)
def test_bad_arguments(address, options, words):
    with pytest.raises(InputError, match=words):
        gm.connect(address, **options)


def test_nobody_at_the_address():
    with pytest.raises(OSError, match=r"127\.0\.0\.1:1"):
        gm.connect("tcp://127.0.0.1:1", timeout=1)


def test_scheduler_file_that_is_not_there(tmp_path):
    with pytest.raises(InputNotFoundError, match=r"missing\.json"):
        gm.connect(str(tmp_path / "missing.json"), timeout=1)


def test_paths_as_users_write_them(tmp_path, monkeypatch):
    monkeypatch.setenv("PLACE", str(tmp_path))
    with pytest.raises(InputNotFoundError, match=str(tmp_path / "missing")):
        gm.connect("$PLACE/missing.json")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InputNotFoundError, match=str(tmp_path / "missing")):
        gm.connect("~/missing.yaml")


def test_settings_of_others_are_left_alone(two_workers):
    assert dask.config.get("distributed.scheduler.work-stealing")
