"""How the memory of workers is shared out, and refused."""

from __future__ import annotations

import pytest

from gmdask.cluster import WorkerMemory, plan_memory, room_on_workers
from gmdask.errors import GmdaskError, PlanError

MB = 1_000_000
ROOM = WorkerMemory(limit=1000 * MB, usable=700 * MB, base=160 * MB, workers=2, threads=1)


def test_what_is_left_is_the_budget():
    plan = plan_memory(ROOM, fixed=60 * MB, per_task=40 * MB, per_item=MB // 10, items=1000)
    assert plan.budget == int(0.6 * (700 - 160 - 60 - 40 - 50) * MB)
    assert plan.projected == 700 * MB
    one_more = plan_memory(ROOM, fixed=60 * MB, per_task=40 * MB, per_item=MB // 10, items=1001)
    assert one_more.budget == plan.budget - int(0.6 * MB / 10)


def test_threads_work_at_the_same_time():
    room = WorkerMemory(ROOM.limit, ROOM.usable, ROOM.base, workers=2, threads=3)
    plan = plan_memory(room, fixed=60 * MB, per_task=40 * MB, per_item=0, items=1)
    assert plan.budget == int(0.6 * (700 - 160 - 60 - 3 * 40) * MB)


def test_what_does_not_fit_is_refused_with_what_would():
    with pytest.raises(PlanError, match="more workers") as caught:
        plan_memory(ROOM, fixed=60 * MB, per_task=40 * MB, per_item=MB, items=1000)
    assert isinstance(caught.value, (GmdaskError, MemoryError))
    text = str(caught.value)
    assert "160 MB before it begins" in text
    assert "1000 datasets" in text
    assert "limit of 1000 MB" in text
    enough = int(text.split("a limit of ")[-1].split(" MB")[0])
    room = WorkerMemory(enough * MB, int(0.7 * enough * MB), ROOM.base, 2, 1)
    assert plan_memory(room, fixed=60 * MB, per_task=40 * MB, per_item=MB, items=1000).budget >= 0
    small = WorkerMemory(int(0.95 * enough * MB), int(0.665 * enough * MB), ROOM.base, 2, 1)
    with pytest.raises(PlanError):
        plan_memory(small, fixed=60 * MB, per_task=40 * MB, per_item=MB, items=1000)


def test_room_on_real_workers(two_workers):
    room = room_on_workers(two_workers, plan_memory, 0)
    assert (room.workers, room.threads, room.limit) == (2, 1, 2000 * MB)
    assert room.usable == int(0.7 * room.limit)  # nothing is moved to disk before
    assert 50 * MB < room.base < 1000 * MB


def test_what_a_computation_leaves_is_not_counted_twice(two_workers):
    room_on_workers(two_workers, plan_memory, 0)
    two_workers.run(_leave, 40 * MB)
    left = room_on_workers(two_workers, plan_memory, 0).base
    assert 0 < left - room_on_workers(two_workers, plan_memory, 30 * MB).base <= 30 * MB
    first = room_on_workers(two_workers, plan_memory, 1000 * MB).base
    assert 40 * MB <= left - first < 80 * MB
    two_workers.run(_leave, 0)


def _leave(n_bytes):
    _LEFT[:] = [b"x" * n_bytes]


_LEFT = []
