"""Where arrays are kept: budgets, the file, what is given back, and the numbers that must not change."""

from __future__ import annotations

import gc
import pickle
import resource
from pathlib import Path

import numpy as np
import pytest

from gmdask.errors import PlanError
from gmdask.likelihood.geometry_cache import Cache
from gmdask.likelihood.memory import POOL, SMALL, Memory
from gmdask.likelihood.work_unit import DatasetSpec, GroupSpec, Point, compile_group, evaluate_group
from gmdask.models import Models
from tests.likelihood import cubes
from tests.likelihood.sources import background, free_of, gauss, locals_of, point


@pytest.fixture(autouse=True)
def _nothing_left():
    """What earlier tests held is given back before the pool is looked at."""
    gc.collect()


def arrays(rng, sizes):
    kinds = (np.float64, np.float32, np.int64, np.bool_)
    return [rng.normal(size=n).astype(kinds[i % 4]).reshape(2, -1) for i, n in enumerate(sizes)]


@pytest.mark.parametrize("budget", [None, 0, 60_000])
def test_what_is_kept_comes_back_the_same(budget, tmp_path, monkeypatch):
    monkeypatch.setattr("gmdask.likelihood.memory.PART", 40_960)  # several parts of the file
    rng = np.random.default_rng(1)
    given = arrays(rng, rng.integers(1, 9000, size=40) * 2)
    before = POOL.taken
    memory = Memory(None if budget is None else budget + before, str(tmp_path))
    kept = [memory.keep(array) for array in given]
    for _ in range(2):
        for array, twin in zip(given, kept, strict=True):
            assert twin.dtype == array.dtype
            np.testing.assert_array_equal(twin, array)
        memory.rest()
    small = sum(array.nbytes for array in given if array.nbytes <= SMALL)
    if budget is None:
        assert memory.in_file == 0
    else:
        assert memory.resident <= budget + small
        assert memory.in_file >= sum(a.nbytes for a in given) - memory.resident
    assert POOL.taken - before == memory.resident
    assert list(tmp_path.iterdir()) == []  # the file has no name
    del memory, kept, twin
    gc.collect()
    assert POOL.taken == before


def test_the_file_is_read_only_and_stays_out_of_the_process(tmp_path):
    memory = Memory(0, str(tmp_path))
    array = np.random.default_rng(2).normal(size=8_000_000)
    kept = memory.keep(array)
    del array
    with pytest.raises(ValueError, match="read-only"):
        kept[0] = 1.0

    def pages():
        return int(Path("/proc/self/statm").read_text().split()[2])  # shared with a file

    before = pages()
    total = kept.sum()
    touched = pages()
    memory.rest()
    assert touched - before > 0.9 * kept.nbytes / resource.getpagesize()
    assert pages() - before < 0.1 * kept.nbytes / resource.getpagesize()
    assert kept.sum() == total


def test_a_full_disk_is_told(tmp_path):
    memory = Memory(0, str(tmp_path))
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000_000, hard))  # of a file, in place of a disk
    try:
        with pytest.raises(PlanError, match=rf"{tmp_path}: no room for 32000000 more bytes"):
            memory.keep(np.zeros(32_000_000, dtype=np.uint8))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def test_lending_stays_within_the_budget():
    memory = Memory(2 * (POOL.taken + 1000))
    assert memory.try_cache(1, 600)
    assert not memory.try_cache(2, 600)
    assert memory.try_cache(1, 300)
    assert memory.try_cache(2, 600)
    assert memory.resident == 900


def test_groups_of_a_process_share_the_budget():
    budget = POOL.taken + 100_000
    first, second = Memory(budget), Memory(budget)
    assert first.keep(np.zeros(10_000)) is not None
    second.keep(np.zeros(10_000))
    assert (first.in_file, second.in_file) == (0, 80_000)


def test_a_memory_is_of_its_process():
    with pytest.raises(TypeError, match="cannot be sent"):
        pickle.dumps(Memory())


def test_the_cache_keeps_what_was_used_last():
    cache, made = Cache(250), []

    def get(key):
        return cache.get(key, lambda: (made.append(key), (np.full(10, float(key)),))[1])

    for key in (1, 2, 3, 1, 4, 1, 2):
        assert get(key)[0][0] == key
    assert made == [1, 2, 3, 4, 2]
    assert cache.nbytes == 240
    large = cache.get("large", lambda: (np.zeros(100),))
    assert len(large[0]) == 100
    assert cache.nbytes == 240


def group(budget):
    names, kinds = ["a", "b"], ["true", "reco"]
    own = {n: [gauss(), point(), background(dataset=n)] for n in names}
    frozen = gauss(name="frozen")
    frozen.freeze("spatial")
    together = Models([own["a"][0], own["a"][1], frozen, own["a"][2], own["b"][2]])
    specs = []
    for k, (name, kind) in enumerate(zip(names, kinds, strict=True)):
        components = (0, 1, 2, 3 + k)
        models = Models([together[c] for c in components])
        free, local = free_of(models), locals_of(models) & free_of(models)
        shared = np.arange(np.count_nonzero(free & ~local))
        cube = cubes.make_cube(name, seed=k, psf=kind)
        specs.append(DatasetSpec(name, cube, components, free, local, shared))
    spec = GroupSpec(together.to_dict(), [specs], budget)
    values = [Models([together[c] for c in s.components]).parameters.value for s in specs]
    return spec, np.concatenate(values)


def test_the_same_bits_for_any_budget(tmp_path):
    """Kept in memory, all in a file, and a part of it there."""
    found = []
    for extra in (None, 0, 200_000):
        spec, values = group(None if extra is None else POOL.taken + extra)
        compiled = compile_group(spec, str(tmp_path))
        results = []
        for step, order in ((0.0, 1), (1e-4, 1), (1e-4, 2), (0.0, 0), (2e-4, 2)):
            (run,) = evaluate_group(compiled, Point(values * (1 + step), None, order))
            parts = (run.stats, run.values, run.gradient, run.hessian, run.observed)
            results.append([None if part is None else part.tobytes() for part in parts])
        if extra is None:
            assert compiled.memory.in_file == 0
        else:
            assert compiled.memory.in_file > 50_000
        assert compiled.__sizeof__() == compiled.memory.resident
        found.append(results)
    assert found[0] == found[1] == found[2]


def test_a_group_is_sent_as_its_description(tmp_path):
    """A worker that another one sends a group to compiles it: no operators travel."""
    spec, values = group(0)
    compiled = compile_group(spec, str(tmp_path))
    assert compiled.memory.in_file > 50_000
    sent = pickle.loads(pickle.dumps(compiled))
    assert sent.memory.in_file == 0
    (here,), (there,) = (evaluate_group(g, Point(values, None, 1)) for g in (compiled, sent))
    assert here.hessian.tobytes() == there.hessian.tobytes()
    assert here.stats.tobytes() == there.stats.tobytes()
    assert sent.memory.in_file == compiled.memory.in_file
