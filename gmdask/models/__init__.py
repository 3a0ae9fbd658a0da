"""Parameters, spectral, spatial and background models, and their containers.

Every model class goes by Gammapy's class name. Models know nothing of data.
"""

from gmdask.models.background import BackgroundIRFModel
from gmdask.models.base import ModelBase
from gmdask.models.collection import DatasetModels, Models
from gmdask.models.component import Component
from gmdask.models.covariance import Covariance
from gmdask.models.derivatives import second_derivatives
from gmdask.models.energy_grid import EnergyGrid
from gmdask.models.gaussian import GaussianSpatialModel
from gmdask.models.parameter import Parameter, ParameterDefault
from gmdask.models.parameters import Parameters
from gmdask.models.registry import get_class, known_types, register
from gmdask.models.sequence import ModelSequence
from gmdask.models.sky import SkyModel
from gmdask.models.spatial import PointSpatialModel, SkyGrid, SpatialModel
from gmdask.models.spectral import (
    LogParabolaSpectralModel,
    PowerLawNormSpectralModel,
    PowerLawSpectralModel,
    SpectralModel,
)

__all__ = [
    "BackgroundIRFModel",
    "Component",
    "Covariance",
    "DatasetModels",
    "EnergyGrid",
    "GaussianSpatialModel",
    "LogParabolaSpectralModel",
    "ModelBase",
    "ModelSequence",
    "Models",
    "Parameter",
    "ParameterDefault",
    "Parameters",
    "PointSpatialModel",
    "PowerLawNormSpectralModel",
    "PowerLawSpectralModel",
    "SkyGrid",
    "SkyModel",
    "SpatialModel",
    "SpectralModel",
    "get_class",
    "known_types",
    "register",
    "second_derivatives",
]
