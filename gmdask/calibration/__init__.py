"""Whether a fit means what it says: it is repeated over simulations of its own best model."""

from gmdask.calibration.result import Coverage
from gmdask.calibration.simulations import coverage

__all__ = ["Coverage", "coverage"]
