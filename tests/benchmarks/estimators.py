"""Flux points and light curve of PKS 2155-304, ours and Gammapy's side by side; and of a survey.

    python -m tests.benchmarks.estimators ../shared/data/pks2155
    python -m tests.benchmarks.estimators survey survey.zarr models.yaml --workers 2 --memory-limit 1GB

Processor time of this process (and of the workers), with the datasets open and the models set.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
from astropy import units as u

import gmdask as gm

SELECTION = ["errn-errp", "ul"]


def pks2155(folder: Path) -> None:
    """Print both, in one process."""
    import gammapy.estimators
    from gammapy.datasets import Datasets
    from gammapy.modeling.models import Models

    warnings.simplefilter("ignore")
    ours, theirs = (cls.read(folder / "datasets.yaml") for cls in (gm.Datasets, Datasets))
    models = gm.Models.read(folder / "models_best.yaml")
    ours.set_models(models)
    theirs.models = Models.read(folder / "models_best.yaml")
    print(f"{'':14}{'gmdask CPU':>12}{'Gammapy CPU':>13}{'ratio':>8}{'norm / error':>14}{'ul':>9}")
    for kind, file in (("FluxPoints", "flux_points"), ("LightCurve", "light_curve")):
        reference = json.loads((folder / f"{file}_pks2155.json").read_text())
        edges = reference["energy_edges_TeV"] * u.TeV
        options = {"source": "pks2155", "energy_edges": edges, "selection_optional": SELECTION}
        spent = []
        for run in (
            lambda o=options, k=kind: getattr(gm, f"{k}Estimator")(**o).run(ours, models),
            lambda o=options, k=kind: getattr(gammapy.estimators, f"{k}Estimator")(**o).run(theirs),
        ):
            begin = time.process_time()
            result = run()
            spent.append((time.process_time() - begin, result))
        (fast, found), (slow, expected) = spent
        norm, error = (
            getattr(expected, name).data.reshape(found.data["norm"].shape)
            for name in ("norm", "norm_err")
        )
        away = np.abs((found.data["norm"].values - norm) / error).max()
        limit = expected.norm_ul.data.reshape(norm.shape)
        ul = np.abs(found.data["norm_ul"].values / limit - 1).max()
        print(
            f"{kind:14}{fast:10.2f} s{slow:11.2f} s{slow / fast:8.0f}{away:14.1e}{ul:9.1e}",
            flush=True,
        )


def survey(store: str, path: str, workers: int, memory_limit: str, n_bins: int) -> None:
    """Print the time of all sources of a survey, and what the workers held at most."""
    from gmdask.models import SkyModel

    datasets, models = gm.Datasets.read(store), gm.Models.read(path)
    sources = [m.name for m in models if isinstance(m, SkyModel)]
    edges = np.geomspace(0.5, 50.0, n_bins + 1) * u.TeV
    with gm.connect("local", workers=workers, memory_limit=memory_limit) as client:
        begin = time.perf_counter()
        datasets.set_models(models)
        estimator = gm.FluxPointsEstimator(sources, edges, selection_optional=SELECTION)
        points = estimator.run(datasets, models, client)
        wall = time.perf_counter() - begin
        peaks = client.run(peak)
    assert isinstance(points, dict)
    found = sum(int(p.data["success"].sum()) for p in points.values())
    print(
        f"{len(datasets)} datasets, {len(sources)} sources, {n_bins} bins: {wall:.0f} s, {found} of "
        f"{len(sources) * n_bins} norms; most memory {max(peaks.values()) / 1e6:.0f} MB per worker"
    )


def peak() -> int:
    """Largest memory of this process in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return 0


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="+", help="a folder; or: survey STORE MODELS")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--memory-limit", default="1GB")
    parser.add_argument("--bins", type=int, default=8)
    given = parser.parse_args()
    if given.what[0] == "survey":
        survey(given.what[1], given.what[2], given.workers, given.memory_limit, given.bins)
    else:
        pks2155(Path(given.what[0]))


if __name__ == "__main__":
    main()
