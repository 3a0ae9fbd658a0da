"""How fits end: each status from a fit of real counts, with the parameters that it names."""

from __future__ import annotations

import pytest

import gmdask as gm
from gmdask.optimize.status import Status
from tests.datasets.synthetic import models


def plain(datasets):
    """The model that the counts were drawn from."""
    return models(datasets.names)


def limited(datasets):
    """An index that may not be as large as it should."""
    own = models(datasets.names)
    own["source"].spectral_model.index.value = own["source"].spectral_model.index.max = 2.0
    return own


def twins(datasets):
    """Two sources of the same shape at one place."""
    own = models(datasets.names)
    own["source"].spatial_model.freeze()
    own["source"].spectral_model.index.frozen = True
    own.append(own["source"].copy(name="twin"))
    return own


def too_small(datasets):
    """A Gaussian in place of the point."""
    own = models(datasets.names)
    place = own["source"].spatial_model
    shape = gm.GaussianSpatialModel(
        lon_0=place.lon_0, lat_0=place.lat_0, sigma="0.1 deg", frame="icrs"
    )
    return gm.Models([gm.SkyModel(own["source"].spectral_model, shape, name="source"), *own[1:]])


def not_there(datasets):
    """A second source, of any position and index, where there is none."""
    own = models(datasets.names)
    other = own["source"].copy(name="other")
    other.spatial_model.lon_0.value, other.spatial_model.lat_0.value = 82.9, 21.4
    own.append(other)
    return own


def far_away(datasets):
    """A second source outside of all maps."""
    own = models(datasets.names)
    other = own["source"].copy(name="other")
    other.spatial_model.lon_0.value = 120.0
    own.append(other)
    return own


def both(datasets):
    """A source outside of all maps, and one where there is none."""
    own = far_away(datasets)
    own.append(not_there(datasets)["other"].copy(name="faint"))
    return own


ENDINGS = {
    Status.CONVERGED: (plain, ()),
    Status.AT_LIMITS: (limited, ("source.spectral.index",)),
    Status.DEGENERATE: (twins, ("source.spectral.amplitude", "twin.spectral.amplitude")),
    Status.UNRESOLVED: (too_small, ("source.spatial.sigma",)),
    Status.STALLED: (not_there, ("other.spectral.index",)),
    Status.UNCONSTRAINED: (far_away, ("other.spectral.index",)),
}


@pytest.mark.parametrize("status", ENDINGS, ids=lambda status: status.value)
def test_status(status, datasets):
    problem, named = ENDINGS[status]
    own = problem(datasets)
    result = gm.Fit(datasets).run(own)
    assert result.status is status
    assert result.success == (status in (Status.CONVERGED, Status.AT_LIMITS))
    assert set(named) <= set(result.concerned)
    for name in named:
        assert name in result.message


def test_all_that_is_not_constrained_is_named(datasets):
    result = gm.Fit(datasets).optimize(both(datasets))
    assert result.status is Status.UNCONSTRAINED
    assert {"other.spectral.index", "faint.spectral.index"} <= set(result.concerned)
    assert "may not constrain faint.spectral.index" in result.message
