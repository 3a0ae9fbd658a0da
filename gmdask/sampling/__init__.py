"""Posterior samples: Hamiltonian Monte Carlo, whitened by the covariance of the fit."""

from gmdask.sampling.posterior import Posterior
from gmdask.sampling.sampler import sample

__all__ = ["Posterior", "sample"]
