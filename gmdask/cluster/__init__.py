"""The cluster: all that knows of `distributed`. It moves callables, descriptions and arrays."""

from gmdask.cluster.connect import connect
from gmdask.cluster.engine import Engine
from gmdask.cluster.tasks import run_tasks

__all__ = ["Engine", "connect", "run_tasks"]
