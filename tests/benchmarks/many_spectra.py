"""Thousands of small spectra in one fit: processor time by phase, and Gammapy's for a few of them.

``python -m tests.benchmarks.many_spectra --spectra 5000 --gammapy 30``
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from regions import CircleSkyRegion

import gmdask as gm

N_BINS, N_TRUE = 50, 60
REGION = CircleSkyRegion(SkyCoord(83.63, 22.01, unit="deg"), 0.11 * u.deg)


def spectrum(name: str, rng: np.random.Generator) -> gm.SpectrumDataset:
    """Draw a spectrum of a short observation, with a background of its own strength."""
    energy, true = np.geomspace(0.3, 30, N_BINS + 1), np.geomspace(0.1, 100, N_TRUE + 1)
    centre, of_true = np.sqrt(energy[1:] * energy[:-1]), np.sqrt(true[1:] * true[:-1])
    distance = np.log(centre / of_true[:, None]) / 0.15
    edisp = np.exp(-0.5 * distance**2)
    edisp /= np.maximum(edisp.sum(axis=1, keepdims=True), edisp.sum(axis=1).max())
    exposure = 3e9 * of_true**0.5 * rng.uniform(600, 1800)
    background = 2 * centre**-1.7
    flux = 3e-11 * of_true**-2.5 * np.exp(-of_true / 20) * np.diff(true)
    expected = (exposure * flux) @ edisp + rng.normal(1, 0.2) * background
    return gm.SpectrumDataset.from_arrays(
        name, region=REGION, energy=energy * u.TeV, energy_true=true * u.TeV,
        counts=rng.poisson(expected).astype(np.float32), exposure=exposure.astype(np.float32),
        background=background.astype(np.float32), edisp=edisp.astype(np.float32),
    )  # fmt: skip


def start(names: list[str]) -> gm.Models:
    """Make models with 3 shared free parameters, and one local one per spectrum."""
    source = gm.models.ExpCutoffPowerLawSpectralModel(
        index=2.3, amplitude="2.5e-11 cm-2 s-1 TeV-1", lambda_="0.08 TeV-1"
    )
    backgrounds = [
        gm.BackgroundIRFModel(gm.PowerLawNormSpectralModel(), dataset_name=name) for name in names
    ]
    return gm.Models([gm.SkyModel(source, name="source"), *backgrounds])


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Print wall and processor time of this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    print(
        f"{name:<12} {time.perf_counter() - wall:8.2f} s, {time.process_time() - cpu:8.2f} s of the processor"
    )


def fit_ours(url: Path, n: int, workers: int) -> None:
    """Fit the spectra of a store."""
    with (
        gm.connect("local", workers=workers, memory_limit="2GB")
        if workers
        else nullcontext() as client
    ):
        with phase("open"):
            datasets = gm.Datasets.read(url)[:n]
            models = start(datasets.names)
        with phase("set models"):
            datasets.set_models(models)
        with phase("fit"):
            result = gm.Fit(datasets, client).run(models)
    print(f"{result}"[:600])


def fit_theirs(url: Path, n: int) -> None:
    """Fit a few of them with Gammapy."""
    from gammapy.modeling import Fit

    datasets = gm.Datasets.read(url)[:n]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = gm.to_gammapy(datasets)
        with phase(f"Gammapy, {n}"):
            theirs.models = gm.to_gammapy(start(datasets.names))
            print(Fit().run(theirs).total_stat)


def main() -> None:
    """Simulate, and fit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spectra", type=int, default=5000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--gammapy", type=int, default=0)
    parser.add_argument("--store", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = args.store or Path(folder) / "spectra.zarr"
        if not url.exists():
            rng = np.random.default_rng(5)
            made = gm.Datasets(spectrum(f"run-{k}", rng) for k in range(args.spectra))
            with phase("simulate"):
                made.write(url)
        if args.gammapy:
            fit_theirs(url, args.gammapy)
        fit_ours(url, args.spectra, args.workers)
        spent = [
            resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        ]
        print(
            f"processor time of all processes {sum(s.ru_utime + s.ru_stime for s in spent):.1f} s"
        )


if __name__ == "__main__":
    main()
