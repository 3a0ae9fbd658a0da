"""The command ``gmdask demo``: a small survey is simulated, stored, fitted and reported."""

from __future__ import annotations

import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from gmdask.cli.output import OutputFolder
from gmdask.cli.progress import Progress
from gmdask.cli.terminal import echo
from gmdask.paths import expanded

if TYPE_CHECKING:
    from gmdask.datasets.simulation.survey import Observed, Survey
    from gmdask.fit import FitResult
    from gmdask.models import Models

__all__ = ["demo"]

CENTRE = (150.0, -20.0)
N_OBSERVATIONS = 24
SEED = 22


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(),
    metavar="FOLDER",
    help="Output folder (default: gmdask-demo, or the next free name).",
)
@click.option(
    "--workers", type=click.IntRange(min=1), default=2, show_default=True, help="Local workers."
)
def demo(output: str | None, workers: int) -> None:
    """Simulate a small survey, store it, fit it on a local cluster, and print the result."""
    start = time.perf_counter()
    folder = _new_folder(output)
    from gmdask.cluster import connect
    from gmdask.datasets import Datasets, simulate
    from gmdask.datasets.simulation.survey_simulation import true_models
    from gmdask.fit import Fit

    survey = _survey()
    echo(f"1. simulate {N_OBSERVATIONS} observations of a field with three sources")
    progress = Progress()
    store = simulate(survey, folder / "survey.zarr", on_event=progress)
    progress.close()
    truth = true_models(survey)
    echo(f"   {sum(row.counts or 0.0 for row in store.rows):.0f} counts -> {store.url}")
    models = _start(truth)
    models.write(folder / "models_start.yaml", full_output=True)
    datasets = Datasets.from_store(store)
    echo(f"2. fit {len(models.parameters.free)} parameters on a local cluster of {workers} workers")
    progress, out = Progress(), OutputFolder(folder / "fit")
    with (
        connect("local", workers=workers, memory_limit="2GB") as client,
        out.begun(),
    ):
        out.prepare()
        result = Fit(datasets, client, on_event=progress, events=out.events).run(models)
        progress.close()
        echo(
            f"   {result.message}: {result.passes} passes, {result.wall_s:.1f} s, statistic {result.total_stat:.2f}"
        )
        out.write(result, models, datasets, store)
    echo("3. compare the fitted values with the true ones\n")
    _report(result, truth)
    echo(_next_steps(folder, time.perf_counter() - start))


def _new_folder(output: str | None) -> Path:
    from gmdask.errors import InputError

    if output is None:
        names = (Path("gmdask-demo" if i == 1 else f"gmdask-demo-{i}") for i in count(1))
        folder = next(name for name in names if not name.exists())
    else:
        folder = expanded(output)
    try:
        folder.mkdir()
    except FileExistsError:
        msg = f"{folder}: already exists"
        raise InputError(msg) from None
    except FileNotFoundError:
        msg = f"{folder}: its parent is not a folder"
        raise InputError(msg) from None
    return folder


def _survey() -> Survey:
    from gmdask.datasets.simulation.iact import IactResponse
    from gmdask.datasets.simulation.survey import SkyPixels, Survey

    pixels = SkyPixels("icrs", "TAN", CENTRE, 0.04)
    observations = tuple(_observed(i) for i in range(N_OBSERVATIONS))
    energy, energy_true = np.geomspace(0.5, 30, 11), np.geomspace(0.3, 50, 25)
    response = IactResponse(background=300.0)
    return Survey(SEED, pixels, 90, energy, energy_true, observations, _sky(), response)


def _observed(number: int) -> Observed:
    """One observation, on a ring around the field."""
    from gmdask.datasets.simulation.survey import Observed

    rng = np.random.default_rng([SEED, number])
    angle, radius = 2 * np.pi * number / N_OBSERVATIONS, 0.5 + 0.2 * (number % 3)
    lon = CENTRE[0] + radius * np.cos(angle) / np.cos(np.radians(CENTRE[1]))
    lat = CENTRE[1] + radius * np.sin(angle)
    norm, tilt = rng.normal(1.0, 0.1), rng.normal(0.0, 0.03)
    return Observed(
        number, f"obs-{number + 1:02d}", lon, lat, start=2000.0 * number, livetime=1800.0,
        zenith=rng.uniform(10, 40), norm=norm, tilt=tilt,
    )  # fmt: skip


def _sky() -> Models:
    """Create the true sources: a point, a Gaussian, and a faint point beside it."""
    from gmdask import models as m

    lon, lat = CENTRE
    return m.Models([
        m.SkyModel(
            m.PowerLawSpectralModel(index=2.3, amplitude="4e-12 cm-2 s-1 TeV-1"),
            m.PointSpatialModel(lon_0=f"{lon + 0.5} deg", lat_0=f"{lat + 0.3} deg"), name="bright",
        ),
        m.SkyModel(
            m.LogParabolaSpectralModel(amplitude="8e-12 cm-2 s-1 TeV-1", reference="1 TeV", alpha=2.1, beta=0.15),
            m.GaussianSpatialModel(lon_0=f"{lon - 0.4} deg", lat_0=f"{lat - 0.2} deg", sigma="0.18 deg"), name="nebula",
        ),
        m.SkyModel(
            m.PowerLawSpectralModel(index=2.6, amplitude="1.2e-12 cm-2 s-1 TeV-1"),
            m.PointSpatialModel(lon_0=f"{lon - 0.1} deg", lat_0=f"{lat - 0.45} deg"), name="faint",
        ),
    ])  # fmt: skip


def _start(truth: Models) -> Models:
    """Models to start the fit from: everything moved away from the truth."""
    models = truth.copy()
    for name in ("bright", "nebula", "faint"):
        source = models[name]
        source.spectral_model.amplitude.value *= 0.6
        source.spatial_model.lon_0.value += 0.03
        source.spatial_model.lat_0.value -= 0.02
    models["bright"].spectral_model.index.value = 2.0
    models["faint"].spectral_model.index.value = 2.3
    models["nebula"].spatial_model.sigma.value = 0.12
    for name in models.names[3:]:
        norm = models[name].spectral_model
        norm.norm.value, norm.tilt.value = 1.0, 0.0
    return models


def _report(result: FitResult, truth: Models) -> None:
    echo(f"   {'parameter':<28} {'fitted':>12} {'error':>10} {'true':>12} {'pull':>6}")
    pulls = []
    for name, parameter in zip(result.parameters.names, result.parameters, strict=True):
        if parameter.frozen or parameter.error == 0:
            continue
        true = truth.parameters[name].value
        pull = (parameter.value - true) / parameter.error
        pulls.append(pull)
        if not name.startswith("obs-"):
            echo(
                f"   {name:<28} {parameter.value:12.5g} {parameter.error:10.2g} {true:12.5g} {pull:6.2f}"
            )
    echo(
        f"\n   and {sum(n.startswith('obs-') for n in result.parameters.free.names)} background parameters; "
        f"all {len(pulls)} pulls: mean {np.mean(pulls):.2f}, width {np.std(pulls):.2f}"
    )


def _next_steps(folder: Path, seconds: float) -> str:
    return (
        f"\nWritten in {seconds:.0f} s:\n"
        f"   {folder}/survey.zarr            the store\n"
        f"   {folder}/survey-truth.yaml      the models it was simulated from\n"
        f"   {folder}/models_start.yaml      the models the fit started from\n"
        f"   {folder}/fit/residuals.png      counts, model and residuals\n"
        f"   {folder}/fit/models.yaml        the fitted models, with covariance\n"
        f"   {folder}/fit/result.json        the numbers of the result\n"
        f"   {folder}/fit/events.jsonl       the log of the fit, which the live view shows\n"
        "Try next:\n"
        f"   gmdask info {folder}/survey.zarr\n"
        f"   gmdask report {folder}/fit\n"
        f"   gmdask fit {folder}/survey.zarr {folder}/models_start.yaml -o {folder}/again --cluster none\n"
        f"   python -c \"import gmdask as gm; print(gm.Datasets.read('{folder}/survey.zarr'))\"\n"
    )
