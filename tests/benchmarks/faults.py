"""Fits whose workers and drivers are killed: do they come to the bits of an undisturbed one?

    python -m tests.benchmarks.faults [--runs N] [--kills N] [--drivers N]

A simulated survey with three moving sources and a free background norm per run is fitted in
process, and on 1, 2 and 4 workers in several groupings; then with workers killed (kill -9) at random
moments, compilation included: one of two, in every fourth fit all but one of four; with one that
hangs (SIGSTOP); then by drivers that are killed at random moments, and resumed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

import gmdask as gm
from gmdask.evaluation import partition
from gmdask.events import FitPass
from gmdask.fit import FitResult
from tests.benchmarks import pulls

SEED = 7
PIXEL = 0.04  # deg


def make(folder: Path, runs: int) -> Path:
    """Store and start models."""
    rng = np.random.default_rng(SEED)
    true = pulls.truth(rng, runs)
    store = gm.Store.create(folder / "survey.zarr")
    cubes = pulls.simulated(pulls.survey(PIXEL), true, SEED, runs)
    store.commit([store.write_block(cubes, "faults" * 10 + "f00d")])
    pulls.start_of(true, rng).write(folder / "start.yaml")
    return folder


def digest(result: FitResult, models: gm.Models) -> str:
    """Of every bit that a fit gives."""
    assert result.covariance is not None
    parts = [
        np.float64(result.total_stat), np.array(list(result.stat.values())),
        models.parameters.value, models.parameters.error, result.covariance.data,
    ]  # fmt: skip
    text = (
        b"".join(part.tobytes() for part in parts) + str((result.passes, result.message)).encode()
    )
    return hashlib.sha256(text).hexdigest()[:16]


class Passes:
    """Counts passes, and tells when each came."""

    def __init__(self, told=None) -> None:
        self.numbers: list[int] = []
        self._told = told

    def __call__(self, event) -> None:
        if isinstance(event, FitPass):
            self.numbers.append(event.number)
            if self._told is not None:
                self._told(event.number)


def fit(folder: Path, client=None, **options) -> tuple[str, Passes, float]:
    """Digest, passes and seconds of one fit."""
    passes = options.pop("passes", None) or Passes()
    models, datasets = (
        gm.Models.read(folder / "start.yaml"),
        gm.Datasets.read(folder / "survey.zarr"),
    )
    begin = time.monotonic()
    result = gm.Fit(datasets, client, on_event=passes, **options).run(models)
    return digest(result, models), passes, time.monotonic() - begin


def row(what: str, found: str, expected: str, more: str = "") -> bool:
    """Print one line of the table."""
    same = found == expected
    print(f"{what:<52} {found}  {'same' if same else 'OTHER BITS'}  {more}", flush=True)
    return same


def alike(folder: Path, expected: str) -> int:
    """Other numbers of workers, and groupings; the number of fits with other bits."""
    wrong, default = 0, partition.GROUPS_PER_THREAD
    for workers in (1, 2, 4):
        with gm.connect("local", workers=workers, memory_limit="1GB") as client:
            for groups in (1, default, 7):
                partition.GROUPS_PER_THREAD = groups
                found, _, seconds = fit(folder, client)
                what = f"{workers} workers, {groups} groups each"
                wrong += not row(what, found, expected, f"{seconds:5.1f} s")
    partition.GROUPS_PER_THREAD = default
    return wrong


def settled(client, workers: int) -> dict[str, int]:
    """Processes of the workers, once they are all there."""
    while True:
        try:
            client.wait_for_workers(workers, timeout=60)
            there = dict(client.run(os.getpid))
            if len(there) == workers:
                return there
        except OSError:
            time.sleep(0.1)


def end(pids: list[int]) -> None:
    """End processes without notice."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def killed(folder: Path, expected: str, kills: int, total: int) -> int:
    """Fits during which workers are killed: some time after one of the passes, or the start."""
    wrong = 0
    for workers, numbers in ((2, [k for k in range(kills) if k % 4]), (4, range(0, kills, 4))):
        with gm.connect("local", workers=workers, memory_limit="1GB") as client:
            begin = time.monotonic()
            first: list[float] = []
            told = Passes(
                lambda _, begin=begin, first=first: first.append(time.monotonic() - begin)
            )
            _, _, seconds = fit(folder, client, passes=told)
            for seed in numbers:
                rng = np.random.default_rng(seed)
                pids = list(settled(client, workers).values())
                lost = rng.permutation(pids)[: workers - 1].tolist()
                stop = int(rng.integers(0, total))
                delay = rng.uniform(0, (seconds - first[0]) / total if stop else first[0])

                def kill(number: int, stop=stop, delay=delay, lost=lost) -> None:
                    if number == stop:
                        threading.Timer(delay, end, [lost]).start()

                kill(0)
                found, passes, took = fit(folder, client, passes=Passes(kill))
                when = f"pass {stop}" if stop else "the start"
                what = f"kill -9 of {len(lost)} of {workers}, {1e3 * delay:4.0f} ms after {when}"
                wrong += not row(
                    what, found, expected, f"{took:5.1f} s, {len(passes.numbers)} passes"
                )
    return wrong


def hung(folder: Path, expected: str) -> int:
    """A fit during which a worker hangs."""
    with gm.connect("local", workers=2, memory_limit="1GB") as client:
        lost = next(iter(settled(client, 2).values()))
        passes = Passes(lambda number: os.kill(lost, signal.SIGSTOP) if number == 2 else None)
        found, _, seconds = fit(folder, client, passes=passes)
        return not row(
            "SIGSTOP of 1 of 2 workers after pass 2", found, expected, f"{seconds:5.1f} s"
        )


def child(folder: Path, *, resume: bool) -> None:
    """A driver in a process of its own, which tells its passes, and its bits at the end."""
    passes = Passes(lambda number: print("pass", number, flush=True))
    found, passes, _ = fit(
        folder, checkpoint=folder / "checkpoint.json", resume=resume, passes=passes
    )
    print("bits", found, flush=True)


def driven(
    folder: Path, options: list[str], stop: int | None, delay: float
) -> tuple[list[int], str]:
    """Passes and bits that a driver tells; killed some time after one of its passes."""
    command = [sys.executable, "-m", "tests.benchmarks.faults", "--child", str(folder), *options]
    numbers, bits = [], ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            word, value = line.split()
            if word == "bits":
                bits = value
                continue
            numbers.append(int(value))
            if numbers[-1] == stop:
                threading.Timer(delay, process.kill).start()
    return numbers, bits


def drivers(folder: Path, expected: str, n: int, total: int, per_pass: float) -> int:
    """Fits whose driver is killed, and resumed."""
    wrong, checkpoint = 0, folder / "checkpoint.json"
    for seed in range(n):
        rng = np.random.default_rng(1000 + seed)
        stop, delay = int(rng.integers(1, total)), rng.uniform(0, per_pass)
        before, bits = driven(folder, [], stop, delay)
        kept = json.loads(checkpoint.read_text())["state"]["passes"]
        after, found = driven(folder, ["--resume"], None, 0.0)
        checkpoint.unlink()
        right = not bits and after == list(range(kept + 1, total + 1))
        what = f"driver killed {1e3 * delay:3.0f} ms after pass {stop}"
        more = f"{before[-1]} passes, {kept} in the checkpoint, then {after[0]} to {after[-1]}"
        wrong += not (row(what, found, expected, more) and right)
    return wrong


def main() -> None:
    """Make the survey, run all, and say how many came to other bits."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--runs", type=int, default=24)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--drivers", type=int, default=10)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--resume", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        child(options.child, resume=options.resume)
        return
    with tempfile.TemporaryDirectory(prefix="gmdask-faults-") as scratch:
        folder = make(Path(scratch), options.runs)
        expected, passes, seconds = fit(folder)
        total = len(passes.numbers)
        row("in process", expected, expected, f"{seconds:5.1f} s, {total} passes")
        wrong = alike(folder, expected)
        wrong += killed(folder, expected, options.kills, total)
        wrong += hung(folder, expected)
        wrong += drivers(folder, expected, options.drivers, total, seconds / total)
    print(f"{wrong} fits with other bits, or passes repeated")


if __name__ == "__main__":
    main()
