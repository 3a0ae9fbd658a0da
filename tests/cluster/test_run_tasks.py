"""Independent tasks: order, how many at a time, errors."""

from __future__ import annotations

import time

import pytest

from gmdask.cluster import run_tasks
from gmdask.errors import InputError
from tests.cluster.jobs import late, pid_of, touch


def known(client):
    """Number of tasks the scheduler knows of."""
    return client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks))


def at_rest(client):
    """Whether nothing is left to be done; what is done may be remembered."""

    def states(dask_scheduler):
        return {task.state for task in dask_scheduler.tasks.values()}

    end = time.monotonic() + 5
    while not client.run_on_scheduler(states) <= {"erred", "memory"} and time.monotonic() < end:
        time.sleep(0.02)
    return client.run_on_scheduler(states) <= {"erred", "memory"}


def test_here_in_order():
    done = []

    def function(item):
        done.append(item)
        return item * 2

    running = run_tasks(function, [1, 2, 3], None)
    assert done == []
    assert next(running) == (0, 2)
    assert done == [1]
    assert list(running) == [(1, 4), (2, 6)]


@pytest.mark.parametrize("n", [0, 1, 30])
def test_every_item_once(n, two_workers):
    found = dict(run_tasks(late, [(10 * i, 0) for i in range(n)], two_workers))
    assert found == {i: 10 * i for i in range(n)}
    assert at_rest(two_workers)


@pytest.mark.parametrize("there", [False, True])
def test_what_is_appended_is_done_too(there, two_workers):
    items = [(0, 0)]
    found = []
    for index, result in run_tasks(late, items, two_workers if there else None):
        found.append((index, result))
        if len(items) < 20:
            items += [(len(items), 0), (len(items) + 1, 0)]
    assert sorted(found) == [(i, i) for i in range(21)]


def test_on_all_workers(two_workers):
    found = {pid for _, pid in run_tasks(pid_of, list(range(20)), two_workers)}
    assert len(found) == 2


def test_in_order_of_completion(two_workers):
    items = [(0, 0.5), (1, 0.0), (2, 0.0), (3, 0.0)]
    order = [index for index, _ in run_tasks(late, items, two_workers)]
    assert sorted(order) == [0, 1, 2, 3]
    assert order[0] == 1  # while 0 sleeps


@pytest.mark.parametrize("in_flight", [1, 3])
def test_so_many_at_a_time(in_flight, two_workers):
    assert at_rest(two_workers)
    most, before = 0, known(two_workers)
    for _ in run_tasks(late, [(i, 0.01) for i in range(30)], two_workers, in_flight=in_flight):
        most = max(most, known(two_workers) - before)
    # as many as are submitted, and the one just given out
    assert in_flight <= most <= 2 * in_flight + 1


@pytest.mark.parametrize("there", [False, True])
def test_first_error_ends_it(there, two_workers, tmp_path):
    items = [str(tmp_path / f"{i}{'-bad' if i == 3 else ''}") for i in range(200)]
    with pytest.raises(InputError, match="3-bad is bad"):
        list(run_tasks(touch, items, two_workers if there else None, in_flight=2))
    assert at_rest(two_workers)
    time.sleep(0.1)  # what a worker has begun it ends
    done = len(list(tmp_path.iterdir()))
    assert 4 <= done <= 12
    time.sleep(0.3)
    assert len(list(tmp_path.iterdir())) == done  # nothing goes on behind the back


def test_left_early(two_workers, tmp_path):
    running = run_tasks(touch, [str(tmp_path / f"{i}") for i in range(200)], two_workers)
    next(running)
    running.close()
    assert at_rest(two_workers)
    assert len(list(tmp_path.iterdir())) < 30
