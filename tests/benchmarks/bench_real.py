"""Real analyses: gmdask and Gammapy beside each other, in one run.

    python -m tests.benchmarks.bench_real [--data DIR] [--response exact] [--no-gammapy] [ANALYSIS ...]

Processor time in this process, after imports. "fit": open or read the data, compile, all
re-anchoring, minimise, errors (Gammapy: ``Fit.run`` on freshly read data). "value": one
statistic at a full parameter vector, all values changed, at a frozen position (median). Nothing is
asserted.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

import gmdask as gm
from gmdask.evaluation.joint_likelihood import Objective

ANALYSES = ("crab", "pks2155", "crab-gauss", "hawc", "fermi_crab")
DEFAULT_DATA = Path(os.environ.get("GMDASK_SHARED", Path(__file__).parents[3] / "shared")) / "data"
N_VALUES = 200
N_VALUES_GAMMAPY = 20
SHAPE = {"sigma": (0.03, False), "e": (0.3, False), "phi": (30.0, False)}


def gmdask_models(folder: Path, *, gauss: bool) -> gm.Models:
    """The models at their start, with a Gaussian in place of the point if asked."""
    models = gm.Models.read(folder / "models_start.yaml")
    if gauss:
        source = models[0]
        shape = gm.GaussianSpatialModel(
            lon_0=source.spatial_model.lon_0, lat_0=source.spatial_model.lat_0,
            sigma="0.03 deg", e=0.3, phi="30 deg", frame=source.spatial_model.frame,
        )  # fmt: skip
        for name in ("e", "phi"):
            shape.parameters[name].frozen = False
        models = gm.Models(
            [gm.SkyModel(source.spectral_model, shape, name=source.name), *list(models)[1:]]
        )
    return models


def gammapy_models(folder: Path, *, gauss: bool):
    """The same for Gammapy."""
    from gammapy.modeling.models import GaussianSpatialModel, Models

    models = Models.read(folder / "models_start.yaml")
    if gauss:
        old = models[0].spatial_model
        shape = GaussianSpatialModel(
            lon_0=old.lon_0.quantity,
            lat_0=old.lat_0.quantity,
            sigma="0.03 deg",
            e=0.3,
            phi="30 deg",
            frame=old.frame,
        )
        for name in ("lon_0", "lat_0"):
            shape.parameters[name].error = 0.02
        shape.sigma.error, shape.e.error, shape.phi.error = 0.01, 0.1, 10.0
        shape.e.frozen = shape.phi.frozen = False
        models[0].spatial_model = shape
    return models


def changed_vectors(values: np.ndarray, free: np.ndarray, n: int) -> list[np.ndarray]:
    """Vectors with every free value changed by about a percent."""
    rng = np.random.default_rng(1)
    return [
        np.where(free, values * (1 + 0.01 * rng.standard_normal(len(values))), values)
        for _ in range(n)
    ]


def freeze_shape(models) -> None:
    """Freeze position and extension of the source."""
    for parameter in models[0].spatial_model.parameters:
        parameter.frozen = True


def run_gmdask(folder: Path, store: Path, response: str, *, gauss: bool) -> dict[str, float]:
    """Fit, and time single values."""
    start = time.process_time()
    datasets = gm.Datasets.read(store, response=response)
    models = gmdask_models(folder, gauss=gauss)
    result = gm.Fit(datasets).run(models)
    fit_s = time.process_time() - start
    freeze_shape(models)
    datasets.set_models(models)
    objective = Objective(datasets, models)
    objective.value(objective.parameters.start)
    times = []
    for values in changed_vectors(objective.parameters.start, objective.parameters.free, N_VALUES):
        start = time.perf_counter()
        objective.value(values)
        times.append(time.perf_counter() - start)
    calls = result.passes + result.passes_errors
    return {
        "fit": fit_s,
        "stat": result.total_stat,
        "calls": calls,
        "value": median(times),
        "compile": compile_time(store, models, response),
    }


def compile_time(store: Path, models: gm.Models, response: str) -> float:
    """Seconds to open, read and compile one dataset with its source (median over datasets)."""
    datasets = gm.Datasets.read(store, response=response)
    datasets.set_models(models)
    times = []
    for dataset in datasets:
        start = time.process_time()
        dataset.stat_sum()
        times.append(time.process_time() - start)
    return median(times)


def run_gammapy(folder: Path, *, gauss: bool) -> dict[str, float]:
    """The same with Gammapy."""
    from gammapy.datasets import Datasets
    from gammapy.modeling import Fit

    start = time.process_time()
    datasets = Datasets.read(folder / "datasets.yaml")
    models = gammapy_models(folder, gauss=gauss)
    datasets.models = models
    result = Fit().run(datasets)
    fit_s = time.process_time() - start
    freeze_shape(models)
    parameters = datasets.models.parameters
    free = np.array([not p.frozen for p in parameters])
    datasets.stat_sum()
    times = []
    for values in changed_vectors(parameters.value, free, N_VALUES_GAMMAPY):
        for parameter, value in zip(parameters, values, strict=True):
            parameter.value = value
        start = time.perf_counter()
        datasets.stat_sum()
        times.append(time.perf_counter() - start)
    return {"fit": fit_s, "stat": result.total_stat, "calls": result.nfev, "value": median(times)}


HEAD = (
    f"{'analysis':<12} {'compile ms':>10} {'fit s':>8} {'Gammapy':>8} {'ratio':>6} {'passes':>6} {'calls':>6} "
    f"{'stat':>14} {'Gammapy':>14} {'value ms':>9} {'Gammapy':>8} {'ratio':>6}"
)


def table_row(name: str, own: dict[str, float], other: dict[str, float] | None) -> str:
    """One line of the table."""
    head = f"{name:<12} {own['compile'] * 1e3:10.1f} {own['fit']:8.3f} "
    if other is None:
        return (
            head
            + f"{'':>8} {'':>6} {own['calls']:6.0f} {'':>6} {own['stat']:14.4f} {'':>14} {own['value'] * 1e3:9.3f}"
        )
    return head + (
        f"{other['fit']:8.2f} {other['fit'] / own['fit']:6.1f} {own['calls']:6.0f} {other['calls']:6.0f} "
        f"{own['stat']:14.4f} {other['stat']:14.4f} {own['value'] * 1e3:9.3f} {other['value'] * 1e3:8.2f} "
        f"{other['value'] / own['value']:6.1f}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("analyses", nargs="*", default=ANALYSES)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--response", default="exact")
    parser.add_argument("--no-gammapy", action="store_true")
    options = parser.parse_args()
    if not options.no_gammapy:
        import gammapy.datasets
        import gammapy.modeling  # noqa: F401
    print(HEAD)
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.analyses:
            folder, gauss = options.data / name.removesuffix("-gauss"), name.endswith("-gauss")
            store = Path(scratch) / f"{name}.zarr"
            gm.import_datasets(folder / "datasets.yaml", store)
            own = run_gmdask(folder, store, options.response, gauss=gauss)
            other = None if options.no_gammapy else run_gammapy(folder, gauss=gauss)
            print(table_row(name, own, other), flush=True)


if __name__ == "__main__":
    main()
