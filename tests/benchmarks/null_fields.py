"""Small fields without or with a faint source: does TS follow ½ χ² of 1, and do intervals and limits cover?

    python -m tests.benchmarks.null_fields [--fields N] [--counts N ...] [--background N] [--seed SEED]

Each field is a map of 12 x 12 pixels in two energies with a free background norm; the amplitude of a point source in
the centre is fitted. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import gmdask as gm
from gmdask.datasets.simulation.iact import IactResponse
from gmdask.datasets.simulation.observation import simulate_observation
from gmdask.datasets.simulation.survey import Observed, SkyPixels, Survey

CENTRE = (83.6, 22.0)  # deg
AMPLITUDE = "source.spectral.amplitude"


def field(background: float) -> gm.MapDataset:
    """Return an observation of an empty field, with some expected counts of background."""
    axes = Survey(
        1, SkyPixels("icrs", "TAN", CENTRE, 0.06), 12, np.geomspace(0.5, 10, 3), np.geomspace(0.3, 20, 9), (),
        gm.Models(), IactResponse(background=100.0),
    )  # fmt: skip
    cube = simulate_observation(axes, Observed(0, "field", *CENTRE, 0.0, 1800.0, 0.0, 1.0, 0.0))
    total = float(cube["background"].sum())
    return gm.MapDataset(cube.assign(background=cube["background"] * (background / total)))


def truth(dataset: gm.MapDataset, counts: float, *, signed: bool) -> gm.Models:
    """Return a point source of so many expected counts, and the norm of the background."""
    shape = gm.PointSpatialModel(lon_0=CENTRE[0], lat_0=CENTRE[1], frame="icrs")
    shape.freeze()
    spectrum = gm.PowerLawSpectralModel(index=2.3, amplitude=1e-12)
    spectrum.index.frozen = True
    models = gm.Models([
        gm.SkyModel(spectrum, shape, name="source"), gm.BackgroundIRFModel(dataset_name=dataset.name),
    ])  # fmt: skip
    dataset.set_models(models)
    per_amplitude = float(dataset.npred_signal().values.sum()) / 1e-12
    spectrum.amplitude.value = counts / per_amplitude
    if not signed:
        spectrum.amplitude.min = 0.0
    return models


def main() -> None:
    """Simulate, fit and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--fields", type=int, default=2000)
    parser.add_argument("--counts", type=float, nargs="+", default=[0.0, 5.0, 50.0])
    parser.add_argument("--background", type=float, default=200.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    dataset = field(options.background)
    for counts in options.counts:
        models = truth(dataset, counts, signed=counts > 0)
        begin = time.process_time()
        null = counts == 0
        found = gm.coverage(
            gm.Fit(dataset), models, simulations=options.fields, seed=options.seed,
            profiled=[] if null else [AMPLITUDE], sources=["source"] if null else [],
        )  # fmt: skip
        print(
            f"\n{counts:g} counts expected, {time.process_time() - begin:.0f} s of processor time"
        )
        print(found, flush=True)
        if null:
            print(f"TS follows half a chi2 of 1: p = {found.null_p_value('source'):.3f}")


if __name__ == "__main__":
    main()
