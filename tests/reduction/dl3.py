"""The ten real observations in event lists, reduced by Gammapy in a plain loop."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table, vstack
from gammapy.data import DataStore
from gammapy.datasets import MapDataset, SpectrumDataset
from gammapy.makers import MapDatasetMaker, SafeMaskMaker, SpectrumDatasetMaker
from gammapy.maps import MapAxis, RegionGeom, WcsGeom
from regions import CircleSkyRegion

CRAB = SkyCoord(83.633, 22.014, unit="deg")
CRAB_RUNS = (23523, 23526, 23559, 23592)
PKS_RUNS = (47802, 47803, 47804, 47827, 47828, 47829)
ENERGY_TRUE = MapAxis.from_energy_bounds("0.3 TeV", "60 TeV", nbin=24, name="energy_true")


@cache
def store(shared: Path) -> DataStore:
    """Gammapy's view of the event lists."""
    return DataStore.from_dir(shared / "data" / "dl3")


def write_folder(shared: Path, folder: Path, runs: Iterable[int], times: int = 1) -> None:
    """A folder of event lists: links to those of some runs, several times under new names.

    The copies of a run have its number and a multiple of a million.
    """
    (folder / "data").mkdir(parents=True)
    tables = {"obs": store(shared).obs_table, "hdu": store(shared).hdu_table}
    parts: dict[str, list[Any]] = {"obs": [], "hdu": []}
    for copy in range(times):
        for run in runs:
            new = run + copy * 1_000_000
            name = f"run-{new}.fits.gz"
            source = shared / "data/dl3/data" / f"hess_dl3_dr1_obs_id_{run:06d}.fits.gz"
            (folder / "data" / name).symlink_to(source.resolve())
            for key, table in tables.items():
                rows = Table(table[np.asarray(table["OBS_ID"]) == run], copy=True)
                rows["OBS_ID"] = new
                if key == "hdu":
                    rows["FILE_DIR"], rows["FILE_NAME"] = "data", name
                parts[key].append(rows)
    for key, found in parts.items():
        table = vstack(found, metadata_conflicts="silent")
        table.meta.clear()
        table.write(folder / f"{key}-index.fits.gz")


def energy(nbin: int = 12) -> MapAxis:
    """Reconstructed energies."""
    return MapAxis.from_energy_bounds("0.5 TeV" if nbin > 1 else "1 TeV", "20 TeV", nbin=nbin)


def crab_map(observation: Any, name: str, nbin: int = 12) -> MapDataset:
    """A cube around the Crab nebula, with its safe mask."""
    geom = WcsGeom.create(skydir=CRAB, width=4, binsz=0.05, axes=[energy(nbin)], frame="icrs")
    empty = MapDataset.create(geom, energy_axis_true=ENERGY_TRUE, name=name)
    made = MapDatasetMaker().run(empty, observation)
    mask = SafeMaskMaker(methods=["aeff-default", "offset-max"], offset_max=2.5 * u.deg)
    return mask.run(made, observation)


def crab_spectrum(observation: Any, name: str) -> SpectrumDataset:
    """A spectrum of the Crab nebula, with its safe mask."""
    region = CircleSkyRegion(CRAB, 0.11 * u.deg)
    empty = SpectrumDataset.create(
        RegionGeom.create(region, axes=[energy()]), energy_axis_true=ENERGY_TRUE, name=name
    )
    maker = SpectrumDatasetMaker(
        selection=["counts", "exposure", "edisp"], containment_correction=True
    )
    return SafeMaskMaker(methods=["aeff-default"]).run(maker.run(empty, observation), observation)


def exclusion(geom: WcsGeom) -> Any:
    """Mask without a circle around the Crab nebula."""
    flat = geom.to_image().to_cube([geom.axes["energy"].squash()])
    return flat.region_mask([CircleSkyRegion(CRAB, 0.35 * u.deg)], inside=False)


def with_phases(observation: Any, seed: int = 1) -> Any:
    """The observation in memory, its events with phases drawn evenly."""
    found = observation.copy(in_memory=True)
    table = found.events.table
    table["PHASE"] = np.random.default_rng(seed).random(len(table))
    return found


def assert_close(found: Any, expected: Any, share: float = 1e-6) -> None:
    """Arrays are equal to a share of the largest value, and not finite at the same places."""
    found, expected = np.asarray(found), np.asarray(expected)
    scale = np.max(np.abs(expected), initial=0.0, where=np.isfinite(expected))
    np.testing.assert_allclose(found, expected, rtol=0, atol=share * scale)
