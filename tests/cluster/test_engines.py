"""What every engine promises: in this process, on a cluster, and on threads."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from gmdask.cluster import Engine, make_engine
from gmdask.errors import InputError
from tests.cluster.jobs import build, evaluate, fail
from tests.cluster.thread_engine import ThreadEngine

KINDS = ["in this process", "on a cluster", "on threads"]


@pytest.mark.parametrize("kind", KINDS)
class TestEngine:
    """The contract."""

    @pytest.fixture
    def made(self, kind, request) -> Iterator[list[Engine]]:
        """Engines that are closed in the end."""
        self.client = request.getfixturevalue("two_workers") if kind == "on a cluster" else None
        self.engines: list[Engine] = []
        yield self.engines
        for engine in self.engines:
            engine.close()

    def make(self, kind, specs, function=evaluate) -> Engine:
        if kind == "on threads":
            self.engines.append(ThreadEngine(build, function, specs))
        else:
            self.engines.append(make_engine(build, function, specs, self.client))
        return self.engines[-1]

    @pytest.mark.parametrize("n", [0, 1, 5])
    def test_results_are_in_order_with_the_same_bits(self, kind, made, n):
        engine = self.make(kind, [(seed, 0.02 * (n - seed)) for seed in range(n)])
        assert len(engine) == n
        for factor in (0.5, 2.0):
            payloads = [factor + i for i in range(n)]
            groups = [build((seed, 0), None) for seed in range(n)]
            expected = [evaluate(g, p) for g, p in zip(groups, payloads, strict=True)]
            found = engine(payloads)
            assert np.array(found).tobytes() == np.array(expected).tobytes()

    def test_an_error_of_gmdask_is_raised_and_the_groups_stay(self, kind, made):
        engine = self.make(kind, [(seed, 0) for seed in range(3)], fail)
        with pytest.raises(InputError, match=r"payload -1\.0 is negative"):
            engine([1.0, -1.0, 2.0])
        assert len(engine([1.0, 2.0, 3.0])) == 3

    def test_one_payload_per_group(self, kind, made):
        engine = self.make(kind, [(1, 0), (2, 0)])
        with pytest.raises(ValueError, match="1 payloads for 2 groups"):
            engine([1.0])
        assert len(engine([1.0, 2.0])) == 2

    def test_closing_twice_does_no_harm(self, kind, made):
        engine = self.make(kind, [(1, 0)])
        engine([1.0])
        engine.close()
        engine.close()
