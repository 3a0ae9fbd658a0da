"""R-hat and effective sample sizes: ArviZ's numbers for the same series, and what is known of them."""

from __future__ import annotations

import numpy as np
import pytest

from gmdask.sampling.diagnostics import ess_bulk, ess_tail, r_hat

# of ArviZ 0.23.4: ess bulk, ess tail and rhat of the series below, for (phi, length), drawn one after the other
ARVIZ = {
    (-0.6, 101): (1040.823996531185, 384.54750033093586, 1.001864460418155),
    (-0.6, 1000): (14408.23996531185, 2975.7787633031267, 1.0069222127233628),
    (0.0, 101): (412.7104859507164, 413.08924052129925, 1.0014689270673676),
    (0.0, 1000): (4142.730914837871, 3453.1426976613434, 1.007844682481609),
    (0.5, 101): (175.30417517849725, 202.69972494640245, 1.0130379409617614),
    (0.5, 1000): (1415.4106005179863, 2196.897871583562, 1.0057530785995923),
}


def series(phi, n, rng):
    """Four chains of an autoregressive process; one is wider, and all have wide tails."""
    x, noise = np.zeros((4, n)), rng.normal(size=(4, n))
    for i in range(n):
        x[:, i] = phi * x[:, i - 1] + noise[:, i]
    x[0] *= 1.2
    return x**3


def test_numbers_are_those_of_arviz():
    rng = np.random.default_rng(1)
    for (phi, n), expected in ARVIZ.items():
        draws = series(phi, n, rng)
        found = ess_bulk(draws), ess_tail(draws), r_hat(draws)
        assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("phi", [0.3, 0.8])
def test_effective_sample_size_of_an_autoregressive_process(phi):
    rng, n = np.random.default_rng(2), 20000
    x = rng.normal(size=(4, n)) * np.sqrt(1 - phi**2)
    x[:, 0] /= np.sqrt(1 - phi**2)
    for i in range(1, n):
        x[:, i] += phi * x[:, i - 1]
    assert ess_bulk(x) == pytest.approx(4 * n * (1 - phi) / (1 + phi), rel=0.05)


def test_chains_in_different_places_are_seen():
    rng = np.random.default_rng(3)
    draws = rng.normal(size=(4, 500))
    assert r_hat(draws) < 1.01
    draws[0] += 1
    assert r_hat(draws) > 1.05
    draws[0] = 3 * rng.normal(size=500)  # of another width
    assert r_hat(draws) > 1.05
    assert ess_tail(draws) < 0.5 * 2000
