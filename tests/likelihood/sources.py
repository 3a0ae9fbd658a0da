"""Models for the synthetic cubes, and differences to check derivatives with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gmdask.models import (
    BackgroundIRFModel,
    DatasetModels,
    GaussianSpatialModel,
    LogParabolaSpectralModel,
    PointSpatialModel,
    PowerLawNormSpectralModel,
    PowerLawSpectralModel,
    SkyModel,
)

Array = np.ndarray
AMPLITUDE = "3e-11 cm-2 s-1 TeV-1"


def power_law(amplitude: str = AMPLITUDE, **keywords: Any) -> PowerLawSpectralModel:
    return PowerLawSpectralModel(amplitude=amplitude, **{"index": 2.3, **keywords})


def log_parabola(amplitude: str = AMPLITUDE) -> LogParabolaSpectralModel:
    return LogParabolaSpectralModel(amplitude=amplitude, reference="1 TeV", alpha=2.2, beta=0.12)


def point(
    lon: Any = 83.668,
    lat: Any = 22.084,
    spectral: Any = None,
    name: str = "point",
    frame: str = "icrs",
    **keywords: Any,
) -> SkyModel:
    shape = PointSpatialModel(lon_0=lon, lat_0=lat, frame=frame)
    return SkyModel(spectral or power_law(), shape, name=name, **keywords)


def gauss(
    lon: Any = 83.57,
    lat: Any = 21.93,
    sigma: Any = 0.11,
    spectral: Any = None,
    name: str = "gauss",
    frame: str = "icrs",
    e: float = 0.0,
    phi: float = 0.0,
    **keywords: Any,
) -> SkyModel:
    shape = GaussianSpatialModel(lon_0=lon, lat_0=lat, sigma=sigma, e=e, phi=phi, frame=frame)
    shape.e.frozen = shape.phi.frozen = e == 0
    return SkyModel(spectral or power_law(), shape, name=name, **keywords)


def background(
    norm: float = 1.1, tilt: float = 0.07, free_tilt: bool = True, dataset: str = "cube"
) -> BackgroundIRFModel:
    spectral = PowerLawNormSpectralModel(norm=norm, tilt=tilt, reference="2 TeV")
    spectral.tilt.frozen = not free_tilt
    return BackgroundIRFModel(spectral, dataset_name=dataset)


def locals_of(models: DatasetModels) -> Array:
    """Which parameters belong to the background."""
    own = {id(p) for m in models if isinstance(m, BackgroundIRFModel) for p in m.parameters}
    return np.array([id(p) in own for p in models.parameters])


def free_of(models: DatasetModels) -> Array:
    return ~models.parameters.frozen


def derivative(
    function: Callable[[Array], Array | float], at: Array, columns: Array, steps: Array
) -> Array:
    """Differences of fourth order: (parameter, ...), by the parameters in `columns`."""
    rows = []
    for k, h in zip(columns, steps, strict=True):
        total: Array | float = 0.0
        for factor, weight in ((1, 8), (-1, -8), (2, -1), (-2, 1)):
            x = at.copy()
            x[k] += factor * h
            total = total + weight * np.asarray(function(x))
        rows.append(total / (12 * h))
    return np.array(rows)
