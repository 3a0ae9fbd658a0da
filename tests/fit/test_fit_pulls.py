"""A toy Monte Carlo: fitted values scatter around the truth as their errors say."""

from __future__ import annotations

import numpy as np
from scipy import stats

import gmdask as gm
from tests.datasets.synthetic import models, with_models

TOYS = 30
CHANCE = 1e-3  # that a correct fit fails one of the tests, were the seeds not fixed


def test_pulls(datasets):
    truth = with_models(datasets)
    expected = [dataset.npred().compute(scheduler="synchronous").values for dataset in datasets]
    cubes = [dataset.cube.load() for dataset in datasets]
    free, pulls, values = ~truth.parameters.frozen, [], truth.parameters.value
    for seed in range(TOYS):
        rng = np.random.default_rng(seed)
        toys = []
        for cube, npred in zip(cubes, expected, strict=True):
            counts = cube["counts"].copy(data=rng.poisson(npred).astype("f4"))
            toys.append(gm.MapDataset(cube.assign(counts=counts)))
        own = models(datasets.names)
        result = gm.Fit(gm.Datasets(toys)).run(own)
        assert result.success, result.message
        pulls.append((own.parameters.value - values)[free] / own.parameters.error[free])
    check(np.array(pulls))


def check(pulls):
    """Means are normal with width 1/sqrt(n), sums of squares have a chi2 distribution of n.

    Two tests of each parameter and two of all together (taken as independent), two-sided.
    The width of 7 parameters together is that of the shared ones' correlated pulls at worst,
    for which fewer degrees of freedom are counted: n times the number of parameters over 2.
    """
    n, n_parameters = pulls.shape
    tail = CHANCE / (2 * n_parameters + 2) / 2
    z = stats.norm.isf(tail)
    assert (np.abs(pulls.mean(axis=0)) < z / np.sqrt(n)).all()
    low, high = stats.chi2.ppf([tail, 1 - tail], n)
    squares = (pulls**2).sum(axis=0)
    assert (low < squares).all()
    assert (squares < high).all()
    many = n * n_parameters // 2
    assert abs(pulls.mean()) < z / np.sqrt(many)
    low, high = stats.chi2.ppf([tail, 1 - tail], many) / many
    assert low < (pulls**2).mean() < high
