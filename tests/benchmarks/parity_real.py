"""Real analyses against Gammapy's own numbers: parity, fits, derivatives, bits.

    python -m tests.benchmarks.parity_real [--data DIR]

Prints figures, asserts nothing: the tests do. "npred" is relative per energy bin in the mask, absolute
in units of 1e-6 of the largest bin where it is smaller than that; "cube" is relative to the maximum.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import gmdask as gm
from gmdask.evaluation.joint_likelihood import Objective
from tests.benchmarks.bench_real import DEFAULT_DATA, gmdask_models

ANALYSES = ("crab", "pks2155", "hawc", "fermi_crab")
VECTORS = ("start", "best", "perturbed")


def parity(folder: Path, store: Path) -> list[str]:
    """Statistic, npred and cubes at Gammapy's parameter vectors."""
    reference = json.loads((folder / "reference.json").read_text())
    datasets = gm.Datasets.read(store, response="gammapy")
    models = gm.Models.read(folder / "models_start.yaml")
    rows = []
    for vector in VECTORS:
        for name, value in reference["vectors"][vector].items():
            models.parameters[name].value = value
        datasets.follow(models)
        expected = reference["stat"][vector]
        stat = max(abs(d.stat_sum() - expected["per_dataset"][d.name]) for d in datasets)
        npred = max(npred_difference(d, expected["npred"][d.name]) for d in datasets)
        cube = f"{cube_difference(datasets, folder):.1e}" if vector == "start" else ""
        rows.append(f"{folder.name:<11} {vector:<10} {stat:10.1e} {npred:10.1e} {cube:>10}")
    return rows


def npred_difference(dataset: Any, expected: dict[str, Any]) -> float:
    """Largest relative difference of npred per energy bin in the mask."""
    mask = np.ones(dataset.counts.shape, dtype=bool)
    for array in (dataset.mask_safe, dataset.mask_fit):
        if array is not None:
            mask &= array.values
    found = (dataset.npred().values * mask).sum(axis=(1, 2))
    theirs = np.array(expected["total_in_mask"])
    return float(np.max(np.abs(found - theirs) / np.maximum(theirs, 1e-6 * theirs.max())))


def cube_difference(datasets: gm.Datasets, folder: Path) -> float:
    """Largest difference of the cube that Gammapy kept, in units of its maximum."""
    kept = np.load(folder / "npred_start.npz")["total"]
    return min(
        float(np.abs(d.npred().values - kept).max() / kept.max())
        for d in datasets
        if isinstance(d, gm.MapDataset) and d.counts.shape == kept.shape
    )


def fit(
    folder: Path, store: Path, client: Any = None, response: str = "gammapy"
) -> tuple[gm.FitResult, gm.Datasets]:
    """Fit from the start."""
    datasets = gm.Datasets.read(store, response=response)
    models = gm.Models.read(folder / "models_start.yaml")
    return gm.Fit(datasets, client).run(models), datasets


def responses_row(folder: Path, store: Path) -> str:
    """Both responses side by side, as a row of the README's table; errors are the exact one's."""
    exact, theirs = (fit(folder, store, None, name)[0] for name in ("exact", "gammapy"))
    before = dict(zip(theirs.parameters.names, theirs.parameters, strict=True))
    after = {
        name.rpartition(".")[2]: (parameter, before[name].value)
        for name, parameter in zip(exact.parameters.names, exact.parameters, strict=True)
        if parameter.error > 0
    }
    position = "fixed"
    if "lat_0" in after:
        (lon, lon_before), (lat, lat_before) = after["lon_0"], after["lat_0"]
        east = (lon.value - lon_before) * np.cos(np.radians(lat_before))
        distance = 3600 * np.hypot(east, lat.value - lat_before)
        position = f"{distance:.1f} ± {3600 * lat.error:.1f}"
    flux, flux_before = after["amplitude"]
    ratio, error = 100 * (flux.value / flux_before - 1), 100 * flux.error / flux_before
    difference = exact.total_stat - theirs.total_stat
    return (
        f"| {folder.name} | {exact.total_stat:.3f} | {theirs.total_stat:.3f} | {difference:+.2f} "
        f"| {position} | {ratio:+.1f} ± {error:.1f} | {exact.passes}, {theirs.passes} |"
    )


def fit_row(folder: Path, result: gm.FitResult, datasets: gm.Datasets) -> str:
    """Compare a fit with Gammapy's best."""
    reference = json.loads((folder / "reference.json").read_text())
    found = [
        (n, p)
        for n, p in zip(result.parameters.names, result.parameters, strict=True)
        if p.error > 0
    ]
    best, observed = reference["vectors"]["best"], reference["observed"]["errors"]
    values = max(abs(p.value - best[n]) / p.error for n, p in found)
    errors = max(abs(p.error / observed[n] - 1) for n, p in found)
    return (
        f"{folder.name:<11} {result.success!s:<6} {result.total_stat - reference['stat']['best']['total']:10.1e} "
        f"{values:8.3f} {errors:8.4f} {result.passes:6d} + {result.passes_errors} "
        f"{result.total_stat - datasets.stat_sum():10.1e}"
    )


def bits(result: gm.FitResult) -> tuple[Any, ...]:
    """Everything of a result that must be the same to the last bit."""
    assert result.covariance is not None
    values = result.parameters.value.tobytes(), result.parameters.error.tobytes()
    return result.total_stat, *values, result.covariance.data.tobytes()


def gradient_of_gaussian(folder: Path, store: Path) -> float:
    """Gradient of the Crab as a free Gaussian against differences, in units of 1/error."""
    datasets, models = gm.Datasets.read(store), gmdask_models(folder, gauss=True)
    datasets.follow(models)
    objective = Objective(datasets, models)
    anchor = objective.parameters.start
    point = objective(anchor)
    assert point.gradient is not None
    assert point.hessian is not None
    error = np.sqrt(2 / np.diag(point.hessian))
    largest = 0.0
    for k, step in enumerate(1e-3 * error):
        at = [point.shared + n * step * (np.arange(len(error)) == k) for n in (-2, -1, 1, 2)]
        far, near, up, further = (
            objective(objective.parameters.with_shared(point.values, x), anchor=anchor).stat
            for x in at
        )
        difference = (8 * (up - near) - (further - far)) / (12 * step)
        largest = max(largest, abs(float(point.gradient[k] - difference)) * error[k])
    return largest


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    data = parser.parse_args().data
    with tempfile.TemporaryDirectory() as scratch:
        stores = {name: Path(scratch) / f"{name}.zarr" for name in ANALYSES}
        for name, store in stores.items():
            gm.import_datasets(data / name / "datasets.yaml", store)
        print(f"{'analysis':<11} {'vector':<10} {'|d stat|':>10} {'npred':>10} {'cube':>10}")
        for name, store in stores.items():
            print("\n".join(parity(data / name, store)), flush=True)
        print(
            f"\n{'fit':<11} {'ok':<6} {'- best':>10} {'d/error':>8} {'error':>8} {'passes':>10} {'- fresh':>10}"
        )
        here = {}
        for name, store in stores.items():
            result, datasets = fit(data / name, store)
            here[name] = bits(result)
            print(fit_row(data / name, result, datasets), flush=True)
        print(
            "\n| analysis | exact | gammapy | difference | position, arcsec | amplitude, % | passes |"
        )
        for name, store in stores.items():
            print(responses_row(data / name, store), flush=True)
        print(
            f"\ngradient of the Gaussian Crab: {gradient_of_gaussian(data / 'crab', stores['crab']):.1e} / error"
        )
        for workers in (1, 2):
            with gm.connect("local", workers=workers, memory_limit="2GB") as client:
                same = {
                    name: bits(fit(data / name, store, client)[0]) == here[name]
                    for name, store in stores.items()
                }
            print(f"same bits with {workers} workers: {same}", flush=True)


if __name__ == "__main__":
    main()
