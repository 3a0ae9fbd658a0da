"""Estimators of flux points and light curves."""

from gmdask.estimators.flux_points import FluxPoints
from gmdask.estimators.flux_points_estimator import FluxPointsEstimator
from gmdask.estimators.light_curve import LightCurve
from gmdask.estimators.light_curve_estimator import LightCurveEstimator

__all__ = ["FluxPoints", "FluxPointsEstimator", "LightCurve", "LightCurveEstimator"]
