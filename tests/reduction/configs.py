"""Configurations of reductions, and what they make."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import xarray as xr
import yaml

from gmdask.store import Store

CENTERS = {"crab": ("83.633 deg", "22.014 deg"), "pks2155": ("329.71667 deg", "-30.225556 deg")}
SIZES = {"crab": ("0.05 deg", "4 deg"), "pks2155": ("0.04 deg", "4.48 deg")}
TARGETS = {"crab": "Crab Nebula", "pks2155": "PKS 2155-304"}


def config(datastore: Path, analysis: str = "crab") -> dict[str, Any]:
    """Configuration that makes the datasets of an analysis of the real observations."""
    lon, lat = CENTERS[analysis]
    pixel, side = SIZES[analysis]
    axes: dict[str, Any] = {
        "energy": {"min": "0.5 TeV", "max": "20 TeV", "nbins": 12},
        "energy_true": {"min": "0.3 TeV", "max": "60 TeV", "nbins": 24},
    }
    if analysis == "crab":
        axes["migra"] = {"min": 0.2, "max": 5, "nbins": 48}
    return {
        "observations": {"datastore": str(datastore), "target": TARGETS[analysis]},
        "datasets": {
            "type": "3d",
            "name": "hess-{obs_id}",
            "geom": {
                "wcs": {
                    "skydir": {"frame": "icrs", "lon": lon, "lat": lat},
                    "binsize": pixel,
                    "width": {"width": side, "height": side},
                    "binsize_irf": "0.2 deg",
                },
                "axes": axes,
            },
            "safe_mask": {
                "methods": ["aeff-default", "offset-max"],
                "parameters": {"offset_max": "2.5 deg"},
            },
            "background": {"method": "irf"},
        },
    }


def small(datastore: Path) -> dict[str, Any]:
    """Configuration of small cubes around the Crab nebula, for tests of anything but the numbers."""
    found = config(datastore)
    found["datasets"]["geom"]["wcs"] |= {"binsize": "0.25 deg", "binsize_irf": "1 deg"}
    axes = found["datasets"]["geom"]["axes"]
    axes["energy"]["nbins"], axes["energy_true"]["nbins"] = 3, 4
    del axes["migra"]
    return found


def write(folder: Path, content: dict[str, Any], name: str = "config.yaml") -> Path:
    """Write a configuration as YAML."""
    path = folder / name
    path.write_text(yaml.safe_dump(content))
    return path


def write_config(folder: Path, datastore: Path, analysis: str = "crab") -> Path:
    """Write the configuration of an analysis."""
    return write(folder, config(datastore, analysis))


def read_reduced(store: Store) -> dict[str, xr.Dataset]:
    """Cubes of a store by name."""
    return {row.name: store.open_row(row).load() for row in store.rows}


def content_digests(store: Store) -> list[dict[str, str]]:
    """SHA-256 of each file of each block, in order of the blocks."""
    blocks = dict.fromkeys(row.block for row in store.rows)
    return [
        {path: sums.sha256 for path, sums in store.open_block(block).manifest.files.items()}
        for block in blocks
    ]


def digest_of(store: Store) -> str:
    """One digest for all content of a store."""
    return hashlib.sha256(repr(content_digests(store)).encode()).hexdigest()
