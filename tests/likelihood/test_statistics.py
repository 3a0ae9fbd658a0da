"""What every statistic promises, each against sums in 50 digits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
from scipy.special import kl_div

from gmdask.errors import InputError
from gmdask.likelihood.statistics import STATISTICS, Statistic, statistic_type
from tests.likelihood.flux_statistics import OF_FLUXES

FLOOR = -2 * np.log(1e-25)  # 115.129 per count
mpmath.mp.dps = 50


def exact_cash(npred: Any, counts: float) -> Any:
    mu = max(mpmath.mpf(npred), mpmath.mpf(1e-25))
    return 2 * (mu - mpmath.mpf(counts) * mpmath.log(mu))


def exact_wstat(npred: Any, n_on: float, n_off: float, on: float, off: float) -> Any:
    """At the background that solves the quadratic equation of the optimum."""
    mu, n_on, n_off = mpmath.mpf(npred), mpmath.mpf(n_on), mpmath.mpf(n_off)
    if on == 0 or off == 0:
        return mpmath.mpf(0)
    alpha = mpmath.mpf(on) / mpmath.mpf(off)
    c = alpha * (n_on + n_off) - (1 + alpha) * mu
    root = mpmath.sqrt(c**2 + 4 * alpha * (1 + alpha) * n_off * mu)
    background = (c + root) / (2 * alpha * (1 + alpha))
    total = mu + alpha * background
    stat = total + background - n_on - n_off
    for n, expected in ((n_on, total), (n_off, background)):
        stat += n * mpmath.log(n / expected) if n else 0
    return 2 * stat


def exact_weighted(npred: Any, counts: float, weight: float) -> Any:
    return mpmath.mpf(weight) * exact_cash(npred, counts)


EXACT: dict[str, Callable[..., Any]] = {
    "cash": exact_cash, "cash_weighted": exact_weighted, "wstat": exact_wstat,
}  # fmt: skip
# every combination of what is observed, in the order in which the statistic reads it
OBSERVED: dict[str, list[list[float]]] = {
    "cash": [[0, 1, 2.5, 7, 1000]],
    "cash_weighted": [[0, 1, 2.5, 7, 1000], [0, 0.1, 1, 3.7]],
    "wstat": [[0, 1, 7, 1000], [0, 1, 9, 2000], [0, 1, 0.3], [0, 1, 12]],
}
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
    assert set(EXACT) == set(OBSERVED)
    assert set(EXACT) | set(OF_FLUXES) == set(STATISTICS)


@pytest.mark.parametrize("name", EXACT)
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

    def test_negative_predictions(self, name):
        """Either they are as good as zero, or the statistic has a minimum in every bin."""
        statistic, npred = grid(name)
        size = 0.9 * npred  # where no second derivative jumps
        below = statistic.per_bin(-size)
        if not statistic.signed:
            nothing = np.zeros(statistic.shape)
            np.testing.assert_array_equal(below, statistic.per_bin(nothing))
            np.testing.assert_array_equal(statistic.predicted(-size), nothing)
            much = statistic.is_bounded & (npred < 10)
            assert (below > statistic.per_bin(npred))[much].all()
            return
        first, second = statistic.slopes(-size)
        assert (second >= 0).all()
        tells = statistic.slopes(npred)[0] != 0
        assert (first[tells & (npred == max(NPRED))] < 0).all()
        step = 1e-5 * npred
        difference = (statistic.per_bin(-size + step) - statistic.per_bin(-size - step)) / step
        scale = 1 + npred + below
        assert (np.abs(0.5 * difference - first) < 1e-9 * scale / npred).all()

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


# --- the W statistic -------------------------------------------------------------------------


@pytest.mark.parametrize("signal", [0.0, 0.3, 4.0, 30.0, 500.0, -0.4])
def test_wstat_is_the_least_over_all_backgrounds(signal):
    """By brute force over the background, without the quadratic equation."""
    for n_on in (0, 1, 6, 90):
        for n_off in (0, 1, 11, 300):
            for alpha in (0.04, 1.0, 3.0):
                statistic = STATISTICS["wstat"](*(np.array([x]) for x in (n_on, n_off, alpha, 1)))
                least = max(0.0, -signal / alpha)  # background that cancels a negative signal
                grid = least + np.concatenate([[0.0], np.geomspace(1e-9, 1e4, 400_000)])
                on, off = signal + alpha * grid, grid
                stat = 2 * (kl_div(n_on, np.maximum(on, 0.0)) + kl_div(n_off, off))
                found = statistic.per_bin(np.array([signal]))[0]
                assert found <= stat.min() + 1e-9
                assert found == pytest.approx(stat.min(), rel=1e-6, abs=1e-6)


def test_wstat_of_gammapy():
    from gammapy.stats import wstat
    from gammapy.stats.fit_statistics import get_wstat_mu_bkg

    statistic, npred = grid("wstat")
    for sign in (1, -0.9):
        n_on, n_off, on, off = statistic.data
        with np.errstate(all="ignore"):
            alpha = np.nan_to_num(on / off, posinf=np.inf)
            expected = np.nan_to_num(wstat(n_on, n_off, alpha, sign * npred))
            background = np.nan_to_num(alpha * get_wstat_mu_bkg(n_on, n_off, alpha, sign * npred))
        known = (on > 0) & (off > 0)
        # Gammapy's formula subtracts like numbers where the signal is large
        fine = known & (npred < 1e4) & (npred > 1e-6)
        found = statistic.per_bin(sign * npred)
        np.testing.assert_allclose(found[fine], expected[fine], rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(
            statistic.background(sign * npred)[fine], background[fine], rtol=1e-4, atol=1e-6
        )
        assert not found[~known].any()


# vectors that Gammapy's tests took from Sherpa
SIGNAL = [0.59752422, 9.13666449, 12.98288095, 5.56974565, 13.52509804,
          11.81725635, 0.47963765, 11.17708176, 5.18504894, 8.30202394]  # fmt: skip
N_ON = [0, 13, 7, 5, 11, 16, 0, 9, 3, 12]
N_OFF = [0, 7, 4, 0, 18, 7, 1, 5, 12, 25]
ALPHA = [0.83746243, 0.17003354, 0.26034507, 0.69197751, 0.89557033,
         0.34068848, 0.0646732, 0.86411967, 0.29087245, 0.74108241]  # fmt: skip
SHERPA = {
    "wstat": [1.19504844, 0.625311794002, 4.25810886127, 0.0603765381044, 11.7285002468,
              0.206014834301, 1.084611, 2.72972381792, 4.60602990838, 7.51658734973],
    "cash": [1.19504844, -39.24635098872072, -9.925081055136996, -6.034002586236575,
             -30.249839537105466, -55.39143500383233, 0.9592753, -21.095413867175516,
             0.49542219758430406, -34.19193611846045],
}  # fmt: skip


@pytest.mark.parametrize("name", SHERPA)
def test_vectors_of_sherpa(name):
    data = {"counts": N_ON, "counts_off": N_OFF, "acceptance": ALPHA, "acceptance_off": [1.0] * 10}
    statistic = STATISTICS[name](*(np.array(data[k], float) for k in STATISTICS[name].reads))
    np.testing.assert_allclose(statistic.per_bin(np.array(SIGNAL)), SHERPA[name], rtol=1e-7)
