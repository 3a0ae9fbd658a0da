"""From event lists to datasets and the background models that join the global ones."""

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
