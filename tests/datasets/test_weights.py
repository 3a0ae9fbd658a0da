"""Weights of bins: Gammapy's ``cash_weighted``, from its objects and files and back, and what is done with them."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from regions import CircleSkyRegion

import gmdask as gm
from gmdask.errors import InputError
from tests.datasets.clusters import local_client
from tests.datasets.real_pairs import quiet, start_models, theirs

pytestmark = pytest.mark.gammapy_response

ANALYSIS = "fermi_crab"


@pytest.fixture(scope="module")
def models(shared):
    return start_models(shared, ANALYSIS)


@pytest.fixture
def other(shared):
    """The Fermi-LAT Crab with weights, some of them zero, on top of its safe mask."""
    dataset = theirs(shared, ANALYSIS)
    weights = np.random.default_rng(3).uniform(0.1, 1.0, dataset.counts.data.shape)
    weights[:, :5] = 0.0
    dataset.mask_fit = dataset.counts.copy(data=weights, unit="")
    dataset.stat_type = "cash_weighted"
    return dataset


@pytest.fixture
def own(other):
    with quiet():
        return gm.from_gammapy(other)


def stats(own, other, models):
    own.set_models(models[0])
    own.set_response("gammapy")
    with quiet():
        other.models = models[1]
        return own.stat_sum(), float(other.stat_sum())


def test_statistic(own, other, models):
    found, expected = stats(own, other, models)
    assert found == pytest.approx(expected, abs=0.01)
    assert own.info_dict()["stat_type"] == "cash_weighted"
    per_bin = own.stat_array().values[own.mask.values].sum()
    assert per_bin == pytest.approx(found, rel=1e-12)
    plain = own.open().load().drop_vars("weights")
    plain.attrs.pop("stat_type")
    unweighted = gm.MapDataset(plain, response="gammapy")
    unweighted.set_models(models[0])
    assert abs(unweighted.stat_sum() - found) > 100


def test_weights_of_one_change_nothing(other, models):
    other.mask_fit.data = (other.mask_fit.data > 0).astype(float)
    with quiet():
        own = gm.from_gammapy(other)
    found, expected = stats(own, other, models)
    assert found == pytest.approx(expected, abs=0.01)
    other.stat_type = "cash"
    with quiet():
        plain = gm.from_gammapy(other)
    assert stats(plain, other, models)[0] == pytest.approx(found, abs=1e-9)


def test_weights_of_both_masks(other, models):
    other.mask_safe = other.mask_fit.copy(data=np.where(other.mask_safe.data, 0.5, 0.0))
    with quiet():
        own = gm.from_gammapy(other)
    found, expected = stats(own, other, models)
    assert found == pytest.approx(expected, abs=0.01)


def test_cash_does_not_look_at_them(other, models):
    other.stat_type = "cash"
    with quiet():
        own = gm.from_gammapy(other)
    assert "weights" not in own.cube
    found, expected = stats(own, other, models)
    assert found == pytest.approx(expected, abs=0.01)


def test_gammapy_and_back(own, other, models):
    with quiet():
        made = gm.to_gammapy(own)
    assert made.stat_type == "cash_weighted"
    np.testing.assert_allclose(made.mask.data, other.mask.data, rtol=1e-12)
    found, expected = stats(own, made, models)
    assert found == pytest.approx(expected, abs=0.01)


def test_written_and_read(own, other, models, tmp_path):
    """By gmdask, by Gammapy, in a store; Gammapy itself reads the weights as a mask."""
    expected = stats(own, other, models)[0]
    own.write(tmp_path / "own.fits")
    with quiet():
        other.write(tmp_path / "theirs.fits")
    gm.Datasets([own]).write(tmp_path / "store")
    for again in (
        gm.MapDataset.read(tmp_path / "own.fits"),
        gm.MapDataset.read(tmp_path / "theirs.fits"),
        gm.Datasets.read(tmp_path / "store")[0],
    ):
        assert stats(again, other, models)[0] == pytest.approx(expected, abs=1e-9)


def test_operations_keep_them(own, other, models):
    stats(own, other, models)
    position = models[0][0].spatial_model
    sliced = own.slice_by_idx({"energy": slice(1, 4)})
    expected = own.stat_array().values[1:4][own.mask.values[1:4]].sum()
    assert sliced.stat_sum() == pytest.approx(expected, rel=1e-10)
    np.testing.assert_array_equal(own.copy("other").cube["weights"], own.cube["weights"])
    from astropy.coordinates import SkyCoord

    center = SkyCoord(position.lon_0.value, position.lat_0.value, unit="deg", frame="icrs")
    cut = own.cutout(center, 1.0 * u.deg)
    with quiet():
        theirs_cut = other.cutout(center, 1.0 * u.deg, name=other.name)
    np.testing.assert_allclose(cut.cube["weights"] * 1.0, theirs_cut.mask_fit.data, rtol=1e-12)
    padded = own.pad(3)
    assert padded.cube["weights"].values.sum() == own.cube["weights"].values.sum()
    assert own.to_asimov().cube["weights"].equals(own.cube["weights"])


@pytest.mark.parametrize(
    "operation",
    [
        lambda d: d.to_image(),
        lambda d: d.downsample(2),
        lambda d: d.to_masked(),
        lambda d: d.copy().stack(d),
        lambda d: d.to_spectrum_dataset(CircleSkyRegion(center_of(d), 0.3 * u.deg)),
    ],
)
def test_sums_are_refused(own, operation):
    with pytest.raises(InputError, match="is not defined for bins with weights"):
        operation(own)


def center_of(dataset):
    from astropy.coordinates import SkyCoord

    cards = dataset.cube.attrs["wcs"]
    return SkyCoord(cards["CRVAL1"], cards["CRVAL2"], unit="deg", frame="galactic").icrs


def test_fit(own, other, models, tmp_path):
    """Against Gammapy's minimum, with the same bits from a store and on workers."""
    from gammapy.modeling import Fit

    gm.Datasets([own]).write(tmp_path / "store")
    stored = gm.Datasets.read(tmp_path / "store", response="gammapy")
    results = []
    for client in (None, local_client(2)):
        mine = models[0].copy()
        results.append((gm.Fit(stored, client).run(mine), mine))
    assert results[0][0].total_stat == results[1][0].total_stat
    result, mine = results[0]
    with quiet():
        other.models = models[1].copy()
        expected = Fit().run([other])
    assert result.success
    assert result.total_stat < expected.optimize_result.total_stat + 0.01
    for name in ("amplitude", "alpha", "beta"):
        found = getattr(mine[0].spectral_model, name)
        theirs_found = getattr(other.models[0].spectral_model, name)
        assert abs(found.value - theirs_found.value) < 0.1 * found.error


def test_flux_points(own, models):
    """The norm of one bin is where the weighted statistic is least."""
    own.set_response("gammapy")
    points = gm.FluxPointsEstimator(
        0, own.cube["energy_edges"].values[[1, 3]] * u.Unit(own.cube["energy"].attrs["unit"])
    ).run(own, models[0])
    row = points.to_table(sed_type="likelihood")[0]
    cut = own.slice_by_idx({"energy": slice(1, 3)})

    def stat(norm):
        scaled = models[0].copy()
        scaled[0].spectral_model.amplitude.value *= norm
        cut.set_models(scaled)
        return cut.stat_sum()

    assert stat(row["norm"]) == pytest.approx(row["stat"], abs=1e-6)
    for step in (-1e-2, 1e-2):
        assert stat(row["norm"] + step) > row["stat"]


def test_made_of_arrays(own):
    cube = own.open().load()
    axes = [
        cube[f"{k}_edges"].values * u.Unit(cube[k].attrs["unit"]) for k in ("energy", "energy_true")
    ]
    arrays = {"counts": cube["counts"].values, "exposure": np.ones(cube["exposure"].shape)}

    def make(weights):
        return gm.MapDataset.from_arrays(
            "made",
            wcs=cube.attrs["wcs"],
            energy=axes[0],
            energy_true=axes[1],
            weights=weights,
            **arrays,
        )

    made = make(cube["weights"].values)
    assert made.info_dict()["stat_type"] == "cash_weighted"
    with pytest.raises(InputError, match="weights is negative"):
        make(-cube["weights"].values)
