"""Sampling of the posterior of a fit."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gmdask.errors import InputError, check_kind
from gmdask.evaluation.passes import SecondOrderPass
from gmdask.events import DatasetsProgress
from gmdask.fit import Fit
from gmdask.fit.log_density import LogDensity, Nuisances
from gmdask.models import Models
from gmdask.optimize.problem import edm
from gmdask.sampling.coordinates import Coordinates
from gmdask.sampling.hamiltonian import Chains, sample_chains
from gmdask.sampling.posterior import Posterior

__all__ = ["sample"]

Array = NDArray[np.float64]

FAR = 1.0  # expected distance of the statistic to its minimum from which the models are not those of a fit


def sample(
    fit: Fit,
    models: Models,
    *,
    draws: int = 1000,
    chains: int = 4,
    seed: int = 0,
    nuisances: Nuisances = "sampled",
) -> Posterior:
    """Sample the posterior of fitted models: the likelihood times the priors, within the limits.

    Hamiltonian Monte Carlo in coordinates that are whitened by the covariance at the minimum, in which the normal
    part of the posterior is followed exactly. The points of all chains are evaluated together, on the cluster of the
    fit if it has one, with the same draws to the last bit.

    Parameters
    ----------
    fit : `Fit`
        Datasets, and where to evaluate; its events report the progress.
    models : `Models`
        The global models at their minimum, as `Fit.run` leaves them. They are not changed.
    draws : int
        Draws per chain that are kept. Of a posterior that is nearly normal, each counts as an independent one.
    chains : int
        Number of chains.
    seed : int
        Seed of the random numbers; the same seed gives the same draws.
    nuisances : {"sampled", "marginalised"}
        Whether free background parameters of single datasets are sampled, or integrated over; see
        `Fit.log_density`.

    Returns
    -------
    posterior : `Posterior`
        Look at its `message`: chains that did not converge are returned as well.

    Raises
    ------
    InputError
        If the models are not at their minimum, or the data do not constrain a parameter that has neither
        limits nor a prior.

    Notes
    -----
    An angle that may take all values is returned within half a period of its value in the models.
    """
    check_kind(fit, Fit, "a gmdask.Fit")
    for name, number, least in (("draws", draws, 4), ("chains", chains, 1), ("seed", seed, 0)):
        check_kind(number, int, f"{name}: a number")
        if number < least:
            msg = f"{name} is {number}, expected at least {least}"
            raise InputError(msg)
    with fit.log_density(models, nuisances) as density:
        point = density.curvature()
        _check_minimum(point, density)
        coordinates = Coordinates(
            density.start, density.lower, density.upper, point.gradient,
            [point.observed, point.hessian], density.names,
        )  # fmt: skip
        begun = time.monotonic()

        def several(points: Sequence[Array]) -> list[tuple[float, Array]]:
            found = density.several([coordinates.parameters(z) for z in points])
            return [coordinates.density(z, *one) for z, one in zip(points, found, strict=True)]

        seeds = np.random.SeedSequence(seed).spawn(chains)
        found = sample_chains(
            several, len(density), draws, [np.random.default_rng(s) for s in seeds],
            lambda done: fit.bus(DatasetsProgress("sample", done, draws)),
        )  # fmt: skip
        seconds = time.monotonic() - begun
    attrs = {
        "nuisances": nuisances, "response": fit.datasets.response, "seed": seed,
        "tuning_steps": found.n_warm_up, "sampling_time": seconds, "inference_library": "gmdask",
    }  # fmt: skip
    return _posterior(found, coordinates, density, attrs)


def _check_minimum(point: SecondOrderPass, density: LogDensity) -> None:
    """Raise an error for models that are far from the minimum."""
    distance = edm(point, density.lower, density.upper)
    if distance > FAR:
        msg = (
            f"the models are not at their minimum (the statistic is expected to fall by {distance:.3g}): run the fit "
            "first, and sample with the models that it leaves"
        )
        raise InputError(msg)


def _posterior(
    found: Chains, coordinates: Coordinates, density: LogDensity, attrs: dict[str, object]
) -> Posterior:
    """Return the draws in ArviZ's layout."""
    n_chains, n_draws, _ = found.z.shape
    dims = ("chain", "draw")
    coords = {"chain": np.arange(n_chains), "draw": np.arange(n_draws)}
    values = np.array([[coordinates.parameters(z) for z in chain] for chain in found.z])
    turn = np.where(np.isfinite(density.periods), density.periods, 0.0)
    values = values - turn * np.round((values - density.start) / density.periods)
    posterior = xr.Dataset(
        {
            name: (dims, values[..., k], {"units": unit})
            for k, (name, unit) in enumerate(zip(density.names, density.units, strict=True))
        },
        coords,
        attrs,
    )
    stats = xr.Dataset(
        {
            "lp": (dims, found.value),
            "acceptance_rate": (dims, found.acceptance),
            "diverging": (dims, found.diverging),
            "n_steps": (dims, found.n_steps),
        },
        coords,
        attrs,
    )
    return Posterior(posterior, stats)
