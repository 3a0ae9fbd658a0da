"""Fits within the memory of their workers: what is planned, kept to, and refused."""

from __future__ import annotations

import resource

import pytest
from problems import bits
from synthetic import models

import gmdask as gm
from gmdask.cluster import room_on_workers
from gmdask.errors import PlanError
from gmdask.fit.objective import Objective
from gmdask.likelihood.group import compile_group
from gmdask.likelihood.size import FIXED, HELD, HELD_PER_COMPONENT, peak_bytes

COPIES = 60
ROOM = 5_000_000  # bytes for what is kept


def peak() -> int:
    """Most bytes this process held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.fixture
def many(extended_store):
    """Copies of two runs with a source that moves: more than fits into a small worker."""
    found = gm.Datasets.read(extended_store)
    return gm.Datasets([d.copy(name=f"{d.name}-{i}") for i in range(COPIES) for d in found])


def in_files(dask_worker) -> int:
    """Bytes that groups of a worker keep in files."""
    found = dask_worker.data.values()
    return sum(group.memory.in_file for group in found if hasattr(group, "memory"))


def test_the_plan_is_kept_to(many, two_workers):
    """The same bits with plenty of memory and with little, and no more than projected."""
    expected = models(many.names, extended=True)
    result = gm.Fit(many, two_workers, max_passes=3).run(expected)
    with gm.connect(workers=1) as client:
        client.run(peak)  # which loads what it needs
        fresh = room_on_workers(client, compile_group).base
    n_components = max(len(own) for own in (d.models for d in many))
    needed = (
        FIXED + peak_bytes(many[0].cube) + len(many) * (HELD + HELD_PER_COMPONENT * n_components)
    )
    limit = int((fresh + needed + ROOM) / 0.7)
    with gm.connect(workers=1, memory_limit=limit) as client:
        client.run(peak)
        own, kept = models(many.names, extended=True), []
        many.set_models(own)
        objective = Objective(many, own, client)
        plan = objective.plan
        objective(objective.start)
        kept.append(sum(client.run(in_files).values()))
        objective.close()
        twin = gm.Fit(many, client, max_passes=3).run(own)
        assert bits(twin, own) == bits(result, expected)
        print(kept, client.run(peak), plan)
        assert kept[0] > 1_000_000
        assert max(client.run(peak).values()) <= plan.projected < limit


def test_too_little_is_refused_before_anything_is_read(many):
    with gm.connect(workers=1, memory_limit="250MB") as client:
        own = models(many.names, extended=True)
        with pytest.raises(PlanError, match=r"too little memory.*a limit of \d+ MB would do"):
            gm.Fit(many, client).run(own)
        keys = client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.tasks))
        assert not [key for key in keys if "gmdask" in str(key)]
