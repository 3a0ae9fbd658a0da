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

__all__ = [
    "AdaptiveRingBackgroundMaker",
    "BackgroundMaker",
    "FoVBackgroundMaker",
    "IRFBackgroundMaker",
    "PhaseBackgroundMaker",
    "ReflectedRegionsBackgroundMaker",
    "RingBackgroundMaker",
]
