"""Global models of many datasets: build, write, read, distribute; Gammapy beside, where it can.

    python -m tests.benchmarks.bench_models [--datasets 300 10000] [--gammapy 100]

Every dataset has one background model of its own, beside one source for all. Wall time in seconds;
"covariance" is writing and reading once more with a covariance of all parameters. Gammapy's time
grows with the square of the number. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import xarray as xr

import gmdask as gm
from gmdask.datasets.simulation.observation import simulate_observation
from gmdask.datasets.simulation.survey import Observed, SkyPixels, Survey
from gmdask.models import Block, BlockMatrix

T = TypeVar("T")


def timed(function: Callable[[], T]) -> tuple[float, T]:
    """Seconds, and the result."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def tiny_cube() -> xr.Dataset:
    """A small observation; the arrays are shared by all datasets."""
    pixels, energy = SkyPixels("icrs", "TAN", (80.0, 20.0), 0.1), np.geomspace(1, 10, 3)
    observed = Observed(0, "tiny", 80.0, 20.0, start=0.0, livetime=1800.0, zenith=20.0)
    survey = Survey(1, pixels, 8, energy, energy, (observed,))
    return simulate_observation(survey, observed)


def make_models(names: list[str]) -> gm.Models:
    """One source for all, one background each."""
    source = gm.SkyModel(
        gm.PowerLawSpectralModel(),
        gm.PointSpatialModel(lon_0="80 deg", lat_0="20 deg"),
        name="source",
    )
    return gm.Models([source, *(gm.BackgroundIRFModel(dataset_name=name) for name in names)])


def in_blocks(models: gm.Models) -> BlockMatrix:
    """A covariance of two parameters of the source, and of a norm per dataset that follows them."""
    parameters = models.parameters
    shared = [parameters.index(f"source.spectral.{name}") for name in ("index", "amplitude")]
    norms = [parameters.index(f"{model.name}.spectral.norm") for model in models[1:]]
    two = np.array([0, 1])
    blocks = [
        Block(np.array([at]), np.array([[0.01]]), two, np.array([[0.1, 1e11]])) for at in norms
    ]
    return BlockMatrix(len(parameters), np.array(shared), np.diag([0.01, 1e-26]), blocks)


def run_gmdask(n: int) -> list[float]:
    """Seconds to build, write, read, do both with a covariance, set and update."""
    cube = tiny_cube()
    names = [f"run-{i}" for i in range(n)]
    datasets = gm.Datasets([gm.MapDataset(cube.assign_attrs(name=name)) for name in names])
    build, models = timed(lambda: make_models(names))
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "models.yaml"
        write, _ = timed(lambda: models.write(path))
        read, models = timed(lambda: gm.Models.read(path))
    models.covariance = in_blocks(models)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "models.yaml"

        def write_and_read() -> gm.Models:
            models.write(path)
            return gm.Models.read(path)

        with_matrix, _ = timed(write_and_read)
    set_models, _ = timed(lambda: datasets.set_models(models))
    models.parameters["source.spectral.index"].value = 2.5
    values, _ = timed(lambda: datasets.set_models_parameters(models.parameters))
    follow, _ = timed(lambda: datasets.follow(models))
    return [build, write, read, with_matrix, set_models, values, follow]


def run_gammapy(n: int) -> float:
    """Seconds of ``datasets.models = models``."""
    from gammapy.datasets import Datasets, MapDataset
    from gammapy.maps import MapAxis, WcsGeom
    from gammapy.modeling.models import (
        FoVBackgroundModel,
        Models,
        PointSpatialModel,
        PowerLawSpectralModel,
        SkyModel,
    )

    axis = MapAxis.from_energy_bounds("1 TeV", "10 TeV", nbin=2)
    true = MapAxis.from_energy_bounds("1 TeV", "10 TeV", nbin=2, name="energy_true")
    geom = WcsGeom.create(npix=8, binsz=0.1, axes=[axis])
    datasets = Datasets(
        [MapDataset.create(geom, energy_axis_true=true, name=f"run-{i}") for i in range(n)]
    )
    source = SkyModel(PowerLawSpectralModel(), PointSpatialModel(), name="source")
    models = Models([source, *(FoVBackgroundModel(dataset_name=d.name) for d in datasets)])

    def set_models() -> None:
        datasets.models = models

    return timed(set_models)[0]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datasets", type=int, nargs="*", default=[300, 10_000])
    parser.add_argument("--gammapy", type=int, nargs="*", default=[100])
    options = parser.parse_args()
    print(
        f"{'':<8} {'datasets':>8}  "
        + "  ".join(
            f"{k:>10}"
            for k in ("build", "write", "read", "covariance", "set_models", "values", "follow")
        )
    )
    for n in options.datasets:
        print(
            f"{'gmdask':<8} {n:8d}  " + "  ".join(f"{s:10.3f}" for s in run_gmdask(n)), flush=True
        )
    for n in options.gammapy:
        print(f"{'Gammapy':<8} {n:8d}  " + " " * 48 + f"{run_gammapy(n):10.3f}", flush=True)


if __name__ == "__main__":
    main()
