"""A small survey made with Gammapy: FITS files, datasets file and models."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

import gmdask as gm

CENTER = (83.6, 22.0)  # deg, ICRS
ENERGY_EDGES = (0.5, 20.0, 4)  # TeV
ENERGY_TRUE_EDGES = (0.3, 30.0, 7)  # TeV
AMPLITUDE = 4e-12  # cm-2 s-1 TeV-1 at 1 TeV
INDEX = 2.3
POSITION = (83.66, 22.03)  # deg
EXTENSION: dict[str, Any] = {"sigma": 0.25, "e": 0.8, "phi": 40.0}  # deg, -, deg
EXPOSURE = 2e13  # cm2 s
BACKGROUND = 1500.0  # counts of a run


def models(names: list[str], *, extended: bool = False) -> gm.Models:
    """A power law, at a point or extended, and a background norm per dataset, at the truth."""
    spectrum = gm.PowerLawSpectralModel(index=INDEX, amplitude=AMPLITUDE * (5 if extended else 1))
    shape: gm.PointSpatialModel | gm.GaussianSpatialModel
    if extended:
        shape = gm.GaussianSpatialModel(
            lon_0=POSITION[0], lat_0=POSITION[1], frame="icrs", **EXTENSION
        )
        for name in ("e", "phi"):
            shape.parameter(name).frozen = False
    else:
        shape = gm.PointSpatialModel(lon_0=POSITION[0], lat_0=POSITION[1], frame="icrs")
    source = gm.SkyModel(spectrum, shape, name="source")
    return gm.Models([source, *(gm.BackgroundIRFModel(dataset_name=name) for name in names)])


def with_models(datasets: gm.Datasets, *, extended: bool = False) -> gm.Models:
    """The models at the truth, of which the datasets have got copies."""
    own = models(datasets.names, extended=extended)
    datasets.set_models(own)
    return own


def write_survey(
    folder: Path, n: int = 3, *, prefix: str = "run", pixels: int = 24, seed: int = 1,
    extended: bool = False,
) -> Path:  # fmt: skip
    """Write some runs with Poisson counts, and their datasets file.

    Parameters
    ----------
    folder : Path
        Where to.
    n : int
        Number of runs.
    prefix : str
        Runs are named "<prefix>-0", ...
    pixels : int
        Along each side, of 0.1 deg.
    seed : int
        Of the counts.
    extended : bool
        Whether the source is extended.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gammapy's own
        for number in range(n):
            run = make_run(f"{prefix}-{number}", number, pixels)
            run.models = gammapy_models(models([run.name], extended=extended))
            expected = run.npred().data
            run.counts.data = rng.poisson(expected).astype(np.float32)
            run.models = None
            run.write(folder / f"{run.name}.fits")
    return write_list(folder, [f"{prefix}-{number}" for number in range(n)])


def write_list(folder: Path, names: list[str], kind: str = "MapDataset") -> Path:
    """Write a datasets file."""
    entries = "".join(f"- name: {n}\n  type: {kind}\n  filename: {n}.fits\n" for n in names)
    path = folder / "datasets.yaml"
    path.write_text("datasets:\n" + entries, encoding="utf-8")
    return path


def make_run(name: str, number: int, pixels: int):
    """Return a `gammapy.datasets.MapDataset` without counts."""
    from astropy import units as u
    from astropy.coordinates import SkyCoord
    from gammapy.datasets import MapDataset
    from gammapy.irf import EDispKernelMap, PSFMap
    from gammapy.maps import Map, MapAxis, WcsGeom

    low, high, nbin = ENERGY_EDGES
    energy = MapAxis.from_energy_bounds(low, high, nbin, unit="TeV")
    low, high, nbin = ENERGY_TRUE_EDGES
    energy_true = MapAxis.from_energy_bounds(low, high, nbin, unit="TeV", name="energy_true")
    pointing = SkyCoord(CENTER[0] + 0.1 * number, CENTER[1], unit="deg", frame="icrs")
    geom = WcsGeom.create(skydir=pointing, npix=pixels, binsz=0.1, frame="icrs", axes=[energy])
    geom_true = geom.to_image().to_cube([energy_true])
    offset = geom.separation(pointing).to_value("deg")
    exposure = Map.from_geom(geom_true, unit="cm2 s")
    exposure.data += EXPOSURE * (1 + 0.2 * number) * np.exp(-0.5 * (offset / 1.5) ** 2)
    background = Map.from_geom(geom)
    shape = np.exp(-0.5 * (offset / 1.2) ** 2) * energy.center.value[:, None, None] ** -1.5
    background.data += BACKGROUND * shape / shape.sum()
    mask = Map.from_geom(geom, data=np.broadcast_to(offset < 1.1, geom.data_shape).copy())
    psf = PSFMap.from_gauss(energy_true, sigma=0.12 * u.deg)
    edisp = EDispKernelMap.from_gauss(energy, energy_true, sigma=0.15, bias=0.0)
    return MapDataset(
        counts=Map.from_geom(geom), exposure=exposure, background=background, psf=psf,
        edisp=edisp, mask_safe=mask, name=name,
    )  # fmt: skip


def gammapy_models(own: gm.Models):
    """Return the same models as `gammapy.modeling.models.Models`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gammapy's own
        from gammapy.modeling.models import Models

        return Models.from_dict(own.to_dict())
