"""The analytic response: how it follows energy, offset and zenith angle."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from gmdask.datasets.simulation.iact import BACKGROUND_INDEX, IactResponse

RESPONSE = IactResponse()
ZENITH, OFFSET = st.floats(0, 60), st.floats(0, 2.5)


def area(energy, offset=0.0, zenith=20.0):
    at = np.full((1, 1, 1), energy), np.full((1, 1), offset)
    return float(RESPONSE.effective_area(*at, zenith)[0, 0, 0])


def width(energy, offset, zenith):
    """Radius in deg within which half of a fine profile lies."""
    rad = np.linspace(0.0005, 2, 4000)
    profile = RESPONSE.psf_profile(np.array([energy]), rad, np.full((1, 1), offset), zenith)
    inside = np.cumsum(rad * profile[0, :, 0, 0])
    return rad[np.searchsorted(inside, 0.5 * inside[-1])]


@settings(max_examples=30, deadline=None)
@given(ZENITH, OFFSET)
def test_response_follows_the_zenith_angle(zenith, offset):
    low, high = zenith, zenith + 10
    assert RESPONSE.threshold_at(high) > RESPONSE.threshold_at(low)
    assert area(30, offset, high) > area(30, offset, low)
    assert area(0.1, offset, high) < area(0.1, offset, low)
    assert width(1.0, offset, high) > width(1.0, offset, low)


@settings(max_examples=30, deadline=None)
@given(ZENITH, OFFSET)
def test_response_follows_offset_and_energy(zenith, offset):
    assert area(1, offset + 0.3, zenith) < area(1, offset, zenith)
    assert area(2, offset, zenith) > area(1, offset, zenith)
    assert width(1, offset + 0.3, zenith) >= width(1, offset, zenith)
    assert width(10, offset, zenith) < width(1, offset, zenith)


def test_psf_has_a_core_and_a_tail():
    """Both Gaussian; the tail holds 15 % of the events, and is twice as wide."""
    rad = np.linspace(0, 1, 4001)
    profile = RESPONSE.psf_profile(np.array([1.0]), rad, np.zeros((1, 1)), 0.0)[0, :, 0, 0]
    two = sum(
        share / s**2 * np.exp(-0.5 * (rad / s) ** 2) for share, s in ((0.85, 0.06), (0.15, 0.12))
    )
    np.testing.assert_allclose(profile / profile[0], two / two[0], rtol=1e-12)


def test_migration_is_a_density():
    migra = np.linspace(0.2, 3, 57)
    density = RESPONSE.migration(np.array([0.5, 5.0]), migra, np.array([[0.0, 2.0]]), 30.0)
    assert density.shape == (2, 56, 1, 2)
    np.testing.assert_allclose((density * np.diff(migra)[:, None, None]).sum(axis=1), 1, rtol=1e-6)


def test_background_is_the_integral_of_a_power_law():
    """Far above the threshold, where all showers are seen."""
    edges = np.array([20.0, 30.0, 60.0])
    rate = RESPONSE.background_rate(edges, np.zeros((1, 1)), 0.0)[:, 0, 0]
    expected = [
        quad(lambda e: RESPONSE.background * e**-BACKGROUND_INDEX, low, high)[0]
        for low, high in pairwise(edges)
    ]
    assert rate == pytest.approx(expected, rel=1e-4)
