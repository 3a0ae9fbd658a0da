"""Measurement and limits of the time of a fit."""

from __future__ import annotations

import math
import time

from astropy import units as u
from distributed import Client

from gmdask.cluster import cluster_there
from gmdask.errors import InputError

__all__ = ["Clock", "seconds_of"]

CLOCK_TIMEOUT = 5.0  # s


class Clock:
    """Wall and processor time since its creation, including the workers."""

    def __init__(self, client: Client | None) -> None:
        self._client = client
        self._wall, self._here, self._there = (
            time.perf_counter(),
            time.process_time(),
            self._workers(),
        )

    def _workers(self) -> dict[str, float]:
        if self._client is None:
            return {}
        try:
            with cluster_there(self._client):
                times = self._client.run(
                    time.process_time, on_error="return", callback_timeout=CLOCK_TIMEOUT
                )
        except (TimeoutError, OSError):  # a worker that hangs or is lost does not answer
            return {}
        return {worker: s for worker, s in times.items() if isinstance(s, float)}

    def read(self) -> tuple[float, float]:
        """Return wall and processor time in seconds."""
        there = self._workers()
        workers = sum(seconds - self._there.get(worker, 0.0) for worker, seconds in there.items())
        return time.perf_counter() - self._wall, time.process_time() - self._here + workers


def seconds_of(limit: float | str | u.Quantity) -> float:
    """Return a time limit in seconds.

    Raises
    ------
    InputError
        If it is not a positive time.
    """
    try:
        time_ = u.Quantity(limit)
        unit = time_.unit if time_.unit != u.dimensionless_unscaled else u.s
        seconds = float((time_.value * unit).to_value(u.s))
    except (TypeError, ValueError):  # including astropy's unit errors
        seconds = math.nan
    if not seconds > 0:
        msg = f"time_limit is {limit!r}, expected a positive number of seconds, or a time such as '10 min'"
        raise InputError(msg)
    return seconds
