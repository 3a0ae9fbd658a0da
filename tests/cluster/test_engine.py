"""The engine with plain functions: numbers, placement, and what Dask is asked for."""

from __future__ import annotations

import threading
import time
from collections import Counter

import pytest

from gmdask.cluster import make_engine
from gmdask.errors import InputError
from gmdask.events import DatasetsProgress
from tests.cluster.jobs import SIZE, build, evaluate, fail
from tests.datasets.clusters import pids, settled


def expected(specs, payloads):
    return make_engine(build, evaluate, [(seed, 0) for seed, _ in specs])(payloads)


def tasks(client, part):
    """What the scheduler knows of the tasks of a kind."""

    def look(dask_scheduler):
        return {
            key: {
                "made": task.run_spec is not None,
                "needs": [other.key for other in task.dependencies],
                "pinned": bool(
                    (task.worker_restrictions or task.host_restrictions)
                    and not task.loose_restrictions
                ),
                "on": [worker.address for worker in task.who_has or ()],
            }
            for key, task in dask_scheduler.tasks.items()
            if part in str(key)
        }

    return client.run_on_scheduler(look)


def received(client):
    """Bytes that workers got from one another."""

    def look(dask_worker):
        return sum(entry["total"] for entry in dask_worker.transfer_incoming_log)

    return sum(client.run(look).values())


def at_rest(engine, client):
    """Evaluate until no group moves: where a worker came late, some are built again on it."""
    n, end = len(engine), time.monotonic() + 30
    engine([1.0] * n)
    while engine._moving or len(tasks(client, "gmdask-group")) != n:
        assert time.monotonic() < end
        engine([1.0] * n)


def placement(client):
    """Number of groups per worker."""
    there = Counter(dict.fromkeys(pids(client), 0))
    for task in tasks(client, "gmdask-group").values():
        there.update(task["on"])
    return there


@pytest.fixture
def engines(two_workers):
    """Makes engines that are closed in the end, on workers that hold nothing."""
    made = []

    def make(specs, function=evaluate):
        made.append(make_engine(build, function, specs, two_workers))
        return made[-1]

    settled(two_workers, 2)
    yield make
    for engine in made:
        engine.close()
    end = time.monotonic() + 10
    while tasks(two_workers, "gmdask-") and time.monotonic() < end:
        time.sleep(0.02)
    assert not tasks(two_workers, "gmdask-")  # nothing is left behind


@pytest.mark.parametrize("n", [0, 1, 2, 5, 12])
def test_same_numbers_here_and_on_workers(n, engines):
    specs = [(seed, 0) for seed in range(n)]
    engine = engines(specs)
    assert len(engine) == n
    for factor in (0.5, 2.0):
        payloads = [factor + i for i in range(n)]
        assert engine(payloads) == expected(specs, payloads)


def test_here_groups_are_built_once():
    built = []
    engine = make_engine(
        lambda spec, folder: built.append(spec) or spec, lambda group, p: group * p, [1, 2]
    )
    assert engine([3, 4]) == [3, 8]
    assert engine([5, 6]) == [5, 12]
    assert built == [1, 2]


def made_slowly(spec, folder, on_made=None):
    """Make a group of four datasets."""
    for number in range(4):
        time.sleep(spec)
        on_made(number + 1)
    return build((1, 0), folder)


@pytest.mark.parametrize("here", [True, False])
def test_progress_while_groups_are_built(here, two_workers):
    """A second or more apart, and at the end; no more of it in the evaluations that follow."""
    events = []

    def on_event(event):
        if isinstance(event, DatasetsProgress):
            events.append(event)

    engine = make_engine(
        made_slowly, evaluate, [0.9, 0.9], None if here else two_workers, on_event, [4, 4]
    )
    try:
        engine([1.0, 2.0])
        told = [event.done for event in events]
        assert told == sorted(told)
        assert len(told) > (4 if here else 1)
        assert 0 < told[-2] < 8
        assert told[-1] == 8
        assert {(event.work, event.total) for event in events} == {("compile", 8)}
        engine([1.0, 2.0])
        assert len(events) == len(told)
    finally:
        engine.close()


def test_one_payload_per_group(engines):
    for engine in (make_engine(build, evaluate, [(1, 0), (2, 0)]), engines([(1, 0), (2, 0)])):
        with pytest.raises(ValueError, match="1 payloads for 2 groups"):
            engine([1.0])
        assert len(engine([1.0, 2.0])) == 2  # it goes on


def test_what_dask_is_asked_for(engines, two_workers):
    engine = engines([(seed, 0.1) for seed in range(8)])
    at_rest(engine, two_workers)
    seen = {}

    def watch():
        end = time.monotonic() + 5
        while not seen and time.monotonic() < end:
            time.sleep(0.05)
            seen.update(tasks(two_workers, "gmdask-pass"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    engine([2.0] * 8)
    watcher.join()
    assert seen
    for task in seen.values():
        assert len(task["needs"]) == 1
        assert task["needs"][0].startswith("gmdask-group")
        assert not task["pinned"]
    groups = tasks(two_workers, "gmdask-group")
    assert len(groups) == 8
    for task in groups.values():
        assert task["made"]  # from its description: not scattered
        assert task["needs"] == []
        assert not task["pinned"]
    assert all(task["made"] for task in tasks(two_workers, "").values())


@pytest.mark.parametrize("n", [2, 3, 5, 6, 12])
def test_groups_stay_where_they_are(n, engines, two_workers):
    before = received(two_workers)
    engine = engines([(seed, 0) for seed in range(n)])
    at_rest(engine, two_workers)
    for number in range(12):
        engine([float(number)] * n)
    groups = tasks(two_workers, "gmdask-group")
    assert received(two_workers) - before < 8 * SIZE
    assert [len(task["on"]) for task in groups.values()] == [1] * n
    counts = placement(two_workers).values()
    assert max(counts) - min(counts) <= 1


def test_an_error_is_raised_as_it_is(engines):
    engine = engines([(seed, 0) for seed in range(4)], fail)
    with pytest.raises(InputError, match=r"payload -1\.0 is negative"):
        engine([1.0, 2.0, -1.0, 3.0])
    payloads = [1.0, 2.0, 3.0, 4.0]
    assert engine(payloads) == expected([(seed, 0) for seed in range(4)], payloads)


def test_a_group_that_cannot_be_built(two_workers):
    engine = make_engine(build, evaluate, ["no spec"], two_workers)
    with pytest.raises(ValueError, match="unpack"):
        engine([1.0])
    engine.close()


def test_closed_lets_go(engines, two_workers):
    engine = engines([(seed, 0) for seed in range(6)])
    at_rest(engine, two_workers)
    engine.close()
    end = time.monotonic() + 5
    while tasks(two_workers, "gmdask-group") and time.monotonic() < end:
        time.sleep(0.02)
    assert not tasks(two_workers, "gmdask-group")
