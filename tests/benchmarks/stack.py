"""Peak memory and bits of a stack of many datasets, for 1, 2 and 4 workers and in this process.

    python -m tests.benchmarks.stack STORE [--limit 1GB] [--pad 60]

Stacks all datasets of STORE onto the pixels of the first with a border of so many pixels, such as those
of ``gmdask simulate`` from ``python -m tests.benchmarks.survey_config 500 FOLDER --small``. Prints the
largest resident memory of any worker, and the digest of all arrays of the result, by number of
workers; its exit code is 1 if a digest differs or a peak is above the limit.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import sys
import time

import numpy as np
from dask.utils import parse_bytes
from distributed import Client

import gmdask as gm
from gmdask.datasets.operations.stack import emptied


def digest(dataset: gm.MapDataset) -> str:
    """Return the SHA-256 of all arrays of a dataset."""
    total = hashlib.sha256()
    for key in sorted(map(str, dataset.cube.variables)):
        total.update(key.encode() + np.ascontiguousarray(dataset.cube[key].values).tobytes())
    return total.hexdigest()


def peak() -> int:
    """Return the largest resident memory this process ever had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def stacked(datasets: gm.Datasets, workers: int, limit: str) -> tuple[str, float, float]:
    """Return digest, seconds and the highest peak of workers, 0 of them for this process."""
    start = time.perf_counter()
    if workers == 0:
        return digest(datasets.stack_reduce("all")), time.perf_counter() - start, peak()
    client: Client
    with gm.connect("local", workers=workers, memory_limit=limit) as client:
        client.wait_for_workers(workers)
        start = time.perf_counter()
        found = digest(datasets.stack_reduce("all", client))
        return found, time.perf_counter() - start, max(client.run(peak).values())


def main() -> int:
    """Measure, print, and say whether all is as promised."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store")
    parser.add_argument("--limit", default="1GB")
    parser.add_argument("--pad", type=int, default=60)
    options = parser.parse_args()
    own = gm.Datasets.read(options.store)
    empty = gm.MapDataset(emptied(own[0].pad(options.pad, "all").cube))
    datasets = gm.Datasets([empty, *own])
    print(f"{len(own)} datasets onto {empty.counts.shape[1:]} pixels, {options.limit} per worker")
    print(f"{'workers':>10} {'s':>8} {'peak MB':>8}  digest")
    digests, good = set(), True
    for workers in (1, 2, 4, 0):
        found, seconds, most = stacked(datasets, workers, options.limit)
        digests.add(found)
        good &= most < parse_bytes(options.limit)
        name = workers or "in process"
        print(f"{name:>10} {seconds:8.1f} {most / 1e6:8.0f}  {found[:16]}", flush=True)
    print("the same bits" if len(digests) == 1 else "NOT the same bits")
    return int(len(digests) > 1 or not good)


if __name__ == "__main__":
    sys.exit(main())
