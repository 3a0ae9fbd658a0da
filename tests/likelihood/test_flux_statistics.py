"""Statistics of flux points: against sums in 50 digits, and against Gammapy's of the same tables."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from astropy import units as u
from astropy.table import Table

import gmdask as gm
from gmdask.likelihood.statistics import STATISTICS
from tests.likelihood.flux_statistics import EXACT, NAN, OF_FLUXES, grid

names = pytest.mark.parametrize("name", OF_FLUXES)


def exactly(name, flux, data, order):
    rows = zip(flux, *data, strict=True)
    return np.array([
        float(mpmath.diff(lambda x, row=row: EXACT[name](x, *row), mpmath.mpf(f), order))
        if order else float(EXACT[name](mpmath.mpf(f), *row))
        for f, *row in rows
    ])  # fmt: skip


@names
class TestStatistic:
    def test_values(self, name):
        flux, data = grid(name)
        found = STATISTICS[name](*data).per_bin(flux)
        np.testing.assert_allclose(found, exactly(name, flux, data, 0), rtol=1e-10, atol=1e-10)

    def test_derivatives(self, name):
        flux, data = grid(name)
        for order, found in enumerate(STATISTICS[name](*data).slopes(flux), start=1):
            np.testing.assert_allclose(
                found, exactly(name, flux, data, order), rtol=1e-10, atol=1e-10
            )

    def test_finite_differences(self, name):
        flux, data = grid(name)
        statistic, step = STATISTICS[name](*data), 1e-5 * (1 + np.abs(flux))
        first, second = statistic.slopes(flux)
        value = 1 + np.abs(statistic.per_bin(flux))
        upper, lower = statistic.per_bin(flux + step), statistic.per_bin(flux - step)
        assert (np.abs((upper - lower) / (2 * step) - first) < 1e-8 * value / step * 1e-2).all()
        upper, lower = (statistic.slopes(flux + s)[0] for s in (step, -step))
        assert (np.abs((upper - lower) / (2 * step) - second) < 1e-8 * value / step * 1e-2).all()

    def test_what_is_not_known_costs_nothing(self, name):
        flux, data = grid(name)
        statistic = STATISTICS[name](*data)
        unknown = ~statistic.is_known
        assert 0 < unknown.sum() < len(flux)
        nothing = statistic.at(unknown)
        for found in (nothing.per_bin(flux[unknown]), *nothing.slopes(flux[unknown])):
            assert not found.any()
        known = statistic.at(~unknown)
        assert known.dense(flux[~unknown]).stat == pytest.approx(
            statistic.dense(flux).stat, rel=1e-13
        )

    def test_without_points(self, name):
        _, data = grid(name)
        empty = STATISTICS[name](*(array[:0] for array in data))
        assert empty.dense(np.zeros(0)).stat == 0.0


def test_far_limits():
    """A limit 30 or 10 000 times as far away as it should be still has slopes."""
    flux = np.array([-1e4, -60.0, -30.0, 1e8])
    data = [np.full(4, v) for v in (NAN, NAN, NAN, NAN, 1.0, 1.0)]
    statistic = STATISTICS["distrib"](*data)
    for order, found in enumerate((statistic.per_bin(flux), *statistic.slopes(flux))):
        np.testing.assert_allclose(found, exactly("distrib", flux, data, order), rtol=1e-10)


# --- against Gammapy ---------------------------------------------------------------------------


def table(*, asymmetric=True, limits=True, flags=True):
    """Points of a power law that scatter, with NaN in every column, limits and scans."""
    energy = np.geomspace(0.3, 30, 9)
    true = 3e-12 * energy**-2.6
    rng = np.random.default_rng(1)
    error = 0.2 * true
    dnde = true + error * rng.standard_normal(9)
    dnde[3] = np.nan
    found = Table({
        "e_ref": energy * u.TeV, "e_min": energy / 10 ** (1 / 8) * u.TeV, "e_max": energy * 10 ** (1 / 8) * u.TeV,
        "dnde": u.Quantity(dnde, "cm-2 s-1 TeV-1"), "dnde_err": u.Quantity(error, "cm-2 s-1 TeV-1"),
    })  # fmt: skip
    if asymmetric:
        found["dnde_errn"], found["dnde_errp"] = 0.9 * found["dnde_err"], 1.2 * found["dnde_err"]
        found["dnde_errp"][5] = np.nan
    if limits:
        found["dnde_ul"] = found["dnde"] + 2 * found["dnde_err"]
        found["dnde_ul"][3] = 2 * true[3]
        found["dnde_ul"][7] = np.nan
    if flags:
        found["is_ul"] = np.isin(np.arange(9), (3, 6, 7))
    found["norm_scan"] = np.tile(np.geomspace(0.2, 5, 11), (9, 1))
    found["stat"] = np.arange(9.0)
    best, reference = dnde / (1e-12 * energy**-2), 1e-12 * energy**-2
    scan = (
        found["stat"][:, None]
        + ((found["norm_scan"] - best[:, None]) * (reference / error)[:, None]) ** 2
    )
    found["stat_scan"] = scan
    found.meta["SED_TYPE"] = "dnde"
    return found


def pair(found, stat_type, mask_fit=None):
    """Dataset of gmdask and of Gammapy, with a power law."""
    from gammapy.datasets import FluxPointsDataset
    from gammapy.estimators import FluxPoints
    from gammapy.modeling.models import PowerLawSpectralModel, SkyModel

    own = gm.FluxPointsDataset.from_table(found, "points")
    own.stat_type = stat_type
    own.set_models(gm.Models(gm.SkyModel(
        gm.PowerLawSpectralModel(index=2.4, amplitude="2.7e-12 cm-2 s-1 TeV-1"), name="source"
    )))  # fmt: skip
    if mask_fit is not None:
        own = own.copy(mask_fit=mask_fit)
    given = found.copy()
    if (
        stat_type == "distrib" and "dnde_ul" not in given.colnames
    ):  # which Gammapy cannot do without
        given["dnde_ul"] = np.nan * given["dnde"]
        given["is_ul"] = own.is_ul
    other = FluxPointsDataset(
        data=FluxPoints.from_table(given), name="points", stat_type=stat_type,
        mask_fit=None if mask_fit is None else mask_fit[:, None, None],
        models=[SkyModel(PowerLawSpectralModel(index=2.4, amplitude="2.7e-12 cm-2 s-1 TeV-1"))],
    )  # fmt: skip
    return own, other


@names
@pytest.mark.parametrize("asymmetric", [True, False])
@pytest.mark.parametrize(("limits", "flags"), [(True, True), (True, False), (False, False)])
def test_of_gammapy(name, asymmetric, limits, flags):
    own, other = pair(table(asymmetric=asymmetric, limits=limits, flags=flags), name)
    np.testing.assert_array_equal(own.is_ul, other.data.is_ul.data.ravel())
    if name == "distrib":  # points that tell nothing are of Gammapy's mask where they cost nothing
        assert not (own.mask & ~other.mask.ravel()).any()
    else:
        np.testing.assert_array_equal(own.mask, other.mask.ravel())
    expected = other.stat_array().ravel()
    chosen = own.mask
    np.testing.assert_allclose(own.stat_array()[chosen], expected[chosen], rtol=1e-10)
    assert own.stat_sum() == pytest.approx(float(other.stat_sum()), rel=1e-10)


@names
def test_a_mask_of_the_fit(name):
    mask = np.arange(9) > 3
    own, other = pair(table(), name, mask)
    assert own.stat_sum() == pytest.approx(float(other.stat_sum()), rel=1e-10)
    assert own.mask.sum() < mask.sum() or name == "profile"
