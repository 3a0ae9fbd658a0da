"""The engine when a worker is lost: the same numbers, and an even load again."""

from __future__ import annotations

import threading
import time

import dask
import pytest

from gmdask.cluster import make_engine
from tests.cluster.jobs import build, evaluate
from tests.cluster.test_engine import engines, expected, placement  # noqa: F401
from tests.datasets.clusters import kill, pids, settled

pytestmark = pytest.mark.slow

N = 7


def evened_out(engine, client, reference):
    """Evaluate until no worker has two groups more than another."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        assert engine([1.5] * len(reference)) == reference
        counts = placement(client).values()
        if max(counts) - min(counts) <= 1 and sum(counts) == len(reference):
            return
        time.sleep(0.05)
    message = f"after a minute: {dict(placement(client))}"
    raise AssertionError(message)


@pytest.mark.parametrize("which", [0, 1])
def test_killed_between_passes(which, engines, two_workers):  # noqa: F811
    specs = [(seed, 0) for seed in range(N)]
    engine, reference = engines(specs), expected(specs, [1.5] * N)
    assert engine([1.5] * N) == reference
    lost = list(pids(two_workers).values())[which]
    kill(lost)
    assert engine([1.5] * N) == reference
    settled(two_workers, 2, lost)
    evened_out(engine, two_workers, reference)


def test_all_killed_after_groups_were_moved(engines, two_workers):  # noqa: F811
    specs = [(seed, 0) for seed in range(N)]
    engine, reference = engines(specs), expected(specs, [1.5] * N)
    assert engine([1.5] * N) == reference
    lost = list(pids(two_workers).values())
    kill(lost[0])
    settled(two_workers, 2, lost[0])
    evened_out(engine, two_workers, reference)
    lost = list(pids(two_workers).values())
    for pid in lost:
        kill(pid)
    assert engine([1.5] * N) == reference
    settled(two_workers, 2, lost[0])
    evened_out(engine, two_workers, reference)


@pytest.mark.parametrize("after", [0.05, 0.3, 0.6])
def test_killed_during_a_pass(after, engines, two_workers):  # noqa: F811
    specs = [(seed, 0.2) for seed in range(N)]
    engine, reference = engines(specs), expected(specs, [1.5] * N)
    if after > 0.1:
        assert engine([1.5] * N) == reference
    lost = next(iter(pids(two_workers).values()))
    timer = threading.Timer(after, kill, [lost])
    timer.start()
    assert engine([1.5] * N) == reference
    timer.join()
    settled(two_workers, 2, lost)
    evened_out(engine, two_workers, reference)


def test_the_only_worker_killed(one_worker):
    specs = [(seed, 0) for seed in range(N)]
    engine, reference = make_engine(build, evaluate, specs, one_worker), expected(specs, [1.5] * N)
    assert engine([1.5] * N) == reference
    (lost,) = pids(one_worker).values()
    # after which Dask gives up a worker that is not back
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "0.1 s"}):
        kill(lost)
        assert engine([1.5] * N) == reference
    settled(one_worker, 1, lost)
    engine.close()
