"""One answer: the same fit from many random starts, and how far apart its ends are.

    python -m tests.benchmarks.one_answer [CASE ...] [--variant NAME ...] [--starts N] [--seed SEED]
        [--data DIR] [--response exact]

Starts lie around a first fit: positions within a PSF width (0.06 deg), fluxes within a factor of 3, indices
within 0.5, sizes within a factor of 1.5. Variants: "near" is that; in "far" each flux is besides 20 times too
high or too low; "log" is "far" with the logarithm of each flux as its parameter. Cases: "crab" and
"pks2155" are real observations; "survey" has three simulated ones with pixels of 0.02 deg, two points and a
Gaussian; in "unresolved" a point is fitted as a Gaussian, whose size comes out as 0, from sizes between
0.01 and 0.1 deg; "demo" has the 24 observations of ``gmdask demo``. Spreads are those of the statistic among the
fits that succeed, and among all; for the size that is not resolved also that of its upper limit, in per cent.
Nothing is asserted.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import gmdask as gm
from gmdask.cli.demo import _start, _survey
from gmdask.datasets.simulation.survey_simulation import true_models
from tests.benchmarks import pulls
from tests.benchmarks.bench_real import DEFAULT_DATA
from tests.benchmarks.log_norm import ExponentialNormSpectralModel

WIDTH = 0.06  # deg
FLUX, INDEX, SIZE, OFF = 3.0, 0.5, 1.5, 20.0
VARIANTS = ("near", "far", "log")
PIXEL = 0.02  # deg


Case = tuple[gm.Datasets, gm.Models]


def real(name: str) -> Callable[[Path, Path], Case]:
    """A real analysis."""

    def case(data: Path, scratch: Path) -> Case:
        store = scratch / f"{name}.zarr"
        gm.import_datasets(data / name / "datasets.yaml", store)
        return gm.Datasets.read(store), gm.Models.read(data / name / "models_start.yaml")

    return case


def survey(data: Path, scratch: Path) -> Case:
    """Three observations with small pixels, from the truth."""
    models = pulls.truth(np.random.default_rng(0))
    drawn = pulls.simulated(pulls.survey(PIXEL), models, 0)
    return gm.Datasets([gm.MapDataset(cube) for cube in drawn]), models


def unresolved(data: Path, scratch: Path) -> Case:
    """A point, fitted as a Gaussian: the first of the seeds whose size has its minimum at 0."""
    lon, lat = pulls.CENTRE
    place: dict[str, Any] = {"lon_0": lon + 0.013, "lat_0": lat + 0.007, "frame": "icrs"}
    spectrum = gm.PowerLawSpectralModel(index=2.3, amplitude=3e-12)
    backgrounds = [gm.BackgroundIRFModel(dataset_name=f"run-{i}") for i in range(pulls.RUNS)]
    truth = gm.Models(
        [gm.SkyModel(spectrum, gm.PointSpatialModel(**place), name="a"), *backgrounds]
    )
    for seed in range(20):
        drawn = pulls.simulated(pulls.survey(0.04), truth, seed)
        datasets = gm.Datasets([gm.MapDataset(cube) for cube in drawn])
        models = truth.copy()
        shape = gm.GaussianSpatialModel(sigma="0.05 deg", **place)
        models = gm.Models([gm.SkyModel(spectrum.copy(), shape, name="a"), *truth.copy()[1:]])
        gm.Fit(datasets).optimize(models)
        if models["a"].spatial_model.sigma.value < 1e-4:
            return datasets, models
    msg = "the size is above 0 in all simulations"
    raise RuntimeError(msg)


def demo(data: Path, scratch: Path) -> Case:
    """The observations of the demo, and its start."""
    described = _survey()
    store = gm.simulate(described, scratch / "demo.zarr")
    return gm.Datasets.from_store(store), _start(true_models(described))


CASES = {
    "crab": real("crab"), "pks2155": real("pks2155"), "survey": survey, "unresolved": unresolved, "demo": demo,
}  # fmt: skip


def start(best: gm.Models, variant: str, rng: np.random.Generator, *, small: bool) -> gm.Models:
    """Models at random around the best ones."""
    models = []
    for model in best.copy():
        if not isinstance(model, gm.SkyModel):
            models.append(model)
            continue
        shape: Any = model.spatial_model
        spectrum: Any = model.spectral_model
        angle, distance = 2 * np.pi * rng.random(), WIDTH * rng.random()
        shape.lat_0.value += distance * np.sin(angle)
        shape.lon_0.value += distance * np.cos(angle) / np.cos(np.radians(shape.lat_0.value))
        if "sigma" in shape.parameter_names:
            shape.sigma.value *= SIZE ** rng.uniform(-1, 1)
            if small:
                shape.sigma.value = rng.uniform(0.01, 0.1)
        index = spectrum.parameter("index" if "index" in spectrum.parameter_names else "alpha")
        index.value += rng.uniform(-INDEX, INDEX)
        factor = FLUX ** rng.uniform(-1, 1)
        if variant != "near":
            factor *= OFF ** rng.choice([-1, 1])
        if variant == "log":
            spectrum.amplitude.frozen = True
            norm = ExponentialNormSpectralModel(log_norm=np.log(factor))
            spectrum = gm.models.CompoundSpectralModel(spectrum, norm, "mul")
        else:
            spectrum.amplitude.value *= factor
        models.append(gm.SkyModel(spectrum, shape, name=model.name))
    return gm.Models(models)


def row(
    name: str, variant: str, datasets: gm.Datasets, best: gm.Models, starts: int, seed: int
) -> str:
    """Fit from all starts, and tell what was found."""
    begin, passes, ends = time.process_time(), [], []
    for number in range(starts):
        rng = np.random.default_rng([seed, number])
        models = start(best, variant, rng, small=name == "unresolved")
        result = gm.Fit(datasets).run(models)
        passes.append(result.passes)
        ends.append(result)
    good = [result.total_stat for result in ends if result.success]
    stats = [result.total_stat for result in ends]
    statuses = Counter(result.status.value for result in ends)
    limits = [limit for result in ends for limit in result.upper_limits.values()]
    told = ", ".join(f"{number} {status}" for status, number in statuses.most_common())
    if limits:
        told += f"; limits {np.mean(limits):.5g} ± {100 * np.ptp(limits) / np.mean(limits):.2g} %"
    spread = f"{np.ptp(good):9.1e}" if good else f"{'':>9}"
    head = (
        f"{name:<10} {variant:<5} {len(good):3d} of {starts:<3d} {spread} {np.ptp(stats):9.1e} {min(stats):14.4f} "
        f"{np.median(passes):6.1f} {max(passes):4d} {time.process_time() - begin:7.1f}  {told}"
    )
    lines = [
        f"    start {number}: {result.total_stat - min(stats):+.4f}, {result.passes} passes, {result.message[:150]}"
        for number, result in enumerate(ends)
        if not (result.success or result.status.value == "unresolved")
        or result.total_stat > min(stats) + 0.01
    ]
    return "\n".join([head, *lines])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("cases", nargs="*", default=list(CASES))
    parser.add_argument("--variant", nargs="+", default=VARIANTS, choices=VARIANTS)
    parser.add_argument("--starts", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--response", default="exact")
    options = parser.parse_args()
    print(
        f"{'case':<10} {'':<5} {'successes':>10} {'spread':>9} {'of all':>9} {'lowest':>14} "
        f"{'passes':>6} {'most':>4} {'cpu s':>7}  ends"
    )
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.cases:
            datasets, best = CASES[name](options.data, Path(scratch))
            datasets.set_response(options.response)
            gm.Fit(datasets).optimize(best)
            for variant in options.variant:
                print(row(name, variant, datasets, best, options.starts, options.seed), flush=True)


if __name__ == "__main__":
    main()
