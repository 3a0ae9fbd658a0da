"""Reduction of event lists to datasets, with background models to add to the global models."""

from gmdask.reduction.backgrounds import (
    AdaptiveRingBackgroundMaker,
    BackgroundMaker,
    FoVBackgroundMaker,
    IRFBackgroundMaker,
    PhaseBackgroundMaker,
    ReflectedRegionsBackgroundMaker,
    RingBackgroundMaker,
)
from gmdask.reduction.config import ReductionConfig, read_config
from gmdask.reduction.observations import ObservationFiles, select_observations
from gmdask.reduction.run import Failure, Reduction, background_models, reduce

__all__ = [
    "AdaptiveRingBackgroundMaker",
    "BackgroundMaker",
    "Failure",
    "FoVBackgroundMaker",
    "IRFBackgroundMaker",
    "ObservationFiles",
    "PhaseBackgroundMaker",
    "Reduction",
    "ReductionConfig",
    "ReflectedRegionsBackgroundMaker",
    "RingBackgroundMaker",
    "background_models",
    "read_config",
    "reduce",
    "select_observations",
]
