"""The joint fit: minimisation over all datasets, uncertainties, and results."""

from gmdask.fit.checkpoint import Checkpoint
from gmdask.fit.fit import Fit
from gmdask.fit.log_density import LogDensity
from gmdask.fit.result import FitResult

__all__ = ["Checkpoint", "Fit", "FitResult", "LogDensity"]
