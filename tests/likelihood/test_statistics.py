"""What every statistic promises, each against sums in 50 digits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest

from gmdask.errors import InputError
from gmdask.likelihood.statistics import STATISTICS, Statistic, statistic_type

FLOOR = -2 * np.log(1e-25)  # 115.129 per count
mpmath.mp.dps = 50


def exact_cash(npred: Any, counts: float) -> Any:
    mu = max(mpmath.mpf(npred), mpmath.mpf(1e-25))
    return 2 * (mu - mpmath.mpf(counts) * mpmath.log(mu))


EXACT: dict[str, Callable[..., Any]] = {"cash": exact_cash}
# every combination of what is observed, in the order in which the statistic reads it
OBSERVED: dict[str, list[list[float]]] = {"cash": [[0, 1, 2.5, 7, 1000]]}
NPRED = [1e-12, 1e-3, 0.4, 1, 2.5, 7, 12, 1000, 1e5]


def grid(name: str) -> tuple[Statistic, np.ndarray]:
    """A statistic of every combination, and predicted counts."""
    npred, *data = (a.ravel().copy() for a in np.meshgrid(NPRED, *OBSERVED[name], indexing="ij"))
    return STATISTICS[name](*data), npred


def exactly(name: str, statistic: Statistic, npred: np.ndarray, order: int) -> np.ndarray:
    """Derivatives of each bin, in 50 digits and rounded."""
    return np.array([
        float(mpmath.diff(lambda x, row=row: EXACT[name](x, *row), mpmath.mpf(mu), order))
        if order else float(EXACT[name](mu, *row))
        for mu, *row in zip(npred, *statistic.data, strict=True)
    ])  # fmt: skip


def test_every_statistic_is_tested():
    assert set(EXACT) == set(OBSERVED) == set(STATISTICS)


@pytest.mark.parametrize("name", STATISTICS)
class TestStatistic:
    """The contract, which holds for every statistic."""

    def test_values(self, name):
        statistic, npred = grid(name)
        expected = exactly(name, statistic, npred, 0)
        np.testing.assert_allclose(statistic.per_bin(npred), expected, rtol=1e-10, atol=1e-10)

    def test_derivatives(self, name):
        statistic, npred = grid(name)
        first, second = statistic.slopes(npred)
        scale = 1 + sum(np.abs(d) for d in statistic.data)  # of what the derivatives are made of
        for order, found in ((1, first), (2, second)):
            expected = exactly(name, statistic, npred, order)
            error = np.abs(found - expected) / np.maximum(np.abs(expected), scale / npred**order)
            assert error.max() < 1e-10

    def test_finite_differences(self, name):
        """The value and its derivatives are of one function, without help from outside."""
        statistic, npred = grid(name)
        step, observed = 1e-5 * npred, sum(np.abs(d) for d in statistic.data)
        scale = npred + (1 + observed) * (1 + np.abs(np.log(npred)))  # of what is subtracted
        first, second = statistic.slopes(npred)
        for order, function, found in (
            (1, statistic.per_bin, first),
            (2, lambda x: statistic.slopes(x)[0], second),
        ):
            difference = (function(npred + step) - function(npred - step)) / (2 * step)
            assert (np.abs(difference - found) < 1e-9 * scale / npred**order).all()

    def test_sums(self, name):
        statistic, npred = grid(name)
        terms = statistic.dense(npred)
        assert terms.stat == pytest.approx(statistic.per_bin(npred).sum(), rel=1e-13)
        assert terms.first_sum == 0.0
        for found, expected in zip(terms[1:3], statistic.slopes(npred), strict=True):
            np.testing.assert_array_equal(found, expected)
        assert statistic.dense(npred, 3.5).stat == pytest.approx(terms.stat + 7.0, rel=1e-13)

    def test_linear_bins_are_left_out(self, name):
        statistic, npred = grid(name)
        assert statistic.is_linear.any() == statistic.linear
        alone, kept = statistic.at(statistic.is_linear), ~statistic.is_linear
        np.testing.assert_allclose(
            alone.per_bin(npred[~kept]), 2 * npred[~kept], rtol=1e-14, atol=0
        )
        whole, short = statistic.dense(npred), statistic.at(kept).sparse(npred[kept], npred.sum())
        assert short.stat == pytest.approx(whole.stat, rel=1e-13)
        np.testing.assert_allclose(
            short.first + short.first_sum, whole.first[kept], rtol=1e-12, atol=1e-14
        )
        np.testing.assert_allclose(short.second, whole.second[kept], rtol=1e-14)
        bare = statistic.at(kept).sparse(npred[kept], npred.sum(), derivatives=False)
        assert bare.stat == short.stat

    def test_nothing_predicted_and_less(self, name):
        """Values and derivatives stay finite, whatever is observed."""
        statistic, _ = grid(name)
        for npred in (0.0, 1e-26, -1e-3, -5.0):
            at = np.full(statistic.shape, npred)
            for found in (statistic.per_bin(at), *statistic.slopes(at)):
                assert np.isfinite(found).all()

    def test_bounds(self, name):
        """Where it is bounded, nothing predicted costs more than any other number tried."""
        statistic, npred = grid(name)
        nothing = statistic.per_bin(np.zeros(statistic.shape))
        some = statistic.per_bin(npred)
        bounded = statistic.is_bounded & (npred < 10)
        assert (nothing[bounded] > some[bounded]).all()

    def test_nothing_observed_at_all(self, name):
        empty = STATISTICS[name](*(np.zeros(0) for _ in OBSERVED[name]))
        assert empty.dense(np.zeros(0)).stat == 0.0
        assert empty.sparse(np.zeros(0), 1.5).stat == 3.0

    def test_a_cube_tells_it(self, name):
        assert statistic_type({"stat_type": name}) is STATISTICS[name]


def test_cash_is_what_there_is_by_default():
    assert statistic_type({}).name == "cash"


def test_an_unknown_statistic():
    with pytest.raises(InputError, match=r"dataset 'run': stat_type is 'cstat', expected .*'cash'"):
        statistic_type({"name": "run", "stat_type": "cstat"})


def test_cash_of_nothing_predicted():
    statistic = STATISTICS["cash"](np.array([3.0, 1.5]))
    for npred in (0.0, 1e-26, 1e-25, -1.0):
        at = np.array([npred, 2.0])
        expected = 3 * FLOOR + 2 * (2.0 - 1.5 * np.log(2.0))
        for terms in (statistic.dense(at), statistic.sparse(at, 2.0 if npred <= 0 else 2 + npred)):
            assert terms.stat == pytest.approx(expected, rel=1e-14)
            assert terms.n_floor == 1
            assert terms.first[0] == terms.second[0] == 0.0
    assert pytest.approx(115.129, abs=1e-3) == FLOOR
