"""Distributed computing: the only part that knows `distributed`."""

from gmdask.cluster.connect import check_client, connect
from gmdask.cluster.engine import Engine, make_engine
from gmdask.cluster.lost_cluster import cluster_there
from gmdask.cluster.memory_plan import MemoryPlan, WorkerMemory, plan_memory, room_on_workers
from gmdask.cluster.tasks import run_tasks
from gmdask.cluster.tree_reduction import reduce_tree

__all__ = [
    "Engine",
    "MemoryPlan",
    "WorkerMemory",
    "check_client",
    "cluster_there",
    "connect",
    "make_engine",
    "plan_memory",
    "reduce_tree",
    "room_on_workers",
    "run_tasks",
]
