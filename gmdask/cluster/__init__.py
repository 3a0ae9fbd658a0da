"""The cluster: all that knows of `distributed`. It moves callables, descriptions and arrays."""

from gmdask.cluster.connect import connect
from gmdask.cluster.engine import Engine
from gmdask.cluster.tasks import run_tasks
from gmdask.cluster.tree import reduce_tree

__all__ = ["Engine", "connect", "reduce_tree", "run_tasks"]
