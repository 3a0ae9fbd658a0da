"""Fits on workers: the same bits however datasets are grouped, and what goes wrong."""

from __future__ import annotations

import time

import pytest

import gmdask as gm
from gmdask.errors import PlanError
from tests.datasets.clusters import kill, pids, settled
from tests.datasets.synthetic import models, write_survey
from tests.fit.problems import bits


def test_same_bits_in_any_groups(datasets, two_workers):
    many = gm.Datasets([d.copy(name=f"{d.name}-{i}") for i in range(23) for d in datasets])
    found, groups = [], []
    for client in (None, two_workers):
        own = models(many.names)
        result = gm.Fit(
            many, client, on_event=lambda event: groups.append(getattr(event, "groups", 0))
        ).run(own)
        assert result.success
        found.append(bits(result, own))
    assert found[0] == found[1]
    assert {number for number in groups if number} == {1, 6}


def test_datasets_in_memory(survey, two_workers):
    datasets = gm.Datasets.read(survey)
    with pytest.raises(PlanError, match=r"'run-0'.*in the memory"):
        gm.Fit(datasets, two_workers).run(models(datasets.names))


def test_nothing_is_left_on_workers(datasets, two_workers):
    gm.Fit(datasets, two_workers).run(models(datasets.names))

    def kept():
        return two_workers.run_on_scheduler(
            lambda dask_scheduler: [key for key in dask_scheduler.tasks if "gmdask-" in key]
        )

    end = time.monotonic() + 5
    while kept() and time.monotonic() < end:
        time.sleep(0.02)
    assert kept() == []


def test_worker_killed_just_before(datasets, two_workers):
    expected = models(datasets.names)
    result = gm.Fit(datasets).run(expected)
    lost = next(iter(pids(two_workers).values()))
    own = models(datasets.names)
    try:
        kill(lost)
        assert bits(gm.Fit(datasets, two_workers).run(own), own) == bits(result, expected)
    finally:
        settled(two_workers, 2, lost)


def test_store_replaced_meanwhile(survey, two_workers, tmp_path):
    url = tmp_path / "store.zarr"
    gm.import_datasets(survey, url)
    datasets = gm.Datasets.read(url)
    other = write_survey(tmp_path / "other", 1, prefix="other")
    gm.import_datasets(other, url, overwrite=True)
    here, there = models(datasets.names), models(datasets.names)
    expected = bits(gm.Fit(datasets).run(here), here)  # files of the old commit are there
    assert bits(gm.Fit(datasets, two_workers).run(there), there) == expected
