"""Pulls of exposure norms: small surveys whose instruments have systematic errors of known size.

``python -m tests.benchmarks.systematics_pulls --surveys 100``

Each survey has three instruments with four spectra of one source: the exposure of the first is wrong by 10 % (one
standard deviation, the same for all its spectra), that of the second by 20 %, and each spectrum of the third by 10 %
of its own. The fit has a modifier with the corresponding prior for each of these errors.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from regions import CircleSkyRegion

import gmdask as gm
from gmdask.models import LogNormalPrior

REGION = CircleSkyRegion(SkyCoord(83.63, 22.01, unit="deg"), 0.11 * u.deg)
ENERGY = np.geomspace(0.3, 30, 13) * u.TeV
N_SPECTRA = 4
SIGMAS = {"ten": 0.1, "twenty": 0.2, "each": 0.1}


def spectrum(name: str, counts: np.ndarray | None = None) -> gm.SpectrumDataset:
    """Return a spectrum without energy dispersion, with the stated exposure."""
    zeros = np.zeros(len(ENERGY) - 1)
    centre = np.sqrt(ENERGY[1:] * ENERGY[:-1]).value
    return gm.SpectrumDataset.from_arrays(
        name, region=REGION, energy=ENERGY, energy_true=ENERGY, counts=zeros if counts is None else counts,
        exposure=3e12 * centre**0.3, background=20 * centre**-1.7,
    )  # fmt: skip


def start(truth: dict[str, float] | None = None) -> gm.Models:
    """Return models with a norm per systematic error, at 1 or at the truth."""
    source = gm.PowerLawSpectralModel(index=2.4, amplitude="3e-11 cm-2 s-1 TeV-1")
    names = {key: [f"{key}-{k}" for k in range(N_SPECTRA)] for key in SIGMAS}
    modifiers = [
        gm.ResponseModifier(datasets_names=names[key], name=key) for key in ("ten", "twenty")
    ]
    modifiers += [gm.ResponseModifier(datasets_names=name) for name in names["each"]]
    for modifier in modifiers:
        norm = modifier.parameters["norm"]
        norm.prior = LogNormalPrior(mu=1.0, sigma=SIGMAS[modifier.name.split("-")[0]])
        if truth is not None:
            norm.value = truth[modifier.name]
    return gm.Models([gm.SkyModel(source, name="source"), *modifiers])


def pulls(seed: int) -> dict[str, float]:
    """Simulate and fit a survey, and return the pull of each free parameter."""
    rng = np.random.default_rng(seed)
    true = {
        m.name: float(np.exp(rng.normal(0.0, SIGMAS[m.name.split("-")[0]])))
        for m in start()
        if isinstance(m, gm.ResponseModifier)
    }
    spectra = [spectrum(f"{key}-{k}") for key in SIGMAS for k in range(N_SPECTRA)]
    models = start(true)
    gm.Datasets(spectra).set_models(models)
    drawn = gm.Datasets(
        spectrum(d.name, np.asarray(rng.poisson(d.npred().values[:, 0, 0]))) for d in spectra
    )
    truth = dict(zip(models.parameters.names, models.parameters.value, strict=True))
    own = start()
    result = gm.Fit(drawn).run(own)
    if not result.success:
        raise SystemExit(str(result))
    return {
        name: (p.value - truth[name]) / p.error
        for name, p in zip(own.parameters.names, own.parameters, strict=True)
        if not p.frozen
    }


def main() -> None:
    """Print mean and standard deviation of the pulls."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--surveys", type=int, default=100)
    args = parser.parse_args()
    begin = time.process_time()
    found = [pulls(1000 + k) for k in range(args.surveys)]
    groups: dict[str, list[float]] = {}
    for survey in found:
        for name, pull in survey.items():
            key = "each" if name.startswith("each") else name
            groups.setdefault(key, []).append(pull)
    for key, values in groups.items():
        n, spread = len(values), np.std(values, ddof=1)
        print(
            f"{key:<26} {n:5d} pulls, mean {np.mean(values):+.3f} ± {spread / n**0.5:.3f}, "
            f"standard deviation {spread:.3f} ± {spread / (2 * n) ** 0.5:.3f}"
        )
    norms = [p for s in found for name, p in s.items() if name.endswith("exposure.norm")]
    print(
        f"all norms {len(norms)}: mean {np.mean(norms):+.3f}, standard deviation {np.std(norms, ddof=1):.3f}"
    )
    print(f"{time.process_time() - begin:.1f} s of the processor")


if __name__ == "__main__":
    main()
