"""One global sky model, fitted to more gamma-ray datasets than fit in memory.

The public names and modules; each is imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gmdask import calibration as calibration
    from gmdask import datasets as datasets
    from gmdask import errors as errors
    from gmdask import estimators as estimators
    from gmdask import events as events
    from gmdask import fit as fit
    from gmdask import models as models
    from gmdask import plot as plot
    from gmdask import reduction as reduction
    from gmdask import sampling as sampling
    from gmdask import store as store
    from gmdask.calibration import Coverage, coverage
    from gmdask.cluster import connect
    from gmdask.datasets import (
        Datasets,
        FluxPointsDataset,
        MapDataset,
        SpectrumDataset,
        SpectrumDatasetOnOff,
        compact,
        export_datasets,
        from_gammapy,
        import_datasets,
        resample_energy_edges,
        simulate,
        simulate_event_lists,
        to_gammapy,
    )
    from gmdask.estimators import (
        ExcessMapEstimator,
        FluxCollectionEstimator,
        FluxMaps,
        FluxPoints,
        FluxPointsEstimator,
        FluxProfile,
        FluxProfileEstimator,
        LightCurve,
        LightCurveEstimator,
        SensitivityEstimator,
        TSMapEstimator,
    )
    from gmdask.fit import Fit, FitResult
    from gmdask.models import (
        BackgroundIRFModel,
        Covariance,
        DatasetModels,
        GaussianSpatialModel,
        LogParabolaSpectralModel,
        Models,
        Parameter,
        Parameters,
        PointSpatialModel,
        PowerLawNormSpectralModel,
        PowerLawSpectralModel,
        ResponseModifier,
        SkyModel,
    )
    from gmdask.sampling import Posterior, sample
    from gmdask.store import Store
    from gmdask.versions import show_versions

_HOMES = {
    "BackgroundIRFModel": "models",
    "Covariance": "models",
    "Coverage": "calibration",
    "DatasetModels": "models",
    "Datasets": "datasets",
    "ExcessMapEstimator": "estimators",
    "Fit": "fit",
    "FitResult": "fit",
    "FluxCollectionEstimator": "estimators",
    "FluxMaps": "estimators",
    "FluxPoints": "estimators",
    "FluxPointsDataset": "datasets",
    "FluxPointsEstimator": "estimators",
    "FluxProfile": "estimators",
    "FluxProfileEstimator": "estimators",
    "GaussianSpatialModel": "models",
    "LightCurve": "estimators",
    "LightCurveEstimator": "estimators",
    "LogParabolaSpectralModel": "models",
    "MapDataset": "datasets",
    "Models": "models",
    "Parameter": "models",
    "Parameters": "models",
    "PointSpatialModel": "models",
    "Posterior": "sampling",
    "PowerLawNormSpectralModel": "models",
    "PowerLawSpectralModel": "models",
    "ResponseModifier": "models",
    "SensitivityEstimator": "estimators",
    "SkyModel": "models",
    "SpectrumDataset": "datasets",
    "SpectrumDatasetOnOff": "datasets",
    "Store": "store",
    "TSMapEstimator": "estimators",
    "compact": "datasets",
    "connect": "cluster",
    "coverage": "calibration",
    "export_datasets": "datasets",
    "from_gammapy": "datasets",
    "import_datasets": "datasets",
    "resample_energy_edges": "datasets",
    "sample": "sampling",
    "show_versions": "versions",
    "simulate": "datasets",
    "simulate_event_lists": "datasets",
    "to_gammapy": "datasets",
}

_MODULES = (
    "calibration",
    "datasets",
    "errors",
    "estimators",
    "events",
    "fit",
    "models",
    "plot",
    "reduction",
    "sampling",
    "store",
)

__version__ = "0.1.0"

__all__ = [
    "BackgroundIRFModel",
    "Covariance",
    "Coverage",
    "DatasetModels",
    "Datasets",
    "ExcessMapEstimator",
    "Fit",
    "FitResult",
    "FluxCollectionEstimator",
    "FluxMaps",
    "FluxPoints",
    "FluxPointsDataset",
    "FluxPointsEstimator",
    "FluxProfile",
    "FluxProfileEstimator",
    "GaussianSpatialModel",
    "LightCurve",
    "LightCurveEstimator",
    "LogParabolaSpectralModel",
    "MapDataset",
    "Models",
    "Parameter",
    "Parameters",
    "PointSpatialModel",
    "Posterior",
    "PowerLawNormSpectralModel",
    "PowerLawSpectralModel",
    "ResponseModifier",
    "SensitivityEstimator",
    "SkyModel",
    "SpectrumDataset",
    "SpectrumDatasetOnOff",
    "Store",
    "TSMapEstimator",
    "__version__",
    "compact",
    "connect",
    "coverage",
    "export_datasets",
    "from_gammapy",
    "import_datasets",
    "resample_energy_edges",
    "sample",
    "show_versions",
    "simulate",
    "simulate_event_lists",
    "to_gammapy",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"gmdask.{name}")
    if name in _HOMES:
        value = getattr(import_module(f"gmdask.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    msg = f"module 'gmdask' has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return sorted({*__all__, *_MODULES})
