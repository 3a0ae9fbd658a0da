"""The standard survey: a strip of the Galactic plane, 20 sources, any number of observations.

    python -m tests.benchmarks.survey_config N FOLDER [--small]

Writes into FOLDER config.yaml and truth.yaml (for ``gmdask simulate``), the maps of two templates,
and start.yaml, models to start a fit from, with a background for every dataset. All of it depends
on N and --small only.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from gmdask.datasets.simulation.observation import background_model
from gmdask.datasets.simulation.survey_file import read_survey
from gmdask.models import (
    GaussianSpatialModel,
    Models,
    PointSpatialModel,
    PowerLawSpectralModel,
    ShellSpatialModel,
    SkyMap,
    SkyModel,
    SpatialModel,
    TemplateSpatialModel,
)

SEED = 4
CRAB = 3.5e-11  # cm-2 s-1 TeV-1 at 1 TeV
LON, WIDTH, ROWS = 310.0, 40.0, (-0.8, 0.0, 0.8)  # deg
DITHER = 0.3  # deg
N_POINT, N_GAUSS, N_SHELL = 10, 6, 2


def config(n: int, *, small: bool) -> dict[str, Any]:
    """Configuration of N observations."""
    rng = np.random.default_rng([SEED, 0])
    radius, angle = DITHER * np.sqrt(rng.random(n)), 2 * np.pi * rng.random(n)
    column = np.floor(np.arange(n) * WIDTH / n) + 0.5
    lon = LON + column + radius * np.cos(angle)
    lat = np.array(ROWS)[np.arange(n) % len(ROWS)] + radius * np.sin(angle)
    return {
        "seed": SEED,
        "models": "truth.yaml",
        "geometry": {
            "frame": "galactic", "projection": "CAR",
            "center": {"lon": f"{LON + WIDTH / 2} deg", "lat": "0 deg"},
            "pixel": "0.04 deg", "npix": 40 if small else 125,
        },
        "energy": {"min": "0.5 TeV", "max": "50 TeV", "bins": 6 if small else 12},
        "energy_true": {"min": "0.3 TeV", "max": "100 TeV", "bins": 12 if small else 24},
        "pointings": {
            "list": [{"lon": f"{x:.4f} deg", "lat": f"{y:.4f} deg"} for x, y in zip(lon, lat, strict=True)]
        },
        "livetime": {"min": "25 min", "max": "30 min"},
        "zenith": {"min": "10 deg", "max": "45 deg"},
        "background": {"rate": "750 s-1 TeV-1 sr-1", "norm_spread": 0.1, "tilt_spread": 0.03},
    }  # fmt: skip


def shapes(rng: np.random.Generator) -> list[tuple[str, SpatialModel]]:
    """Names and shapes of the sources that can move, spread over the strip."""
    n = N_POINT + N_GAUSS + N_SHELL
    lon = LON + WIDTH * (np.arange(n) + rng.uniform(0.25, 0.75, n)) / n
    where = [
        {"lon_0": f"{x:.4f} deg", "lat_0": f"{y:.4f} deg", "frame": "galactic"}
        for x, y in zip(rng.permutation(lon), rng.uniform(-0.6, 0.6, n), strict=True)
    ]
    made: list[tuple[str, SpatialModel]] = [
        (f"point-{i}", PointSpatialModel(**where.pop())) for i in range(N_POINT)
    ]
    for i in range(N_GAUSS):
        sigma = f"{rng.uniform(0.1, 0.3):.3f} deg"
        made.append((f"gauss-{i}", GaussianSpatialModel(**where.pop(), sigma=sigma)))
    for i in range(N_SHELL):
        shell = ShellSpatialModel(
            **where.pop(), radius=f"{rng.uniform(0.25, 0.4):.3f} deg", width="0.08 deg"
        )
        shell.parameter("width").frozen = True
        made.append((f"shell-{i}", shell))
    return made


def template(folder: Path, name: str, lon: float, width: float, sigma: float) -> SpatialModel:
    """A map of its own file: a band along the plane, or a cloud, with some structure."""
    pixel = 0.05
    half = 3.0 if width > 10 else width / 2
    nx, ny = round(width / pixel), round(2 * half / pixel)
    header = {
        "CTYPE1": "GLON-CAR", "CTYPE2": "GLAT-CAR", "CRPIX1": (nx + 1) / 2, "CRPIX2": (ny + 1) / 2,
        "CRVAL1": lon, "CRVAL2": 0.0, "CDELT1": -pixel, "CDELT2": pixel, "CUNIT1": "deg", "CUNIT2": "deg",
    }  # fmt: skip
    y, x = np.indices((ny, nx))
    b, dl = (y - (ny - 1) / 2) * pixel, (x - (nx - 1) / 2) * pixel
    ridge = 0.2 * np.sin(0.7 * dl)
    image = np.exp(-0.5 * ((b - ridge) / sigma) ** 2) * (1 + 0.3 * np.cos(1.9 * dl + b))
    if width <= 10:
        image *= np.exp(-0.5 * (dl / (1.5 * sigma)) ** 2)
    path = folder / f"{name}.fits"
    SkyMap(image.astype(np.float32), header, unit="sr-1").write(path, overwrite=True)
    return TemplateSpatialModel.read(path)


def truth(folder: Path) -> Models:
    """True sources; the maps of the templates are written."""
    rng = np.random.default_rng([SEED, 1])
    sources = []
    for name, shape in shapes(rng):
        low, high = (-1.7, -1.0) if isinstance(shape, PointSpatialModel) else (-0.8, -0.2)
        amplitude = 10 ** rng.uniform(low, high) * CRAB
        sources.append((name, shape, amplitude, rng.uniform(2.0, 2.6)))
    band = template(folder, "band", LON + WIDTH / 2, WIDTH + 6, 0.5)
    cloud = template(folder, "cloud", LON + 0.4 * WIDTH, 2.4, 0.3)
    sources += [("band", band, 2.3 * CRAB, 2.5), ("cloud", cloud, 0.3 * CRAB, 2.3)]
    return Models(
        SkyModel(
            PowerLawSpectralModel(index=round(index, 3), amplitude=f"{amplitude:.4g} cm-2 s-1 TeV-1"),
            shape, name=name,
        )
        for name, shape, amplitude, index in sources
    )  # fmt: skip


def start(true: Models) -> Models:
    """Sources to start from: moved by 0.03 deg, fainter, of other indices and sizes."""
    rng = np.random.default_rng([SEED, 2])
    models = true.copy()
    model: Any
    for model in models:
        model.spectral_model.amplitude.value *= 0.6
        model.spectral_model.index.value += 0.2
        shape, angle = model.spatial_model, 2 * np.pi * rng.random()
        if isinstance(shape, TemplateSpatialModel):
            continue
        shape.parameter("lon_0").value += 0.03 * np.cos(angle)
        shape.parameter("lat_0").value += 0.03 * np.sin(angle)
        for size in {"sigma", "radius"} & {*shape.parameter_names}:
            shape.parameter(size).value *= 1.2
    return models


def write(n: int, folder: Path, *, small: bool = False) -> Path:
    """Write all files; return that of the configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    true, path = truth(folder), folder / "config.yaml"
    true.write(folder / "truth.yaml", overwrite=True)
    path.write_text(
        yaml.safe_dump(config(n, small=small), sort_keys=False, default_flow_style=None)
    )
    observations = read_survey(path).observations
    backgrounds = [background_model(replace(o, norm=1.0, tilt=0.0)) for o in observations]
    Models([*start(true), *backgrounds]).write(folder / "start.yaml", overwrite=True)
    return path


def main() -> None:
    """Write the survey that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("n", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--small", action="store_true")
    arguments = parser.parse_args()
    write(arguments.n, arguments.folder, small=arguments.small)


if __name__ == "__main__":
    main()
