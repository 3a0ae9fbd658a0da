"""A TS map of PKS 2155-304, ours and Gammapy's side by side, stacked and joint; and of a survey.

    python -m tests.benchmarks.ts_map ../shared/data/pks2155 --figure maps.png
    python -m tests.benchmarks.ts_map survey survey.zarr --lon 0 --lat 0 --workers 2 --memory-limit 1GB

Processor time of this process, with the datasets open (the second of two runs: compiled code is on disk).
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord

import gmdask as gm
from tests.benchmarks.estimators import peak

EDGES = [0.5, 20] * u.TeV
WIDTH = "0.5 deg"


def trial() -> gm.SkyModel:
    """The trial source of Gammapy's reference map."""
    spectral = gm.PowerLawSpectralModel(index=2.5, amplitude="1e-12 cm-2 s-1 TeV-1")
    return gm.SkyModel(spectral, gm.PointSpatialModel(), name="trial")


def timed(call: Any) -> tuple[float, Any]:
    """Processor time, and result."""
    begin = time.process_time()
    result = call()
    return time.process_time() - begin, result


def pks2155(folder: Path, figure: str | None) -> None:
    """Print both, in one process."""
    from gammapy.datasets import Datasets
    from gammapy.estimators import TSMapEstimator
    from gammapy.modeling.models import Models

    warnings.simplefilter("ignore")
    stacked = Datasets.read(folder / "datasets.yaml").stack_reduce(name="stacked")
    ours = gm.Datasets([gm.from_gammapy(stacked)])
    runs = gm.Datasets.read(folder / "datasets.yaml")
    kernel = Models.from_dict(gm.Models([trial()]).to_dict())[0]
    theirs = TSMapEstimator(kernel, kernel_width=WIDTH, energy_edges=EDGES)
    slow, expected = timed(lambda: theirs.run(stacked))
    reference = gm.FluxMaps.read(folder / "tsmap_pks2155.fits.gz")
    print(
        f"Gammapy, stacked                 {slow:8.2f} s CPU, √TS up to {np.nanmax(expected.sqrt_ts.data):.4f}"
    )
    found = {}
    for name, datasets, options in (
        ("stacked, gammapy", ours, {"response": "gammapy"}),
        ("stacked, exact", ours, {"response": "exact"}),
        ("joint, gammapy", runs, {"response": "gammapy"}),
        ("joint, exact", runs, {"response": "exact"}),
        ("joint, exact, energies", runs, {"response": "exact", "sum_over_energy_groups": False}),
    ):
        estimator = gm.TSMapEstimator(trial(), WIDTH, EDGES, **options)
        estimator.run(datasets)
        fast, found[name] = timed(lambda e=estimator, d=datasets: e.run(d))
        top = float(found[name].data["sqrt_ts"].max())
        print(
            f"gmdask, {name:24} {fast:8.2f} s CPU, √TS up to {top:.4f}, {slow / fast:5.0f} times less",
            flush=True,
        )
    mine, other = found["stacked, gammapy"].data, reference.data
    high = other["ts"].values > 4
    ts = np.abs(mine["ts"].values / other["ts"].values - 1)[high].max()
    norm = np.nanmax(np.abs(mine["norm"].values - other["norm"].values) / other["norm_err"].values)
    print(
        f"against Gammapy's file: TS {ts:.1e} above 4 (0.01), flux {norm:.1e} of its error (0.02)"
    )
    if figure is not None:
        draw({name: found[name] for name in ("stacked, gammapy", "joint, exact")}, figure)


def draw(maps: dict[str, gm.FluxMaps], path: str) -> None:
    """Draw maps side by side."""
    from gmdask.plot.style import new_figure

    figure = new_figure((6.4 * len(maps), 4.8))
    for k, (name, one) in enumerate(maps.items()):
        ax = one.plot(ax=figure.add_subplot(1, len(maps), k + 1))
        ax.set_title(f"{name}: √TS up to {float(one.data['sqrt_ts'].max()):.2f}")
    figure.savefig(path)


def survey(store: str, given: argparse.Namespace) -> None:
    """Print the time of a map of 4 by 2 deg of a survey, and what the workers held at most."""
    datasets = gm.Datasets.read(store)
    place = SkyCoord(given.lon, given.lat, unit="deg", frame="galactic")
    with gm.connect("local", workers=given.workers, memory_limit=given.memory_limit) as client:
        begin = time.perf_counter()
        estimator = gm.TSMapEstimator(trial(), WIDTH, position=place, width=(4, 2), binsz=0.04)
        maps = estimator.run(datasets, client=client)
        wall = time.perf_counter() - begin
        peaks = client.run(peak)
    print(
        f"{len(datasets)} datasets, {maps}: {wall:.0f} s; √TS up to {float(maps.data['sqrt_ts'].max()):.1f}; most "
        f"memory {max(peaks.values()) / 1e6:.0f} MB per worker"
    )
    if given.figure is not None:
        draw({f"{len(datasets)} observations": maps}, given.figure)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="+", help="a folder; or: survey STORE")
    parser.add_argument("--figure", metavar="FILE")
    parser.add_argument("--lon", type=float, default=0.0)
    parser.add_argument("--lat", type=float, default=0.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--memory-limit", default="1GB")
    given = parser.parse_args()
    if given.what[0] == "survey":
        survey(given.what[1], given)
    else:
        pks2155(Path(given.what[0]), given.figure)


if __name__ == "__main__":
    main()
