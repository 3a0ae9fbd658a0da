"""Each method on real observations, against Gammapy's."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u

import gmdask as gm
from gmdask.datasets.operations.irf import irf_mask
from gmdask.errors import InputError
from tests.datasets.real_pairs import compare_maps, compare_stat, ours, quiet, start_models, theirs

pytestmark = [pytest.mark.gammapy_response, pytest.mark.slow]

ANALYSES = ("crab", "pks2155", "hawc")
SAFE = ("crab", "pks2155")


@pytest.fixture(params=ANALYSES)
def analysis(request) -> str:
    """One of the analyses."""
    return request.param


@pytest.fixture
def pair(shared, analysis):
    """First dataset, and Gammapy's."""
    return ours(shared, analysis)[0], theirs(shared, analysis)


@pytest.fixture
def check(shared, analysis):
    """Compare arrays, and the statistic of the source with all that is not bound to a dataset."""

    def compare(own, other):
        compare_maps(own, other)
        models, their_models = start_models(shared, analysis)
        source = their_models[0].name
        compare_stat(own, other, models, their_models, lambda name: name == source)

    return compare


def edges_of(other) -> u.Quantity:
    return other.counts.geom.axes["energy"].edges


def test_read(pair, check):
    check(*pair)


def test_copy(pair, check):
    own, other = pair
    check(own.copy("other"), other)


def test_slice_by_energy(pair, check):
    own, other = pair
    edges = edges_of(other)
    low, high = edges[len(edges) // 4] * 1.01, edges[-1] * 0.99 if len(edges) > 3 else edges[-1]
    with quiet():
        expected = other.slice_by_energy(low, high, name=other.name)
    check(own.slice_by_energy(low, high), expected)


def test_slice_by_idx(pair):
    own, other = pair
    slices = {"energy": slice(0, 1), "energy_true": slice(2, 9)}
    if "psf_energy" in own.cube.dims:  # Gammapy leaves the true axis of nothing but the exposure
        slices = {"energy_true": slice(2, 9)}
    with quiet():
        expected = other.slice_by_idx(slices, name=other.name)
    compare_maps(own.slice_by_idx(slices), expected)


def test_cutout(pair, check):
    own, other = pair
    center, width = other.counts.geom.center_skydir, (1.53, 1.1) * u.deg
    with quiet():
        expected = other.cutout(center, width, name=other.name)
    check(own.cutout(center, width), expected)


def test_cutout_beyond_the_border(pair):
    own, other = pair
    at = other.counts.geom.center_skydir.directional_offset_by(30 * u.deg, 1.5 * u.deg)
    with quiet():
        expected = other.cutout(at, 2.2 * u.deg, name=other.name)
    compare_maps(own.cutout(at, 2.2), expected)


def exact_edisp(own, other, expected, edges):
    """Gammapy's energy dispersion with the safe mask as it is.

    Its own interpolates the mask at the energies of its own axis, and the rounding of these
    makes an energy safe whose neighbour is.
    """
    from gammapy.irf import EDispKernelMap
    from gammapy.maps import Map, MapAxis

    mask = irf_mask(own.cube, "edisp")
    if isinstance(other.edisp, EDispKernelMap) and mask is not None:
        geom = other.edisp.edisp_map.geom.squash("energy_true")
        weights = Map.from_geom(geom, data=mask.values[None], dtype=bool)
        axis = MapAxis.from_energy_edges(edges)
        expected.edisp = other.edisp.resample_energy_axis(axis, weights)
    return expected


def test_to_image(pair, check):
    own, other = pair
    with quiet():
        expected = other.to_image(name=other.name)
        edges = edges_of(other)[[0, -1]]
        expected = exact_edisp(own, other, expected, edges)
    check(own.to_image(), expected)


def test_resample_energy_axis(pair, check):
    from gammapy.maps import MapAxis

    own, other = pair
    edges = edges_of(other)
    if len(edges) < 4:
        pytest.skip("nothing to sum")
    edges = edges[[0, 2, len(edges) - 1]]
    with quiet():
        expected = other.resample_energy_axis(MapAxis.from_energy_edges(edges), name=other.name)
        expected = exact_edisp(own, other, expected, edges)
    check(own.resample_energy_axis(edges), expected)


def test_the_mask_of_kernels_is_what_it_says(shared):
    """An energy that is not safe anywhere is not safe in the energy dispersion."""
    own, other = ours(shared, "pks2155")[0], theirs(shared, "pks2155")
    unsafe = ~own.mask_safe.any(("lat", "lon")).values
    assert unsafe.any()
    with quiet():
        wrong = other.mask_safe_edisp.data.reshape(len(unsafe), -1).any(axis=1)
    assert wrong[unsafe].any()
    assert not irf_mask(own.cube, "edisp").any(("edisp_lat", "edisp_lon")).values[unsafe].any()


def test_downsample(pair, check):
    own, other = pair
    factor = next(k for k in (2, 3, 5, 7) if all(n % k == 0 for n in own.counts.shape[1:]))
    with quiet():
        expected = other.downsample(factor, name=other.name)
    check(own.downsample(factor), expected)


def test_downsample_energy(shared):
    own, other = ours(shared, "pks2155")[0], theirs(shared, "pks2155")
    with quiet():
        expected = other.downsample(2, "energy", name=other.name)
        expected = exact_edisp(own, other, expected, edges_of(other)[::2])
    compare_maps(own.downsample(2, "energy"), expected)


def test_pad(pair, check):
    own, other = pair
    with quiet():
        expected = other.pad((3, 2), name=other.name)
    check(own.pad((3, 2)), expected)


def with_exact_mask(own, other):
    """Let a dataset of Gammapy take the safe mask of its energy dispersion as it is."""
    from gammapy.maps import Map

    class Exact(type(other)):
        @property
        def mask_safe_edisp(self):
            mask, geom = (
                irf_mask(own.cube, "edisp"),
                self.edisp.edisp_map.geom.squash("energy_true"),
            )
            if "migra" in geom.axes.names:
                geom = geom.squash("migra")
            return Map.from_geom(geom, data=mask.values.reshape(geom.data_shape), dtype=bool)

    other.__class__ = Exact
    return other


@pytest.mark.parametrize("analysis", SAFE, indirect=True)
def test_to_masked(pair, check):
    own, other = pair
    with quiet():
        expected = with_exact_mask(own, other).to_masked(name=other.name)
    check(own.to_masked(), expected)


@pytest.mark.parametrize("analysis", SAFE, indirect=True)
def test_stack(shared, analysis, check):
    own = ours(shared, analysis)
    with quiet():
        first = with_exact_mask(own[0], theirs(shared, analysis))
        expected = first.to_masked(name="stack")
    found, stacked = own[0].to_masked(name="stack"), [own[0]]
    for k in (1, 2):
        if own[k].counts.shape == own[0].counts.shape and aligned(own[k], own[0]):
            found.stack(own[k])
            stacked.append(own[k])
            with quiet():
                expected.stack(with_exact_mask(own[k], theirs(shared, analysis, k)))
    assert len(stacked) > 1
    reference = found.cube.attrs["gti"]
    days = reference["mjdrefi"] + reference["mjdreff"] + found.cube["gti_start"] / 86400
    np.testing.assert_allclose(days, expected.gti.time_start.tt.mjd, rtol=0, atol=1e-9)
    livetime = u.Quantity(found.exposure.attrs["meta"]["livetime"])
    np.testing.assert_allclose(
        livetime.to_value("s"), expected.exposure.meta["livetime"].to_value("s")
    )
    check(found, expected)
    check(gm.Datasets(stacked).stack_reduce("stack"), expected)


def aligned(one, other) -> bool:
    return one.cube.attrs["wcs"] == other.cube.attrs["wcs"]


@pytest.mark.parametrize("analysis", SAFE, indirect=True)
def test_stack_of_a_cutout(pair, check):
    own, other = pair
    center = other.counts.geom.center_skydir
    with quiet():
        part, expected = other.cutout(center, 1.5 * u.deg), other.to_masked(name=other.name)
        cutout = own.cutout(center, 1.5 * u.deg)
        expected = with_exact_mask(own, other).to_masked(name=other.name)
        expected.stack(with_exact_mask(cutout, part))
    check(own.to_masked().stack(cutout), expected)


def test_stack_needs_exposures_of_responses(shared):
    """HAWC's files have none: there is no mean of their responses."""
    own = ours(shared, "hawc")
    with pytest.raises(
        InputError, match=r"'nHit-6' stacked onto 'nHit-5': .* has no 'psf_exposure'"
    ):
        own[0].copy().stack(own[1])
    with quiet(), pytest.raises(ValueError):  # noqa: PT011  (Gammapy's, of no one kind)
        theirs(shared, "hawc").stack(theirs(shared, "hawc", 1))
