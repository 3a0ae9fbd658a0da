"""Fits within the memory of their workers: what is planned, kept to, and refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import gmdask as gm
from gmdask.errors import PlanError
from gmdask.events import FitPass
from tests.datasets.synthetic import models
from tests.fit.problems import bits

pytestmark = pytest.mark.slow

COPIES = 40


def peak() -> int:
    """Most bytes this process held; ru_maxrss would count those of the process it was forked from."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024


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
    """Refused before anything is read; with what would do, no more than projected, and the same bits."""
    expected = models(many.names, extended=True)
    result = gm.Fit(many, two_workers, max_passes=2).run(expected)
    own, refused, limit = models(many.names, extended=True), 0, 330_000_000
    while True:
        with gm.connect(workers=1, memory_limit=limit) as client:
            client.run(peak)  # which loads what it needs
            kept = []

            def look(event, client=client, kept=kept):
                if isinstance(event, FitPass):
                    kept.append(sum(client.run(in_files).values()))

            try:
                twin = gm.Fit(many, client, max_passes=2, on_event=look).run(own)
            except PlanError as error:
                refused += 1
                assert refused <= 3  # processes do not hold quite the same at their start
                keys = client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.tasks))
                assert not [key for key in keys if "gmdask" in str(key)]
                text = r"too little memory.*a limit of (\d+) MB would be sufficient"
                limit = int(re.search(text, str(error))[1]) * 1_000_000
                continue
            most = max(client.run(peak).values())
            break
    assert refused
    assert bits(twin, own) == bits(result, expected)
    assert kept[0] > 1_000_000
    assert most <= 0.7 * limit  # as it was planned
