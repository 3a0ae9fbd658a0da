"""Errors of quantities derived from a spectrum, by sampling its parameters: Gammapy's numbers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from math import erf, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

if TYPE_CHECKING:
    from gmdask.models.spectral.base import SpectralModel

__all__ = ["roots_of", "sampled_errors", "sampled_pivot"]

log = logging.getLogger(__name__)

Array = NDArray[np.float64]

_SIGMA = 50 * (1 - erf(1 / sqrt(2)))  # percentile one standard deviation below the mean


def _internal_samples(
    model: SpectralModel, n_samples: int, random_state: Any, samples: Sequence[u.Quantity] | None
) -> Array:
    """Return values [samples, P] in internal units; given samples are converted."""
    named, unique = model.named_parameters(), model.parameters
    at = [unique.index(par) for _, par in named]
    if samples is None:
        n = len(named) * n_samples
        drawn = model.sample_parameters_from_covariance(n, random_state, free_only=False)
    else:
        pairs = zip(samples, unique, strict=True)
        drawn = np.stack([u.Quantity(s).to_value(par.unit) for s, par in pairs], axis=-1)
    return np.asarray(drawn[:, at] * model.internal_factors)


def sampled_errors(
    model: SpectralModel,
    function: Callable[[Array], Array],
    n_samples: int,
    random_state: Any,
    samples: Sequence[u.Quantity] | None,
) -> Array:
    """Median of a function of the parameters, and one standard deviation downwards and upwards.

    Parameters
    ----------
    model : SpectralModel
        The spectrum.
    function : callable
        Takes values [P] in internal units and returns an array [...].
    n_samples : int
        Number of samples of each parameter.
    random_state : int, RandomState or Generator
        Seed or generator.
    samples : list of Quantity, optional
        Samples of each parameter, used instead of drawing them.

    Returns
    -------
    ndarray [3, ...]
    """
    rows = _internal_samples(model, n_samples, random_state, samples)
    with np.errstate(all="ignore"):
        values = np.stack([function(row) for row in rows], axis=-1)
    values[~np.isfinite(values)] = np.nan
    low, median, high = np.nanpercentile(values, [_SIGMA, 50, 100 - _SIGMA], axis=-1)
    return np.stack([median, median - low, high - median])


def sampled_pivot(model: SpectralModel, reference: u.Quantity) -> u.Quantity:
    """Energy at which the relative error of a spectrum is smallest, within a factor of e³ of a reference.

    NaN, with a log message, if there is none.
    """
    from scipy.optimize import minimize_scalar

    def relative(log_energy: Any) -> Any:
        energy = u.Quantity(np.exp(log_energy), reference.unit)
        median, down, up = model.evaluate_error(energy, n_samples=500).value
        return np.hypot(down, up) / median

    bounds = np.log(reference.value) - 3, np.log(reference.value) + 3
    if np.std(relative(np.linspace(*bounds, 100))) < 1e-5:
        log.warning("The relative error of the flux does not depend on energy: no pivot energy.")
        return u.Quantity(np.nan, reference.unit)
    found = minimize_scalar(relative, bounds=bounds)
    return u.Quantity(np.exp(found.x) if found.success else np.nan, reference.unit)


def roots_of(function: Callable[[float], float], low: float, high: float) -> Array:
    """Roots of a function, at most one in each of 100 logarithmic steps; NaN if there is none.

    Parameters
    ----------
    function : callable
        Function of one number.
    low, high : float
        Limits, which must be positive.
    """
    from scipy.optimize import brentq

    nodes = np.geomspace(low, high, 101)
    signs = np.sign([function(node) for node in nodes.tolist()])
    starts = np.flatnonzero(signs[:-1] != signs[1:])
    roots = [brentq(function, nodes[k], nodes[k + 1], rtol=1e-14) for k in starts]
    return np.array(roots or [np.nan])
