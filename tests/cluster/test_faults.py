"""The engine when workers hang or cannot build, and when the scheduler is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from astropy import units as u
from distributed import Client, LocalCluster

import gmdask as gm
from gmdask.cluster import make_engine, reduce_tree, run_tasks, worker_watch
from gmdask.errors import ClusterLostError, FitError, InputError
from gmdask.events import FitPass
from tests.cluster.jobs import build, evaluate
from tests.cluster.test_engine import engines, expected  # noqa: F401
from tests.cluster.test_engine_recovery import evened_out
from tests.datasets.clusters import pids, settled
from tests.datasets.synthetic import models as true_models

pytestmark = pytest.mark.slow

N = 6


def build_until(spec, folder):
    """Build, unless there is a file of this name."""
    path, seed = spec
    if Path(path).exists():
        message = "there is a fault now"
        raise InputError(message)
    return build((seed, 0), folder)


def end_worker(group, payload):
    """End the process, without notice, where the payload is negative."""
    if payload < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return evaluate(group, payload)


@pytest.mark.parametrize("when", ["before a pass", "from the start"])
def test_a_worker_that_hangs(when, engines, two_workers, monkeypatch):  # noqa: F811
    monkeypatch.setattr(
        worker_watch, "SILENT_S", 5.0
    )  # more than what a worker imports at its first task
    monkeypatch.setattr(worker_watch, "LOOK_S", 0.2)
    specs = [(seed, 0) for seed in range(N)]
    lost = next(iter(pids(two_workers).values()))
    engine, reference = engines(specs), expected(specs, [1.5] * N)
    if when == "before a pass":
        assert engine([1.5] * N) == reference
    os.kill(lost, signal.SIGSTOP)
    assert engine([1.5] * N) == reference
    settled(two_workers, 2, lost)  # it was started again
    evened_out(engine, two_workers, reference)


def test_a_slow_pass_is_no_hang(engines, monkeypatch, two_workers):  # noqa: F811
    monkeypatch.setattr(worker_watch, "SILENT_S", 1.5)
    monkeypatch.setattr(worker_watch, "LOOK_S", 0.1)
    before = pids(two_workers)
    specs = [(seed, 4.0) for seed in range(2)]
    assert engines(specs)([1.5] * 2) == expected(specs, [1.5] * 2)
    assert pids(two_workers) == before


def test_no_worker_left(one_worker, monkeypatch):
    monkeypatch.setattr(worker_watch, "LOOK_S", 0.1)
    monkeypatch.setattr(worker_watch, "ALONE_S", -1.0)
    specs = [(seed, 0.5) for seed in range(2)]
    engine = make_engine(build, evaluate, specs, one_worker)
    (lost,) = pids(one_worker).values()
    os.kill(lost, signal.SIGKILL)
    with pytest.raises(ClusterLostError, match="no worker"):
        engine([1.5] * 2)
    engine.close()
    settled(one_worker, 1, lost)


def test_a_group_that_cannot_be_built_again_stays(engines, two_workers, tmp_path):  # noqa: F811
    fault = tmp_path / "fault"
    specs = [(str(fault), seed) for seed in range(N)]
    engine = make_engine(build_until, evaluate, specs, two_workers)
    reference = engine([1.5] * N)
    fault.touch()
    workers = list(two_workers.nthreads())
    engine._even_out([workers[0]] * N)  # as if one held them all
    failing = set(engine._moving)
    assert failing
    for _ in range(5):
        assert engine([1.5] * N) == reference
        time.sleep(0.1)
    assert not engine._moving
    engine._even_out([workers[0]] * N)
    assert not failing & set(engine._moving)  # they are not tried again
    engine.close()


def test_workers_that_end_time_and_again(two_workers, engines):  # noqa: F811
    before = two_workers.run_on_scheduler(lambda dask_scheduler: dask_scheduler.allowed_failures)

    def allow(number, dask_scheduler):
        dask_scheduler.allowed_failures = number

    two_workers.run_on_scheduler(allow, 0)
    lost = pids(two_workers)
    try:
        with pytest.raises(ClusterLostError, match="1 workers died"):
            engines([(1, 0)], end_worker)([-1.0])
    finally:
        two_workers.run_on_scheduler(allow, before)
        settled(two_workers, 2)
    assert pids(two_workers) != lost


def started(folder: Path, workers: int):
    """A scheduler and workers of others, as their processes."""
    file = folder / "scheduler.json"
    here = Path(__file__).parent
    path = os.pathsep.join([*sys.path, str(here)])
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    common: dict[str, Any] = {"env": {**os.environ, "PYTHONPATH": path}, "cwd": folder, **quiet}
    run: list[Any] = [sys.executable, "-m"]
    processes = [
        subprocess.Popen(
            [*run, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0",
             "--no-dashboard", "--scheduler-file", file],
            **common,
        )
    ]  # fmt: skip
    while not file.exists():
        time.sleep(0.05)
    worker = [*run, "distributed.cli.dask_worker", "--scheduler-file", file, "--no-nanny",
              "--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1"]  # fmt: skip
    processes += [subprocess.Popen(worker, **common) for _ in range(workers)]
    return file, processes


def test_a_cluster_of_others(tmp_path, monkeypatch):
    """Workers without a nanny: one hangs, then the scheduler is gone."""
    monkeypatch.setattr(worker_watch, "LOOK_S", 0.2)
    file, processes = started(tmp_path, 2)
    try:
        with gm.connect(str(file), timeout=5) as client:
            client.wait_for_workers(2, timeout=30)
            specs = [(seed, 0.05) for seed in range(N)]
            engine, reference = (
                make_engine(build, evaluate, specs, client),
                expected(specs, [1.5] * N),
            )
            assert engine([1.5] * N) == reference
            monkeypatch.setattr(worker_watch, "SILENT_S", 3.0)
            os.kill(processes[1].pid, signal.SIGSTOP)
            assert engine([1.5] * N) == reference
            processes[0].kill()
            processes[0].wait()
            with pytest.raises(ClusterLostError, match="connection to the scheduler") as caught:
                engine([1.5] * N)
            assert isinstance(caught.value, FitError)
            assert isinstance(caught.value, ConnectionError)
            engine.close()
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.fixture
def brief():
    """Client of a cluster in this process, which a test may close."""
    with (
        LocalCluster(1, processes=False, protocol="inproc://", dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.mark.parametrize("closed", ["client", "cluster"])
def test_a_cluster_that_closes_during_a_fit(brief, closed, survey_store):
    datasets = gm.Datasets.read(survey_store)
    models = true_models(datasets.names)
    models["source"].spectral_model.index.value = 3.0

    def close(event):
        if isinstance(event, FitPass):
            (brief if closed == "client" else brief.cluster).close()

    with pytest.raises(ClusterLostError, match="connection to the scheduler"):
        gm.Fit(datasets, brief, on_event=close).run(models)


def test_a_client_that_is_closed(brief, survey_store, tmp_path):
    datasets = gm.Datasets.read(survey_store)
    models = true_models(datasets.names)
    brief.close()
    for work in (
        lambda: gm.Fit(datasets, brief).run(models),
        lambda: gm.FluxPointsEstimator("source", [1, 10] * u.TeV).run(datasets, models, brief),
        lambda: datasets.stack_reduce("sum", brief),
        lambda: datasets.write(tmp_path / "copy.zarr", brief),
        lambda: gm.export_datasets(datasets, tmp_path / "files", brief),
        lambda: make_engine(build, evaluate, [(0, 0.0)], brief),
    ):
        with pytest.raises(ClusterLostError, match="connection to the scheduler"):
            work()


def test_another_client_is_not_waited_for(two_workers, brief):
    """The client made last is Dask's default; its cluster may be busy, or gone."""
    go_on, ended = threading.Event(), []
    brief.loop.add_callback(lambda: ended.append(go_on.wait(60)))
    try:
        with closing(make_engine(build, evaluate, [(1, 0.3)], two_workers)) as engine:
            assert engine([1.5]) == expected([(1, 0.3)], [1.5])
        assert dict(run_tasks(abs, [-1, -2], two_workers)) == {0: 1, 1: 2}
        assert reduce_tree(abs, max, [-1, -2, 1], two_workers) == 2
        assert not ended
    finally:
        go_on.set()
