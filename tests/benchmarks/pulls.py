"""Pulls of many small simulated surveys: do fitted values scatter around the truth as errors say?

    python -m tests.benchmarks.pulls [--surveys N] [--pixel DEG ...] [--response exact gammapy]
        [--minutes M] [--roots] [--seed SEED]

Each survey has its own seed: three runs with free background norms, two point sources and a
Gaussian with fluxes, indices and places drawn anew. Photons are drawn one by one, in continuous
energies and directions, for pixels of each size; the same counts are fitted with each response.
Sources count whose TS, from a fit without them, is above 25. A pull is the distance to the truth in
errors, which are of the curvature at the minimum, and its coverage the share of them within the errors of
68.3 % and 95.4 %. A root is the signed square root of how much higher the statistic is with that parameter
at the truth, which is normal where the statistic is no parabola, too; it takes a fit for each. Nothing is
asserted.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from dataclasses import replace

import numpy as np
import xarray as xr

import gmdask as gm
from gmdask.datasets.simulation.iact import IactResponse
from gmdask.datasets.simulation.observation import simulate_observation
from gmdask.datasets.simulation.survey import EVENTS, Observed, SkyPixels, Survey

CENTRE = (83.6, 22.0)  # deg
RUNS = 3
KINDS = {
    "lon_0": "position", "lat_0": "position", "sigma": "size", "amplitude": "flux", "index": "index",
}  # fmt: skip
TS = 25.0


def survey(pixel: float) -> Survey:
    """Axes, pixels and IRFs of all runs."""
    return Survey(  # true bins so narrow that spectra averaged in them do not shift the fluxes
        0, SkyPixels("icrs", "TAN", CENTRE, pixel), round(2.4 / pixel), np.geomspace(0.5, 20, 7),
        np.geomspace(0.3, 30, 49), (), gm.Models(), IactResponse(background=250.0), sources=EVENTS,
    )  # fmt: skip


def truth(rng: np.random.Generator, runs: int = RUNS) -> gm.Models:
    """Two points and a Gaussian at random, and a background norm per run."""
    sources = []
    for name, x, y in (("a", 0.4, 0.3), ("b", -0.4, 0.3), ("c", 0.0, -0.4)):
        amplitude = 10 ** rng.uniform(-12.0, -11.3) * (3 if name == "c" else 1)
        spectrum = gm.PowerLawSpectralModel(index=rng.uniform(2.0, 2.8), amplitude=amplitude)
        x, y = np.array([x, y]) + rng.uniform(-0.1, 0.1, size=2)
        place = {"lon_0": CENTRE[0] + x / np.cos(np.radians(CENTRE[1])), "lat_0": CENTRE[1] + y}
        shape = (
            gm.GaussianSpatialModel(**place, sigma=rng.uniform(0.1, 0.2), frame="icrs")
            if name == "c"
            else gm.PointSpatialModel(**place, frame="icrs")
        )
        sources.append(gm.SkyModel(spectrum, shape, name=name))
    backgrounds = [gm.BackgroundIRFModel(dataset_name=f"run-{i}") for i in range(runs)]
    for background in backgrounds:
        background.parameters["norm"].value = rng.normal(1.0, 0.1)
    return gm.Models([*sources, *backgrounds])


def simulated(axes: Survey, models: gm.Models, seed: int, runs: int = RUNS) -> list[xr.Dataset]:
    """Runs around the centre."""
    sky = gm.Models([model for model in models if isinstance(model, gm.SkyModel)])
    drawn = []
    for i in range(runs):
        background = models[f"run-{i}-bkg"].spectral_model
        lon, lat = CENTRE[0] + 0.4 * np.cos(2 * i), CENTRE[1] + 0.4 * np.sin(2 * i)
        norm, tilt = background.norm.value, background.tilt.value
        observed = Observed(i, f"run-{i}", lon, lat, 0.0, 1800.0, 0.0, norm, tilt)
        drawn.append(simulate_observation(replace(axes, seed=seed, models=sky), observed))
    return drawn


def start_of(true: gm.Models, rng: np.random.Generator) -> gm.Models:
    """The models away from the truth."""
    own = true.copy()
    for source in (own["a"], own["b"], own["c"]):
        source.spatial_model.lon_0.value += rng.normal(0, 0.02)
        source.spatial_model.lat_0.value += rng.normal(0, 0.02)
        source.spectral_model.amplitude.value *= rng.uniform(0.6, 1.5)
    return own


def significant(
    datasets: gm.Datasets, fitted: gm.Models, stat: float, name: str, response: str
) -> bool:
    """Whether the TS of a source is above 25."""
    others = gm.Models([model.copy(name=model.name) for model in fitted if model.name != name])
    return gm.Fit(datasets, response=response).optimize(others).total_stat - stat > TS


def root(
    datasets: gm.Datasets, fitted: gm.Models, stat: float, name: str, true: float, response: str
) -> float:
    """Signed root of what a parameter at the truth adds to the statistic."""
    own = fitted.copy()
    parameter = own.parameters[name]
    sign = np.sign(parameter.value - true)
    parameter.value, parameter.frozen = true, True
    higher = gm.Fit(datasets, response=response).optimize(own).total_stat - stat
    return float(sign * np.sqrt(max(higher, 0.0)))


def pulls_of(
    axes: Survey, seed: int, response: str, *, roots: bool
) -> list[tuple[str, float, float]] | None:
    """Kind of parameter, pull and root, of the significant sources of one survey; None if it is not fitted."""
    rng = np.random.default_rng(seed)
    true = truth(rng)
    datasets = gm.Datasets([gm.MapDataset(cube) for cube in simulated(axes, true, seed)])
    own = start_of(true, rng)
    result = gm.Fit(datasets, response=response).run(own)
    if not result.success:
        print(f"survey {seed}, {response}: {result.message}", flush=True)
        return None
    found = []
    for name in ("a", "b", "c"):
        if not significant(datasets, own, result.total_stat, name, response):
            continue
        for full, parameter in own[name].named_parameters():
            if not parameter.frozen and parameter.error > 0:
                at = true.parameters[full].value
                pull = (parameter.value - at) / parameter.error
                kind = KINDS[full.rsplit(".", 1)[-1]]
                if kind == "position":
                    kind += " (point)" if name != "c" else " (Gaussian)"
                stat = result.total_stat
                higher = root(datasets, own, stat, full, at, response) if roots else np.nan
                found.append((kind, float(pull), higher))
    return found


def told(title: str, found: list[tuple[str, float, float]], *, roots: bool) -> None:
    """Print the table of one size of pixels and one response."""
    rooted = f" {'roots: mean':>14} {'width':>14}" if roots else ""
    print(f"\n{title}")
    print(
        f"{'':<20} {'n':>5} {'pulls: mean':>15} {'width':>15} {'in 68.3 %':>12} {'in 95.4 %':>12}{rooted}"
    )
    for kind in [*sorted({kind for kind, *_ in found}), "all"]:
        own = np.array([numbers for k, *numbers in found if kind in (k, "all")])
        if not len(own):
            continue
        n, width = len(own), np.sqrt(np.mean(own**2, axis=0))
        cells = [
            f"{m:6.3f} ± {w / n**0.5:5.3f} {w:6.3f} ± {w / (2 * n) ** 0.5:5.3f}"
            for m, w in zip(own.mean(axis=0), width, strict=True)
        ]
        shares = []
        for level, share in ((1, 0.6827), (2, 0.9545)):
            found_share = np.mean(np.abs(own[:, 0]) < level)
            shares.append(
                f"{100 * found_share:5.1f} ± {100 * (share * (1 - share) / n) ** 0.5:4.1f}"
            )
        cells = [cells[0], *shares, *(cells[1:] if roots else [])]
        print(f"{kind:<20} {n:5d}  {'  '.join(cells)}", flush=True)


def main() -> None:
    """Simulate, fit, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--surveys", type=int, default=60)
    parser.add_argument("--pixel", type=float, nargs="+", default=[0.04])
    parser.add_argument("--response", nargs="+", default=["exact", "gammapy"])
    parser.add_argument("--minutes", type=float, default=np.inf, help="Stop after so many.")
    parser.add_argument(
        "--roots", action="store_true", help="Fit with each parameter at its truth."
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    start, done = time.monotonic(), 0
    found: dict[tuple[float, str], list[tuple[str, float, float]]] = defaultdict(list)
    fitted: dict[tuple[float, str], int] = defaultdict(int)
    while done < options.surveys and time.monotonic() - start < 60 * options.minutes:
        for pixel in options.pixel:
            for response in options.response:
                pulls = pulls_of(survey(pixel), options.seed + done, response, roots=options.roots)
                fitted[pixel, response] += pulls is not None
                found[pixel, response] += pulls or []
        done += 1
    print(f"{done} surveys, drawn as events, {(time.monotonic() - start) / 60:.1f} min")
    for (pixel, response), own in found.items():
        title = f"pixels of {pixel} deg, response {response}: {fitted[pixel, response]} of {done} fits a success"
        told(title, own, roots=options.roots)


if __name__ == "__main__":
    main()
