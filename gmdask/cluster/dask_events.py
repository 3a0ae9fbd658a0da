"""Events of a fit on a Dask topic, for observers in other processes."""

from __future__ import annotations

import time
from typing import Any

from distributed import Client

from gmdask.events import Event, FitEnd, FitFailed, record

__all__ = ["TOPIC", "Topic", "read_topic"]

TOPIC = "gmdask"
EVERY_S = 1.0


class Topic:
    """Listener that logs events with the scheduler, at most once per second and at the end.

    Parameters
    ----------
    client : `distributed.Client`
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._waiting: list[dict[str, Any]] = []
        self._next = 0.0

    def __call__(self, event: Event) -> None:
        """Store an event, and send the stored events if it is time."""
        self._waiting.append(record(event))
        now = time.monotonic()
        if now >= self._next or isinstance(event, FitEnd | FitFailed):
            self._next = now + EVERY_S
            if self._client.status == "running":
                self._client.log_event(TOPIC, self._waiting)
            self._waiting = []


def read_topic(client: Client, seen: int = 0) -> tuple[list[dict[str, Any]], int]:
    """Read the events that fits have logged on a cluster.

    Parameters
    ----------
    client : `distributed.Client`
    seen : int
        Number of messages read before.

    Returns
    -------
    events : list of dict
        See `gmdask.events.record`.
    seen : int
        Number of messages read so far.
    """
    messages = client.get_events(TOPIC)
    new = messages[seen:] if len(messages) >= seen else messages
    return [one for _, message in new for one in message], len(messages)
