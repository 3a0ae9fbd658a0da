"""Reduction of many items to one result, in a tree whose shape depends only on their number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from distributed import Client, Future, as_completed

from gmdask.cluster.lost_cluster import cluster_there
from gmdask.cluster.remote_errors import RemoteError, capture, raise_captured

__all__ = ["reduce_tree"]

T = TypeVar("T")
S = TypeVar("S")
Node = tuple[int, int]  # level, and number within the level; the leaves are level 0


def reduce_tree(
    leaf: Callable[[S], T],
    merge: Callable[[T, T], T],
    items: Sequence[S],
    client: Client | None,
    on_leaf: Callable[[int], None] | None = None,
) -> T:
    """Compute a result for each item, and merge neighbours until one result is left.

    Two results are merged only if they are neighbours on one level, so that the order of summation
    depends neither on the cluster nor on which task ends first. Results that wait to be merged stay
    on the workers; as deeper nodes run first, there are about one per level of the tree and two per
    thread.

    Parameters
    ----------
    leaf : callable
        Computes the result of an item.
    merge : callable
        Merges two results into one, the earlier one given first.
    items : sequence
        Plain data, at least one item.
    client : `distributed.Client` or None
        None computes in this process.
    on_leaf : callable, optional
        Receives the number of each finished item.

    Returns
    -------
    result
        The first gmdask error is raised instead, and the other tasks are cancelled.
    """
    done = on_leaf if on_leaf is not None else _nothing
    if client is None:
        return _locally(leaf, merge, items, done)
    with cluster_there(client):
        return _on_worker(leaf, merge, items, client, done)


def _nothing(index: int) -> None:
    """Tell nobody."""


def _locally(
    leaf: Callable[[S], T], merge: Callable[[T, T], T], items: Sequence[S], done: Callable[[int], None]
) -> T:  # fmt: skip
    waiting: list[tuple[Node, T]] = []
    for index, item in enumerate(items):
        node, result = (0, index), leaf(item)
        done(index)
        while (parent := _parent(node, len(items))) is not None:
            if node[1] % 2:
                result = merge(waiting.pop()[1], result)
            elif _sibling_exists(node, len(items)):
                break
            node = parent
        waiting.append((node, result))
    return waiting[0][1]


def _parent(node: Node, n: int) -> Node | None:
    """Return the parent node, None for the root."""
    level, index = node
    return None if (1 << level) >= n else (level + 1, index // 2)


def _sibling_exists(node: Node, n: int) -> bool:
    level, index = node
    return ((index ^ 1) << level) < n


def _on_worker(
    leaf: Callable[[S], T],
    merge: Callable[[T, T], T],
    items: Sequence[S],
    client: Client,
    done: Callable[[int], None],
) -> T:
    in_flight = 2 * max(sum(client.nthreads().values()), 1)
    node_of: dict[str, Node] = {}
    finished: dict[Node, Future] = {}
    running = as_completed(loop=client.loop)
    n, submitted, leaves = len(items), 0, 0

    def submit(node: Node, *task: object) -> None:
        # deeper nodes first, so that few results wait to be merged
        future = client.submit(*task, pure=False, priority=node[0])
        node_of[future.key] = node
        running.add(future)

    try:
        while True:
            while submitted < n and leaves < in_flight:
                submit((0, submitted), partial(capture, leaf), items[submitted])
                submitted, leaves = submitted + 1, leaves + 1
            future = next(running)
            node = node_of.pop(future.key)
            if future.status == "error" or future.type is RemoteError:
                raise_captured(future.result())
            if node[0] == 0:
                leaves -= 1
                done(node[1])
            while (parent := _parent(node, n)) is not None and not _sibling_exists(node, n):
                node = parent
            if parent is None:
                result: T = raise_captured(future.result())
                return result
            finished[node] = future
            left, right = ((node[0], node[1] & ~1), (node[0], node[1] | 1))
            if left in finished and right in finished:
                pair = finished.pop(left), finished.pop(right)
                submit(parent, partial(capture, merge), *pair)
    finally:
        if client.status == "running":
            client.cancel([*running.futures, *finished.values()])
