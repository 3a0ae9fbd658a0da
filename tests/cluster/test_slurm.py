"""Workers as jobs of SLURM, on a real one: bits, lost jobs, certificates, ports, walltime."""

from __future__ import annotations

import gc
import os
import socket
import ssl

import dask
import pytest
from distributed import Client, Security

import gmdask as gm
from gmdask.cluster import worker_watch
from gmdask.errors import ClusterLostError, InputError
from gmdask.events import Accepted, WorkerLost
from tests.cluster.slurm_node import listening, made_slow, numbers, process_tree, said, slurm, until  # noqa: F401
from tests.datasets.synthetic import with_models

pytestmark = pytest.mark.slow

JOBS = {"memory": "1GB", "walltime": "00:10:00"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("slurm")
    with dask.config.set({"gmdask.slurm.folder": str(made)}):
        yield made


def refused(address):
    """Whether an address takes nothing from who has no certificate of the cluster."""
    host, port = address
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((host, port), timeout=10) as plain,
            context.wrap_socket(plain) as encrypted,
        ):
            return not encrypted.recv(1)  # TLS 1.3: it is told after the handshake
    except OSError:
        return True


def test_ports_on_the_network(slurm, folder):  # noqa: F811
    """First, while both cores are free. Without a network named, they listen on all, with TLS; Dask's pages do not."""
    with gm.connect("slurm", jobs=1, **JOBS) as made:
        workers = [pid for worker in made.run(os.getpid).values() for pid in process_tree(worker)]
        found = set().union(*(listening(pid) for pid in [os.getpid(), *workers]))
        beyond = {(host, port) for host, port in found if host != "127.0.0.1"}
        assert beyond
        for host, port in beyond:
            assert refused(("127.0.0.1" if host in ("0.0.0.0", "::") else host, port))  # noqa: S104
        pages = [made.scheduler_info()["services"]["dashboard"]]
        assert all(("127.0.0.1", port) in found for port in pages)


def test_a_job_that_ends_before_its_worker_is_there(slurm, folder):  # noqa: F811
    once = f"mkdir {folder}/first 2>/dev/null || {{ mkdir {folder}/second 2>/dev/null && exit 1; }}"
    with (
        dask.config.set({"gmdask.slurm.prologue": [once]}),
        gm.connect("slurm", jobs=2, interface="lo", **JOBS) as made,
    ):
        assert (folder / "second").is_dir()
        assert len(made.nthreads()) == 2  # another was submitted in its place


@pytest.fixture(scope="module")
def client(slurm, folder):  # noqa: F811
    """Two jobs with a worker each."""
    with gm.connect("slurm", jobs=2, interface="lo", **JOBS) as made:
        yield made
    assert not list(folder.glob(".tls*"))


def fitted(store, client=None, on_event=None):
    datasets = gm.Datasets.read(store)
    models = with_models(datasets)
    models["source"].spatial_model.lon_0.value += 0.05
    return numbers(gm.Fit(datasets, client, on_event=on_event).run(models), models)


def test_a_fit_over_two_jobs(client, survey_store):
    assert len(client.nthreads()) == 2
    assert fitted(survey_store, client) == fitted(survey_store)


def test_nothing_listens_beyond_loopback(client):
    workers = [pid for worker in client.run(os.getpid).values() for pid in process_tree(worker)]
    assert len(workers) == 4
    for pid in [os.getpid(), *workers]:
        assert {host for host, _ in listening(pid)} <= {"127.0.0.1"}
    assert client.scheduler.address.startswith("tls://127.0.0.1:")


@pytest.mark.parametrize("security", [None, "another"])
def test_a_client_without_the_certificate(client, security):
    other = Security.temporary() if security else None
    with pytest.raises((OSError, RuntimeError, InputError)):
        gm.connect(client.scheduler.address, security=other, timeout=3)
    plain = client.scheduler.address.replace("tls://", "tcp://")
    with pytest.raises(OSError, match=r"127\.0\.0\.1"):
        Client(plain, timeout=2)
    gc.collect()  # Dask's clients that came to nothing: as they go, they may block the start of another
    own = client.cluster.security
    with gm.connect(client.scheduler.address, security=own) as second:
        assert second.submit(sum, [1, 2]).result() == 3


def test_certificates_are_for_their_owner(client, folder):
    (place,) = folder.glob(".tls*")
    assert [oct(file.stat().st_mode)[-3:] for file in place.iterdir()] == 3 * ["600"]
    assert oct(place.stat().st_mode)[-3:] == "700"


def test_a_job_that_is_cancelled(client, survey_store, monkeypatch):
    monkeypatch.setattr(worker_watch, "REPORT_S", 0.0)  # the fit may take less than that
    jobs = [job.job_id for job in client.cluster.workers.values()]
    heard = []

    def cancel(event):
        heard.append(event)
        if isinstance(event, Accepted) and len(client.nthreads()) == 2:
            said("scancel", jobs[0])
            until(lambda: len(client.nthreads()) == 1)

    assert fitted(survey_store, client, cancel) == fitted(survey_store)
    assert sum(isinstance(event, WorkerLost) for event in heard) == 1
    assert said("squeue", "-h", "-j", ",".join(jobs), "-t", "RUNNING", "-o", "%A") == jobs[1]
    until(lambda: len(client.nthreads()) == 2)  # another one was submitted
    assert jobs[0] not in [job.job_id for job in client.cluster.workers.values()]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"nodes": 2}, InputError, "'nodes' is not an option"),
        ({"jobs": 0}, InputError, "jobs is 0"),
        ({"memory": "much"}, InputError, "memory 'much'"),
        ({"queue": "nothere"}, ClusterLostError, "invalid partition specified: nothere"),
        ({"workers": 2}, InputError, "'slurm'"),
    ],
)
def test_mistakes(options, error, words, slurm, folder):  # noqa: F811
    with pytest.raises(error, match=words):
        gm.connect("slurm", **options)


def test_no_slurm(folder, monkeypatch):
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(InputError, match="SLURM was not found"):
        gm.connect("slurm")
