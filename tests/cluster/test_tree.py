"""Reduction as a tree: its shape, where it works, errors."""

from __future__ import annotations

import pytest

from gmdask.cluster import reduce_tree
from gmdask.errors import InputError
from tests.cluster.jobs import leaf_or_error, pair


def expected(items):
    """Neighbours of one level joined, level by level."""
    level = [str(item) for item in items]
    while len(level) > 1:
        level = [
            f"({level[k]}{level[k + 1]})" if k + 1 < len(level) else level[k]
            for k in range(0, len(level), 2)
        ]
    return level[0]


@pytest.mark.parametrize("n", [*range(1, 18), 31, 32, 33])
def test_the_same_tree_here(n):
    done = []
    found = reduce_tree(leaf_or_error, pair, list(range(n)), None, done.append)
    assert found == expected(range(n))
    assert done == list(range(n))


@pytest.mark.parametrize("n", [1, 2, 7, 13])
@pytest.mark.parametrize("cluster", ["one_worker", "two_workers"])
def test_the_same_tree_there(n, cluster, request):
    done = []
    client = request.getfixturevalue(cluster)
    assert reduce_tree(leaf_or_error, pair, list(range(n)), client, done.append) == expected(range(n))  # fmt: skip
    assert sorted(done) == list(range(n))


@pytest.mark.parametrize("cluster", [None, "two_workers"])
def test_errors_are_told(cluster, request, caplog):
    client = cluster and request.getfixturevalue(cluster)
    with pytest.raises(InputError, match="item -3 is negative"):
        reduce_tree(leaf_or_error, pair, [0, 1, 2, -3, 4, 5, 6, 7, 8, 9, 10], client)
    with pytest.raises(InputError, match="cannot be paired"):
        reduce_tree(leaf_or_error, pair, ["a", "b", "x", "x", "e"], client)
    assert not caplog.records
