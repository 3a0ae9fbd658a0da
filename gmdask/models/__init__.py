"""Parameters, spectral, spatial and background models, and their containers.

Every model class has the name of Gammapy's class. Models are independent of data.
"""

from gmdask.models.background import BackgroundIRFModel
from gmdask.models.base import ModelBase
from gmdask.models.block_matrix import Block, BlockMatrix
from gmdask.models.component import Component
from gmdask.models.covariance import Covariance
from gmdask.models.dataset_models import DatasetModels
from gmdask.models.derivatives import first_derivatives, second_derivatives
from gmdask.models.io.region_map import RegionMap
from gmdask.models.io.sky_map import SkyMap, read_sky_map
from gmdask.models.library import (
    Model,
    create_cosmic_ray_spectral_model,
    create_crab_spectral_model,
    create_fermi_isotropic_diffuse_model,
)
from gmdask.models.model_list import ModelSequence
from gmdask.models.models import Models
from gmdask.models.npred import TemplateNPredModel
from gmdask.models.parameter import Parameter
from gmdask.models.parameter_default import ParameterDefault
from gmdask.models.parameters import Parameters
from gmdask.models.priors import (
    GaussianPrior,
    GeneralizedGaussianPrior,
    LogNormalPrior,
    LogUniformPrior,
    Prior,
    PriorSum,
    UniformPrior,
)
from gmdask.models.registry import get_class, known_types, register
from gmdask.models.response_modifier import EnergyScaleModel, ResponseModifier
from gmdask.models.sky import SkyModel
from gmdask.models.spatial.base import PointSpatialModel, SkyGrid, SpatialModel
from gmdask.models.spatial.constant import ConstantFluxSpatialModel, ConstantSpatialModel
from gmdask.models.spatial.elliptical import DiskSpatialModel, GeneralizedGaussianSpatialModel
from gmdask.models.spatial.gaussian import GaussianSpatialModel
from gmdask.models.spatial.piecewise import PiecewiseNormSpatialModel
from gmdask.models.spatial.shell import Shell2SpatialModel, ShellSpatialModel
from gmdask.models.spatial.template import TemplateNDSpatialModel, TemplateSpatialModel
from gmdask.models.spectral.compound import CompoundSpectralModel, ScaleSpectralModel
from gmdask.models.spectral.cutoff import (
    BrokenPowerLawSpectralModel,
    ExpCutoffPowerLaw3FGLSpectralModel,
    ExpCutoffPowerLawNormSpectralModel,
    ExpCutoffPowerLawSpectralModel,
    SmoothBrokenPowerLawSpectralModel,
    SuperExpCutoffPowerLaw3FGLSpectralModel,
    SuperExpCutoffPowerLaw4FGLDR3SpectralModel,
    SuperExpCutoffPowerLaw4FGLSpectralModel,
)
from gmdask.models.spectral.energy_grid import EnergyGrid
from gmdask.models.spectral.naima import NaimaSpectralModel
from gmdask.models.spectral.power_law import (
    LogParabola2SpectralModel,
    LogParabolaNormSpectralModel,
    LogParabolaSpectralModel,
    PowerLaw2SpectralModel,
    PowerLawNormSpectralModel,
    PowerLawSpectralModel,
    SpectralModel,
)
from gmdask.models.spectral.shapes import (
    ConstantSpectralModel,
    GaussianSpectralModel,
    LogGaussianSpectralModel,
    MeyerCrabSpectralModel,
    PiecewiseNormSpectralModel,
)
from gmdask.models.spectral.template import (
    EBLAbsorptionNormSpectralModel,
    TemplateNDSpectralModel,
    TemplateSpectralModel,
)
from gmdask.models.temporal.analytic import (
    ConstantTemporalModel,
    ExpDecayTemporalModel,
    GaussianTemporalModel,
    GeneralizedGaussianTemporalModel,
    LinearTemporalModel,
    PowerLawTemporalModel,
    SineTemporalModel,
)
from gmdask.models.temporal.base import TemporalModel
from gmdask.models.temporal.light_curve import LightCurveTemplateTemporalModel
from gmdask.models.temporal.phase_curve import TemplatePhaseCurveTemporalModel
from gmdask.models.temporal.time_intervals import TimeIntervals

FoVBackgroundModel = BackgroundIRFModel  # the name in Gammapy and in YAML

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
    "EnergyScaleModel",
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
    "LogGaussianSpectralModel",
    "LogNormalPrior",
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
    "ResponseModifier",
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
