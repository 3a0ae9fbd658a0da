"""Estimators of flux points, light curves and maps."""

from gmdask.estimators.excess_map import ExcessMapEstimator
from gmdask.estimators.flux_collection import FluxCollectionEstimator
from gmdask.estimators.flux_maps import FluxMaps
from gmdask.estimators.flux_points import FluxPoints
from gmdask.estimators.flux_points_estimator import FluxPointsEstimator
from gmdask.estimators.flux_profile import FluxProfile
from gmdask.estimators.flux_profile_estimator import FluxProfileEstimator
from gmdask.estimators.light_curve import LightCurve
from gmdask.estimators.light_curve_estimator import LightCurveEstimator
from gmdask.estimators.sensitivity_estimator import SensitivityEstimator
from gmdask.estimators.ts_map import TSMapEstimator

__all__ = [
    "ExcessMapEstimator",
    "FluxCollectionEstimator",
    "FluxMaps",
    "FluxPoints",
    "FluxPointsEstimator",
    "FluxProfile",
    "FluxProfileEstimator",
    "LightCurve",
    "LightCurveEstimator",
    "SensitivityEstimator",
    "TSMapEstimator",
]
