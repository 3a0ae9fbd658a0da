"""Profiles against Gammapy's."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from regions import CircleAnnulusSkyRegion

import gmdask as gm
from gmdask.errors import InputError

pytestmark = pytest.mark.gammapy_response

EDGES = [0.7, 3, 30] * u.TeV
CRAB = SkyCoord("83.63d", "22.01d")
RINGS = [
    CircleAnnulusSkyRegion(CRAB, r * u.deg, (r + 0.15) * u.deg) for r in (0.001, 0.15, 0.3, 0.45)
]


@pytest.fixture(scope="module")
def theirs(shared):
    from gammapy.datasets import Datasets, MapDataset

    folder = shared / "data" / "crab"
    return Datasets(
        [MapDataset.read(folder / f"hess-{n}.fits.gz", name=f"run-{n}") for n in (23523, 23526)]
    )


@pytest.fixture(scope="module")
def profile(theirs):
    estimator = gm.FluxProfileEstimator(RINGS, EDGES, selection_optional=["errn-errp", "ul"])
    return estimator.run(gm.from_gammapy(theirs))


def test_numbers_of_gammapy(profile, theirs):
    from gammapy.estimators import FluxProfileEstimator

    options = {"energy_edges": EDGES, "selection_optional": ["errn-errp", "ul"]}
    expected = FluxProfileEstimator(RINGS, **options).run(theirs)

    def theirs_of(key):
        return getattr(expected, key).data[..., 0, 0]

    error, gap = theirs_of("norm_err"), theirs_of("stat") - profile.data["stat"].values
    assert (gap > -1e-7).all()  # MINUIT ends above the minimum
    assert gap.max() < 1e-3
    away = np.abs(profile.data["norm"].values - theirs_of("norm")) / error
    assert (away < 1e-4 + 2 * np.sqrt(np.maximum(gap, 0.0))).all()
    for key in ("norm", "norm_errn", "norm_errp", "norm_ul"):
        distance = np.abs(profile.data[key].values - theirs_of(key)) / error
        assert distance.max() < 2e-2, key
    np.testing.assert_allclose(profile.data["ts"], theirs_of("ts"), rtol=1e-3, atol=2e-3)
    np.testing.assert_allclose(profile.data["norm_err"], error, rtol=1e-2)
    distance = expected.geom.axes["projected-distance"].center.to_value("deg")
    np.testing.assert_allclose(profile.data["x_ref"], distance)


def test_files_that_gammapy_reads(profile, tmp_path):
    from gammapy.estimators import FluxPoints

    path = tmp_path / "profile.fits"
    profile.write(path)
    theirs = FluxPoints.read(path)
    np.testing.assert_allclose(theirs.norm.data[..., 0, 0], profile.data["norm"])
    again = gm.FluxProfile.read(path)
    for key in ("norm", "norm_ul", "x_min", "x_max"):
        np.testing.assert_allclose(again.data[key], profile.data[key])


def test_looks_and_errors(profile):
    import matplotlib as mpl

    mpl.use("agg")
    ax = profile.plot()
    assert ax.get_xlabel() == "Distance [deg]"
    assert "4 projected_distance × 2 energy" in repr(profile)
    with pytest.raises(InputError, match="at least two"):
        gm.FluxProfileEstimator(RINGS[:1])
    with pytest.raises(InputError, match="do not increase"):
        gm.FluxProfileEstimator(RINGS[::-1]).run(gm.Datasets())
