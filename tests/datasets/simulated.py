"""A small survey to simulate: every kind of shape, a few observations in blocks of a few."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from gmdask.models import (
    GaussianSpatialModel,
    Models,
    PointSpatialModel,
    PowerLawSpectralModel,
    ShellSpatialModel,
    SkyMap,
    SkyModel,
    TemplateSpatialModel,
)

CONFIG: dict[str, Any] = {
    "seed": 7,
    "models": "sky.yaml",
    "geometry": {
        "frame": "galactic", "projection": "CAR", "center": {"lon": "20.5 deg", "lat": "0 deg"},
        "pixel": "0.05 deg", "npix": 44,
    },
    "energy": {"min": "0.6 TeV", "max": "20 TeV", "bins": 4},
    "energy_true": {"min": "0.4 TeV", "max": "40 TeV", "bins": 7},
    "pointings": {
        "grid": {
            "lon": {"start": "20 deg", "stop": "21 deg", "n": 2},
            "lat": {"start": "-0.3 deg", "stop": "0.3 deg", "n": 2},
            "repeat": 2, "dither": "0.2 deg",
        }
    },
    "livetime": {"min": "25 min", "max": "0.5 h"},
    "zenith": {"min": "5 deg", "max": "50 deg"},
    "background": {"rate": "800 s-1 TeV-1 sr-1", "norm_spread": 0.1, "tilt_spread": 0.03},
    "irfs": {"pixel": "0.5 deg"},
}  # fmt: skip


def sky(folder: Path) -> Models:
    """A source of each kind; the map of the template is written."""
    y, x = np.indices((40, 60))
    header = {
        "CTYPE1": "GLON-CAR", "CTYPE2": "GLAT-CAR", "CRPIX1": 30.5, "CRPIX2": 20.5, "CRVAL1": 20.6,
        "CRVAL2": 0.0, "CDELT1": -0.05, "CDELT2": 0.05, "CUNIT1": "deg", "CUNIT2": "deg",
    }  # fmt: skip
    image = np.exp(-0.5 * ((y - 20 - 3 * np.sin(x / 8)) / 5) ** 2)
    SkyMap(image, header, unit="sr-1").write(folder / "cloud.fits", overwrite=True)
    frame = {"frame": "galactic"}
    shapes = {
        "point": PointSpatialModel(lon_0="20.31 deg", lat_0="0.12 deg", **frame),
        "gauss": GaussianSpatialModel(lon_0="20.7 deg", lat_0="-0.2 deg", sigma="0.2 deg", **frame),
        "shell": ShellSpatialModel(
            lon_0="20.9 deg", lat_0="0.3 deg", radius="0.2 deg", width="0.06 deg", **frame
        ),
        "cloud": TemplateSpatialModel.read(folder / "cloud.fits"),
        "far": PointSpatialModel(lon_0="40 deg", lat_0="0 deg", **frame),
    }
    return Models(
        SkyModel(
            PowerLawSpectralModel(index=2.2, amplitude="3e-12 cm-2 s-1 TeV-1"), shape, name=name
        )
        for name, shape in shapes.items()
    )


def write_config(folder: Path, **changes: Any) -> Path:
    """Configuration and its models; keys of the top level may be replaced."""
    sky(folder).write(folder / "sky.yaml", overwrite=True)
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({**CONFIG, **changes}))
    return path
