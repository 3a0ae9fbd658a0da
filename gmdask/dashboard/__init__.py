"""The live view of a fit, in a notebook or a browser."""

from gmdask.dashboard.feeds import BusFeed, ClusterFeed, FolderFeed
from gmdask.dashboard.server import Dashboard

__all__ = ["BusFeed", "ClusterFeed", "Dashboard", "FolderFeed"]
