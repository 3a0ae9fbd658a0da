"""What the live view adds to the time of a fit.

    python tests/benchmarks/live_view.py STORE MODELS [--pairs 5] [--cluster local]

Fits by turns without a view and with one in this process, as in a notebook, that a headless Chromium
looks at. Printed are, per pair, wall time and processor time of this process, the processor time of the
thread of the view, and the medians. The browser itself is a process of its own, as is `gmdask dashboard OUT`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import gmdask as gm
from gmdask.cluster import connect


@contextmanager
def looked_at(url: str) -> Iterator[None]:
    """Have a headless Chromium look at a page."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    assert chromium is not None, "no chromium is installed"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
        options += ["--remote-debugging-port=0", "--window-size=1280,800", url]
        browser = subprocess.Popen(
            ["nice", "-n", "19", chromium, *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            time.sleep(4)  # until it has drawn the page
            yield
        finally:
            browser.terminate()
            browser.wait()


def thread_seconds(name: str) -> float:
    """Processor time that the threads of a name have used."""
    ticks = 0
    for thread in threading.enumerate():
        if thread.name == name:
            stat = Path(f"/proc/self/task/{thread.native_id}/stat").read_text()
            ticks += sum(map(int, stat.rsplit(")", 1)[1].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def run(store: str, models: str, cluster: str, *, view: bool) -> dict[str, float]:
    """Time one fit."""
    where = nullcontext(None) if cluster == "none" else connect(cluster, workers=2)
    with where as client:
        global_models, datasets = gm.Models.read(models), gm.Datasets.read(store)
        fit = gm.Fit(datasets, client)
        shown = fit.dashboard() if view else None
        with nullcontext() if shown is None else looked_at(shown.url):
            before = thread_seconds("gmdask-dashboard")
            wall, cpu = time.perf_counter(), time.process_time()
            result = fit.run(global_models)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            own = thread_seconds("gmdask-dashboard") - before
            looked = 0 if shown is None else len(shown.history.passes)
        if shown is not None:
            shown.stop()
    return {"wall": wall, "cpu": cpu, "view": own, "stat": result.total_stat, "seen": looked}


def main() -> None:
    """Compare fits with and without the view."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store")
    parser.add_argument("models")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--cluster", default="none")
    options = parser.parse_args()
    arguments = options.store, options.models, options.cluster
    run(*arguments, view=False)  # imports, files
    ratios: dict[str, list[float]] = {"wall": [], "cpu": [], "view": []}
    for number in range(options.pairs):
        order = (False, True) if number % 2 == 0 else (True, False)
        found = {view: run(*arguments, view=view) for view in order}
        plain, shown = found[False], found[True]
        assert plain["stat"] == shown["stat"], "the view changed the fit"
        for key in ("wall", "cpu"):
            ratios[key].append(shown[key] / plain[key] - 1)
        ratios["view"].append(shown["view"] / plain["wall"])
        print(
            f"without {plain['wall']:6.2f} s (cpu {plain['cpu']:6.2f})   with {shown['wall']:6.2f} s "
            f"(cpu {shown['cpu']:6.2f}, of it the view {shown['view']:.2f})",
            flush=True,
        )
    for key, text in (
        ("wall", "wall time"),
        ("cpu", "processor time"),
        ("view", "view's own time"),
    ):
        print(f"{text}: {100 * statistics.median(ratios[key]):+.2f} % (median of {options.pairs})")


if __name__ == "__main__":
    main()
