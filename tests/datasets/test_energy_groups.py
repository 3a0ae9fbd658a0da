"""Groups of energy bins that meet conditions, beside Gammapy's."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from regions import CircleSkyRegion

import gmdask as gm
from gmdask.errors import InputError
from tests.datasets.real_pairs import ours, quiet, theirs


@pytest.fixture(scope="module")
def pair(shared):
    return ours(shared, "joint_crab")[6], theirs(shared, "joint_crab", 6)


@pytest.mark.parametrize("conditions", [{"counts_min": 9}, {"sqrt_ts_min": 3}])
def test_least_groups(pair, conditions):
    """By Gammapy's numbers, every group meets the conditions, and none but the lowest would without its first bin."""
    own, other = pair
    edges = gm.resample_energy_edges(own, conditions)
    axis = own.cube["energy_edges"].values * edges.unit
    inside = np.flatnonzero(own.mask.values[:, 0, 0])
    np.testing.assert_array_equal(edges[[0, -1]], axis[[inside[0], inside[-1] + 1]])

    def met(low, high):
        with quiet():
            info = other.slice_by_energy(low, high).info_dict()
        return all(info[key.removesuffix("_min")] >= least for key, least in conditions.items())

    assert len(edges) > 3
    for k, (low, high) in enumerate(pairwise(edges)):
        assert met(low, high)
        following = axis[np.searchsorted(axis, low) + 1]
        assert k == 0 or following == high or not met(following, high)
    grouped = own.resample_energy_axis(edges)
    assert grouped.counts.shape[0] == len(edges) - 1


def test_bins_that_remain():
    """They are joined to the group above, which then meets the conditions or is joined in turn."""
    circle = CircleSkyRegion(SkyCoord(83.63, 22.01, unit="deg"), 0.11 * u.deg)
    energy = np.geomspace(1, 10, 6) * u.TeV
    spectrum = gm.SpectrumDataset.from_arrays(
        "made", region=circle, energy=energy, energy_true=energy,
        counts=[2, 3, 4, 9, 12], exposure=np.ones(5) * 1e12, background=[50.0, 1, 1, 1, 1],
    )  # fmt: skip
    np.testing.assert_array_equal(
        gm.resample_energy_edges(spectrum, {"counts_min": 7}), energy[[0, 3, 4, 5]]
    )
    np.testing.assert_array_equal(
        gm.resample_energy_edges(spectrum, {"counts_min": 30}), energy[[0, 5]]
    )
    with pytest.raises(InputError, match=r"'made': all bins .* do not meet .*counts_min=31"):
        gm.resample_energy_edges(spectrum, {"counts_min": 31})
    with pytest.raises(InputError, match="excess_min=5"):
        gm.resample_energy_edges(spectrum, {"excess_min": 5})
    with pytest.raises(InputError, match=r"\['count_min'\], expected any of counts_min"):
        gm.resample_energy_edges(spectrum, {"count_min": 7})
    with pytest.raises(InputError, match="conditions: none"):
        gm.resample_energy_edges(spectrum, {})


def test_a_map():
    empty = gm.MapDataset.create(
        "map", SkyCoord(0, 0, unit="deg"), 1 * u.deg, 0.1 * u.deg, [1, 3, 10] * u.TeV
    )
    with pytest.raises(InputError, match="'map' is not a spectrum"):
        gm.resample_energy_edges(empty, {"counts_min": 7})
