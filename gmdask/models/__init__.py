"""Parameters, spectral, spatial and background models, and their containers.

Every model class goes by Gammapy's class name. Models know nothing of data.
"""

from gmdask.models.background import BackgroundIRFModel
from gmdask.models.base import ModelBase
from gmdask.models.block_matrix import Block, BlockMatrix
from gmdask.models.collection import DatasetModels, Models
from gmdask.models.component import Component
from gmdask.models.constant import ConstantFluxSpatialModel, ConstantSpatialModel
from gmdask.models.covariance import Covariance
from gmdask.models.derivatives import first_derivatives, second_derivatives
from gmdask.models.elliptical import DiskSpatialModel, GeneralizedGaussianSpatialModel
from gmdask.models.energy_grid import EnergyGrid
from gmdask.models.gaussian import GaussianSpatialModel
from gmdask.models.library import (
    Model,
    create_cosmic_ray_spectral_model,
    create_crab_spectral_model,
    create_fermi_isotropic_diffuse_model,
)
from gmdask.models.npred import TemplateNPredModel
from gmdask.models.parameter import Parameter, ParameterDefault
from gmdask.models.parameters import Parameters
from gmdask.models.piecewise_sky import PiecewiseNormSpatialModel
from gmdask.models.priors import (
    GaussianPrior,
    GeneralizedGaussianPrior,
    LogUniformPrior,
    Prior,
    PriorSum,
    UniformPrior,
)
from gmdask.models.region_map import RegionMap
from gmdask.models.registry import get_class, known_types, register
from gmdask.models.sequence import ModelSequence
from gmdask.models.shells import Shell2SpatialModel, ShellSpatialModel
from gmdask.models.sky import SkyModel
from gmdask.models.sky_map import SkyMap, read_sky_map
from gmdask.models.spatial import PointSpatialModel, SkyGrid, SpatialModel
from gmdask.models.spectral import (
    LogParabola2SpectralModel,
    LogParabolaNormSpectralModel,
    LogParabolaSpectralModel,
    PowerLaw2SpectralModel,
    PowerLawNormSpectralModel,
    PowerLawSpectralModel,
    SpectralModel,
)
from gmdask.models.spectral_compound import CompoundSpectralModel, ScaleSpectralModel
from gmdask.models.spectral_cutoff import (
    BrokenPowerLawSpectralModel,
    ExpCutoffPowerLaw3FGLSpectralModel,
    ExpCutoffPowerLawNormSpectralModel,
    ExpCutoffPowerLawSpectralModel,
    SmoothBrokenPowerLawSpectralModel,
    SuperExpCutoffPowerLaw3FGLSpectralModel,
    SuperExpCutoffPowerLaw4FGLDR3SpectralModel,
    SuperExpCutoffPowerLaw4FGLSpectralModel,
)
from gmdask.models.spectral_naima import NaimaSpectralModel
from gmdask.models.spectral_shapes import (
    ConstantSpectralModel,
    GaussianSpectralModel,
    MeyerCrabSpectralModel,
    PiecewiseNormSpectralModel,
)
from gmdask.models.spectral_template import (
    EBLAbsorptionNormSpectralModel,
    TemplateNDSpectralModel,
    TemplateSpectralModel,
)
from gmdask.models.template import TemplateNDSpatialModel, TemplateSpatialModel
from gmdask.models.temporal import (
    ConstantTemporalModel,
    ExpDecayTemporalModel,
    GaussianTemporalModel,
    GeneralizedGaussianTemporalModel,
    LinearTemporalModel,
    PowerLawTemporalModel,
    SineTemporalModel,
)
from gmdask.models.temporal_base import TemporalModel
from gmdask.models.temporal_phase import TemplatePhaseCurveTemporalModel
from gmdask.models.temporal_template import LightCurveTemplateTemporalModel
from gmdask.models.time_intervals import TimeIntervals

FoVBackgroundModel = BackgroundIRFModel  # its name in Gammapy, and in YAML

__all__ = [
    "BackgroundIRFModel",
    "Block",
    "BlockMatrix",
    "BrokenPowerLawSpectralModel",
    "Component",
    "CompoundSpectralModel",
    "ConstantFluxSpatialModel",
    "ConstantSpatialModel",
    "ConstantSpectralModel",
    "ConstantTemporalModel",
    "Covariance",
    "DatasetModels",
    "DiskSpatialModel",
    "EBLAbsorptionNormSpectralModel",
    "EnergyGrid",
    "ExpCutoffPowerLaw3FGLSpectralModel",
    "ExpCutoffPowerLawNormSpectralModel",
    "ExpCutoffPowerLawSpectralModel",
    "ExpDecayTemporalModel",
    "FoVBackgroundModel",
    "GaussianPrior",
    "GaussianSpatialModel",
    "GaussianSpectralModel",
    "GaussianTemporalModel",
    "GeneralizedGaussianPrior",
    "GeneralizedGaussianSpatialModel",
    "GeneralizedGaussianTemporalModel",
    "LightCurveTemplateTemporalModel",
    "LinearTemporalModel",
    "LogParabola2SpectralModel",
    "LogParabolaNormSpectralModel",
    "LogParabolaSpectralModel",
    "LogUniformPrior",
    "MeyerCrabSpectralModel",
    "Model",
    "ModelBase",
    "ModelSequence",
    "Models",
    "NaimaSpectralModel",
    "Parameter",
    "ParameterDefault",
    "Parameters",
    "PiecewiseNormSpatialModel",
    "PiecewiseNormSpectralModel",
    "PointSpatialModel",
    "PowerLaw2SpectralModel",
    "PowerLawNormSpectralModel",
    "PowerLawSpectralModel",
    "PowerLawTemporalModel",
    "Prior",
    "PriorSum",
    "RegionMap",
    "ScaleSpectralModel",
    "Shell2SpatialModel",
    "ShellSpatialModel",
    "SineTemporalModel",
    "SkyGrid",
    "SkyMap",
    "SkyModel",
    "SmoothBrokenPowerLawSpectralModel",
    "SpatialModel",
    "SpectralModel",
    "SuperExpCutoffPowerLaw3FGLSpectralModel",
    "SuperExpCutoffPowerLaw4FGLDR3SpectralModel",
    "SuperExpCutoffPowerLaw4FGLSpectralModel",
    "TemplateNDSpatialModel",
    "TemplateNDSpectralModel",
    "TemplateNPredModel",
    "TemplatePhaseCurveTemporalModel",
    "TemplateSpatialModel",
    "TemplateSpectralModel",
    "TemporalModel",
    "TimeIntervals",
    "UniformPrior",
    "create_cosmic_ray_spectral_model",
    "create_crab_spectral_model",
    "create_fermi_isotropic_diffuse_model",
    "first_derivatives",
    "get_class",
    "known_types",
    "read_sky_map",
    "register",
    "second_derivatives",
]
