"""The sampler on densities whose moments are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from gmdask.errors import InputError
from gmdask.sampling.coordinates import Coordinates
from gmdask.sampling.diagnostics import ess_bulk, r_hat
from gmdask.sampling.hamiltonian import sample_chains

CHANCE = 1e-4  # that a correct sampler fails a test, were the seeds not fixed


def sampled(density, coordinates, n, draws=1500, seed=1):
    """Parameters (chain, draw, n) of a density of them, and the chains."""

    def several(points):
        at = [coordinates.parameters(z) for z in points]
        return [coordinates.density(z, *density(x)) for z, x in zip(points, at, strict=True)]

    rngs = [np.random.default_rng([seed, k]) for k in range(4)]
    chains = sample_chains(several, n, draws, rngs)
    return np.array([[coordinates.parameters(z) for z in c] for c in chains.z]), chains


def agrees(draws, distribution):
    """Whether draws (chain, draw) follow a distribution, by their probabilities in ten bins."""
    assert r_hat(draws) < 1.01
    share = ess_bulk(draws) / draws.size
    uniform = distribution.cdf(draws.ravel())
    counts = np.histogram(uniform, 10, (0, 1))[0] * min(share, 1.0)
    return stats.chisquare(counts).pvalue > CHANCE


def test_correlated_normal():
    rng, n = np.random.default_rng(5), 6
    root = rng.normal(size=(n, n)) * 10.0 ** np.arange(-12, 12, 4)[:, None]
    covariance, mean = root @ root.T, root.sum(axis=1)
    precision = np.linalg.inv(covariance)

    def density(x):
        slope = precision @ (x - mean)
        return -0.5 * float((x - mean) @ slope), -slope

    nowhere = np.full(n, np.inf)
    coordinates = Coordinates(mean, -nowhere, nowhere, np.zeros(n), [2 * precision], list("abcdef"))
    draws, chains = sampled(density, coordinates, n)
    assert chains.acceptance.min() > 0.99  # followed exactly, with one evaluation per draw
    assert (chains.n_steps == 1).all()
    for k in range(n):
        assert ess_bulk(draws[..., k]) > 4500
        assert agrees(draws[..., k], stats.norm(mean[k], np.sqrt(covariance[k, k])))
    found = np.cov(draws.reshape(-1, n).T)
    scale = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    assert np.abs((found - covariance) / scale).max() < 0.06


@pytest.mark.parametrize("shape", [1.0, 3.5, 30.0])
def test_gamma_at_its_limit(shape):
    """Of a rate with few counts, down to none, where the density is highest at zero."""

    def density(x):
        return float((shape - 1) * np.log(x[0]) - x[0]), (shape - 1) / x - 1

    best = np.array([shape - 1])
    with np.errstate(divide="ignore", invalid="ignore"):
        hessian = np.array([[2 * (shape - 1) / best[0] ** 2 if best[0] else 0.0]])
    slope = np.array([2.0 if best[0] == 0 else 0.0])
    coordinates = Coordinates(best, np.zeros(1), np.full(1, np.inf), slope, [hessian], ["rate"])
    draws, chains = sampled(density, coordinates, 1)
    assert not chains.diverging.any()
    assert (draws > 0).all()
    assert agrees(draws[..., 0], stats.gamma(shape))


def test_beta_between_two_limits():
    a, b = 2.0, 1.5

    def density(x):
        return float((a - 1) * np.log(x[0]) + (b - 1) * np.log(1 - x[0])), (a - 1) / x - (b - 1) / (1 - x)  # fmt: skip

    best = np.array([(a - 1) / (a + b - 2)])
    curvature = 2 * ((a - 1) / best**2 + (b - 1) / (1 - best) ** 2)
    coordinates = Coordinates(
        best, np.zeros(1), np.ones(1), np.zeros(1), [curvature[:, None]], ["share"]
    )
    draws, _ = sampled(density, coordinates, 1)
    assert agrees(draws[..., 0], stats.beta(a, b))


def test_curved_valley_takes_more_steps():
    """y is normal around x², which is far from the normal distribution at its maximum."""

    def density(x):
        off = x[1] - x[0] ** 2
        slope = np.array([-x[0] + 4 * off * x[0] / 0.5**2 / 2, -off / 0.5**2])
        return float(-0.5 * x[0] ** 2 - 0.5 * off**2 / 0.5**2), slope

    nowhere, hessian = np.full(2, np.inf), np.diag([2.0, 2 / 0.5**2])
    coordinates = Coordinates(np.zeros(2), -nowhere, nowhere, np.zeros(2), [hessian], ["x", "y"])
    draws, chains = sampled(density, coordinates, 2, draws=4000)
    assert chains.n_steps.max() > 1
    assert agrees(draws[..., 0], stats.norm())
    assert agrees(draws[..., 1] - draws[..., 0] ** 2, stats.norm(0, 0.5))


def test_same_seed_same_draws():
    nowhere = np.full(1, np.inf)
    coordinates = Coordinates(np.zeros(1), -nowhere, nowhere, np.zeros(1), [2 * np.eye(1)], ["x"])

    def density(x):
        return float(-0.5 * x[0] ** 2), -x

    first, again, other = (sampled(density, coordinates, 1, 20, seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not (first == other).any()


def test_a_direction_without_curvature_is_refused():
    nowhere = np.full(2, np.inf)
    with pytest.raises(InputError, match="do not constrain tilt, so that there is no posterior"):
        Coordinates(
            np.zeros(2), -nowhere, nowhere, np.zeros(2), [np.diag([1.0, 0.0])], ["norm", "tilt"]
        )
