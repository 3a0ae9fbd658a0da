"""Reduction of event lists beside Gammapy's plain loop: python -m tests.benchmarks.reduction [--observations 40].

The ten real observations of $GMDASK_SHARED (by default ../shared) under new names are reduced to the cubes of
PKS 2155-304: by Gammapy in a plain loop (the makers alone, and with each dataset written to a FITS file as in the
proposal's loop), by gmdask in this process, and on workers of 1.5 GB, all from scratch. Processor times are of all
processes, without the start of the cluster; peaks are those of the worker that held most, after a fifth of the
observations and at the end.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import yaml

import gmdask as gm
from gmdask import reduction
from gmdask.quiet import no_warnings
from gmdask.reduction.backgrounds import logged
from tests.reduction.configs import config
from tests.reduction.dl3 import PKS_RUNS, write_folder

SHARED = Path(os.environ.get("GMDASK_SHARED", Path(__file__).parents[3] / "shared"))
MEMORY = "1.5GB"


def plain_loop(folder: Path, suffix: str | None) -> None:
    """Gammapy's makers over all observations of a folder."""
    from gammapy.data import DataStore

    from gmdask.reduction.recipe import recipe_of

    store = DataStore.from_dir(folder / "dl3")
    recipe = recipe_of(reduction.read_config(folder / "config.yaml"))
    with no_warnings(), logged():
        for obs_id in store.hdu_table.obs_id_unique:
            obs = store.obs(int(obs_id))
            empty = recipe.reference_at(obs.get_pointing_icrs(obs.tmid), f"hess-{obs_id}")
            made = recipe.safe_mask_maker.run(recipe.maker.run(empty, obs), obs)
            if suffix is not None:
                made.write(folder / f"{obs_id}{suffix}")


def reduced(folder: Path, name: str, client: Any = None, on_event: Any = None) -> None:
    """The same by gmdask, into a store."""
    made_from = reduction.read_config(folder / "config.yaml")
    done = reduction.reduce(
        reduction.select_observations(made_from),
        made_from,
        folder / name,
        client,
        on_event=on_event,
    )
    assert not done.failures, done.failures


def cpu(client: Any = None) -> float:
    """Processor time of this process, and of the workers of a client."""
    own = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    return own + (sum(client.run(time.process_time).values()) if client is not None else 0.0)


def peak() -> float:
    """Most memory that a worker has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def report(name: str, n: int, wall: float, used: float, reference: float | None) -> None:
    """Print one line."""
    ratio = "" if reference is None else f"{reference / (used / n):6.2f}"
    print(f"{name:38} {n / wall:7.2f} {used / n:8.2f} {ratio}", flush=True)


def main() -> None:
    """Reduce, and print what it takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--observations", type=int, default=40)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    times = -(-options.observations // len(PKS_RUNS))
    n = times * len(PKS_RUNS)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_folder(SHARED, folder / "dl3", PKS_RUNS, times=times)
        content = config(folder / "dl3", "pks2155")
        (folder / "config.yaml").write_text(yaml.safe_dump(content))
        print(f"{n} observations, load {os.getloadavg()[0]:.1f}, {psutil.cpu_count()} cores")
        print(f"{'':38} {'per s':>7} {'CPU s each':>8} of Gammapy's throughput per core")
        reference = None
        few = min(n, 6)
        write_folder(SHARED, folder / "few/dl3", PKS_RUNS, times=few // len(PKS_RUNS))
        (folder / "few/config.yaml").write_text(yaml.safe_dump(content))
        plain_loop(folder / "few", None)  # once for all that is loaded and kept
        for name, suffix in (
            ("makers alone", None),
            ("and .fits", ".fits"),
            ("and .fits.gz", ".fits.gz"),
        ):
            start, used = time.perf_counter(), cpu()
            plain_loop(folder / "few", suffix)
            wall, used = time.perf_counter() - start, cpu() - used
            report(f"Gammapy's loop, {name}", few, wall, used, None)
            reference = used / few
        start, used = time.perf_counter(), cpu()
        reduced(folder, "one.zarr")
        report("gmdask, this process", n, time.perf_counter() - start, cpu() - used, reference)
        peaks: list[float] = []
        with gm.connect("local", workers=options.workers, memory_limit=MEMORY) as client:

            def on_event(event: Any) -> None:
                if event.done == n // 5:
                    peaks.append(max(client.run(peak).values()))

            client.run(plain_start)
            start, used = time.perf_counter(), cpu(client)
            reduced(folder, "workers.zarr", client, on_event)
            wall, used = time.perf_counter() - start, cpu(client) - used
            peaks.append(max(client.run(peak).values()))
        report(f"gmdask, {options.workers} workers", n, wall, used, reference)
        print(f"peak of a worker: {peaks[0]:.0f} MB after {n // 5}, {peaks[-1]:.0f} MB at the end")


def plain_start() -> None:
    """Load on a worker what is loaded once."""
    from importlib import import_module

    for name in ("gammapy.makers", "gammapy.datasets", "gammapy.data", "gmdask.reduction.run"):
        import_module(name)
    np.zeros(1)


if __name__ == "__main__":
    main()
