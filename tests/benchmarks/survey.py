"""The standard survey at several sizes: time per phase, passes, memory, what Dask costs; and Gammapy.

    python -m tests.benchmarks.survey --datasets 10 100 1000 [--gammapy 10] [--workers 2]
        [--memory-limit 1GB] [--folder FOLDER]

Simulates the survey of `survey_config` for each size (or takes it from FOLDER/<size>), fits all its
parameters from moved starts, and prints one table. "Dask" is a pass without work, "moved" what workers
sent each other over 30 passes with frozen shapes, "warm/read" such a pass per dataset in one process,
after a small change of all amplitudes, beside the time of reading its operators once. Gammapy's
columns are of sizes up to ``--gammapy``, in the same run: setting the models, the first statistic,
and one more with changed values.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import gmdask as gm
from gmdask.cluster import make_engine
from gmdask.evaluation.joint_likelihood import Objective
from gmdask.evaluation.partition import cut_runs, n_groups
from gmdask.events import CompileEnd, FitEnd, FitPass
from tests.benchmarks import survey_config

N_PASSES = 30  # of those in which nothing may move between workers
GROUPS = 16  # for which, besides those that a fit makes, what Dask costs is printed


def seconds(call: Callable[[], Any]) -> float:
    """Time of a call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


@dataclass
class Row:
    """What is printed of one size."""

    datasets: int
    found: dict[str, str] = field(default_factory=dict)


class Times:
    """When the parts of a fit ended."""

    def __init__(self) -> None:
        self.start = time.perf_counter()
        self.compiled = self.end = 0.0
        self.passes: list[float] = []

    def __call__(self, event: object) -> None:
        now = time.perf_counter() - self.start
        if isinstance(event, CompileEnd):
            self.compiled = now
        elif isinstance(event, FitPass):
            self.passes.append(now)
        elif isinstance(event, FitEnd):
            self.end = now


def _io() -> tuple[int, float]:
    """Bytes read by this process, and its peak memory in MB."""
    read = int(Path("/proc/self/io").read_text().splitlines()[0].split()[1])
    peak = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
    return read, int(peak) / 1e3


def _moved(dask_worker: Any) -> int:
    """Bytes this worker got from others."""
    return sum(int(entry["total"]) for entry in dask_worker.transfer_incoming_log)


def simulate(n: int, folder: Path, client: Any) -> Path:
    """The survey of some size, simulated if it is not there."""
    store = folder / "survey.zarr"
    if not store.exists():
        path = survey_config.write(n, folder)
        print(f"{n}: simulated in {seconds(lambda: gm.simulate(path, store, client)):.1f} s")
    return store


def fit(store: Path, start: Path, client: Any) -> Row:
    """Fit one survey, and tell."""
    opened: list[gm.Datasets] = []
    open_s = seconds(lambda: opened.append(gm.Datasets.read(store)))
    datasets, models = opened[0], gm.Models.read(start)
    row = Row(len(datasets))
    set_s = seconds(lambda: datasets.set_models(models))
    before, times = sum(read for read, _ in client.run(_io).values()), Times()
    result = gm.Fit(datasets, client, on_event=times).run(models)
    inside = list(client.run(_io).values())
    per_pass = float(np.median(np.diff(times.passes)))
    row.found = {
        "free": str(len(models.parameters.free)),
        "open s": f"{open_s:.2f}",
        "set models s": f"{set_s:.2f}",
        "compile s": f"{times.passes[0]:.1f}",
        "pass s": f"{per_pass:.2f}",
        "ms/dataset": f"{1e3 * per_pass / len(datasets):.1f}",
        "passes": f"{result.passes}+{result.passes_errors}",
        "errors s": f"{times.end - times.passes[-1]:.1f}",
        "fit s": f"{result.wall_s:.1f}",
        "read GB": f"{(sum(read for read, _ in inside) - before) / 1e9:.2f}",
        "peak MB": f"{max(peak for _, peak in inside):.0f}",
        "end": result.message[:40],
    }
    return row


def _build(spec: int, folder: str | None) -> int:
    del folder
    return spec


def _answer(group: int, payload: tuple[Any, int]) -> bytes:
    return bytes(payload[1])


def dask_overhead(n: int, groups: int, client: Any) -> float:
    """Time in ms of a pass without work: payloads and results of the sizes of a real one."""
    values = np.zeros(max(1, n // groups) * 88)
    results = 8 * (values.size + 40 * 41 * max(1, n // groups // 8))
    engine = make_engine(_build, _answer, list(range(groups)), client)
    payloads = [(values, results)] * len(engine)
    for _ in range(3):
        engine(payloads)
    empty = np.median([seconds(lambda: engine(payloads)) for _ in range(N_PASSES)])
    engine.close()
    return 1e3 * float(empty)


def moved_bytes(datasets: gm.Datasets, models: gm.Models, client: Any) -> int:
    """Bytes that workers sent each other over real passes, shapes being frozen."""
    own = frozen(models)
    datasets.set_models(own)
    objective = Objective(datasets, own, client)
    objective(objective.parameters.start)
    before = sum(client.run(_moved).values())
    for _ in range(N_PASSES):
        objective(objective.parameters.start)
    objective.close()
    return sum(client.run(_moved).values()) - before


def frozen(models: gm.Models) -> gm.Models:
    """The same with all shapes frozen."""
    own = models.copy()
    for model in own:
        if isinstance(model, gm.SkyModel):
            model.freeze("spatial")
    return own


def warm_pass(datasets: gm.Datasets, models: gm.Models) -> str:
    """Time in ms per dataset of a pass with frozen shapes here, and of reading its operators."""
    own = frozen(models)
    chosen = gm.Models(
        [m for m in own if {*(m.datasets_names or datasets.names)} & {*datasets.names}]
    )
    datasets.set_models(chosen)
    objective = Objective(datasets, chosen)
    at = objective(objective.parameters.start).values  # with the local ones at their optimum
    amplitudes = np.array([name.endswith("amplitude") for name in chosen.parameters.names])

    def once() -> None:
        nonlocal at
        at = objective(np.where(amplitudes, at * (1 + 1e-6), at)).values

    arrays: list[Any] = []
    dataset: Any
    engine: Any = objective._engine
    for dataset in (d for g in engine._groups for run in g.runs for d in run.datasets):
        operators = (term.source.response._kept.operator for term in dataset.sources)
        arrays += [o._m if hasattr(o, "_m") else o._flux for o in operators if o is not None]
        arrays += [*dataset.statistic.data, dataset.background.background.template]
    pass_s = min(seconds(once) for _ in range(7))
    read_s = min(seconds(lambda: [array.sum() for array in arrays]) for _ in range(7))
    scale = 1e3 / len(datasets)
    return f"{scale * pass_s:.2f}/{scale * read_s:.2f}"


def gammapy(store: Path, start: Path) -> dict[str, str]:
    """The same by Gammapy: models, first statistic, and another one."""
    from gammapy.modeling.models import Models

    logging.disable(logging.WARNING)  # Gammapy's own
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs, models = gm.to_gammapy(gm.Datasets.read(store)), Models.read(start)

        def set_models() -> None:
            theirs.models = models

        def change() -> float:
            for name in ("point-0", "gauss-0"):
                models[name].spectral_model.index.value += 1e-3
                models[name].spatial_model.lon_0.value += 1e-3
            return float(theirs.stat_sum())

        found = {"G set s": seconds(set_models), "G first s": seconds(theirs.stat_sum)}
        found["G value s"] = seconds(change)
    return {key: f"{value:.2f}" for key, value in found.items()}


def table(rows: list[Row]) -> str:
    """All rows, one per line."""
    keys = list(dict.fromkeys(key for row in rows for key in row.found))
    lines = [["datasets", *keys]]
    lines += [[str(row.datasets), *(row.found.get(key, "") for key in keys)] for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(keys) + 1)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )


def main() -> None:
    """Run the sizes of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datasets", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--memory-limit", default="1GB")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--gammapy", type=int, default=10)
    arguments = parser.parse_args()
    rows = []
    with (
        nullcontext(arguments.folder) if arguments.folder else tempfile.TemporaryDirectory()
    ) as base:
        for n in arguments.datasets:
            folder = Path(base) / str(n)
            with gm.connect(workers=arguments.workers) as client:
                store = simulate(n, folder, client)
            limit = arguments.memory_limit
            with gm.connect(workers=arguments.workers, memory_limit=limit) as client:
                row = fit(store, folder / "start.yaml", client)
                datasets, models = gm.Datasets.read(store), gm.Models.read(folder / "start.yaml")
                groups = n_groups(len(cut_runs(range(n))), client), min(GROUPS, n)
                row.found["Dask ms"] = "/".join(
                    f"{dask_overhead(n, number, client):.0f}" for number in groups
                )
                row.found["moved B"] = str(moved_bytes(datasets, models, client))
            row.found["warm/read ms"] = warm_pass(datasets[: min(n, 100)], models)
            if n <= arguments.gammapy:
                row.found |= gammapy(store, folder / "start.yaml")
            rows.append(row)
            print(table([row]), flush=True)
    print(f"\n{arguments.workers} workers, {arguments.memory_limit} each\n{table(rows)}")


if __name__ == "__main__":
    main()
