"""What events cost: the share of a fit's time that is spent telling of it, ``events.jsonl`` included.

Run as ``python -m tests.benchmarks.bench_events STORE MODELS [--workers N]``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gmdask as gm
from gmdask.cluster.worker_watch import Watch
from gmdask.events import Bus, read_events
from gmdask.fit.reporting import FitReporter

SPENT = {"wall": 0.0, "cpu": 0.0, "depth": 0}


def timed(owner: type, name: str) -> None:
    """Add the time of the outermost call of some methods up."""
    method: Callable[..., Any] = getattr(owner, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        SPENT["depth"] += 1
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            return method(*args, **kwargs)
        finally:
            SPENT["depth"] -= 1
            if not SPENT["depth"]:
                SPENT["wall"] += time.perf_counter() - wall
                SPENT["cpu"] += time.thread_time() - cpu

    setattr(owner, name, call)


def main() -> None:
    """Fit, and print the shares."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store")
    parser.add_argument("models")
    parser.add_argument("--workers", type=int)
    asked = parser.parse_args()
    for owner, name in (
        (Bus, "__call__"),
        (FitReporter, "begun"),
        (FitReporter, "accepted"),
        (Watch, "_tell"),
    ):
        timed(owner, name)
    where = gm.connect("local", workers=asked.workers) if asked.workers else nullcontext(None)
    with TemporaryDirectory() as folder, where as client:
        file = Path(folder) / "events.jsonl"
        datasets, models = gm.Datasets.read(asked.store), gm.Models.read(asked.models)
        result = gm.Fit(datasets, client, events=file).run(models)
        n_events, size = len(read_events(file)[0]), file.stat().st_size
    print(
        f"{len(datasets)} datasets, {len(models.parameters.free)} free parameters, {result.passes} passes"
    )
    print(
        f"fit: {result.wall_s:.3f} s, {result.cpu_s:.3f} CPU s; {n_events} events of {size} bytes"
    )
    for kind, whole in (("wall", result.wall_s), ("cpu", result.cpu_s)):
        print(f"events, {kind}: {SPENT[kind] * 1e3:.2f} ms, {SPENT[kind] / whole:.3%} of the fit")


if __name__ == "__main__":
    main()
