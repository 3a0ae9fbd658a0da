"""A norm given by its logarithm, in a module that other processes can import."""

from __future__ import annotations

import numpy as np

from gmdask.models import ParameterDefault, SpectralModel, register


@register
class ExponentialNormSpectralModel(SpectralModel):
    """The norm exp(log_norm)."""

    tag = ("ExponentialNormSpectralModel", "exp-norm")
    is_norm = True
    defaults = (ParameterDefault("log_norm", 0.0, ""),)

    def evaluate(self, energy, log_norm):
        return np.full(np.shape(energy), np.exp(log_norm))
